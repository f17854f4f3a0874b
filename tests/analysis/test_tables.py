"""The tables of a report and their three file formats."""

from __future__ import annotations

import csv
import io
from math import nan

import pandas as pd
import pytest
from scipy import stats

from rlbench import Experiment, Published, RlbenchError
from rlbench.analysis.report.table import Column, Table, escape_latex, latex, markdown, shown, tabulate, write_tables
from rlbench.analysis.report.tables import all_tables, failure_causes_table, settings_table, summary_table
from rlbench.analysis.scores.scores import ALL, REFERENCES
from rlbench.analysis.stats.estimates import Estimate
from rlbench.records import cause
from rlbench.results import Results
from rlbench.study.plan import resolve
from tests.analysis.synthetic import experiment_document, make_tables, troubled_outcomes


@pytest.fixture(scope="module")
def results():
    return Results(experiment_document(), make_tables(steps=20_000, outcomes=troubled_outcomes()))


@pytest.fixture(scope="module")
def tables(results):
    return {table.name: table for table in all_tables(results)}


def test_latex_says_how_letters_beyond_the_latin_ones_are_set() -> None:
    tables = {
        name: Table("t", "T", pd.DataFrame(), pd.DataFrame({"Arm": [name]})) for name in ("Müller–x", "策略", "🚀")
    }
    assert ["lualatex" in latex(table) for table in tables.values()] == [False, True, True]
    assert all(name in latex(table) for name, table in tables.items() if name != "Müller–x")


def test_a_list_of_columns_gives_numbers_and_text_at_once() -> None:
    estimate = Estimate(1.26, 1.04, 1.5, 0.95, 10, "x")
    records = [{"arm": "a", "n": 3, "mean": estimate, "p": 0.04, "form": ".1f"}, {"arm": "b", "n": 0, "p": nan}]
    columns = [
        Column("arm", "Arm"),
        Column("n"),
        Column("mean", "Mean", sign="+"),
        Column("p", "p", ".3f"),
        Column("", "Runs", lambda record: f"{record['n']} runs"),
    ]
    table = tabulate("t", "T", records, columns[:-1])
    assert table.data.columns.tolist() == ["arm", "n", "mean", "mean_low", "mean_high", "p"]
    assert table.data.loc[0].tolist() == ["a", 3, 1.26, 1.04, 1.5, 0.04]
    assert shown(records, columns).to_numpy().tolist() == [
        ["a", "+1.3 [+1.0, +1.5]", "0.040", "3 runs"],
        ["b", "–", "–", "0 runs"],
    ]
    assert tabulate("t", "T", [], columns[:2]).data.columns.tolist() == ["arm", "n"]


def test_summary_has_the_means_of_the_used_runs_and_the_verdicts(results, tables):
    data = tables["summary"].data
    assert list(dict.fromkeys(data["environment"])) == ["CartPole-v1", "Acrobot-v1", ALL]
    assert len(data) == 15
    row = data[(data["environment"] == "CartPole-v1") & (data["arm"] == "ppo-adaptive")].iloc[0]
    runs = results.scores
    used = runs[runs["used"] & (runs["arm"] == "ppo-adaptive") & (runs["environment"] == "CartPole-v1")]
    assert (row["planned"], row["used"]) == (10, 9)
    assert row["auc"] == pytest.approx(used["auc"].mean())
    together = data[(data["environment"] == ALL) & (data["arm"] == "ppo-clip")].iloc[0]
    own = runs[runs["used"] & (runs["arm"] == "ppo-clip")]
    assert together["auc"] == pytest.approx(own.groupby("environment")["auc_normalised"].mean().mean())
    verdicts = {(one.environment, one.arm): one.verdict for one in results.comparisons}
    for _, one in data.iterrows():
        assert one["verdict"] == verdicts.get((one["environment"], one["arm"]), "baseline")


def test_accounts_and_reasons(tables):
    counts = tables["run-counts"].data.set_index(["environment", "arm"])
    assert counts.loc[("CartPole-v1", "reinforce"), ["planned", "finished", "missing", "used"]].tolist() == [
        10,
        9,
        1,
        9,
    ]
    assert counts.loc[("Acrobot-v1", "trpo"), ["failed", "diverged", "used"]].tolist() == [1, 0, 9]
    stopped = tables["stopped-runs"].data
    assert sorted(stopped["status"]) == ["diverged", "diverged", "failed", "missing"]
    assert stopped["reason"].str.contains("ZeroDivisionError").sum() == 1
    assert len(tables["scores"].data) == 100


@pytest.mark.parametrize("step", ["7", "5,000", "1,000,000", "0.25", "1e+12"])
def test_a_cause_is_a_reason_without_the_step_however_it_is_written(step):
    assert cause(f"it ended at step {step}, too soon") == "it ended at some step, too soon"
    assert cause(f"it ended at step {step}.") == "it ended at some step."


def test_runs_that_stopped_alike_are_one_row_with_their_cause(tables):
    causes = tables["causes"].data.set_index(["environment", "arm"])
    assert len(causes) == 3  # what is missing has no cause
    failed = causes.loc[("Acrobot-v1", "trpo")]
    assert failed["cause"] == "the environment raised ZeroDivisionError in some step"
    assert (failed["status"], failed["seeds"], failed["attempts"]) == ("failed", "0", "3")
    assert failed["traceback"].endswith("ZeroDivisionError")
    assert causes.loc[("CartPole-v1", "ppo-adaptive"), ["status", "attempts", "traceback"]].tolist() == [
        "diverged", "1", "",
    ]  # fmt: skip
    assert "Traceback" not in tables["causes"].shown.to_string()


def test_tables_that_know_no_attempts_have_causes_nevertheless():
    outcomes = {("trpo", "CartPole-v1", seed): "failed" for seed in (0, 1, 2, 4)}
    made = make_tables(["ppo-clip", "trpo"], ["CartPole-v1"], seeds=5, steps=8_000, outcomes=outcomes)
    table = failure_causes_table(Results({}, made._replace(runs=made.runs.drop(columns=["detail", "attempts"]))))
    assert table.shown[["Seeds", "Attempts"]].to_numpy().tolist() == [["0 to 2, 4", "1"]]


def test_settings_show_every_field_and_mark_what_was_given(results):
    document = experiment_document(["ppo-clip", "trpo"], ["CartPole-v1"], seeds=2)
    document["arms"][0] |= {"settings": {"clip": 0.1}, "fields": {"clip": 0.1, "lr": 0.0003}}
    document["arms"][1] |= {"settings": {}, "fields": {"delta": 0.01, "lr": 0.0003}}
    tables = make_tables(["ppo-clip", "trpo"], ["CartPole-v1"], seeds=2, steps=8_000)
    shown = settings_table(Results(document, tables)).shown.set_index("Setting")
    assert shown.loc["clip"].tolist() == ["0.1 *", "–"]
    assert shown.loc["lr"].tolist() == ["0.0003", "0.0003"]
    assert shown.loc["delta"].tolist() == ["–", "0.01"]


def test_summary_without_a_baseline_has_no_columns_of_comparison():
    tables = make_tables(["ppo-clip", "trpo"], ["CartPole-v1"], seeds=2, steps=8_000)
    shown = summary_table(Results({}, tables)).shown
    assert "Verdict" not in shown.columns
    assert len(shown) == 2


def test_files_hold_the_same_rows_in_three_formats(tables, tmp_path):
    write_tables(list(tables.values()), tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv", ".md", ".tex"}
    for name, table in tables.items():
        read = pd.read_csv(tmp_path / f"{name}.csv")
        assert len(read) == len(table.data)
        rows = (tmp_path / f"{name}.md").read_text(encoding="utf-8").splitlines()
        assert sum(row.startswith("| ") for row in rows) == len(table.shown) + 2
        tex = (tmp_path / f"{name}.tex").read_text(encoding="utf-8")
        assert tex.count(r"\\") == len(table.shown) + 1
        assert r"\toprule" in tex


def test_numbers_stand_at_the_right_in_latex_and_the_best_of_each_group_is_bold() -> None:
    means = [Estimate(point, point - 1, point + 1, 0.95, 10, "x") for point in (-2.0, -1.0, 5.0, nan)]
    records = [
        {"place": place, "arm": arm, "mean": mean, "runs": "3 of 4", "form": ".1f"}
        for place, arm, mean in zip("aabb", ("x_1", "y", "x_1", "y"), means, strict=True)
    ]
    columns = [Column("place", "Place"), Column("arm", "Arm"), Column("mean", "Mean", best="place")]
    table = tabulate("t", "T", records, [*columns, Column("runs", "Runs")])
    assert table.best == {(1, 2), (2, 2)}
    text = latex(table)
    assert r"\begin{tabular}{llrr}" in text
    assert r"a & x\_1 & $-$2.0 [$-$3.0, $-$1.0] & 3 of 4 \\" in text
    assert r"a & y & \textbf{$-$1.0 [$-$2.0, 0.0]} & 3 of 4 \\" in text
    assert "| b | x_1 | **5.0 [4.0, 6.0]** | 3 of 4 |\n| b | y | – | 3 of 4 |\n" in markdown(table)


def test_csv_keeps_full_precision(tables):
    data = tables["scores"].data
    rows = csv.DictReader(io.StringIO(data.to_csv(index=False)))
    assert [float(row["auc"] or "nan") for row in rows] == pytest.approx(
        data["auc"].tolist(), rel=0, abs=0, nan_ok=True
    )


def test_special_characters_do_not_break_a_format():
    frame = pd.DataFrame({"Arm": ["a|b <i> 50% & x_1\nnext"]})
    table = Table("t", "T_1", frame, frame)
    assert r"| a\|b &lt;i> 50% & x_1 next |" in markdown(table)
    assert r"a|b \textless{}i\textgreater{} 50\% \& x\_1 next \\" in latex(table)
    assert escape_latex("\\{$^~#}") == r"\textbackslash{}\{\$\textasciicircum{}\textasciitilde{}\#\}"


def test_published_numbers_stand_beside_what_came_out():
    theirs = {"trpo": 0.5, "ppo-clip": 0.8, "ppo-penalty": 0.7, "not trained": 1.0}
    document = experiment_document() | {"published": {"source": "A. Nonymous 2017", "scores": theirs}}
    results = Results(document, make_tables(steps=20_000, outcomes=troubled_outcomes()))
    table = next(table for table in all_tables(results) if table.name == "published")
    data = table.data.set_index("arm")
    assert data.index.tolist() == [arm for arm in results.arms if arm in theirs]
    assert data["published"].to_dict() == {arm: theirs[arm] for arm in data.index}
    runs = results.scores[results.scores["used"] & results.scores["arm"].isin(theirs)]
    means = runs.groupby(["environment", "arm"])["last100"].mean().unstack()
    low = pd.Series({place: REFERENCES[place].random for place in means.index})
    relative = means.sub(low, axis=0).div(means.max(axis=1) - low, axis=0).mean()
    fixed = runs.groupby(["environment", "arm"])["last100_normalised"].mean().unstack().mean()
    for arm in data.index:
        assert data.loc[arm, "relative"] == pytest.approx(relative[arm])
        assert data.loc[arm, "fixed"] == pytest.approx(fixed[arm])
        assert data.loc[arm, "relative_low"] < relative[arm] < data.loc[arm, "relative_high"]
    assert data["rank_published"].to_dict() == {"trpo": 3, "ppo-clip": 1, "ppo-penalty": 2}
    expected = stats.spearmanr(data["published"], relative[data.index]).statistic
    assert f"rank correlation of both columns: {expected:.2f} [" in table.note
    assert "A. Nonymous 2017" in table.note


def test_an_environment_where_an_arm_has_no_run_is_left_out_of_what_was_published():
    outcomes = {("trpo", "Acrobot-v1", seed): "missing" for seed in range(10)}
    theirs = {"trpo": 0.5, "ppo-clip": 0.8, "ppo-penalty": 0.7}
    document = experiment_document() | {"published": {"source": "Somewhere", "scores": theirs}}
    results = Results(document, make_tables(steps=20_000, outcomes=outcomes))
    note = next(table for table in all_tables(results) if table.name == "published").note
    assert "the mean over CartPole-v1;" in note
    assert note.endswith("no reference is known, or no arm beats a random policy: Acrobot-v1.")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": " "}, "need their source"),
        ({"scores": {"a": 1.0, "b": 2.0}}, "three arms or more"),
        ({"scores": {"a": 1.0, "b": 2.0, "c": "3"}}, "The published score of 'c' must be a number, not '3'"),
        ({"metric": "kl:mean"}, "metric must be one of auc, final, last100"),
    ],
)
def test_wrong_published_numbers_are_refused(changes, message):
    given = {"source": "Somewhere", "scores": {"a": 1.0, "b": 2.0, "c": 3.0}}
    with pytest.raises(RlbenchError, match=message):
        Published(**(given | changes))
    with pytest.raises(RlbenchError, match="published must be a Published"):
        Experiment("e", ["ppo-clip"], ["CartPole-v1"], published=given)
    experiment = Experiment("e", ["ppo-clip"], ["CartPole-v1"], published=Published(**given))
    assert experiment.document()["published"] == given | {"metric": "last100"}
    assert Published.read(given | {"metric": "auc", "of a later version": 1}) == Published(**given, metric="auc")
    with pytest.raises(RlbenchError, match="published names 'a', which is no arm of it"):
        resolve(experiment)
