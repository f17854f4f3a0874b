"""The runs as Parquet: complete, once each, exact where claims are judged, the same bytes again, and small."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rlbench.analysis.report.archive import archive, shortened, thin, write_archive
from rlbench.analysis.report.entries import SuiteResults
from rlbench.analysis.scores.metrics import measure
from rlbench.suite import Suite
from tests.analysis.suite.made import PAIR, PAIR_CLAIMS, made, member

OUTCOMES = {("ppo-clip", "CartPole-v1", 0): "diverged", ("reinforce", "Acrobot-v1", 1): "missing"}


def read(folder):
    return {path.stem: pd.read_parquet(path) for path in folder.glob("*.parquet")}


def test_every_claim_can_be_judged_again_from_the_files(tmp_path):
    whole = made(seeds=4, outcomes=OUTCOMES)
    assert write_archive(whole, tmp_path) == sum(path.stat().st_size for path in tmp_path.glob("*.parquet"))
    files = read(tmp_path)
    runs = files["runs"].set_index("cell")
    assert runs.index.is_unique
    assert len(runs) == len(whole.runs)
    assert runs["status"].value_counts().to_dict() == {"finished": len(runs) - 1, "diverged": 1}
    for results in whole.members:
        planned = files["planned"][files["planned"]["experiment"] == results.experiment.name]
        assert len(planned) == len(results.runs)
        for claim in results.claims:
            asked = measure(results, claim.metric).merge(planned, on=["arm", "environment", "seed"])
            found = runs[claim.metric].reindex(asked["cell"]).to_numpy()
            np.testing.assert_array_equal(found, asked["value"].to_numpy())


def test_curves_and_updates_name_their_runs(tmp_path):
    whole = made(seeds=3, outcomes=OUTCOMES)
    write_archive(whole, tmp_path)
    files = read(tmp_path)
    (results, _) = whole.members
    cells = files["runs"]["cell"].to_numpy()
    own = results.updates.dropna(subset=["kl"]).sort_values(["cell", "step"], ignore_index=True)
    kept = files["updates"].assign(cell=cells[files["updates"]["run"]])
    kept = kept[kept["cell"].isin(own["cell"])].sort_values(["cell", "step"], ignore_index=True)
    np.testing.assert_allclose(kept["kl"], own["kl"], rtol=2e-4)
    assert {"kl", "entropy", "grad_norm"} <= set(kept)
    assert "progress" not in kept
    assert len(kept) == len(own)
    curves = files["curves"]
    assert curves["return"].notna().all()
    stopped = files["runs"].index[files["runs"]["status"] == "diverged"][0]
    assert (curves["run"] == stopped).sum() < 100 == (curves["run"] == stopped + 1).sum()


def test_the_same_runs_give_the_same_bytes_whatever_the_order_of_their_rows(tmp_path):
    whole = made(seeds=3)
    shuffled = made(seeds=3)
    for one in shuffled.members:
        one.tables = one.tables._replace(
            runs=one.tables.runs.sample(frac=1, random_state=1),
            updates=one.tables.updates.sample(frac=1, random_state=2),
        )
    for name, suite in (("a", whole), ("b", shuffled)):
        (tmp_path / name).mkdir()
        write_archive(suite, tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_shared_runs_are_kept_once():
    whole = SuiteResults("s", Suite(), [member("a", PAIR, (), 2), member("b", PAIR, PAIR_CLAIMS, 3)])
    tables = archive(whole)
    assert len(tables.runs) == 12
    assert not tables.updates.duplicated(["run", "step"]).any()
    assert tables.runs["kl:mean"].notna().all()  # which only the second one asks for
    assert tables.updates["run"].nunique() == 12
    assert len(tables.planned) == 8 + 12


def test_updates_are_thinned_until_everything_fits(tmp_path):
    whole = made(seeds=3)
    size = write_archive(whole, tmp_path)
    smaller = tmp_path / "smaller"
    smaller.mkdir()
    limit = int(0.8 * size)
    assert write_archive(whole, smaller, limit) <= limit
    assert "Only one update in" in (smaller / "README.md").read_text()
    last = archive(whole).updates.groupby("run")["step"].max()
    pd.testing.assert_series_equal(read(smaller)["updates"].groupby("run")["step"].max(), last, check_dtype=False)


def test_thinning_counts_from_the_last_update():
    table = pd.DataFrame({"run": [0] * 5 + [1] * 2, "step": [1, 2, 3, 4, 5, 1, 2]})
    assert thin(table, 2)["step"].tolist() == [1, 3, 5, 2]


@pytest.mark.parametrize("digits", [8, 12])
def test_shortened_floats_are_near_and_keep_what_is_not_finite(digits):
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32) * np.float32(10.0) ** np.arange(
        -20, 20, 0.04
    )
    values = values.astype(np.float32)
    short = shortened(values, digits)
    assert np.abs(short / values - 1).max() <= 2.0 ** -(digits + 1) * 1.01
    assert len(np.unique(short.view(np.uint32) & ((1 << (23 - digits)) - 1))) == 1
    odd = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0], np.float32)
    np.testing.assert_array_equal(shortened(odd, digits), odd)


def test_the_readme_names_every_file_and_metric(tmp_path):
    write_archive(made(seeds=2), tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert all(f"## {name}.parquet" in text for name in ("runs", "planned", "curves", "updates"))
    assert all(f"- `{metric}`" in text for metric in ("kl:mean", "kl:q0.9"))
    settings = pd.read_parquet(tmp_path / "runs.parquet")["settings"]
    assert settings.str.contains('"gamma": 0.99').all()
