"""A sandbox per module, and settings under which the same cases come every time."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.fuzz.sandbox import Sandbox

settings.register_profile(
    "fuzz", derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=False
)


@pytest.fixture(params=[0.2, pytest.param(1.0, marks=pytest.mark.slow)], ids=["some", "all"])
def share(request: pytest.FixtureRequest) -> float:
    """Return the share of the random cases that are tried: in quick tests the first few."""
    return float(request.param)


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Return a sandbox with this process inside, in which nothing is trained."""
    from rlbench.study.run import Session

    made = Sandbox(tmp_path)
    monkeypatch.chdir(made.work)
    monkeypatch.setattr(Session, "train_all", lambda *_, **__: None)
    return made
