"""Runs made elsewhere: reading, checking, and the same answers from any order of the rows."""

from __future__ import annotations

import gzip
import os
import re
import socket
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rlbench.analysis.report.sentences import sentence
from rlbench.analysis.report.tables import summary_table
from rlbench.analysis.scores.formats import LARGEST_FILE
from rlbench.analysis.scores.scores import ALL, REFERENCES, Reference
from rlbench.analysis.stats import intervals
from rlbench.errors import RlbenchError
from rlbench.results import read_results

COLUMNS = ["algorithm", "environment", "seed", "score"]
HEAD = ",".join(COLUMNS)
SCALE = {"*": Reference(0.0, 100.0)}


def frame(sizes=(("sac", 8), ("td3", 8), ("ddpg", 6)), environments=("Walker2d-v5", "Hopper-v5")):
    rng = np.random.default_rng(0)
    rows = [
        (algorithm, environment, seed, 50 + 10 * place + 5 * rng.normal())
        for place, (algorithm, count) in enumerate(sizes)
        for environment in environments
        for seed in range(count)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def curves(points=20, budget=10_000):
    rng = np.random.default_rng(1)
    rows = []
    for algorithm, speed in (("sac", 3.0), ("td3", 1.5)):
        for run in range(5):
            own = speed * np.exp(0.2 * rng.normal())
            for step in np.linspace(0, budget, points + 1):
                rows.append((algorithm, "Hopper-v5", f"run{run}", step, 100 * (1 - np.exp(-own * step / budget))))
    return pd.DataFrame(rows, columns=["algorithm", "environment", "seed", "step", "score"])


@pytest.fixture
def file(tmp_path):
    def write(table, name="runs.csv", **options):
        path = tmp_path / name
        if path.suffix == ".parquet":
            table.to_parquet(path)
        else:
            path.write_text(table) if isinstance(table, str) else table.to_csv(path, index=False, **options)
        return path

    return write


def test_scores_are_compared_as_they_stand(file):
    table = frame()
    results = read_results(file(table), baseline="ddpg", references=SCALE)
    assert results.arms == ["ddpg", "sac", "td3"]
    assert results.metrics == ("score",)
    one = next(one for one in results.comparisons if (one.arm, one.environment) == ("sac", "Hopper-v5"))
    own = table[table["environment"] == "Hopper-v5"].set_index("algorithm")["score"]
    assert one.difference == intervals.mean_interval(own["sac"].to_numpy(), own["ddpg"].to_numpy())
    assert (one.n_arm, one.n_baseline) == (8, 6)
    assert {one.environment for one in results.comparisons} == {ALL, "Hopper-v5", "Walker2d-v5"}


def test_curves_have_the_scores_of_curves(file):
    results = read_results(file(curves(), "runs.parquet"))
    assert (results.baseline, results.metrics) == ("td3", ("auc", "final"))
    assert set(results.runs["status"]) == {"finished"}
    one = results.scores[(results.scores["arm"] == "sac") & (results.scores["seed"] == 0)].iloc[0]
    own = curves().query("algorithm == 'sac' and seed == 'run0'")["score"].to_numpy()
    assert one["final"] == pytest.approx((own[-3] / 2 + own[-2] + own[-1] / 2) / 2, rel=1e-12)  # from step 9 000 on
    assert one["auc"] == pytest.approx((own.sum() - own[0] / 2 - own[-1] / 2) / 20, rel=1e-12)
    assert len(results.curves) == 2 * 5 * 100
    assert "last100" not in results.scores


@pytest.mark.parametrize("table", [frame(), pytest.param(curves(), marks=pytest.mark.slow)], ids=["scores", "curves"])
def test_the_order_of_the_rows_and_the_format_change_no_byte(file, tmp_path, table):
    pages = []
    for place, path in enumerate(
        (
            file(table, "runs.csv"),
            file(table.sample(frac=1.0, random_state=3)[table.columns[::-1]], "shuffled.csv"),
            file(table.iloc[::-1].assign(extra=1), "reversed.parquet"),
        )
    ):
        results = read_results(path, references=SCALE)
        results.experiment = replace(results.experiment, name="runs", source="runs")
        out = results.report(tmp_path / f"out{place}").parent
        found = {one.relative_to(out): one.read_bytes() for one in out.rglob("*") if one.is_file()}
        pages.append({name: data for name, data in found.items() if name.suffix in (".csv", ".html", ".svg")})
    assert pages[0] == pages[1] == pages[2]
    assert len(pages[0]) > 10


def test_a_nan_is_a_failed_run_that_is_counted(file):
    table = frame()
    table.loc[0, "score"] = np.nan
    table.loc[1, "score"] = np.inf
    results = read_results(file(table), baseline="td3", references=SCALE)
    failed = results.runs[results.runs["status"] == "failed"]
    assert list(failed["seed"]) == [0, 1]
    assert list(failed["reason"]) == ["no score", "infinite score"]
    assert results.experiment.notes == [
        "On Walker2d-v5, 1 of 8 runs of sac counts as failed: infinite score.",
        "On Walker2d-v5, 1 of 8 runs of sac counts as failed: no score.",
    ]
    one = next(one for one in results.comparisons if (one.arm, one.environment) == ("sac", "Walker2d-v5"))
    assert (one.planned_arm, one.n_arm) == (8, 6)


def test_a_curve_that_stops_early_is_a_failed_run(file):
    table = curves()
    short = table[~((table["algorithm"] == "sac") & (table["seed"] == "run2") & (table["step"] > 5000))]
    almost = short[~((short["algorithm"] == "td3") & (short["seed"] == "run0") & (short["step"] > 9000))]
    results = read_results(file(almost))
    failed = results.runs[results.runs["status"] == "failed"]
    assert list(zip(failed["arm"], failed["seed"], failed["reason"], strict=True)) == [
        ("sac", 2, "curve ends at step 5,000, not past the middle of its algorithm's curves, 5,000")
    ]
    assert results.experiment.compared["Hopper-v5"][-1] == 9000
    assert results.experiment.notes == [
        f"On Hopper-v5, 1 of 5 runs of sac counts as failed: {failed['reason'].iloc[0]}.",
        "On Hopper-v5, the curves end at steps 9,000 (td3) to 10,000 (sac); they are compared over the steps that all "
        "have, 0 to 9,000.",
    ]


def test_a_failed_run_outside_of_the_compared_steps_has_no_score(file):
    table = curves()
    first = (table["algorithm"] == "sac") & (table["seed"] == "run2")
    late = table[~((table["step"] < 2000) & ~first) & ~(first & (table["step"] > 1000))]
    results = read_results(file(late))
    one = results.scores[(results.scores["arm"] == "sac") & (results.scores["seed"] == 2)].iloc[0]
    assert (one["status"], one["used"]) == ("failed", False)
    assert np.isnan([one["auc"], one["final"]]).all()
    assert results.experiment.compared["Hopper-v5"][0] == 2000


def test_a_missing_cell_and_unequal_runs_are_said(file, tmp_path):
    table = frame()
    table = table[~((table["algorithm"] == "sac") & (table["environment"] == "Hopper-v5"))]
    results = read_results(file(table), baseline="td3", references=SCALE)
    assert [one.environment for one in results.comparisons if one.arm == "sac"] == ["Walker2d-v5"]
    page = results.report(tmp_path / "out").read_text()
    assert "There is no run of sac on Hopper-v5, so it is not compared there." in page
    assert "The numbers of runs on Hopper-v5 differ: ddpg 6, td3 8." in page


def test_one_environment_and_one_seed_have_an_answer(file, tmp_path):
    results = read_results(file(frame((("a", 1), ("b", 1)), ("E",))))
    one = results.comparisons[0]
    assert np.isnan(one.difference.low)
    assert one.difference.method == "one run: no interval"
    assert one.verdict == "inconclusive"
    page = results.report(tmp_path / "out").read_text()
    assert "nan" not in re.sub(r"\w+nan\w*|\w*nan\w+", "", page.split("<footer>")[0].split("<h2")[0])


def test_algorithms_can_be_chosen_and_ordered(file):
    results = read_results(file(frame()), algorithms=["td3", "sac"])
    assert (results.arms, results.baseline) == (["td3", "sac"], "sac")
    with pytest.raises(RlbenchError, match=r"no algorithm 'sacc' in runs.csv. Did you mean 'sac'"):
        read_results(file(frame()), algorithms=["sacc"])


def test_seeds_may_be_names(file):
    table = frame()
    table["seed"] = table["seed"].map(lambda seed: f"run-{seed}")
    assert sorted(set(read_results(file(table)).runs["seed"])) == list(range(8))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        (f"{HEAD}\n", "has no rows"),
        (
            "algorithm,environment,seed,gain\na,E,0,1\n",
            "no column 'score'. It needs .* it has algorithm, environment",
        ),
        (
            f"{HEAD}\na,E,0,1\na,E,0,2\n",
            "more than one row for algorithm a, environment E, seed 0",
        ),
        (
            ",ppo,trpo\n0,1,2\n",
            "It seems to have a column for each algorithm. Give it one row per run, with the columns",
        ),
        (
            "Step,a-s0 - return,a-s0 - return__MIN\n0,1,1\n",
            "does not say the environment of its runs. Say which column does",
        ),
        (f"{HEAD}\na,E,0,1\nb,E,0,good\n", "has 'good' as score in row 3, which is no number"),
        (f"{HEAD}\na,E,,1\n", "no seed in row 2"),
        (f"{HEAD}\n,E,1,1\n", "no algorithm in row 2"),
        (f"{HEAD},step\na,E,0,1,-5\n", "step in row 2 that is missing, negative"),
        (f"{HEAD},step\na,E,0,1,\n", "step in row 2 that is missing"),
        (f"{HEAD}\na,E,0,1e200\n", "score in row 2 that is too large to compute with"),
        (f"{HEAD}\na,E,0,1e-200\n", "scores that are all too small"),
        (f"{HEAD}\na,all environments,0,1\n", "an environment called 'all environments'"),
        ("algorithm,algorithm ,environment,seed,score\na,a,E,0,1\n", "two columns 'algorithm'"),
        ('algorithm,environment,seed,score\n"a,E,0,1\n', "not a table that can be read"),
        ("algorithm,environment,seed,score,score\na,E,0,1,2\n", "two columns 'score'"),
        (f"{HEAD}\na,E,0,1,\nb,E,0,1,\n", "not a table that can be read: .* Expected 4 fields in line 2, saw 5"),
        (f"{HEAD}\n1,a,E,0,1\n2,b,E,0,1\n", "not a table that can be read: .* Expected 4 fields in line 2, saw 5"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_a_sentence(file, text, said):
    with pytest.raises(RlbenchError, match=said) as caught:
        read_results(file(text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "written",
    [
        {"sep": ";"},
        {"sep": ";", "decimal": ","},
        {"sep": "\t"},
        {"sep": "\t", "decimal": ",", "encoding": "utf-16"},
        {"encoding": "utf-8-sig"},
    ],
    ids=str,
)
def test_tables_as_spreadsheets_write_them_are_the_same_table(file, written):
    table = curves(5).round(3)
    expected = read_results(file(table, "plain.csv"))
    results = read_results(file(table, "sheet.csv", **written))
    assert results.scores.equals(expected.scores)
    assert results.tables.episodes.equals(expected.tables.episodes)


def test_a_name_with_a_decimal_comma_and_commas_that_separate_stay_as_they_are(file):
    text = f"{HEAD}\n" + "".join(f'"a, 1,5",E,{seed},{seed}.5\nb,E,{seed},{seed}\n' for seed in range(3))
    assert read_results(file(text)).arms == ["a, 1,5", "b"]


def test_columns_of_other_names_are_told(file):
    table = frame().rename(columns={"score": "Return", "algorithm": "alg"})
    named = {"score": "Return", "algorithm": "alg"}
    assert read_results(file(table), columns=named).scores["score"].tolist() == pytest.approx(
        read_results(file(frame())).scores["score"].tolist()
    )
    with pytest.raises(RlbenchError, match=r"has no column 'return'. Did you mean 'Return'\?"):
        read_results(file(table), columns=named | {"score": "return"})
    with pytest.raises(
        RlbenchError, match="--columns gives 'scores' a column, which is none of algorithm, environment"
    ):
        read_results(file(table), columns={"scores": "Return"})


def test_episodes_that_end_at_one_step_are_one_point(file):
    table = curves(5)
    apart = table.assign(score=table["score"] + 1)
    both = read_results(file(pd.concat([table, apart])))
    middle = read_results(file(table.assign(score=table["score"] + 0.5)))
    assert both.scores["auc"].tolist() == pytest.approx(middle.scores["auc"].tolist())
    assert both.experiment.notes[-1].startswith("120 of 120 rows share run and step with others")


def test_no_file_and_no_parquet(tmp_path, file):
    with pytest.raises(RlbenchError, match="No such file"):
        read_results(tmp_path / "none.csv")
    path = tmp_path / "bad.parquet"
    path.write_text("not parquet")
    with pytest.raises(RlbenchError, match="has no column 'score'"):
        read_results(path)
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(RlbenchError, match="not a table that can be read"):
        read_results(path)


def test_what_a_file_is_its_content_says(file, tmp_path):
    written = file(frame(), "runs.parquet").rename(tmp_path / "runs.csv")
    assert len(read_results(written).runs) == len(frame())
    assert len(read_results(file(frame(), "really.csv").rename(tmp_path / "csv.parquet")).runs) == len(frame())
    (tmp_path / "runs.gz").write_bytes(gzip.compress((tmp_path / "csv.parquet").read_bytes()))
    assert len(read_results(tmp_path / "runs.gz").runs) == len(frame())


def test_only_regular_files_of_a_bounded_size_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "socket.csv"))
    with (tmp_path / "large.csv").open("wb") as large:
        large.truncate(LARGEST_FILE + 1)
    for name, said in (
        ("pipe.csv", "is no regular file"),
        ("/dev/zero", "is no regular file"),
        ("socket.csv", "Cannot read"),
        ("large.csv", "has 1.0 GiB, and a table of runs may have 1"),
    ):
        with pytest.raises(RlbenchError, match=said) as caught:
            read_results(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_table_in_memory_will_do(file):
    table = frame()
    before = table.copy()
    given, read = read_results(table, references=SCALE), read_results(file(table), references=SCALE)
    assert given.comparisons == read.comparisons
    assert given.experiment.digest == read.experiment.digest
    pd.testing.assert_frame_equal(table, before)
    with pytest.raises(RlbenchError, match="table has no column 'score'"):
        read_results(table.drop(columns="score"))


# Curves that were written down differently


def learning(algorithm, steps, *, runs=6, speed=5.0, seed=0, ends=None):
    """Return rows of runs that differ by a constant: 100 (1 - exp(-speed t)) at the `steps`, of 1."""
    rng = np.random.default_rng(seed)
    rows = []
    for run, moved in enumerate(rng.normal(0, 0.5, runs)):
        at = np.asarray(steps, float)
        at = at[at <= (np.inf if ends is None else ends[run])]
        rows += [(algorithm, "E", run, step, 100 * (1 - np.exp(-speed * step)) + moved) for step in at]
    return pd.DataFrame(rows, columns=["algorithm", "environment", "seed", "step", "score"])


def compared(*parts, **options):
    return read_results(pd.concat(parts, ignore_index=True), **options)


GRIDS = {
    "every 1 % and every 25 %": (np.arange(101) / 100, np.arange(5) / 4, 5),
    "every 1 %, and every 1 % at the beginning only": (
        np.arange(101) / 100,
        np.concatenate([np.arange(21) / 100, [0.5, 1]]),
        23,
    ),
    "often at the beginning, and every 10 %": (
        np.concatenate([np.arange(51) / 1000, [1]]),
        np.arange(11) / 10,
        2,
    ),
    "often at the end, and often at the beginning": (
        np.concatenate([[0, 0.5], np.arange(60, 101) / 100]),
        np.concatenate([np.arange(41) / 100, [0.5, 0.6, 1]]),
        4,
    ),
}


@pytest.mark.parametrize("name", GRIDS)
def test_a_curve_is_the_same_however_often_it_was_written_down(name):
    often, seldom, points = GRIDS[name]
    results = compared(learning("often", often), learning("seldom", seldom), baseline="often")
    one = results.comparisons[0]
    assert one.difference.point == pytest.approx(0.0, abs=1e-9)
    assert (one.p_value, one.verdict, one.improvement.point) == (1.0, "inconclusive", 0.5)
    assert len(results.experiment.compared["E"]) == points
    fewest, most = sorted((len(often), len(seldom)))
    assert results.experiment.notes == [
        f"On E, the curves were written down at different steps, {fewest} to {most} points each; they are compared at "
        f"{points} common ones, along straight lines."
    ]
    drawn = results.curves.pivot(index=["arm", "seed"], columns="step", values="return")
    np.testing.assert_allclose(drawn.loc["often"], drawn.loc["seldom"], rtol=1e-9)
    np.testing.assert_allclose(drawn.loc["often"].iloc[:, -1], 100 * (1 - np.exp(-5)), atol=2)


def test_curves_that_share_no_step_differ_by_what_straight_lines_miss_only():
    results = compared(learning("even", np.arange(41) / 40), learning("odd", (np.arange(40) + 0.5) / 40))
    assert abs(results.comparisons[0].difference.point) < 0.1
    assert results.comparisons[0].verdict == "inconclusive"


def test_the_area_is_that_below_straight_lines():
    steps = np.array([0.0, 1.0, 4.0, 10.0])
    table = pd.concat(
        pd.DataFrame({"algorithm": name, "environment": "E", "seed": 0, "step": steps, "score": score})
        for name, score in (("a", [0.0, 2.0, 8.0, 8.0]), ("b", [1.0, 1.0, 1.0, 11.0]))
    )
    scores = read_results(table).scores.set_index("arm")
    # (1 + 15 + 48) / 10 and (1 + 3 + 36) / 10; over the last step, 8 and 10 + 1 / 6.
    assert scores.loc["a", ["auc", "final"]].tolist() == pytest.approx([6.4, 8.0])
    assert scores.loc["b", ["auc", "final"]].tolist() == pytest.approx([4.0, 11 - 5 / 6])


def test_runs_of_different_length_are_compared_over_the_steps_that_all_have():
    long, short = learning("ppo", np.arange(1, 31) / 30, speed=2), learning("sac", np.arange(1, 11) / 30, speed=4)
    results = compared(long, short, baseline="ppo")
    one = results.comparisons[0]
    assert (one.n_arm, one.n_baseline, one.verdict) == (6, 6, "better")
    same = compared(long[long["step"] <= 1 / 3], short, baseline="ppo").comparisons[0]
    assert one.difference == same.difference
    assert results.experiment.notes == [
        "On E, the curves end at steps 0.3333333333 (sac) to 1 (ppo); they are compared over the steps that all have, "
        "0.03333333333 to 0.3333333333."
    ]
    assert results.curves["step"].max() == pytest.approx(1 / 3)


def test_one_run_that_went_on_for_longer_discards_nobody():
    ends = [1.0, *[0.75] * 5]
    results = compared(learning("a", np.arange(21) / 20, ends=ends), learning("b", np.arange(16) / 20))
    assert set(results.runs["status"]) == {"finished"}
    assert results.experiment.compared["E"][-1] == 0.75


def test_a_late_start_is_said_and_counts_for_all():
    table = learning("a", np.arange(21) / 20)
    late = table[(table["seed"] != 2) | (table["step"] >= 0.2)]
    results = compared(late, learning("b", np.arange(21) / 20))
    assert set(results.runs["status"]) == {"finished"}
    assert results.experiment.compared["E"][0] == 0.2
    assert "begin at steps 0 (a) to 0.2 (a)" in results.experiment.notes[0]
    assert results.comparisons[0].difference.point == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("ends", "used", "last"),
    [
        ([0.3, *[1.0] * 5], 5, 1.0),  # one that crashed
        ([0.5, *[1.0] * 5], 5, 1.0),  # not past the middle
        ([0.55, *[1.0] * 5], 6, 0.55),
        ([0.4, 1.0], 2, 0.4),  # of two, which one is odd?
        ([0.3, 0.3, 1.0, 1.0], 4, 0.3),  # of two budgets, none is odd
    ],
)
def test_a_run_that_ends_far_before_its_algorithms_others_shortens_no_comparison(ends, used, last):
    crashed = learning("a", np.arange(21) / 20, runs=len(ends), ends=ends)
    results = compared(crashed, learning("b", np.arange(21) / 20))
    one = results.comparisons[0]
    assert (one.n_arm, one.planned_arm, one.n_baseline) == (used, len(ends), 6)
    assert results.experiment.compared["E"][-1] == last
    failed = results.scores[results.scores["status"] == "failed"]
    assert (failed["auc"] < results.scores["auc"].max()).all()  # the part that it has is shown
    drawn = results.curves[results.curves["status"] == "failed"]
    assert (drawn["observed"] == (drawn["step"] <= ends[0])).all()
    assert bool(results.sensitivity) == (used < len(ends))


def test_a_run_that_begins_late_shortens_no_comparison():
    table = learning("a", np.arange(21) / 20)
    results = compared(table[(table["seed"] != 1) | (table["step"] > 0.8)], learning("b", np.arange(21) / 20))
    failed = results.runs[results.runs["status"] == "failed"]
    assert failed["reason"].tolist() == [
        "curve begins at step 0.85, not before the middle of its algorithm's curves, 0.5"
    ]
    assert results.experiment.compared["E"][0] == 0


def test_curves_with_too_little_in_common_are_refused():
    def refused(*parts):
        with pytest.raises(RlbenchError) as caught:
            compared(*parts)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    first, second = learning("a", np.arange(11) / 10), learning("b", np.arange(11) / 10)
    assert refused(first, second.assign(step=second["step"] + 1)) == (
        "On E, the curves begin at steps 0 (a) to 1 (b) and end at steps 1 (a) to 2 (b): no range of steps is common "
        "to all, and comparing them takes 10 %."
    )
    assert "no range of steps is common" in refused(first, second.assign(step=second["step"] + 7))
    assert "only 5 % of the longest one's steps are common" in refused(first, second.assign(step=second["step"] / 20))
    assert "have a single point each, which is no curve; without the column 'step'" in refused(
        first[first["step"] == 1.0], second[second["step"] == 1.0]
    )


def test_rows_without_a_score_are_no_points(file):
    table = curves()
    empty = table.copy()
    empty.loc[empty["step"] == 0, "score"] = np.nan
    results, without = read_results(file(empty), baseline="sac"), read_results(table[table["step"] > 0], baseline="sac")
    assert results.experiment.notes == ["10 of 210 rows have no score, and are no points of a curve."]
    assert results.comparisons == without.comparisons
    assert set(results.runs["status"]) == {"finished"}
    empty.loc[empty["seed"] == "run3", "score"] = np.nan
    assert read_results(empty).runs.query("status == 'failed'")["reason"].tolist() == ["no score"] * 2
    twice = pd.concat([table, table.assign(score=np.nan)])  # as where another quantity was written at the same step
    assert read_results(twice).comparisons == read_results(table).comparisons


def test_an_infinite_score_in_a_curve_is_a_failed_run():
    table = curves()
    table.loc[(table["seed"] == "run1") & (table["step"] == 5000), "score"] = -np.inf
    assert read_results(table).runs.query("status == 'failed'")["reason"].tolist() == ["infinite score"] * 2


@pytest.mark.parametrize("factor", [1e-6, 1e-4 / 3, 1e6])
def test_steps_may_be_counted_in_anything(factor):
    parts = learning("a", np.arange(11) * 1e5, speed=3e-6), learning("b", np.arange(5) * 2.5e5, speed=5e-6)
    results, other = (compared(*(part.assign(step=part["step"] * by) for part in parts)) for by in (1.0, factor))
    for column in ("auc", "final"):
        np.testing.assert_allclose(other.scores[column], results.scores[column], rtol=1e-9)
    np.testing.assert_allclose(other.curves["return"], results.curves["return"], rtol=1e-9)
    np.testing.assert_allclose(other.curves["step"], results.curves["step"] * factor, rtol=1e-9)
    one, same = results.comparisons[0], other.comparisons[0]
    assert (one.p_value, one.verdict) == (same.p_value, same.verdict)
    points = other.experiment.compared["E"]
    assert (points[0], points[-1], len(points)) == (0, pytest.approx(factor * 1e6), 5)


# Names, references and digits


def test_names_and_seeds_are_what_is_written(file, tmp_path):
    names = ["007", "1.0", "1e5", "NA", "None", "True", "nan", "null"]
    rows = [f"{name},{place},{seed},{place_}" for name in names for place_, place in enumerate(names) for seed in names]
    text = "\n".join([HEAD, *rows])
    results = read_results(file(text))
    assert results.arms == results.environments == names
    assert (results.scores.groupby(["arm", "environment"])["used"].sum() == len(names)).all()
    mixed = {"algorithm": [1.0, True, 7], "environment": "E", "seed": [0, 1, 2], "score": 1.0}
    assert read_results(pd.DataFrame(mixed, dtype=object)).arms == ["1.0", "7", "True"]


def test_seeds_that_are_written_differently_are_different_runs():
    table = pd.concat([learning("a", [0, 1], runs=1).assign(seed=seed) for seed in ("1", "01", "1.0", "x", "10")])
    table = pd.concat([table, table.assign(algorithm="b")])
    results = read_results(table)
    assert results.runs.groupby("arm")["seed"].apply(list).to_dict() == {name: [0, 1, 2, 3, 4] for name in "ab"}
    alike = read_results(table[table["seed"].isin(["1", "01", "1.0"])])
    assert alike.runs.groupby("arm")["seed"].apply(list).to_dict() == {name: [0, 1, 2] for name in "ab"}
    whole = {"1": "7", "01": "-3", "1.0": "12", "x": "0", "10": "5"}
    integers = read_results(table.assign(seed=table["seed"].map(whole)))
    assert integers.runs.loc[integers.runs["arm"] == "a", "seed"].tolist() == [-3, 0, 5, 7, 12]


RATES = pd.DataFrame(
    [
        (name, place, seed, mean + 0.003 * (seed - 3))
        for name, means in (("ppo", (0.91, 0.31)), ("trpo", (0.95, 0.78)))
        for mean, place in zip(means, ("MountainCar-v0", "Acrobot-v1"), strict=True)
        for seed in range(7)
    ],
    columns=COLUMNS,
)


def test_built_in_references_are_applied_when_they_are_asked_for_only():
    results = read_results(RATES, baseline="ppo")
    assert results.scores["score_normalised"].isna().all()
    assert {one.environment for one in results.comparisons} == {"MountainCar-v0", "Acrobot-v1"}
    shown = summary_table(results).data.set_index(["environment", "arm"])
    row = shown.loc[("MountainCar-v0", "trpo")]
    assert row["score_low"] < 0.95 < row["score_high"] < 0.96
    asked = read_results(RATES.assign(score=RATES["score"] - 150), references=REFERENCES)
    assert asked.scores["score_normalised"].notna().all()
    assert ALL in {one.environment for one in asked.comparisons}
    with pytest.raises(RlbenchError, match=r"Scores on Acrobot-v1 are 0\.301 to 0\.789, and the reference given is of"):
        read_results(RATES, references=REFERENCES)
    own = read_results(RATES, references={"MountainCar-v0": Reference(0.0, 1.0)})
    known = own.scores.groupby("environment")["score_normalised"].count()
    assert known.to_dict() == {"Acrobot-v1": 0, "MountainCar-v0": 14}


def test_as_many_digits_are_shown_as_show_the_difference():
    one = next(one for one in read_results(RATES).comparisons if one.environment == "MountainCar-v0")
    low, high = one.difference.low, one.difference.high
    assert -0.05 < low < high < -0.03
    said = f"Mean score: 0.910 against 0.950, a difference of −0.040 (95 % interval {low:.3f} to {high:.3f})."
    assert said.replace("-", "−") in sentence(one)
    cell = summary_table(read_results(RATES)).shown.iloc[2]
    assert cell["Score difference from baseline"] == f"−0.040 [{low:.3f}, {high:.3f}]".replace("-", "−")


# What no score may decide: its unit, its zero


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 3), st.integers(3, 6), st.sampled_from([1e-9, 3.7e-5, 1e9]))
@example(263, 0, 3, 1e9)  # two comparisons tie, and rounding decided which was tested first
def test_neither_the_unit_nor_the_zero_of_scores_changes_an_answer(seed, decimals, runs, factor):
    rng = np.random.default_rng(seed)
    spread = rng.choice([0.01, 0.1, 1.0])
    rows = [
        (name, place, run, round(float(mean + spread * rng.normal()), decimals))
        for name, mean in zip("abc", rng.normal(size=3), strict=True)
        for place in ("E", "F")[: 1 + seed % 2]
        for run in range(runs)
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    made = read_results(table, baseline="c").comparisons
    for by, more, exact in ((factor, 0.0, 1e-9), (1.0, 1e6, 1e-4)):
        moved = read_results(table.assign(score=table["score"] * by + more), baseline="c").comparisons
        for one, other in zip(made, moved, strict=True):
            assert (one.p_value, one.p_adjusted, one.verdict) == (other.p_value, other.p_adjusted, other.verdict)
            assert one.improvement == other.improvement
            ends = [np.array([x.difference.point, x.difference.low, x.difference.high]) for x in (one, other)]
            np.testing.assert_allclose(ends[1] / by, ends[0], rtol=exact, atol=exact * np.abs(ends[0]).max() + 1e-15)


def test_scores_that_differ_by_rounding_are_equal():
    table = frame((("a", 8), ("b", 8)), ("E",))
    table["score"] = [0.3 if one == "a" else 0.1 + 0.2 for one in table["algorithm"]]
    one = read_results(table).comparisons[0]
    assert (one.difference.point, one.p_value, one.improvement.point, one.verdict) == (0.0, 1.0, 0.5, "inconclusive")
    assert "exactly the same score" in sentence(one)
