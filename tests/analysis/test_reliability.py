"""The report's tables on bad runs, on speed, and on what its conclusions depend on."""

import numpy as np
import pytest

from rlbench.analysis.report.sentences import warnings
from rlbench.analysis.report.tables import all_tables, selection_table, sensitivity_table, steps_table, worst_table
from rlbench.analysis.scores import metrics
from rlbench.analysis.stats import survival
from rlbench.analysis.stats.sweeps import pick_best
from rlbench.results import Results
from tests.analysis.synthetic import ARMS, ENVIRONMENTS, experiment_document, make_tables, troubled_outcomes


@pytest.fixture(scope="module")
def results():
    outcomes = troubled_outcomes() | {("ppo-clip", "CartPole-v1", seed): "diverged" for seed in range(6)}
    return Results(experiment_document(), make_tables(outcomes=outcomes))


def row(table, **keys):
    found = table.data
    for name, value in keys.items():
        found = found[found[name] == value]
    assert len(found) == 1
    return found.iloc[0]


def test_the_worst_runs(results):
    table = worst_table(results)
    assert len(table.data) == len(table.shown) == len(ARMS) * len(ENVIRONMENTS)
    one = row(table, environment="CartPole-v1", arm="trpo")
    own = results.scores.query("arm == 'trpo' and environment == 'CartPole-v1'")
    assert one["worst"] == own["auc"].min()
    assert one["cvar"] == survival.cvar(own["auc"].to_numpy())
    assert np.isnan(one["tolerance_bound"])
    assert one["tolerance_needs"] == 29
    assert "needs 29 runs" in set(table.shown["90 % of runs score at least"])
    stopped = row(table, environment="CartPole-v1", arm="ppo-clip")
    assert stopped["collapsed"] >= 6
    assert stopped["collapse_runs"] == 10
    assert stopped["runs"] == 4
    assert stopped["cvar_low"] != stopped["cvar_low"]
    lost = metrics.collapses(results.curves)
    flags = {arm: lost.query(f"arm == '{arm}' and environment == 'CartPole-v1'")["collapsed"] for arm in ARMS}
    assert stopped["collapse_p"] == metrics.collapse_test(flags["ppo-clip"], flags["reinforce"])
    assert "nominal 95 % interval" in table.note


def test_the_steps_to_thresholds(results):
    table = steps_table(results)
    one = row(table, environment="Acrobot-v1", arm="ppo-clip", threshold=0.5)
    own = metrics.steps_to_threshold(results.curves, 0.5).query("arm == 'ppo-clip' and environment == 'Acrobot-v1'")
    assert one["reached"] == own["reached"].sum()
    assert one["mean"] == pytest.approx(survival.restricted_mean(own["steps"], own["reached"], 40_000), rel=1e-12)
    assert one["mean_low"] < one["mean"] < one["mean_high"] <= 40_000
    high = row(table, environment="CartPole-v1", arm="ppo-clip", threshold=0.9)
    assert high["runs"] == 10  # those that diverged are not dropped
    never = metrics.steps_to_threshold(results.curves, 0.9).query("not reached")
    assert (never["steps"] == 40_000).all()
    infinite = ~np.isfinite(table.data["median"])
    assert infinite.any()
    assert (table.shown.loc[infinite, "Median steps"] == "not reached").all()


def test_a_verdict_that_depends_on_failures_is_in_the_table_and_the_warnings(results):
    table = sensitivity_table(results)
    one = row(table, environment="CartPole-v1", arm="ppo-clip")
    assert (one["failed_arm"], one["failed_baseline"]) == (6, 0)
    assert one["changed"]
    assert one["difference_with_failures"] < one["difference"]
    said = [line for line in warnings(results) if "count as the worst possible score" in line]
    assert any(line.startswith("ppo-clip against reinforce on CartPole-v1") for line in said)
    assert len(said) == table.data["changed"].sum()
    assert table.shown["Verdict with failures"].str.endswith("(changed)").sum() == len(said)


def test_the_best_of_the_settings_of_an_algorithm_is_corrected():
    arms = ["ppo-clip clip=0.1", "ppo-clip clip=0.2", "ppo-clip clip=0.3", "reinforce"]
    tables = make_tables(arms, ["CartPole-v1"], seeds=5, steps=8_000)
    results = Results(experiment_document(arms, ["CartPole-v1"], seeds=5), tables)
    table = selection_table(results)
    one = row(table, algorithm="ppo-clip")
    own = results.scores.query("algorithm == 'ppo-clip'").groupby("arm")["auc"]
    found = pick_best({arm: runs.to_numpy() for arm, runs in own}, possible=(1, 500))
    assert (one["picked"], one["settings"], one["optimism"]) == (found.picked, 3, found.optimism)
    assert one["corrected"] == found.corrected.point
    assert len(table.data) == 1


def test_without_failures_sweeps_and_references_there_is_less_to_say():
    tables = make_tables(["ppo-clip", "reinforce"], ["Odd-v0"], seeds=3, steps=8_000)
    results = Results(experiment_document(["ppo-clip", "reinforce"], ["Odd-v0"], seeds=3), tables)
    names = {table.name for table in all_tables(results)}
    assert names & {"worst-runs", "steps-to-threshold", "sensitivity", "selection"} == {"worst-runs"}
    assert set(worst_table(results).shown["Collapsed"]) == {"–"}
