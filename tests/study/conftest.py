"""Small experiments that train in a fraction of a second."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rlbench.study.executors.launcher import Launcher
from rlbench.study.experiment import Arm, Experiment
from rlbench.study.plan import Plan, make_plan

TINY: dict[str, Any] = {"horizon": 16, "minibatches": 1, "epochs": 1, "hidden": [4]}


@pytest.fixture
def tiny_plan() -> Callable[..., Plan]:
    """Return a function that plans `ppo-clip` and `actor-critic` on CartPole, 32 steps, as few as they come."""

    def plan(**changes: Any) -> Plan:
        arms = changes.pop("arms", [Arm("ppo-clip", **TINY), Arm("actor-critic", **TINY)])
        values = {"environments": ["CartPole-v1"], "seeds": 2, "steps": 32} | changes
        return make_plan(Experiment("tiny", arms, **values))

    return plan


@pytest.fixture(scope="module", params=["forked", "fresh"])
def launcher(request: pytest.FixtureRequest) -> Iterator[Launcher]:
    """Give workers that are forks of a template, and then workers that are interpreters of their own."""
    forking = request.param == "forked"
    if forking and sys.platform != "linux":
        pytest.skip("a template is used on Linux")
    with Launcher(forking=forking) as launcher:
        yield launcher
