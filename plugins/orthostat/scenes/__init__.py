"""Scenes: what lies in the archive, what was acquired when, and what is new."""
