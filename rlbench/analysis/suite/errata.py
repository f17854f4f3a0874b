"""The errors of a text, each with what it does, measured when the report is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rlbench.analysis.suite.entries import Progress, failure, natural, silent
from rlbench.suite import Erratum


class Shown(NamedTuple):
    """An erratum, what it does (empty: nothing to measure), and whether showing it failed."""

    erratum: Erratum
    does: str
    broken: bool = False


def shown(errata: Sequence[Erratum], progress: Progress = silent) -> list[Shown]:
    """Demonstrate every erratum, in the order of their numbers."""
    made = []
    for done, one in enumerate(sorted(errata, key=lambda one: natural(one.number))):
        made.append(_shown(one))
        progress("errors shown", done + 1, len(errata))
    return made


def _shown(erratum: Erratum) -> Shown:
    if erratum.demonstrate is None:
        return Shown(erratum, "")
    try:
        return Shown(erratum, erratum.demonstrate())
    except Exception as problem:  # one that cannot be shown must not hide the others
        return Shown(erratum, f"This could not be shown: {failure(problem)}.", True)
