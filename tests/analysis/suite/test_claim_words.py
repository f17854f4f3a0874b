"""Claims in words: what exceeds what, and logarithms as ratios."""

from __future__ import annotations

import numpy as np
import pytest

from rlbench.analysis.report.claims import asked_text, claim_sentence, claimed_text, effect_text, is_ratio
from rlbench.analysis.report.suite_page import _compared
from rlbench.claims import Claim
from rlbench.results import Results
from tests.analysis.synthetic import experiment_document, make_tables

PAIR = ("a", "b")


COST = "cost (mean of a run)"


def claim(direction: str, metric: str = "log2_cost:mean", d: float = 1.0, **more: object) -> Claim:
    return Claim("It is so", more.pop("arms", PAIR), direction, metric, d, **more)


@pytest.mark.parametrize(
    ("made", "words", "limits"),
    [
        (claim("greater"), "a exceeds b in cost (mean of a run) by more than a factor of 2", "more than 2"),
        (claim("less"), "a stays below b in cost (mean of a run) by more than a factor of 2", "less than 0.5"),
        (claim("not-less"), "a is at most a factor of 2 below b in cost (mean of a run)", "more than 0.5"),
        (
            claim("equivalent"),
            f"a and b differ in {COST} by less than a factor of 2",
            "within a factor of 2",
        ),
        (
            claim("different"),
            f"a and b differ in {COST} by more than a factor of 2",
            "beyond a factor of 2",
        ),
        (claim("different", d=0.0), "a and b differ in cost (mean of a run)", "not 1"),
        (claim("different", "kl:mean", 0.0), "a and b differ in KL divergence (mean of a run)", "not 0"),
        (claim("equivalent", "kl:mean"), "a and b differ in KL divergence (mean of a run) by less than 1", "within ±1"),
        (
            claim("above", bound=3.0, arms=["a", "b"]),
            "for a and b the log2 cost (mean of a run) is more than 4",
            "more than 4",
        ),
        (
            claim("greater", "auc", 5.0, arms=["a b", "c", "d"]),
            "“a b” exceeds each of c and d in return over training by more than 5",
            "more than 5",
        ),
        (
            claim("greater", "log2_cost:share>3", 0.1),
            "a exceeds b in share of updates with log2 cost > 3 by more than 0.1",
            "more than 0.1",
        ),
        (
            claim("above", "final_normalised", 0.0, bound=0.8, event=">= 0.9", arms=["a"]),
            "for a the share of runs with normalised final return ≥ 0.9 is more than 80 %",
            "more than 80 %",
        ),
    ],
)
def test_what_a_claim_was_taken_to_mean(made: Claim, words: str, limits: str) -> None:
    assert asked_text(made, ["x", "y"]) == f"{words}, on every environment"
    assert claimed_text(made) == limits


def results() -> Results:
    """Return runs whose recorded cost of arm a is four times that of b."""
    tables = make_tables(["ppo-clip", "reinforce"], ["CartPole-v1"], seeds=6, steps=8_000)
    arms = dict(zip(tables.runs["cell"], tables.runs["arm"], strict=True))
    noise = np.random.default_rng(0).normal(0, 0.1, len(tables.updates))
    cost = np.where(tables.updates["cell"].map(arms) == "ppo-clip", 3.0, 1.0) + noise
    document = experiment_document(
        ["ppo-clip", "reinforce"], ["CartPole-v1"], baseline="reinforce", seeds=6, steps=8_000
    )
    return Results(document, tables._replace(updates=tables.updates.assign(log2_cost=cost)))


def test_differences_of_logarithms_are_said_as_ratios() -> None:
    made = Claim("It costs more", ["ppo-clip", "reinforce"], "greater", "log2_cost:mean", 1.0)
    (part,) = results().judge(made).parts
    assert part.effect.point == pytest.approx(2.0, abs=0.05)  # what is stored stays a difference
    assert effect_text(made, part.effect).startswith("4")
    sentence = claim_sentence(results().judge(made))
    assert "On CartPole-v1: 4" in sentence
    assert "the ratio of the cost (mean of a run), ppo-clip to reinforce; claimed: more than 2" in sentence
    assert not is_ratio(Claim("x", PAIR, "greater", "log2_cost:std", 1.0))


def test_what_the_arms_are_is_said_once() -> None:
    document = experiment_document(["PPO", "no clip, K=4"], ["CartPole-v1"], baseline="PPO", seeds=2, steps=8_000)
    fields = [
        ("ppo-clip", {"lr": 0.003}, {"clip": 0.2, "epochs": 10, "lr": 0.003, "gamma": 0.99}),
        ("reinforce", {"lr": 0.003}, {"baseline": "value", "epochs": 1, "lr": 0.003, "gamma": 0.99}),
    ]
    for arm, (algorithm, given, known) in zip(document["arms"], fields, strict=True):
        arm |= {"algorithm": algorithm, "settings": given, "fields": known}
    tables = make_tables(["PPO", "no clip, K=4"], ["CartPole-v1"], seeds=2, steps=8_000)
    made = Claim("x", ["PPO", "no clip, K=4"], "greater")
    assert _compared(made, Results(document, tables)) == (
        "Compared: PPO is ppo-clip; “no clip, K=4” is reinforce with baseline value; both with lr 0.003."
    )
    for arm, epochs in zip(document["arms"], (10, 4), strict=True):
        arm |= {"algorithm": "ppo-clip", "settings": {"epochs": epochs}, "fields": {"epochs": epochs, "lr": 0.003}}
    document["arms"][1]["label"] = "epochs=4"
    tables = tables._replace(runs=tables.runs.replace({"arm": {"no clip, K=4": "epochs=4"}}))
    sweep = Claim("x", ["PPO", "epochs=4"], "greater")
    assert _compared(sweep, Results(document, tables)) == "Both are ppo-clip; PPO with epochs 10."


def test_a_table_of_runs_with_fewer_arms_has_no_sentence() -> None:
    tables = make_tables(["ppo-clip"], ["CartPole-v1"], seeds=2, steps=8_000)
    alone = Results(experiment_document(["ppo-clip"], ["CartPole-v1"], baseline=None), tables)
    assert _compared(Claim("x", ["ppo-clip"], "above", "auc", bound=0.0), alone) == ""
