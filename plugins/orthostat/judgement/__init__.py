"""Judgement: what was really predicted, and whether it may be used. Reads S3 alone, never a task's state."""
