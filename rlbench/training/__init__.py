"""Training: one program for R replicas, from environment steps to run records."""

INTERVAL = 120.0
"""Seconds between two checkpoints of a pack; here, where the command line finds it without importing anything heavy."""

BLOCK = 24
"""Replicas of a pack that train at a time on the CPU. With many more, what a gradient step works on leaves the
processor's own cache, and every replica costs up to a fifth more."""
