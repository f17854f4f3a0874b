"""What is known of the runs of an experiment: tables, learning curves, scores and their references."""
