"""Arms whose runs are the same to the bit: what is said of them, and of what only looks like them."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rlbench
from rlbench import Arm, Experiment
from rlbench.analysis.judge.verdicts import judge
from rlbench.analysis.report.claims import change_text, claim_sentence
from rlbench.analysis.report.entries import Entry
from rlbench.analysis.report.sentences import sentence
from rlbench.analysis.report.tables import all_tables
from rlbench.analysis.scores.scores import ALL, IDENTICAL, traces
from rlbench.claims import Claim
from rlbench.results import Results, read_results
from rlbench.store import Tables
from tests.analysis.synthetic import experiment_document, make_tables

PLACES = ("CartPole-v1", "Acrobot-v1")
ARMS = ("ppo-clip", "ppo-clip again", "reinforce")


def copied(seeds: int = 6, places: tuple[str, ...] = PLACES, copies: tuple[str, ...] = ARMS[1:2]) -> Results:
    """Results in which these arms are the first one under other names, in these places."""
    tables = make_tables(ARMS, PLACES, seeds, 8_000)
    runs = tables.runs
    cells = {(one.arm, one.environment, one.seed): one.cell for one in runs.itertuples()}
    parts: dict[str, list[pd.DataFrame]] = {"episodes": [tables.episodes], "updates": [tables.updates]}
    for arm, place, seed in itertools.product(copies, places, range(seeds)):
        old, new = cells[ARMS[0], place, seed], cells[arm, place, seed]
        for frames in parts.values():
            frames[0] = frames[0][frames[0]["cell"] != new]
            frames.append(frames[0][frames[0]["cell"] == old].assign(cell=new))
    whole = Tables(runs, *(pd.concat(frames, ignore_index=True) for frames in parts.values()))
    return Results(experiment_document(ARMS, PLACES, "ppo-clip", seeds, 8_000), whole)


def verdicts(results: Results) -> dict[tuple[str, str], str]:
    return {(one.arm, one.environment): one.verdict for one in results.comparisons}


def test_identical_runs_are_said_to_be_with_a_difference_of_exactly_0() -> None:
    results = copied()
    (one,) = (one for one in results.comparisons if one.arm == ARMS[1] and one.environment == ALL)
    assert one.verdict == "identical"
    effect = one.difference
    assert (effect.point, effect.low, effect.high, effect.method) == (0.0, 0.0, 0.0, IDENTICAL)
    said = sentence(one)
    assert said.startswith(
        "Over both environments, ppo-clip again and ppo-clip are identical: every seed gave exactly the same "
        "result with both, so their difference in settings had no effect."
    )
    assert "a difference of +0.00 (identical runs: exactly 0)." in said
    assert "probability" not in said
    assert "identical" not in {verdicts(results)[ARMS[2], place] for place in (*PLACES, ALL)}
    table = next(one for one in all_tables(results) if one.name == "summary")
    assert (table.data["verdict"] == "identical").sum() == 3


def test_identical_on_one_environment_is_not_identical_on_all() -> None:
    found = verdicts(copied(places=PLACES[:1]))
    assert found[ARMS[1], PLACES[0]] == "identical"
    assert "identical" not in (found[ARMS[1], PLACES[1]], found[ARMS[1], ALL])


def test_runs_that_reach_the_same_score_in_another_way_are_not_identical() -> None:
    results = copied()
    cell = results.runs.query("arm == 'ppo-clip again' and environment == 'CartPole-v1' and seed == 2")["cell"].item()
    last = results.updates.index[results.updates["cell"] == cell][-1]
    results.updates.loc[last, "kl"] *= 1 + 1e-15
    assert verdicts(results)[ARMS[1], "CartPole-v1"] == "inconclusive"
    assert verdicts(results)[ARMS[1], "Acrobot-v1"] == "identical"


def test_runs_that_all_hit_a_ceiling_are_not_identical() -> None:
    results = copied()
    results.episodes["return"] = 500.0
    results.episodes["length"] = 500
    first = results.episodes.groupby("cell").cumcount()
    kept = results.episodes[first < 4].assign(step=(first[first < 4] + 1) * 2000)
    ceiling = Results(results.experiment, Tables(results.runs, kept, results.updates.drop(columns=["kl", "entropy"])))
    (one,) = (one for one in ceiling.comparisons if one.arm == ARMS[1] and one.environment == "CartPole-v1")
    assert one.verdict == "inconclusive"
    assert "All runs of both have exactly the same score, so this score cannot tell them apart." in sentence(one)
    # With what the updates did to the policy it is known which of them are one run.
    told = Results(results.experiment, Tables(results.runs, kept, results.updates))
    assert verdicts(told)[ARMS[1], "CartPole-v1"] == "identical"
    assert verdicts(told)[ARMS[2], "CartPole-v1"] == "inconclusive"


def test_a_run_that_is_missing_in_one_of_the_arms_leaves_the_rest_inconclusive() -> None:
    results = copied()
    stopped = (results.runs["arm"] == ARMS[1]) & (results.runs["seed"] == 4)
    results.runs.loc[stopped, "status"] = "failed"
    assert verdicts(results)[ARMS[1], "CartPole-v1"] == "inconclusive"


def test_the_order_of_the_rows_leaves_the_traces_alone() -> None:
    tables = make_tables(ARMS, PLACES, 2, 4_000)
    mixed = Tables(*(table.sample(frac=1, random_state=7) for table in tables))
    pd.testing.assert_series_equal(traces(tables), traces(mixed))
    assert traces(tables).nunique() == len(tables.runs)


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        ([1.0, 2.0, 3.0], "identical"),
        ([1.0, 2.0], "inconclusive"),
        ([1.0, 1.0, 1.0], "inconclusive"),
        ([1, 1, 2], "inconclusive"),
    ],
)
def test_scores_alone_have_to_be_three_different_ones(scores: list[float], verdict: str) -> None:
    rows = [
        {"algorithm": name, "environment": "E", "seed": seed, "score": score}
        for name in ("a", "b")
        for seed, score in enumerate(scores)
    ]
    (one,) = read_results(pd.DataFrame(rows)).comparisons
    assert one.verdict == verdict
    shuffled = [{**row, "seed": (row["seed"] + (row["algorithm"] == "a")) % len(scores)} for row in rows]
    (other,) = read_results(pd.DataFrame(shuffled)).comparisons
    assert other.verdict == "inconclusive"


def test_without_traces_the_scores_decide() -> None:
    results = copied()
    empty = results.tables._replace(episodes=results.episodes.iloc[:0], updates=results.updates.iloc[:0])
    found = Results(results.experiment, empty, scores=results.scores).comparisons
    assert {one.verdict for one in found if one.arm == ARMS[1]} == {"identical"}


@pytest.mark.parametrize(
    ("direction", "more", "verdict"),
    [
        ("greater", {}, "refuted"),
        ("greater", {"smallest_effect": 0.1, "paired": True}, "refuted"),
        ("less", {}, "refuted"),
        ("different", {}, "refuted"),
        ("different", {"smallest_effect": 0.1}, "refuted"),
        ("equivalent", {"smallest_effect": 1e-9}, "supported"),
        ("not-less", {"smallest_effect": 1e-9}, "supported"),
        ("not-greater", {"smallest_effect": 1e-9, "over": "mean"}, "supported"),
    ],
)
def test_claims_about_identical_arms(direction: str, more: dict[str, float], verdict: str) -> None:
    claim = Claim("c", ARMS[:2], direction, **more)
    found = judge(claim, copied())
    assert {part.verdict for part in found.parts} == {verdict}
    assert found.verdict == verdict
    for part in found.parts:
        assert (part.effect.point, part.effect.low, part.effect.high) == (0.0, 0.0, 0.0)
        assert part.effect.method == IDENTICAL
        assert np.isnan(part.p)
        assert part.needed is None
    assert "every seed gave exactly the same result with both" in claim_sentence(found)
    entry = Entry("1", "c", "", "", "claim-1", found.verdict, judged=found, claim=claim)
    assert "every seed gave exactly the same result with both" in change_text(entry.judged)[0]


def test_trends_and_optima_of_identical_arms() -> None:
    for direction in ("increasing", "decreasing"):
        assert judge(Claim("c", ARMS, direction), copied(copies=ARMS[1:])).verdict == "refuted"
    results = copied()
    peak = judge(Claim("c", ["reinforce", ARMS[0], ARMS[1]], "peak", best=ARMS[0]), results)
    assert [part.verdict for part in peak.parts] == ["supported", "supported", "refuted", "refuted"]
    three = judge(Claim("c", ["reinforce", ARMS[0], ARMS[1]], "increasing"), results)
    assert IDENTICAL not in {part.effect.method for part in three.parts}


def test_a_metric_that_differs_although_the_training_was_the_same_is_judged_by_its_values() -> None:
    results = copied(places=PLACES)
    seconds = np.where(results.runs["arm"] == ARMS[1], 2.0, 1.0) + 0.01 * results.runs["seed"]
    results.runs["seconds"] = seconds
    found = judge(Claim("c", [ARMS[1], ARMS[0]], "greater", "seconds"), results)
    assert found.verdict == "supported"
    assert IDENTICAL not in {part.effect.method for part in found.parts}


def test_a_setting_that_takes_no_effect_gives_identical_runs(tmp_path: Path) -> None:
    tiny = {"horizon": 64, "minibatches": 1, "epochs": 2, "hidden": [4]}
    experiment = Experiment(
        name="tiny",
        arms=[Arm("ppo-clip", target_kl=[1e6, 1e9], **tiny), Arm("ppo-clip", lr=3e-3, label="faster", **tiny)],
        environments=["CartPole-v1"],
        seeds=3,
        steps=512,
        baseline="ppo-clip target_kl=1e+06",
    )
    results = rlbench.run(experiment, tmp_path, workers=0, progress=False)
    assert [one.verdict for one in results.comparisons] == ["identical", "inconclusive"]
