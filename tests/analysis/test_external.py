"""Runs made elsewhere: reading, checking, and the same answers from any order of the rows."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from rlbench.analysis import intervals
from rlbench.analysis.compare import ALL
from rlbench.analysis.external import read_results
from rlbench.analysis.references import Reference
from rlbench.errors import RlbenchError

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
    assert one.difference == intervals.difference_interval(own["sac"].to_numpy(), own["ddpg"].to_numpy())
    assert (one.n_arm, one.n_baseline) == (8, 6)
    assert {one.environment for one in results.comparisons} == {ALL, "Hopper-v5", "Walker2d-v5"}


def test_curves_have_the_scores_of_curves(file):
    results = read_results(file(curves(), "runs.parquet"))
    assert (results.baseline, results.metrics) == ("td3", ("auc", "final"))
    assert set(results.runs["status"]) == {"finished"}
    one = results.scores[(results.scores["arm"] == "sac") & (results.scores["seed"] == 0)].iloc[0]
    own = curves().query("algorithm == 'sac' and seed == 'run0'")
    assert one["final"] == pytest.approx(own["score"].iloc[-2:].mean(), rel=1e-12)  # steps 9 500 and 10 000
    assert 0 < one["auc"] < one["final"]
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
        results.experiment["name"] = results.experiment["source"] = "runs"
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
    assert set(failed["reason"]) == {"a score is missing or not finite"}
    one = next(one for one in results.comparisons if (one.arm, one.environment) == ("sac", "Walker2d-v5"))
    assert (one.planned_arm, one.n_arm) == (8, 6)


def test_a_curve_that_stops_early_is_a_failed_run(file):
    table = curves()
    short = table[~((table["algorithm"] == "sac") & (table["seed"] == "run2") & (table["step"] > 5000))]
    almost = short[~((short["algorithm"] == "td3") & (short["seed"] == "run0") & (short["step"] > 9000))]
    results = read_results(file(almost))
    failed = results.runs[results.runs["status"] == "failed"]
    assert list(zip(failed["arm"], failed["seed"], failed["reason"], strict=True)) == [
        ("sac", 2, "its curve ends at step 5,000 of 10,000")
    ]


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
    assert one.verdict == "undecided"
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
            "algorithm,environment,seed,return\na,E,0,1\n",
            "no column 'score'. It needs .* it has algorithm, environment",
        ),
        (
            f"{HEAD}\na,E,0,1\na,E,0,2\n",
            "more than one row for algorithm a, environment E, seed 0",
        ),
        (f"{HEAD},step\na,E,0,1,5\na,E,0,2,5\n", "more than one row .* step 5.$"),
        (f"{HEAD}\na,E,0,1\nb,E,0,good\n", "has 'good' as score in row 3, which is no number"),
        (f"{HEAD}\na,E,,1\n", "no seed in row 2"),
        (f"{HEAD}\n,E,1,1\n", "no algorithm in row 2"),
        (f"{HEAD},step\na,E,0,1,-5\n", "step in row 2 that is negative"),
        ("algorithm,algorithm ,environment,seed,score\na,a,E,0,1\n", "two columns 'algorithm'"),
        ('algorithm,environment,seed,score\n"a,E,0,1\n', "not a table that can be read"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_a_sentence(file, text, said):
    with pytest.raises(RlbenchError, match=said) as caught:
        read_results(file(text))
    assert "\n" not in str(caught.value)


def test_no_file_and_no_parquet(tmp_path, file):
    with pytest.raises(RlbenchError, match="No such file"):
        read_results(tmp_path / "none.csv")
    path = tmp_path / "bad.parquet"
    path.write_text("not parquet")
    with pytest.raises(RlbenchError, match="not a table that can be read"):
        read_results(path)


def test_a_table_in_memory_will_do(file):
    table = frame()
    before = table.copy()
    given, read = read_results(table, references=SCALE), read_results(file(table), references=SCALE)
    assert given.comparisons == read.comparisons
    assert given.experiment["digest"] == read.experiment["digest"]
    pd.testing.assert_frame_equal(table, before)
    with pytest.raises(RlbenchError, match="table has no column 'score'"):
        read_results(table.drop(columns="score"))
