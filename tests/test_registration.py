"""Pre-registration: claims are hashed before their runs, changes are kept, and the report says of each what it is."""

from __future__ import annotations

import datetime
import itertools
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rlbench import Claim
from rlbench.analysis.report.entries import of_experiment, registered, registration
from rlbench.analysis.scores.results import Document
from rlbench.claims import digest
from rlbench.errors import RlbenchError
from rlbench.results import Results
from rlbench.store import Planned, Tables
from rlbench.store.folders import REGISTER, read_register, register, register_claims
from rlbench.store.runs import STORE

ONE = [Claim("a beats b", ["a", "b"], "greater", "auc", id="1").document()]
OTHER = [Claim("a beats b", ["a", "b"], "greater", "auc", 0.1, id="1").document()]
MORE = [*ONE, Claim("c learns", ["c"], "above", "auc", bound=0.5, environments=["E"]).document()]


def enter(folder: Path, claims: list[dict[str, Any]], *each: int, stored: int | None = None) -> None:
    """Add an entry in which so many of the runs of each claim, eight and two of twelve, are stored."""
    counts = [{"stored": one, "planned": planned} for one, planned in zip(each, (8, 2), strict=False)]
    register_claims(folder, claims, {"stored": sum(each) if stored is None else stored, "planned": 12}, counts, folder)


def results(folder: Path, claims: list[dict[str, Any]]) -> Results:
    """Results with twelve planned runs: three arms, two environments, two seeds."""
    rows = [
        {"cell": f"{arm}{place}{seed}", "arm": arm, "environment": place, "seed": seed}
        for arm in "abc"
        for place in "EF"
        for seed in (0, 1)
    ]
    tables = Tables(pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame())
    return Results(Document.read({"claims": claims}, register=read_register(folder)), tables)


def said(folder: Path, claims: list[dict[str, Any]]) -> list[str]:
    return [registration(one) for one in registered(results(folder, claims))]


def whole(folder: Path, claims: list[dict[str, Any]]) -> tuple[str, bool]:
    sentences, early = of_experiment(results(folder, claims))
    assert sentences[-1] == f"SHA-256 of all claims together: {digest(claims)}."
    return " ".join(sentences[:-1]), early


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every entry be a minute later than the one before."""
    minutes = itertools.count()

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Clock:
            return cls(2025, 1, 1, 0, next(minutes), tzinfo=tz)

    monkeypatch.setattr(datetime, "datetime", Clock)


def test_claims_are_registered_once_and_changes_are_added(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    enter(folder, [])
    assert read_register(folder) == []
    for claims, stored in ((ONE, 0), (ONE, 4), (OTHER, 4)):
        enter(folder, claims, stored)
    enter(folder, [], stored=5)
    entries = read_register(folder)
    assert [(entry["sha256"], entry["stored"]) for entry in entries] == [
        (digest(ONE), 0),
        (digest(OTHER), 4),
        (digest([]), 5),
    ]
    assert entries[0]["claims"] == ONE
    assert entries[0]["each"] == [{"stored": 0, "planned": 8}]
    assert entries[0]["time"].endswith("+00:00")


def test_the_runs_of_each_claim_are_counted_in_the_store(tmp_path: Path) -> None:
    planned = [Planned(f"{arm}{place}", arm, arm, place, 0, 1) for arm in "abc" for place in "EF"]
    for cell in ("cE", "aF"):
        (tmp_path / STORE / cell).mkdir(parents=True)
    register(tmp_path, tmp_path / "x", [(MORE, planned)])
    (entry,) = read_register(tmp_path / "x")
    assert (entry["stored"], entry["planned"]) == (2, 6)
    assert entry["each"] == [{"stored": 1, "planned": 4}, {"stored": 1, "planned": 1}]


def test_every_claim_says_when_it_was_written_down_and_whether_it_changed(tmp_path: Path) -> None:
    assert said(tmp_path, ONE) == ["Not written down before the runs."]
    enter(tmp_path, ONE, 0)
    at = "2025-01-01 00:00:00 UTC"
    first = f"Written down at {at}, before any of its 8 runs was stored; not changed since."
    assert said(tmp_path, ONE) == [first]
    assert said(tmp_path, OTHER) == [
        f"Not written down before the runs: first written down at {at}, it was changed afterwards."
    ]
    # A claim that is added changes no other one, however many runs of the others are stored by then.
    enter(tmp_path, MORE, 8, 0)
    second = "Written down at 2025-01-01 00:01:00 UTC, before any of its 2 runs was stored; not changed since."
    assert said(tmp_path, MORE) == [first, second]
    assert said(tmp_path, MORE[::-1]) == [second, first]
    enter(tmp_path, OTHER, 8)
    third = (
        f"First written down at {at}; as it stands, since 2025-01-01 00:02:00 UTC, when 8 of its 8 runs were stored."
    )
    assert said(tmp_path, OTHER) == [third]
    enter(tmp_path, ONE, 8)  # as it was, but another one for a time
    assert said(tmp_path, ONE) == [third.replace("00:02", "00:03")]


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (0, "before any of its 2 runs was stored"),
        (12, "when 2 of its 2 runs were stored"),
        (11, "when up to 2 of its 2 runs were stored"),
        (1, "when up to 1 of its 2 runs were stored"),
    ],
)
def test_what_a_register_without_counts_leaves_open_is_said(tmp_path: Path, stored: int, words: str) -> None:
    enter(tmp_path, MORE[1:], 0, stored=stored)
    path = tmp_path / REGISTER
    entries = json.loads(path.read_text())
    del entries[0]["each"]
    path.write_text(json.dumps(entries))
    (text,) = said(tmp_path, MORE[1:])
    assert words in text


def test_the_summary_is_made_of_what_each_claim_says(tmp_path: Path) -> None:
    assert whole(tmp_path, ONE) == ("Not written down before the runs: the claim.", False)
    enter(tmp_path, ONE, 0)
    early = "1 claim was written down at 2025-01-01 00:00:00 UTC, before any of its own runs was stored."
    assert whole(tmp_path, ONE) == (f"{early} None was changed since.", True)
    text, first = whole(tmp_path, MORE)
    assert (first, text.endswith("Not written down before the runs: “c learns”.")) == (False, True)
    enter(tmp_path, MORE, 8, 0)
    both = "1 claim was written down at 2025-01-01 00:00:00 UTC and 1 at 2025-01-01 00:01:00 UTC, each before any of "
    assert whole(tmp_path, MORE) == (f"{both}its own runs was stored. None was changed since.", True)
    text, first = whole(tmp_path, ONE)
    assert (first, text.endswith("Written down once and not claimed any more: “c learns”.")) == (False, True)
    enter(tmp_path, [*OTHER, MORE[1]], 3, 2)
    text, first = whole(tmp_path, [*OTHER, MORE[1]])
    assert not first
    assert "stored, except 1 (when 3 of its 8 runs were stored)." in text
    assert "Changed since it was first written down: 1 (first at 2025-01-01 00:00:00 UTC)." in text


def test_a_summary_of_claims_that_all_came_late(tmp_path: Path) -> None:
    enter(tmp_path, ONE, 3)
    text, first = whole(tmp_path, ONE)
    assert (first, "not before its own runs: 1 (when 3 of its 8 runs were stored)." in text) == (False, True)


def test_a_register_changed_by_hand_or_damaged_is_said(tmp_path: Path) -> None:
    enter(tmp_path, ONE, 0)
    path = tmp_path / REGISTER
    entries = json.loads(path.read_text())
    entries[0]["claims"][0]["smallest_effect"] = 0.3
    path.write_text(json.dumps(entries))
    with pytest.raises(RlbenchError, match="changed by hand"):
        read_register(tmp_path)
    entries[0]["claims"][0]["smallest_effect"] = 0.0
    entries[0]["each"] = []
    path.write_text(json.dumps(entries))
    with pytest.raises(RlbenchError, match="damaged"):
        read_register(tmp_path)
    path.write_text("{")
    with pytest.raises(RlbenchError, match="damaged"):
        read_register(tmp_path)
