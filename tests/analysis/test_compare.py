"""Verdicts, their numbers and their sentences."""

import numpy as np
import pandas as pd
import pytest

from rlbench.analysis.judge.compare import compare_all, to_frame
from rlbench.analysis.judge.verdicts import JudgedResults
from rlbench.analysis.report.sentences import sentence
from rlbench.analysis.scores.scores import ALL, normalise
from rlbench.analysis.stats import intervals
from rlbench.analysis.stats.power import Spread, detectable_effect
from rlbench.analysis.stats.tests import Hypothesis, step_down
from rlbench.errors import RlbenchError
from rlbench.store import Tables
from tests.statistics.two_arms import permutation_test


def table(runs, unused=frozenset()):
    """Scores of runs given as {(arm, environment): values}; `unused` holds (arm, environment, seed)."""
    rows = []
    for (arm, environment), values in runs.items():
        for seed, value in enumerate(values):
            ok = (arm, environment, seed) not in unused
            norm = float(normalise(value, environment))
            rows.append(
                {
                    "arm": arm,
                    "environment": environment,
                    "seed": seed,
                    "status": "finished" if ok else "diverged",
                    "used": ok,
                    **dict.fromkeys(("auc", "final", "last100"), value),
                    **dict.fromkeys(("auc_normalised", "final_normalised", "last100_normalised"), norm),
                }
            )
    return pd.DataFrame(rows).assign(cell=lambda made: [str(row) for row in range(len(made))])


def results(scores, seed=0):
    """Results of which no more than the scores is known."""
    nothing = pd.DataFrame({"cell": [], "step": []})
    return JudgedResults({}, Tables(scores, nothing, nothing), seed=seed, scores=scores)


def compare(scores, arm, baseline, metric="auc", seed=0):
    return results(scores, seed).compare(arm, baseline, metric)


def two_environments(seed=0, n=10):
    rng = np.random.default_rng(seed)
    return table(
        {
            ("ppo", "CartPole-v1"): rng.normal(400, 30, n),
            ("ppo", "Acrobot-v1"): rng.normal(-120, 20, n),
            ("reinforce", "CartPole-v1"): rng.normal(200, 30, n + 2),
            ("reinforce", "Acrobot-v1"): rng.normal(-300, 20, n),
        }
    )


def test_a_clear_difference_on_each_environment_and_over_all():
    scores = two_environments()
    found = compare(scores, "ppo", "reinforce")
    assert [one.environment for one in found] == ["Acrobot-v1", "CartPole-v1", ALL]
    assert [one.verdict for one in found] == ["better"] * 3
    assert [one.normalised for one in found] == [False, False, True]
    assert [(one.n_arm, one.n_baseline) for one in found] == [(10, 10), (10, 12), (20, 22)]
    back = compare(scores, "reinforce", "ppo")
    assert [one.verdict for one in back] == ["worse"] * 3


def test_the_numbers_are_those_of_the_parts():
    scores = two_environments()
    found = compare(scores, "ppo", "reinforce", metric="final", seed=3)[1]
    on_cart_pole = scores[scores["environment"] == "CartPole-v1"]
    x, y = (on_cart_pole[on_cart_pole["arm"] == arm]["final"] for arm in ("ppo", "reinforce"))
    assert found.difference == intervals.mean_interval(x.to_numpy(), y.to_numpy(), seed=3)
    assert found.mean_arm == intervals.mean_interval(x.to_numpy(), seed=3)
    assert found.improvement == intervals.improvement_interval(x.to_numpy(), y.to_numpy())
    assert found.p_value == permutation_test(x.to_numpy(), y.to_numpy(), seed=3)
    assert found.difference.point == pytest.approx(x.mean() - y.mean())


def test_over_all_every_environment_counts_the_same():
    found = compare(two_environments(), "ppo", "reinforce")
    per_environment = [
        (found[0].difference.point) / (-100 + 498.8),
        (found[1].difference.point) / (475 - 22.19),
    ]
    assert found[2].difference.point == pytest.approx(np.mean(per_environment))
    assert found[2].environments == ("Acrobot-v1", "CartPole-v1")


def test_all_comparisons_of_a_call_are_one_family():
    rng = np.random.default_rng(1)
    scores = table({(arm, "CartPole-v1"): rng.normal(shift, 10, 8) for arm, shift in (("a", 0), ("b", 8), ("c", 12))})
    found = results(scores).compare(baseline="a")
    assert [(one.arm, one.baseline, one.comparisons) for one in found] == [("b", "a", 2), ("c", "a", 2)]
    values = {arm: scores.loc[scores["arm"] == arm, "auc"].to_numpy() for arm in "abc"}
    data = {("CartPole-v1", arm): runs for arm, runs in values.items()}
    expected = step_down(data, [Hypothesis(arm, "a", ("CartPole-v1",)) for arm in "bc"])
    assert [one.p_adjusted for one in found] == expected.adjusted.tolist()
    assert all(one.p_adjusted >= one.p_value for one in found)
    alone = compare(scores, "c", "a")[0]
    assert (alone.p_adjusted, alone.comparisons) == (alone.p_value, 1)
    assert alone.p_value == found[1].p_value
    chosen = compare_all(results(scores), [("c", "b")])
    assert [(one.arm, one.baseline) for one in chosen] == [("c", "b")]


def test_the_order_of_the_rows_does_not_matter_and_the_seed_does():
    scores = two_environments()
    mixed = scores.sample(frac=1, random_state=5)
    frames = [to_frame(results(each, seed=2).compare(baseline="reinforce")) for each in (scores, mixed)]
    assert frames[0].to_csv() == frames[1].to_csv()
    other = results(scores, seed=3).compare(baseline="reinforce")
    assert other[0].difference.low != frames[0]["difference_low"][0]
    assert other[0].difference.point == frames[0]["difference"][0]


def test_p_and_interval_must_agree():
    rng = np.random.default_rng(2)
    for seed in range(20):
        scores = table({(arm, "E"): rng.normal(shift, 1, 6) for arm, shift in (("a", 0.0), ("b", seed / 10))})
        found = compare(scores, "b", "a")[0]
        excludes = found.difference.low > 0 or found.difference.high < 0
        assert (found.verdict != "inconclusive") == (found.p_adjusted < 0.05 and excludes)


def test_no_row_over_all_without_references_or_with_one_environment():
    rng = np.random.default_rng(0)
    unknown = table({(arm, env): rng.normal(size=5) for arm in "ab" for env in ("CartPole-v1", "Mine-v0")})
    assert [one.environment for one in compare(unknown, "a", "b")] == ["CartPole-v1", "Mine-v0"]
    single = table({(arm, "CartPole-v1"): rng.normal(size=5) for arm in "ab"})
    assert [one.environment for one in compare(single, "a", "b")] == ["CartPole-v1"]


def test_only_environments_of_both_arms_are_compared():
    rng = np.random.default_rng(0)
    scores = table({("a", "E"): rng.normal(size=5), ("b", "E"): rng.normal(size=5), ("a", "F"): rng.normal(size=5)})
    assert [one.environment for one in compare(scores, "a", "b")] == ["E"]


def test_runs_that_are_not_used_are_counted_and_named():
    values = np.arange(10.0)
    scores = table({("a", "E"): values + 50, ("b", "E"): values}, unused={("a", "E", 0), ("a", "E", 4), ("b", "E", 9)})
    found = compare(scores, "a", "b")[0]
    assert (found.planned_arm, found.n_arm, found.planned_baseline, found.n_baseline) == (10, 8, 10, 9)
    assert found.mean_arm.point == pytest.approx(np.delete(values + 50, [0, 4]).mean())
    text = sentence(found)
    assert "Left out: 2 of 10 planned runs of a and 1 of 10 planned runs of b" in text
    assert "8 and 9 runs" in text


def test_an_arm_without_a_used_run_cannot_be_compared_and_does_not_count_in_the_family():
    scores = table(
        {("a", "E"): [1.0, 2.0, 3.0], ("b", "E"): [1.0, 2.0, 4.0], ("c", "E"): [1.0]}, unused={("c", "E", 0)}
    )
    found = results(scores).compare(baseline="a")
    assert [one.comparisons for one in found] == [1, 1]
    assert np.isnan(found[1].p_value)
    assert found[1].verdict == "inconclusive"
    assert sentence(found[1]) == (
        "On E, c cannot be compared with a: no run of c can be used. Left out: 1 of 1 planned runs of c, "
        "which did not finish or have no score."
    )


def test_one_run_against_one_has_no_interval_and_no_verdict():
    found = compare(table({("a", "E"): [9.0], ("b", "E"): [1.0]}), "a", "b")[0]
    assert found.verdict == "inconclusive"
    assert found.p_value == 1.0
    assert "a difference of +8.0 (one run: no interval)" in sentence(found)


def test_three_against_three_can_never_decide_and_the_sentence_says_so():
    found = compare(table({("a", "E"): [90.0, 91.0, 92.0], ("b", "E"): [1.0, 2.0, 3.0]}), "a", "b")[0]
    assert found.smallest_p == pytest.approx(0.1)
    assert found.difference.low > 0
    assert found.verdict == "inconclusive"
    said = sentence(found)
    assert "With so few runs, p cannot fall below 0.1, however large the difference." in said
    assert "at the 0.05 level needs at least 4 runs per arm" in said


def test_an_arm_missing_on_one_environment_is_not_mixed_with_normalised_scores():
    scores = two_environments()
    only = scores[scores["arm"] == "ppo"].query("environment == 'CartPole-v1'").assign(arm="third")
    both = pd.concat([scores, only], ignore_index=True)
    found = {(one.arm, one.environment): one for one in results(both).compare(baseline="reinforce")}
    alone = compare(both, "third", "reinforce")
    assert set(found) == {("ppo", "Acrobot-v1"), ("ppo", "CartPole-v1"), ("ppo", ALL), ("third", "CartPole-v1")}
    assert found["third", "CartPole-v1"].p_value == alone[0].p_value
    assert found["third", "CartPole-v1"].verdict == "better"


def test_four_against_four_can_decide_also_among_two():
    runs = {("a", "E"): [90.0, 91, 92, 93], ("b", "E"): [1.0, 2, 3, 4], ("c", "E"): [80.0, 81, 82, 83]}
    assert compare(table(runs), "a", "b")[0].verdict == "better"
    both = results(table(runs)).compare(baseline="b")
    assert [one.p_adjusted for one in both] == pytest.approx([2 / 70] * 2)
    assert [one.verdict for one in both] == ["better"] * 2


def test_what_so_many_runs_can_find_is_said():
    rng = np.random.default_rng(3)
    runs = {arm: rng.normal(0, 10, 10) for arm in "abc"}
    found = results(table({(arm, "E"): values for arm, values in runs.items()})).compare(baseline="a")[0]
    expected = detectable_effect(Spread.of(runs["b"], runs["a"]), 10, alpha=0.025)
    assert found.detectable == pytest.approx(expected)
    assert f"The smallest difference detectable with 80 % power is {found.detectable:.1f}." in sentence(found)
    assert found.fewest == 4


def test_two_arms_at_the_ceiling_are_inconclusive_and_said_to_be_there():
    found = compare(table({("a", "E"): [500.0] * 10, ("b", "E"): [500.0] * 10}), "a", "b")[0]
    assert (found.difference.low, found.difference.high, found.p_value) == (0.0, 0.0, 1.0)
    text = sentence(found)
    assert "the comparison of a and b is inconclusive; this is no evidence that they are equal" in text
    assert "exactly the same score" in text


def test_the_sentence_of_a_decided_comparison():
    x, y = np.arange(10.0) + 100, np.arange(10.0)
    found = compare(table({("ppo", "E"): x, ("reinforce", "E"): y}), "ppo", "reinforce")[0]
    low, high = found.difference.low, found.difference.high
    assert sentence(found) == (
        "On E, ppo is better than reinforce. Mean return over training (AUC): "
        f"104.5 against 4.5, a difference of +100.0 (95 % interval {low:+.1f} to {high:+.1f}). "
        "A run of ppo scores higher than a run of reinforce with probability 1.00 (95 % interval 0.72 to 1.00). "
        f"Permutation test on 10 and 10 runs: p = {found.p_value:.1g}."
    )


def test_the_sentence_over_all_environments_names_the_scale():
    text = sentence(compare(two_environments(), "ppo", "reinforce")[-1])
    assert text.startswith("Over both environments, ppo is better than reinforce.")
    assert "normalised to random policy = 0 and target = 1" in text
    assert "corrected for 3 comparisons" in text


def test_to_frame_is_flat():
    frame = to_frame(results(two_environments()).compare(baseline="reinforce"))
    assert {"difference", "difference_low", "difference_high", "difference_method", "verdict"} <= set(frame.columns)
    assert frame["environments"][2] == "Acrobot-v1, CartPole-v1"
    assert len(frame) == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: compare(s, "ppo", "reinfroce"), "no arm 'reinfroce'.*'reinforce'"),
        (lambda s: compare(s, "ppo", "ppo"), "cannot be compared with itself"),
        (lambda s: compare(s, "ppo", "reinforce", metric="acu"), "no score 'acu'.*'auc'"),
        (lambda s: results(s).compare("ppo"), "names no baseline"),
        (lambda s: results(s).compare(baseline="sarsa"), "no arm 'sarsa'"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(call, message):
    with pytest.raises(RlbenchError, match=message):
        call(two_environments())
