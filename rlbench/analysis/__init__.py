"""Tables in, numbers and figures out: scores, intervals, comparisons, figures, the report; no torch here."""
