"""Planning seeds from a pilot."""

from __future__ import annotations

import numpy as np
import pytest

from rlbench.analysis.judge.verdicts import cost, seeds_for
from rlbench.analysis.scores.scores import ALL
from rlbench.analysis.stats.power import Spread, detectable_effect, seeds_needed
from rlbench.errors import RlbenchError
from rlbench.results import Results
from tests.analysis.synthetic import experiment_document, make_tables

ARMS = ["ppo-clip", "trpo", "reinforce"]


@pytest.fixture(scope="module")
def pilot():
    outcomes = {("trpo", "CartPole-v1", 0): "diverged"}
    tables = make_tables(ARMS, seeds=5, steps=8_000, outcomes=outcomes)
    return Results(experiment_document(ARMS, seeds=5), tables)


def test_the_numbers_are_those_of_the_power(pilot):
    wanted = {(one.environment, one.arm): one for one in seeds_for(pilot, 0.05)}
    assert len(wanted) == 6
    one = wanted["CartPole-v1", "trpo"]
    assert (one.n_arm, one.n_baseline) == (4, 5)
    scores = pilot.scores[pilot.scores["used"] & (pilot.scores["environment"] == "CartPole-v1")]
    x, y = (scores.loc[scores["arm"] == arm, "auc_normalised"].to_numpy() for arm in ("trpo", "reinforce"))
    spread = Spread.of(x, y)
    assert one.detectable == detectable_effect(spread, 4, 5, alpha=0.05 / 6)
    assert one.needed == seeds_needed(spread, 0.05, alpha=0.05 / 6)
    assert one.needed.low < one.needed.n < one.needed.high
    assert one.spread == pytest.approx(np.sqrt((x.var(ddof=1) + y.var(ddof=1)) / 2))
    assert wanted[ALL, "trpo"].needed.n < one.needed.n


def test_a_larger_effect_needs_fewer_and_units_are_the_metrics(pilot):
    small, large = (seeds_for(pilot, effect) for effect in (0.05, 0.2))
    assert all(one.needed.n <= other.needed.n for one, other in zip(large, small, strict=True))
    raw = seeds_for(pilot, 0.05 * (475 - 22.19), "auc")
    assert [one.environment for one in raw] == ["Acrobot-v1", "CartPole-v1"] * 2
    on_cart_pole = [[one.needed.n for one in each if one.environment == "CartPole-v1"] for each in (raw, small)]
    assert all(
        one <= other for one, other in zip(*on_cart_pole, strict=True)
    )  # four comparisons share the level, not six


def test_the_cost_counts_what_is_there(pilot):
    wanted = seeds_for(pilot, 0.2)
    most = max(one.needed.n for one in wanted)
    more, seconds = cost(pilot, wanted)
    assert more == 6 * (most - 5) + 1
    finished = pilot.runs[pilot.runs["status"] == "finished"]
    assert seconds == pytest.approx(more * finished["seconds"].mean())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0,), "must be above 0"),
        ((0.1, "auk"), "no score 'auk'"),
        ((0.1, "auc", 1.0), "power must be at least 0.5"),
    ],
)
def test_what_cannot_be_planned_is_refused(pilot, arguments, message):
    with pytest.raises(RlbenchError, match=message):
        seeds_for(pilot, *arguments)


def test_no_baseline_and_no_reference_are_refused():
    tables = make_tables(ARMS[:2], ["Odd-v0"], seeds=3, steps=8_000)
    with pytest.raises(RlbenchError, match="Nothing is compared"):
        seeds_for(Results({}, tables), 0.1)
    with pytest.raises(RlbenchError, match="No reference returns are known for Odd-v0"):
        seeds_for(Results({"baseline": "trpo"}, tables), 0.1)
