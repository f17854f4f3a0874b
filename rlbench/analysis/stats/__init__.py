"""Statistics of training runs: estimates, intervals, tests and their corrections; arrays in, records out."""
