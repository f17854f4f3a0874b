"""The two Python calls."""

from __future__ import annotations

import sys
from pathlib import Path

import cloudpickle
import pytest

import rlbench
from rlbench import Arm, Experiment
from rlbench.api import comparison
from rlbench.study.executors import launcher

# pytest imports this file under a name that no worker can import; a script's or a notebook's classes travel anyway.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

TINY = {"horizon": 16, "minibatches": 1, "epochs": 1}


class Mine(rlbench.Algorithm):
    """The plain ratio surrogate."""

    name = "mine-in-a-test"

    def surrogate(self, x: rlbench.Samples) -> object:
        return x.ratio * x.advantage


def test_run_returns_everything_that_is_stored_and_then_starts_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = [Arm("ppo-clip", **TINY), Arm(Mine, label="mine", **TINY)]
    experiment = Experiment("x", arms, ["CartPole-v1"], seeds=2, steps=64, baseline="ppo-clip")
    results = rlbench.run(experiment, tmp_path, workers=1, progress=False)
    assert isinstance(results, rlbench.Results)
    assert list(results.runs["arm"]) == ["ppo-clip", "ppo-clip", "mine", "mine"]
    assert (results.runs["status"] == "finished").all()
    assert results.baseline == "ppo-clip"
    monkeypatch.setattr(launcher, "_Template", None)  # cannot be started
    monkeypatch.setattr(launcher, "_program", None)
    again = rlbench.run(experiment, tmp_path, workers=1, progress=False)
    assert again.runs.equals(results.runs)  # the seconds included: nothing was trained again


def test_compare_takes_names_classes_and_arms(tmp_path: Path) -> None:
    results = rlbench.compare(
        [Arm(Mine, **TINY), Arm("ppo-clip", **TINY)],
        ["CartPole-v1"],
        seeds=1,
        steps=32,
        results_dir=tmp_path,
        workers=0,
        progress=False,
    )
    assert results.arms == ["mine-in-a-test", "ppo-clip"]
    assert results.baseline == "ppo-clip"


def test_a_comparison_is_named_after_what_it_compares() -> None:
    experiment = comparison(["ppo-clip", Arm("trpo", label="TRPO, mine")], ["CartPole-v1", "ns/Env-v0"])
    assert experiment.name == "compare-ppo-clip-TRPO__mine-on-CartPole-v1-ns_Env-v0"
    assert experiment.baseline == "TRPO, mine"
