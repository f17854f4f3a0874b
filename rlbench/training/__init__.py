"""Training: one program for R replicas, from environment steps to run records."""
