"""Kubernetes as the steps' machine: what a pod asks for, and why one does not start or ends badly."""
