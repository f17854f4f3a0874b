"""The report of a suite: the verdicts on all claims of a folder of experiments, on one page that explains itself."""

from rlbench.analysis.suite.entries import Entry, SuiteResults, entries_of
from rlbench.analysis.suite.report import SuiteReport, write_suite_report

__all__ = ["Entry", "SuiteReport", "SuiteResults", "entries_of", "write_suite_report"]
