"""Experiments as data: what is refused, with which words, and the way through JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlbench.errors import RlbenchError
from rlbench.records import Environment
from rlbench.study.experiment import Arm, Experiment


def experiment(**changes: Any) -> Experiment:
    values: dict[str, Any] = {"name": "x", "arms": ["ppo-clip"], "environments": ["CartPole-v1"]} | changes
    return Experiment(**values)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": 0}, "seeds must be at least 1, not 0"),
        ({"seeds": -3}, "seeds must be at least 1, not -3"),
        ({"seeds": []}, "seeds is empty"),
        ({"seeds": True}, "seeds must be a whole number or a list"),
        ({"seeds": "10"}, "seeds must be a whole number or a list"),
        ({"seeds": 2.5}, "seeds must be a whole number or a list"),
        ({"seeds": [0, 1, 1]}, "seed 1 is listed twice"),
        ({"seeds": [0, -1]}, "a seed must be a whole number from 0 to 2**63 - 1, not -1"),
        ({"steps": -5}, "steps must be a whole number of at least 1, not -5"),
        ({"steps": 0}, "steps must be a whole number of at least 1"),
        ({"steps": 1.5}, "steps must be a whole number of at least 1, not 1.5"),
        ({"steps": "many"}, "steps must be a whole number of at least 1, not 'many'"),
        ({"steps": {"CartPol-v1": 10}}, "Did you mean 'CartPole-v1'"),
        ({"steps": {}}, "steps has no entry for CartPole-v1"),
        ({"steps": {"CartPole-v1": 0}}, "steps of CartPole-v1 must be"),
        ({"arms": []}, "arms is empty"),
        ({"arms": "ppo-clip"}, "arms must be a list"),
        ({"arms": [3]}, "An arm needs an algorithm's name or class, not 3"),
        ({"arms": [""]}, "An arm needs an algorithm's name or class"),
        ({"environments": "CartPole-v1"}, "environments must be a list"),
        ({"environments": [""]}, "is not an environment"),
        ({"environments": ["A-v0", "A-v0"]}, "environment 'A-v0' is listed twice"),
        ({"environments": [Environment("A-v0", {"f": print})]}, "the options of A-v0 must be JSON values"),
        ({"environments": [Environment("A-v0", wrappers=[3])]}, "the wrappers of A-v0 must be a list of names"),
        (
            {"environments": [Environment("A-v0", wrappers=[("B", {"f": print})])]},
            "the wrappers of A-v0 must be a list",
        ),
        (
            {"environments": [Environment("A-v0", wrappers=["B"]), Environment("A-v0", wrappers=[("B", {})])]},
            "listed twice",
        ),
        (
            {"environments": [Environment("A-v0", {"g": 5}), Environment("A-v0", {"g": 5.0})]},
            "differ only in how their options are written",
        ),
        ({"name": "a/b"}, "name is also its folder"),
        ({"name": "store"}, "name is also its folder"),
        ({"name": ""}, "name is also its folder"),
    ],
)
def test_bad_experiments_are_refused_in_one_sentence(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RlbenchError) as caught:
        experiment(**changes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_label_is_refused() -> None:
    with pytest.raises(RlbenchError, match="Arm 'ppo-clip': label must be a word"):
        Arm("ppo-clip", label=" ")


def test_short_forms_mean_the_long_ones() -> None:
    short = experiment(seeds=3, steps=1e5)
    assert short.seeds == (0, 1, 2)
    assert short.steps == 100_000
    assert short.arms == (Arm("ppo-clip"),)
    assert short.environments == (Environment("CartPole-v1"),)
    assert experiment(seeds=np.arange(3)) == short


def test_budgets_are_found_by_label_before_id() -> None:
    heavy, light = Environment("Pendulum-v1", {"g": 9.0}), Environment("Pendulum-v1")
    steps = {"Pendulum-v1": 100, "Pendulum-v1(g=9.0)": 200}
    mixed = experiment(environments=[heavy, light], steps=steps)
    assert mixed.budget(heavy) == 200
    assert mixed.budget(light) == 100


@given(
    seeds=st.lists(st.integers(0, 2**62), min_size=1, max_size=4, unique=True),
    steps=st.integers(1, 10**9) | st.integers(1, 10**6).map(lambda n: {"Pendulum-v1": n}),
    settings=st.dictionaries(st.sampled_from(["lr", "clip"]), st.floats(0, 1) | st.lists(st.floats(0, 1), min_size=1)),
    question=st.text(max_size=20),
)
def test_the_document_says_everything(**values: Any) -> None:
    first = Experiment(
        "x",
        [Arm("ppo-clip", "mine", **values["settings"]), "trpo"],
        [Environment("Pendulum-v1", {"g": 5.0})],
        values["seeds"],
        values["steps"],
        "trpo",
        values["question"],
    )
    document = json.loads(json.dumps(first.document()))
    arms = [Arm(arm["algorithm"], arm["label"], **arm["settings"]) for arm in document.pop("arms")]
    environments = [Environment(**environment) for environment in document.pop("environments")]
    assert Experiment(arms=arms, environments=environments, **document) == first
