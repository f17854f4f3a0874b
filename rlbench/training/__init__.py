"""Training: one program for R replicas, from environment steps to run records."""

INTERVAL = 120.0
"""Seconds between two checkpoints of a pack; here, where the command line finds it without importing anything heavy."""
