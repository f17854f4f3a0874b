"""Tables in, numbers and figures out: scores, statistics, intervals, comparisons, figures and the report; no torch."""
