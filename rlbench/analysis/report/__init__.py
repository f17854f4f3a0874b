"""Reports: the page of an experiment, and the page of a suite with the verdicts on all of its claims."""
