"""Curves and scores of runs: worked by hand, for awkward runs, and whatever the order of the rows."""

import numpy as np
import pandas as pd
import pytest

from rlbench.analysis.scores import scores as sc
from rlbench.analysis.scores.scores import Reference
from rlbench.store import Tables


def tables(episodes, **run):
    """One run of 100 steps, or what `run` says, with the episodes (step, return)."""
    row = {
        "cell": "c0",
        "arm": "a",
        "algorithm": "x",
        "environment": "E",
        "seed": 0,
        "steps": 100,
        "status": "finished",
        "steps_done": 100,
    } | run
    frame = pd.DataFrame(episodes, columns=["step", "return"]).assign(cell=row["cell"])
    return Tables(pd.DataFrame([row]), frame, pd.DataFrame())


def together(*parts):
    """Several of the above as one."""
    frames = [pd.concat([part[index] for part in parts], ignore_index=True) for index in range(2)]
    return Tables(*frames, pd.DataFrame())


def curve(episodes, points=10, **run):
    return sc.curves(tables(episodes, **run), points)["return"].tolist()


def score(episodes, **run):
    return sc.scores(tables(episodes, **run)).iloc[0]


def test_a_curve_by_hand():
    # window (s - 10, s]: 10 belongs to the first point, 20 to the second
    episodes = [(5, 1.0), (10, 3.0), (20, 7.0), (35, 9.0), (36, 11.0), (100, 2.0)]
    assert curve(episodes) == [2.0, 7.0, 7.0, 10.0] + [11.0] * 5 + [2.0]
    table = sc.curves(tables(episodes), 10)
    assert table["step"].tolist() == list(range(10, 101, 10))
    assert table["observed"].all()
    assert table["used"].all()


def test_windows_overlap_on_a_finer_grid():
    assert curve([(5, 1.0), (10, 3.0), (15, 8.0)], points=20)[:4] == [1.0, 2.0, 5.5, 8.0]


def test_before_the_first_episode_its_return_is_carried_back_and_marked():
    table = sc.curves(tables([(45, 4.0), (45, 6.0), (50, 20.0)]), 10)
    assert table["return"].tolist()[:6] == [5.0] * 4 + [10.0, 20.0]
    assert table["observed"].tolist() == [False] * 4 + [True] * 6
    assert score([(45, 4.0), (45, 6.0), (50, 20.0)])["carried"] == 0.45


def test_an_empty_window_takes_all_episodes_of_the_latest_step():
    assert curve([(10, 0.0), (20, 4.0), (20, 6.0)])[-1] == 5.0


def test_auc_final_and_last100_by_hand():
    episodes = [(10 * k, float(k)) for k in range(1, 11)]
    row = score(episodes)
    # On the grid of 100 points the value at s is that of the latest tenth; before step 10 it is carried back.
    assert row["auc"] == pytest.approx((9 * 1 + sum(10 * k for k in range(1, 10)) + 10) / 100)
    assert row["final"] == 10.0
    assert row["last100"] == 5.5
    assert row["episodes"] == 10


def test_last100_takes_the_last_hundred_and_no_more():
    episodes = [(step, 0.0 if step <= 50 else 1.0) for step in range(1, 151)]
    assert score(episodes, steps=150, steps_done=150)["last100"] == 1.0
    # 60 + 60 episodes on two steps: of the first step all count, since none of them is the earlier one
    assert score([(1, 0.0)] * 60 + [(2, 1.0)] * 60)["last100"] == 0.5


def test_constant_runs_score_exactly_their_return():
    row = score([(step, 500.0) for step in range(1, 101, 3)])
    assert row[["auc", "final", "last100"]].tolist() == [500.0] * 3


def test_a_diverged_run_ends_its_curve_and_is_not_used():
    table = tables([(10, 1.0), (30, 3.0)], status="diverged", steps_done=35)
    line = sc.curves(table, 10)
    assert line["return"].tolist()[:3] == [1.0, 1.0, 3.0]
    assert line["return"].isna().tolist() == [False] * 3 + [True] * 7
    assert not line["used"].any()
    row = sc.scores(table, points=10).iloc[0]
    assert row["auc"] == pytest.approx(5 / 3)
    assert row["final"] == 3.0
    assert (row["status"], row["used"]) == ("diverged", False)


def test_a_finished_run_without_an_ended_episode_has_no_score_and_is_not_used():
    row = score([])
    assert row[["auc", "final", "last100"]].isna().all()
    assert (row["status"], row["used"], row["episodes"], row["carried"]) == ("finished", False, 0, 1.0)
    assert np.isnan(curve([])).all()


def test_a_run_with_a_nan_return_is_not_used():
    assert not score([(10, 1.0), (20, np.nan)])["used"]


def test_a_missing_run_keeps_its_row_but_has_no_curve():
    table = together(tables([(10, 1.0)]), tables([], cell="c1", seed=1, status="missing", steps_done=0))
    found = sc.scores(table)
    assert found["status"].tolist() == ["finished", "missing"]
    assert found["used"].tolist() == [True, False]
    assert np.isnan(found["auc"][1])
    assert set(sc.curves(table)["seed"]) == {0}


def test_two_arms_may_share_the_runs_of_a_cell():
    table = together(tables([(10, 1.0), (50, 5.0)]), tables([], arm="b"))
    found = sc.scores(table)
    assert found["arm"].tolist() == ["a", "b"]
    assert found["auc"][0] == found["auc"][1]
    assert found["episodes"].tolist() == [2, 2]


def test_normalised_scores():
    table = together(tables([(50, 20.0)]), tables([(50, 20.0)], cell="c1", environment="unknown"))
    found = sc.scores(table, {"E": Reference(10.0, 30.0)}).set_index("environment")
    assert found.loc["E", "auc_normalised"] == found.loc["E", "last100_normalised"] == 0.5
    assert np.isnan(found.loc["unknown", "final_normalised"])
    assert found.loc["unknown", "final"] == 20.0


def test_the_order_of_the_rows_does_not_matter():
    rng = np.random.default_rng(0)
    parts = [
        tables(
            list(zip(np.sort(rng.integers(1, 40, 60)) * 2, rng.normal(size=60), strict=True)),
            cell=f"c{seed}",
            seed=seed,
        )
        for seed in range(4)
    ]
    table = together(*parts)
    mixed = Tables(
        table.runs.sample(frac=1, random_state=1), table.episodes.sample(frac=1, random_state=2), table.updates
    )
    pd.testing.assert_frame_equal(sc.scores(table), sc.scores(mixed), check_exact=True)
    keys = ["seed", "step"]
    one, two = (sc.curves(each).sort_values(keys, ignore_index=True) for each in (table, mixed))
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_counts():
    table = together(
        tables([(10, 1.0)]),
        tables([], cell="c1", seed=1),
        tables([(10, 1.0)], cell="c2", seed=2, status="diverged", steps_done=20),
        tables([], cell="c3", seed=3, status="failed", steps_done=0),
        tables([], cell="c4", seed=4, status="missing", steps_done=0),
    )
    row = sc.counts(sc.scores(table)).iloc[0].to_dict()
    assert row == {
        "arm": "a",
        "environment": "E",
        "planned": 5,
        "finished": 2,
        "diverged": 1,
        "failed": 1,
        "missing": 1,
        "used": 1,
    }


def test_no_planned_run_gives_empty_tables_with_columns():
    table = tables([])
    empty = Tables(table.runs.iloc[:0], table.episodes, table.updates)
    assert {"arm", "auc", "auc_normalised", "used"} <= set(sc.scores(empty).columns)
    assert {"arm", "step", "return", "used"} <= set(sc.curves(empty).columns)
    assert len(sc.scores(empty)) == len(sc.curves(empty)) == 0


def test_drop_is_what_was_learnt_and_lost_again():
    assert score([(5, 1.0), (10, 3.0), (20, 7.0), (35, 9.0), (36, 11.0), (100, 2.0)])["drop"] == 9.0
    assert score([(5, 1.0), (50, 3.0), (100, 7.0)])["drop"] == 0.0
    assert np.isnan(score([])["drop"])


def test_drop_is_normalised_by_the_distance_of_target_and_random():
    found = sc.scores(tables([(50, -10.0), (100, -40.0)]), {"E": Reference(random=-60.0, target=-10.0)}).iloc[0]
    assert found["drop_normalised"] == 30 / 50
    assert np.isnan(score([(50, 9.0), (100, 4.0)])["drop_normalised"])


def test_one_huge_return_does_not_reach_beyond_its_window():
    episodes = [(5, 1e17), *((step, 1.0 + step % 2) for step in range(11, 101))]
    assert curve(episodes)[1:] == [1.5] * 9
    assert score(episodes)["last100"] == pytest.approx((1e17 + 135) / 91)
    assert score([(step, 1e17 if step == 1 else 3.0) for step in range(1, 201)], steps=200)["last100"] == 3.0


def test_returns_that_are_too_large_to_compute_with_make_no_score():
    one = score([(5, 1e308), (6, 1e308), (50, 1.0)])
    assert not one["used"]
    assert score([(5, 1e99), (6, 1e99), (50, 1.0)])["used"]


def test_scores_that_differ_by_rounding_are_made_equal_and_no_others():
    table = pd.DataFrame({"arm": "a", "environment": ["E", "E", "E", "F"], "seed": range(4)})
    made = sc.with_normalised(table.assign(score=[0.1 + 0.2, 0.3, 0.3001, 0.1 + 0.2]), ["score"], {})
    assert made["score"].tolist() == [0.3, 0.3, 0.3001, 0.1 + 0.2]
    small = [
        tables([(50, value)], cell=f"c{value!r}", seed=seed) for seed, value in enumerate((3e-13, 3.1e-13, np.nan))
    ]
    assert sc.scores(together(*small))["auc"].tolist()[:2] == pytest.approx([3e-13, 3.1e-13], rel=1e-9)
