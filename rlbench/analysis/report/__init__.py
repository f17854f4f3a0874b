"""Reports: the page of an experiment, and the page of a suite with the verdicts on all of its claims."""

from rlbench.analysis.report.entries import Entry, SuiteResults, entries_of
from rlbench.analysis.report.suite_page import SuiteReport, write_suite_report

__all__ = ["Entry", "SuiteReport", "SuiteResults", "entries_of", "write_suite_report"]
