"""A suite: a folder of experiments that answer one text, with what is exact and what the text gets wrong.

    SUITE = Suite(
        title="A lecture on trial",
        introduction="What it claims, and what holds.",
        checks=[Exact("min() is pessimistic", pessimistic, id="10")],
        errata=[Erratum("1", "Training stops after 500 steps", ...)],
    )

Such a `suite.py` is optional: without one, a suite is the experiments of a folder. Pure data; `rlbench.study.suites`
reads a folder, `rlbench.analysis.suite` reports it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Exact:
    """A statement that no run can decide, since it is a matter of calculation.

    statement   the statement in words
    check       computes and returns (whether it holds, a sentence with the numbers)
    id, source  as in `Claim`: its number, and where it is made
    known       what is known of it from elsewhere, with the source
    """

    statement: str
    check: Callable[[], tuple[bool, str]]
    id: str = ""
    source: str = ""
    known: str = ""


@dataclass(frozen=True)
class Erratum:
    """An error of the text.

    number, title  which one, and what it is in a few words
    source         where in the text
    wrong          what is written there, in our words
    right          what would be right, and why
    demonstrate    reproduces the behaviour and returns a sentence with what was measured; None: nothing to measure
    """

    number: str
    title: str
    source: str
    wrong: str
    right: str
    demonstrate: Callable[[], str] | None = None


@dataclass(frozen=True)
class Suite:
    """What belongs to a folder of experiments beside them.

    title, introduction  of the report
    checks, errata       what is exact, and what is wrong in the text
    remarks              what was noticed after the runs, by the id of a claim: shown as such, no part of any verdict
    quick, quick_seeds   the experiments that `--quick` runs, by name, and how many seeds of each; none: all of them
    """

    title: str = ""
    introduction: str = ""
    checks: Sequence[Exact] = ()
    errata: Sequence[Erratum] = ()
    remarks: Mapping[str, str] = field(default_factory=dict)
    quick: Sequence[str] = ()
    quick_seeds: int = 5
