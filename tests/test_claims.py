"""Claims: what can be said, JSON both ways, their hash, and a readable sentence for everything else."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from rlbench import Arm, Claim, Experiment
from rlbench.claims import DIRECTIONS, digest, from_document
from rlbench.errors import RlbenchError
from rlbench.study.plan import make_plan

NEEDED: dict[str, dict[str, Any]] = {
    "equivalent": {"smallest_effect": 0.1},
    "not-less": {"smallest_effect": 0.1},
    "not-greater": {"smallest_effect": 0.1},
    "peak": {"best": "b"},
    "dip": {"best": "b"},
    "above": {"bound": 0.8, "event": ">= 0.9"},
    "below": {"bound": 3},
    "within": {"bound": 0.25, "smallest_effect": 0.15},
}


def claim(**changes: Any) -> Claim:
    values: dict[str, Any] = {"statement": "a beats b", "arms": ["a", "b", "c"], "direction": "greater"} | changes
    return Claim(**values)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_direction_goes_through_json(direction: str) -> None:
    one = claim(direction=direction, **NEEDED.get(direction, {}))
    assert from_document(json.loads(json.dumps(one.document()))) == one


def test_the_hash_is_of_what_is_claimed() -> None:
    one, other = claim(), claim(smallest_effect=0.05)
    assert digest([one]) == digest([one.document()]) == digest([json.loads(json.dumps(one.document()))])
    assert len({digest([]), digest([one]), digest([other]), digest([one, other]), digest([other, one])}) == 5


def test_event_and_metric_are_read() -> None:
    assert claim(direction="above", bound=0.5, event=">=0.9").condition == (">=", 0.9)
    assert claim(direction="above", bound=0.5).condition is None
    for metric in ("auc", "kl:mean", "clip_fraction:q0.9", "ratio_max:share>1.2", "field.clip:final", "kl:share<=1e-3"):
        assert claim(metric=metric).metric == metric


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"statement": " "}, "needs its statement"),
        ({"direction": "graeter"}, "no direction 'graeter'. Did you mean 'greater'"),
        ({"arms": "a"}, "arms must be a list"),
        ({"arms": ["a", "a"]}, "arms names 'a' twice"),
        ({"arms": ["a", 3]}, "arms must be labels, and 3"),
        ({"arms": ["a"]}, "'greater' needs at least 2 arms, not 1"),
        ({"arms": ["a", "b"], "direction": "increasing"}, "needs at least 3 arms"),
        ({"metric": "kl:average"}, "metric must be a column such as auc"),
        ({"metric": "kl:share>--1"}, "'--1', which is not a number"),
        ({"over": "all"}, "over must be 'each' or 'mean'"),
        ({"over": "mean", "metric": "final"}, "needs the metric final_normalised"),
        ({"direction": "equivalent"}, "needs a smallest_effect above 0"),
        ({"smallest_effect": -1}, "smallest_effect is a size"),
        ({"smallest_effect": "big"}, "smallest_effect must be a number"),
        ({"smallest_effect": float("nan")}, "smallest_effect must be a number"),
        ({"level": 1.0}, "level must be at least 0.5 and at most 0.999"),
        ({"direction": "above"}, "'above' needs a bound"),
        ({"bound": 1.0}, "bound goes with above, below and within"),
        ({"direction": "above", "bound": 0.5, "event": "0.9"}, "event must be a comparison"),
        ({"direction": "above", "bound": 0.5, "event": ">= 1e"}, "event must be a comparison"),
        ({"direction": "above", "bound": 80, "event": ">= 0.9"}, "the bound of a share lies between 0 and 1"),
        ({"direction": "peak", "best": "a"}, "best must be one of the inner arms b, not 'a'"),
        ({"best": "b"}, "best goes with peak and dip"),
    ],
)
def test_what_is_no_claim_is_refused_in_one_sentence(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RlbenchError, match=message):
        claim(**changes)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"statement": "x", "arms": ["a", "b"], "direction": "less", "margin": 1}, "no entry 'margin'"),
        ({"statement": "x", "arms": ["a", "b"]}, "needs the entry 'direction'"),
        (["a"], "a mapping with a statement"),
    ],
)
def test_a_document_that_is_no_claim_is_refused(document: Any, message: str) -> None:
    with pytest.raises(RlbenchError, match=message):
        from_document(document)


def experiment(*claims: Claim) -> Experiment:
    return Experiment("e", [Arm("ppo-clip", clip=[0.1, 0.2]), "reinforce"], ["CartPole-v1"], claims=claims)


def test_an_experiment_carries_its_claims() -> None:
    one = claim(arms=["ppo-clip clip=0.1", "ppo-clip clip=0.2"], environments=["CartPole-v1"])
    made = experiment(one)
    assert make_plan(made).document()["claims"] == [one.document()]
    assert digest(made.claims) == digest(make_plan(made).document()["claims"])


def test_claims_about_what_is_not_run_are_refused_before_anything_runs() -> None:
    with pytest.raises(RlbenchError, match=r"Claim 'a beats b': there is no arm 'a'"):
        make_plan(experiment(claim()))
    with pytest.raises(RlbenchError, match=r"no environment 'CartPole-v0'\. Did you mean 'CartPole-v1'"):
        make_plan(experiment(claim(arms=["reinforce", "ppo-clip clip=0.1"], environments=["CartPole-v0"])))
    with pytest.raises(RlbenchError, match="two claims say 'a beats b'"):
        experiment(claim(), claim(direction="less"))
    with pytest.raises(RlbenchError, match="is not a Claim"):
        experiment("a beats b")  # type: ignore[arg-type]


def test_a_claim_needs_no_heavy_import() -> None:
    code = "import sys; from rlbench import Claim; print([n for n in ('torch', 'numpy', 'scipy') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"
