"""Verdicts on claims: each kind supported, refuted and left open by runs that were made to, and odd data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rlbench.analysis.judge.verdicts import judge
from rlbench.analysis.report.claims import claim_sentence
from rlbench.analysis.scores.metrics import measure
from rlbench.analysis.scores.scores import ALL, Reference
from rlbench.claims import Claim
from rlbench.errors import RlbenchError
from rlbench.results import Results
from rlbench.store import Tables
from tests.statistics.two_arms import permutation_test

SCALE = {name: Reference(0.0, 1.0) for name in ("E", "F")}


def results(runs: Mapping[tuple[str, str], Any], status: Mapping[tuple[str, str, int], str] | None = None) -> Results:
    """Results in which the run of seed s returns runs[arm, environment][s] in every episode; kl is a tenth of it."""
    rows, episodes, updates = [], [], []
    for (arm, environment), values in runs.items():
        for seed, value in enumerate(values):
            cell, ended = f"{arm}/{environment}/{seed}", (status or {}).get((arm, environment, seed), "finished")
            rows.append(
                {"cell": cell, "arm": arm, "algorithm": arm, "environment": environment, "seed": seed, "steps": 100}
                | {
                    "status": ended,
                    "reason": "",
                    "steps_done": 100,
                    "gradient_steps": 5,
                    "samples": 9,
                    "seconds": value,
                }
                | {"commit": "", "dirty": False, "fingerprint": ""}
            )
            if ended == "missing":
                continue
            episodes.append({"cell": cell, "step": 10, "return": value, "length": 5})
            kl = [value / 10, value / 10 + 1, np.nan, value / 10 + 2]
            updates += [{"cell": cell, "step": 25 * (k + 1), "kl": one, "none": np.nan} for k, one in enumerate(kl)]
    document = {"name": "x", "arms": [], "environments": []}
    return Results(document, Tables(*map(pd.DataFrame, (rows, episodes, updates))), references=SCALE)


def draw(seed: int, **means: float) -> dict[tuple[str, str], Any]:
    """Ten runs of every arm on E around its mean, with standard deviation 0.1."""
    rng = np.random.default_rng(seed)
    return {(arm, "E"): rng.normal(mean, 0.1, 10) for arm, mean in means.items()}


def verdict_on(runs: Mapping[tuple[str, str], Any], direction: str, arms: str = "ab", **more: Any) -> str:
    claim = Claim("c", list(arms), direction, more.pop("metric", "auc"), **more)
    return judge(claim, results(runs)).verdict


@pytest.mark.parametrize(
    ("direction", "d", "supported", "refuted", "open_"),
    [
        ("greater", 0.2, 0.6, 0.0, 0.2),
        ("less", 0.2, -0.6, 0.0, -0.2),
        ("different", 0.2, -0.6, 0.0, 0.2),
        ("equivalent", 0.3, 0.0, 0.9, 0.3),
        ("not-less", 0.3, 0.0, -0.9, -0.3),
        ("not-greater", 0.3, 0.0, 0.9, 0.3),
    ],
)
def test_two_arms(direction: str, d: float, supported: float, refuted: float, open_: float) -> None:
    for shift, expected in ((supported, "supported"), (refuted, "refuted"), (open_, "inconclusive")):
        assert verdict_on(draw(1, a=shift, b=0.0), direction, smallest_effect=d) == expected, expected


def test_the_other_side_refutes_also_without_a_margin() -> None:
    assert verdict_on(draw(1, a=-1.0, b=0.0), "greater") == "refuted"
    assert verdict_on(draw(1, a=0.0, b=0.0), "greater") == "inconclusive"
    assert verdict_on(draw(1, a=-0.1, b=0.0), "greater", smallest_effect=0.5) == "refuted"


@pytest.mark.parametrize(
    ("direction", "more", "supported", "refuted", "open_"),
    [
        ("increasing", {}, (0, 0.2, 0.4), (0, -0.2, -0.4), (0, 0, 0)),
        ("decreasing", {"smallest_effect": 0.1}, (0.4, 0.2, 0), (0, 0.2, 0.4), (0.1, 0.05, 0)),
        ("peak", {"best": "b"}, (0, 0.4, 0), (0, 0.2, 0.6), (0, 0.4, 0.4)),
        ("dip", {"best": "b"}, (0.4, 0, 0.4), (0.2, 0.6, 0), (0.4, 0, 0)),
    ],
)
def test_ordered_arms(direction: str, more: dict[str, Any], supported: Any, refuted: Any, open_: Any) -> None:
    for means, expected in ((supported, "supported"), (refuted, "refuted"), (open_, "inconclusive")):
        runs = draw(1, **dict(zip("abc", means, strict=True)))
        assert verdict_on(runs, direction, "abc", **more) == expected, expected


def test_a_mean_against_a_bound() -> None:
    runs = draw(2, a=0.25)
    assert verdict_on(runs, "within", "a", bound=0.25, smallest_effect=0.15) == "supported"
    assert verdict_on(runs, "within", "a", bound=0.8, smallest_effect=0.15) == "refuted"
    assert verdict_on(runs, "above", "a", bound=0.1) == "supported"
    assert verdict_on(runs, "below", "a", bound=0.1) == "refuted"
    assert verdict_on(runs, "below", "a", bound=0.25) == "inconclusive"
    assert (
        verdict_on(runs, "below", "a", bound=2, metric="kl:max") == "refuted"
    )  # kl is about 0.025, and 2 more at most
    assert verdict_on(runs, "below", "a", bound=2.5, metric="kl:max") == "supported"


@pytest.mark.parametrize(
    ("runs", "p", "clear"),
    [
        ([0.1] * 5 + [10.0], 2 / 2**6, False),  # of all signs the observed are the most extreme, but one run is far off
        ([1.0, 1.1, 1.2, 1.3, 1.4], 2 / 2**5, True),  # far from 0, but five signs give no smaller p-value
    ],
)
def test_neither_the_interval_nor_the_p_value_decides_alone(runs: list[float], p: float, clear: bool) -> None:
    for direction, tail in (("above", "p"), ("below", "p_against")):
        verdict = judge(Claim("c", ["a"], direction, "auc", bound=0), results({("a", "E"): runs}))
        (part,) = verdict.parts
        assert getattr(part, tail) == pytest.approx(p)
        assert (part.effect.low > 0) == clear
        assert verdict.verdict == "inconclusive"


@pytest.mark.parametrize(("direction", "end", "sign"), [("above", "low", 1), ("below", "high", -1)])
def test_an_interval_that_touches_the_limit_is_not_beyond_it(direction: str, end: str, sign: int) -> None:
    made = results({("a", "E"): sign * np.array([0.1] * 5 + [10.0])})
    limit = getattr(judge(Claim("c", ["a"], direction, "auc", bound=0), made).parts[0].effect, end)
    touching, beyond = (judge(Claim("c", ["a"], direction, "auc", bound=limit - sign * gap), made) for gap in (0, 1e-9))
    assert touching.parts[0].p == beyond.parts[0].p == pytest.approx(2 / 2**6)
    assert (touching.verdict, beyond.verdict) == ("inconclusive", "supported")


def test_a_verdict_that_hangs_on_failed_runs_says_so() -> None:
    runs = draw(0, a=0.8, b=0.5)
    claim = Claim("c", ["a", "b"], "greater", "auc_normalised")
    whole = judge(claim, results(runs))
    assert (whole.verdict, whole.with_failures) == ("supported", None)
    broken = judge(claim, results(runs, {("a", "E", seed): "diverged" for seed in range(4)}))
    assert (broken.verdict, broken.with_failures, broken.left_out) == ("supported", "inconclusive", 4)
    assert "count with the worst score, it is inconclusive instead." in claim_sentence(broken)
    mild = judge(claim, results(runs, {("b", "E", 0): "failed"}))
    assert (mild.verdict, mild.with_failures) == ("supported", "supported")
    assert "count with the worst score, it is supported." in claim_sentence(mild)
    # A mechanism has no worst value, and a share counts failures against the claim already.
    other = results(runs, {("a", "E", 0): "failed"})
    assert judge(Claim("c", ["a", "b"], "greater", "kl:mean"), other).with_failures is None
    share = Claim("c", ["a"], "above", "auc", event=">= 0.5", bound=0.5)
    assert judge(share, other).with_failures is None


def test_a_share_of_runs_against_a_bound_and_failed_runs_tell_against_it() -> None:
    runs = {("a", "E"): [1.0] * 20, ("a", "F"): [1.0] * 19 + [0.0]}
    claim = Claim("mostly solved", ["a"], "above", "auc_normalised", bound=0.8, event=">= 0.9", over="mean")
    found = judge(claim, results(runs))
    (part,) = found.parts
    assert (found.verdict, part.environment, part.n_arm, part.effect.point) == ("supported", ALL, 40, 39 / 40)
    exact = stats.binomtest(39, 40, 0.8, alternative="greater").pvalue
    assert part.p == pytest.approx(2 * exact)
    ends = stats.binomtest(39, 40).proportion_ci(0.95, "exact")
    assert [part.effect.low, part.effect.high] == pytest.approx([ends.low, ends.high])
    broken = {("a", "E", seed): "diverged" for seed in range(9)} | {("a", "F", 0): "missing"}
    worse = judge(claim, results(runs, broken)).parts[0]
    assert (worse.n_arm, worse.effect.point) == (39, 29 / 39)
    below = Claim("rarely bad", ["a"], "below", "auc_normalised", bound=0.5, event="< 0.5", over="mean")
    assert judge(below, results(runs, broken)).parts[0].effect.point == pytest.approx(10 / 39)


def test_the_p_values_are_those_of_the_tests_and_doubled() -> None:
    runs = {key: values[:7] for key, values in draw(3, a=0.1, b=0.0).items()}  # few enough to try all splits
    x, y = runs["a", "E"], runs["b", "E"]
    (part,) = judge(Claim("c", ["a", "b"], "equivalent", "auc", 0.3), results(runs)).parts
    more, less = permutation_test(x + 0.3, y, alternative="greater"), permutation_test(x - 0.3, y, alternative="less")
    assert part.p == pytest.approx(2 * max(more, less))
    (part,) = judge(Claim("c", ["a", "b"], "not-less", "auc", 0.05), results(runs)).parts
    assert part.p == pytest.approx(2 * permutation_test(x + 0.05, y, alternative="greater"))
    assert part.size is not None
    assert part.size_name == "P(run of a above run of b)"


def test_all_parts_must_hold_and_one_refutes() -> None:
    both = draw(4, a=1.0, b=0.0) | {(arm, "F"): values for (arm, _), values in draw(5, a=0.0, b=0.0).items()}
    claim = Claim("a beats b", ["a", "b"], "greater", "auc_normalised", 0.2)
    found = judge(claim, results(both))
    assert [(part.environment, part.verdict) for part in found.parts] == [("E", "supported"), ("F", "refuted")]
    assert found.verdict == "refuted"
    assert found.parts[0].effect.level == pytest.approx(0.975)
    mean = judge(Claim("a beats b", ["a", "b"], "greater", "auc_normalised", 0.2, over="mean"), results(both))
    assert [(part.environment, part.n_arm, part.verdict) for part in mean.parts] == [(ALL, 20, "supported")]
    only = judge(Claim("on E", ["a", "b"], "greater", "auc_normalised", 0.2, environments=["E"]), results(both))
    assert only.verdict == "supported"


def test_inconclusive_says_how_many_runs_would_have_been_needed() -> None:
    runs = draw(6, a=0.12, b=0.0)
    found = judge(Claim("c", ["a", "b"], "greater", "auc"), results({key: values[:5] for key, values in runs.items()}))
    assert found.verdict == "inconclusive"
    (part,) = found.parts
    assert part.needed is not None
    assert part.needed.low <= part.needed.n == found.needed <= part.needed.high
    assert part.needed.n > 5
    assert part.detectable > abs(part.effect.point)


def test_too_few_runs_are_refused_with_the_number_it_takes() -> None:
    runs = {("a", "E"): [1.0, 1.01, 1.02], ("b", "E"): [0.0, 0.01, 0.02], ("c", "E"): [2.0, 2.01, 2.02]}
    (part,) = judge(Claim("c", ["a", "b"], "greater", "auc"), results(runs)).parts
    assert part.effect.low > 0
    assert part.verdict == "inconclusive"
    assert "cannot give a p below 0.1" in part.note
    assert "at least 4 runs per arm are needed" in part.note
    (part,) = judge(Claim("c", ["a", "b"], "greater", "auc", paired=True), results(runs)).parts
    assert "at least 6 runs" in part.note
    one = {key: values[:1] for key, values in runs.items()}
    (part,) = judge(Claim("c", ["a", "b", "c"], "increasing", "auc"), results(one)).parts
    assert part.verdict == "inconclusive"
    assert part.note.startswith("1 complete seed of 3 arms cannot decide a trend")


def test_pairs_and_trends_take_complete_seeds_and_count_the_rest() -> None:
    runs = draw(7, a=0.0, b=0.3, c=0.6)
    broken = {("a", "E", 0): "failed", ("c", "E", 4): "missing"}
    found = judge(Claim("c", ["a", "b", "c"], "increasing", "auc"), results(runs, broken))
    assert (found.parts[0].n_arm, found.left_out, found.planned) == (8, 6, 30)
    pair = judge(Claim("c", ["b", "a"], "greater", "auc", paired=True), results(runs, broken))
    assert (pair.parts[0].n_arm, pair.left_out, pair.planned) == (9, 2, 20)
    apart = judge(Claim("c", ["b", "a"], "greater", "auc"), results(runs, broken))
    assert (apart.parts[0].n_arm, apart.parts[0].n_other, apart.left_out) == (10, 9, 1)


def test_a_single_nan_an_empty_arm_and_equal_runs() -> None:
    runs = draw(8, a=1.0, b=0.0)
    runs["a", "E"][3] = np.nan
    found = judge(Claim("c", ["a", "b"], "greater", "auc"), results(runs))
    assert (found.parts[0].n_arm, found.left_out, found.verdict) == (9, 1, "supported")
    nobody = judge(
        Claim("c", ["a", "b"], "greater", "auc"),
        results(runs, {("a", "E", seed): "failed" for seed in range(10)}),
    )
    assert nobody.verdict == "inconclusive"
    assert nobody.parts[0].note == "No run of a on E can be used."
    assert np.isnan(nobody.p)
    same = {("a", "E"): [500.0] * 10, ("b", "E"): [500.0] * 10}
    assert verdict_on(same, "greater") == "inconclusive"
    assert verdict_on(same, "equivalent", smallest_effect=1.0) == "supported"


def test_a_premise_that_no_run_meets_leaves_nothing_to_decide() -> None:
    """Runs that finished without a value are another thing than runs that are missing or failed."""
    rng = np.random.default_rng(3)
    places = [(arm, place) for arm in "abc" for place in "EF"]
    claim = Claim("c", ["a", "b"], "greater", "kl:mean", over="mean", paired=True)
    made = results({place: rng.normal(size=6) for place in places})
    empty = made.updates["cell"].str.startswith("b/F/")
    made.updates.loc[empty, "kl"] = np.nan
    found = judge(claim, made)
    assert (found.verdict, found.parts[0].verdict) == ("undecidable", "undecidable")
    assert (
        found.parts[0].note
        == "It cannot be decided: none of the 6 finished runs of b on F has a value of KL divergence (mean of a "
        "run)."
    )
    assert found.parts[0].note in claim_sentence(found)
    assert np.isnan(found.needed)
    each = judge(Claim("c", ["a", "b"], "greater", "kl:mean", 5.0), made)  # on E it is refuted, and that is enough
    assert [part.verdict for part in each.parts] == ["refuted", "undecidable"]
    assert each.verdict == "refuted"
    both = judge(Claim("c", ["a", "b"], "greater", "kl:mean"), made)  # more runs may refute it on E
    assert [part.verdict for part in both.parts] == ["inconclusive", "undecidable"]
    assert both.verdict == "inconclusive"
    assert judge(Claim("c", ["a", "c"], "greater", "kl:mean", 5.0), made).verdict == "refuted"  # not about b
    rising = judge(Claim("c", ["a", "b", "c"], "increasing", "kl:mean", over="mean"), made)
    assert rising.verdict == "undecidable"
    apart = results({place: rng.normal(size=6) for place in places})
    half = apart.updates["cell"].isin([f"{'ab'[seed % 2]}/F/{seed}" for seed in range(6)])
    apart.updates.loc[half, "kl"] = np.nan
    assert judge(claim, apart).parts[0].note == (
        "It cannot be decided: no seed has a value of KL divergence (mean of a run) in all of a, b on F."
    )
    stopped = {("b", "F", seed): "failed" for seed in range(6)}
    assert judge(claim, results({place: rng.normal(size=6) for place in places}, stopped)).verdict == "inconclusive"


def test_the_order_of_the_rows_does_not_matter() -> None:
    made = results(draw(9, a=0.1, b=0.0, c=0.2))
    mixed = Tables(*(table.sample(frac=1, random_state=3).reset_index(drop=True) for table in made.tables))
    other = Results(made.experiment, mixed, references=SCALE)
    for claim in (
        Claim("c", ["a", "b", "c"], "different", "kl:mean", 0.01),
        Claim("c", ["b", "a", "c"], "increasing", "auc_normalised"),
        Claim("c", ["b", "a"], "not-less", "kl:q0.9", 0.01, paired=True),
    ):
        assert repr(judge(claim, made)) == repr(judge(claim, other))


def test_measures_of_the_updates() -> None:
    made = results({("a", "E"): [1.0]})
    expected = {"mean": 1.1, "final": 2.1, "last": 2.1, "min": 0.1, "max": 2.1, "std": 1.0, "q0.5": 1.1}
    for reduction, value in (expected | {"share>1": 2 / 3, "share<=0.1": 1 / 3}).items():
        assert measure(made, f"kl:{reduction}")["value"].tolist() == pytest.approx([value]), reduction
    assert measure(made, "seconds")["value"].tolist() == [1.0]
    assert measure(made, "length:mean")["value"].tolist() == [5.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "kl"}, "recorded many times in a run: say which number is meant, as in kl:mean"),
        ({"metric": "cll:mean"}, "No column 'cll' is recorded over training"),
        ({"metric": "auk"}, "no metric 'auk' with one number per run. Did you mean 'auc'"),
        ({"metric": "status"}, "no metric 'status'|holds no numbers"),
        ({"metric": "none:mean"}, "no run of a recorded a value of 'none:mean'"),
        ({"arms": ["a", "bb"]}, "there is no arm 'bb' here"),
        ({"environments": ["G"]}, "there is no environment 'G' here"),
    ],
)
def test_claims_about_what_is_not_there_are_refused(changes: dict[str, Any], message: str) -> None:
    values: dict[str, Any] = {"statement": "c", "arms": ["a", "b"], "direction": "greater", "metric": "auc"}
    with pytest.raises(RlbenchError, match=message):
        judge(Claim(**(values | changes)), results(draw(1, a=0.0, b=0.0)))
