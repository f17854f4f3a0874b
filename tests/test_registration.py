"""Pre-registration: claims are hashed before the first run, changes are kept, and the report says which it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlbench import Claim
from rlbench.analysis.claimtable import registration
from rlbench.claims import digest
from rlbench.errors import RlbenchError
from rlbench.store.registration import REGISTER, read_register, register_claims

ONE = [Claim("a beats b", ["a", "b"], "greater", "auc").document()]
OTHER = [Claim("a beats b", ["a", "b"], "greater", "auc", 0.1).document()]


def test_claims_are_registered_once_and_changes_are_added(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    register_claims(folder, [], 0, 4)
    assert read_register(folder) == []
    for claims, stored in ((ONE, 0), (ONE, 4), (OTHER, 4), ([], 5)):
        register_claims(folder, claims, stored, 8)
    entries = read_register(folder)
    assert [(entry["sha256"], entry["stored"]) for entry in entries] == [
        (digest(ONE), 0),
        (digest(OTHER), 4),
        (digest([]), 5),
    ]
    assert entries[0]["claims"] == ONE
    assert entries[0]["time"].endswith("+00:00")


def said(folder: Path, claims: list[dict[str, object]]) -> tuple[str, bool]:
    return registration({"claims": claims, "register": read_register(folder)})


def test_the_report_says_whether_the_claims_came_first(tmp_path: Path) -> None:
    text, first = said(tmp_path, ONE)
    assert (first, "were not registered before the runs." in text) == (False, True)
    register_claims(tmp_path, ONE, 0, 8)
    text, first = said(tmp_path, ONE)
    assert first
    assert digest(ONE) in text
    assert "before the first run, and have not been changed since." in text
    text, first = said(tmp_path, OTHER)
    assert (first, "1 other version was registered" in text) == (False, True)
    register_claims(tmp_path, OTHER, 8, 8)
    text, first = said(tmp_path, OTHER)
    assert not first
    assert "they were changed when 8 of 8 runs were stored. It is one of 2 versions" in text
    register_claims(tmp_path, ONE, 8, 8)
    text, first = said(tmp_path, ONE)
    assert (first, "but were other ones for a time" in text) == (False, True)


def test_claims_made_after_the_runs_are_said_to_be(tmp_path: Path) -> None:
    register_claims(tmp_path, ONE, 3, 8)
    text, first = said(tmp_path, ONE)
    assert (first, "they were made when 3 of 8 runs were stored" in text) == (False, True)


def test_a_register_changed_by_hand_or_damaged_is_said(tmp_path: Path) -> None:
    register_claims(tmp_path, ONE, 0, 8)
    path = tmp_path / REGISTER
    entries = json.loads(path.read_text())
    entries[0]["claims"][0]["smallest_effect"] = 0.3
    path.write_text(json.dumps(entries))
    with pytest.raises(RlbenchError, match="changed by hand"):
        read_register(tmp_path)
    path.write_text("{")
    with pytest.raises(RlbenchError, match="damaged"):
        read_register(tmp_path)
