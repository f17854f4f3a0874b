"""Questions to the runs and their verdicts."""
