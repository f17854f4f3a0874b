"""Failures as the worst score, beside the runs that finished."""

import numpy as np

from rlbench.analysis.judge.compare import sensitivity, warning
from rlbench.analysis.scores.scores import failures_as_worst
from tests.analysis.test_compare import results, table


def compared(scores):
    made = results(scores)
    return sensitivity(made, made.compare(baseline="reinforce"))


def scores(failed, environment="CartPole-v1"):
    rng = np.random.default_rng(0)
    runs = {("ppo", environment): rng.normal(420, 10, 10), ("reinforce", environment): rng.normal(380, 10, 10)}
    return table(runs, {("ppo", environment, seed) for seed in range(failed)})


def test_failures_get_the_lowest_return_of_the_environment():
    found = failures_as_worst(scores(2), ["auc"])
    worst = found[(found["arm"] == "ppo") & (found["seed"] < 2)]
    assert worst["auc"].tolist() == [1.0, 1.0]
    assert worst["used"].all()
    assert np.allclose(worst["auc_normalised"], (1 - 22.19) / (475 - 22.19))
    assert found[found["seed"] >= 2].equals(scores(2)[scores(2)["seed"] >= 2])


def test_where_that_is_unknown_it_is_the_lowest_that_was_seen():
    before = scores(2, "Odd-v0")
    found = failures_as_worst(before, ["auc"])
    assert (found.loc[found["status"] == "diverged", "auc"] == before["auc"].min()).all()
    nothing = before.assign(auc=np.nan, used=False)
    assert not failures_as_worst(nothing, ["auc"])["used"].any()


def test_missing_runs_are_no_failures():
    before = scores(2)
    before.loc[before["status"] == "diverged", "status"] = "missing"
    assert failures_as_worst(before, ["auc"]).equals(before)


def test_a_verdict_that_depends_on_failures_is_flagged():
    before = scores(4)
    found = compared(before)
    assert [one.changed for one in found] == [True]
    assert (found[0].finished.verdict, found[0].with_failures.verdict) == ("better", "inconclusive")
    assert warning(found[0]) == (
        "ppo against reinforce on CartPole-v1 is better for the runs that finished, but inconclusive if the 4 that "
        "failed or diverged count as the worst possible score."
    )


def test_without_failures_there_is_nothing_to_say():
    before = scores(0)
    assert compared(before) == []


def test_one_failure_of_many_changes_no_verdict():
    rng = np.random.default_rng(0)
    runs = {("ppo", "CartPole-v1"): rng.normal(480, 5, 20), ("reinforce", "CartPole-v1"): rng.normal(100, 10, 20)}
    before = table(runs, {("ppo", "CartPole-v1", 3)})
    found = compared(before)
    assert [one.changed for one in found] == [False]
    assert found[0].with_failures.n_arm == 20
