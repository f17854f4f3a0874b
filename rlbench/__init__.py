"""Compare on-policy reinforcement-learning algorithms properly: many seeds, intervals, verdicts."""
