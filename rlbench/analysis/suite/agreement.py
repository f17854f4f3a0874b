"""Two reports of one suite, from different seeds: how many of the decided claims are decided the same way again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rlbench.errors import RlbenchError
from rlbench.files import read_json
from rlbench.shapes import TEXT, TEXT_OR_NONE, check

DECIDED = ("supported", "refuted")


class Agreement(NamedTuple):
    """Claims that are decided in the first report: how many there are, and how many are the same in the second.

    `differing` holds (id, statement, first verdict, second verdict), and `absent` the ids that the second lacks.
    """

    decided: int
    same: int
    differing: list[tuple[str, str, str, str]]
    absent: list[str]


def read_verdicts(path: str | Path) -> list[dict[str, Any]]:
    """Return the claims of a `verdicts.json`, or of the one in a folder; RlbenchError where it is none."""
    file = Path(path) / "verdicts.json" if os.path.isdir(path) else Path(path)
    try:
        document = read_json(file)
        check(document, {"claims": [{"id": TEXT_OR_NONE, "statement": TEXT, "verdict": TEXT}]}, "it")
        claims: list[dict[str, Any]] = document["claims"]
        return claims
    except OSError as problem:
        raise RlbenchError(f"Cannot read {file}: {problem.strerror or problem}.") from problem
    except ValueError as problem:
        raise RlbenchError(f"{file} is not a verdicts.json that `rlbench report` wrote.") from problem


def agreement(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> Agreement:
    """Compare two lists of claims, which are the same if id and statement are."""
    others = {_key(one): str(one["verdict"]) for one in second}
    decided = [one for one in first if one["verdict"] in DECIDED]
    present = [one for one in decided if _key(one) in others]
    differing = [
        (str(one["id"]), str(one["statement"]), str(one["verdict"]), others[_key(one)])
        for one in present
        if others[_key(one)] != one["verdict"]
    ]
    absent = [str(one["id"] or one["statement"]) for one in decided if _key(one) not in others]
    return Agreement(len(decided), len(present) - len(differing), differing, absent)


def _key(claim: Mapping[str, Any]) -> tuple[str, str]:
    return str(claim["id"]), str(claim["statement"])
