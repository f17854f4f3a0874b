"""The simulation of a fleet of cores against what can be worked out by hand, and what is written of it."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import scaling
from benchmarks.fleet import Driver, simulate

FREE = Driver(**{field.name: 0.0 for field in fields(Driver)})
REAL = Driver(1e-4, 1e-4, 5e-7, 5e-4, 0.0, 3e-4, 3e-6, 2e-4, 3e-5, 5e-3)


@pytest.mark.parametrize(("cores", "waves"), [(1, 12), (2, 6), (5, 3), (12, 1), (50, 1)])
def test_without_a_driver_packs_come_in_waves(cores: int, waves: int) -> None:
    found = simulate(24, 2, cores, lambda size: 5.0 * size, FREE)
    assert found.makespan == pytest.approx(10.0 * waves)
    assert (found.driver, found.packs) == (0.0, 12)
    assert found.core == pytest.approx(120 / cores)


def test_a_last_pack_may_be_smaller_and_workers_take_time_to_start() -> None:
    assert simulate(5, 2, 1, float, FREE, start=3.0).makespan == pytest.approx(3 + 2 + 2 + 1)
    assert simulate(4, 2, 2, float, FREE, start=3.0).makespan == pytest.approx(3 + 2)


def test_packs_that_take_no_time_leave_the_driver_s_alone() -> None:
    driver = replace(FREE, plan_cell=1.0, send=2.0, send_cell=0.5, land=3.0, land_cell=0.25, store_cell=4.0)
    found = simulate(8, 2, 100, lambda size: 0.0, driver)
    assert found.makespan == found.driver == pytest.approx(8 * (1 + 0.5 + 0.25 + 4) + 4 * (2 + 3))
    assert driver.per_cell(2) == pytest.approx(found.makespan / 8)


def test_a_look_costs_as_many_packs_as_are_on_the_cluster() -> None:
    # Two packs are on the cluster at the first look and one at the second; they end at 1 and 2.
    driver = replace(FREE, look=0.1, look_pending=0.01)
    assert simulate(2, 1, 1, lambda size: 1.0, driver).makespan == pytest.approx(2 + 0.1 + 0.01)


def test_a_claim_costs_as_many_cells_as_are_claimed() -> None:
    # Packs of two cells are claimed with none and with one other on the cluster; both end before the third is sent.
    driver = replace(FREE, claim=0.5, claim_pending=0.01)
    assert simulate(4, 2, 2, lambda size: 0.0, driver).makespan == pytest.approx(2 * 0.5 + 0.02 + 0.04)


def test_nothing_is_stored_faster_than_driver_and_cores_can() -> None:
    for cores in (10, 300, 3000):
        for seconds in (0.01, 1.0, 100.0):
            found = simulate(2000, 5, cores, lambda size, each=seconds: each * size, REAL, spread=0.1)
            assert found.makespan >= max(found.driver, found.core)
            assert found.driver >= 2000 * REAL.per_cell(5) * 0.999
    few = simulate(2000, 5, 10, lambda size: 100.0 * size, REAL)
    assert few.core / few.makespan > 0.98
    many = simulate(2000, 5, 3000, lambda size: 0.01 * size, REAL)
    assert many.driver / many.makespan > 0.98


def test_durations_vary_as_asked_and_not_on_average() -> None:
    found = simulate(20_000, 1, 100, lambda size: 1.0, FREE, spread=0.5)
    assert found.core == pytest.approx(200, rel=0.02)


def test_numbers_figure_and_page_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = {
        "driver": asdict(REAL), "start": 3.0, "spread": 0.3, "stored_bytes": 20_480,
        "check": {"real": 8.0, "simulated": 7.9},
        "machine": {"processor": "A processor", "cpus": 2}, "commit": "0123456789abcdef", "cores_used_by_others": 0.1,
    }  # fmt: skip
    monkeypatch.setattr(scaling, "CELLS", 1000)
    scaling.write(document, tmp_path)
    assert json.loads((tmp_path / "scaling.json").read_text(encoding="utf-8")) == document
    table = pd.read_csv(tmp_path / "scaling.csv")
    assert len(table) == len(scaling.LENGTHS) * len(scaling.SIZES) * len(scaling.FLEETS)
    assert (table["cells_per_second"] <= table["driver_cells_per_second"] * 1.001).all()
    text = (tmp_path / "scaling.md").read_text(encoding="utf-8")
    assert "A stored run has 20 KiB" in text
    assert "| store a run, flushed to the disk | 5.0000 |" in text
    assert "1,000 cells on 1,000 cores" in text
    assert (tmp_path / "scaling.svg").stat().st_size
    assert (tmp_path / "scaling.png").stat().st_size


def test_the_guide_shows_what_was_written_last() -> None:
    guide = scaling.GUIDE.read_text(encoding="utf-8")
    numbers = (scaling.FOLDER / "scaling.md").read_text(encoding="utf-8")
    assert scaling.put_in(guide, numbers) == guide
    assert scaling.put_in(guide, "other\n") != guide


def test_the_published_numbers_follow_from_the_published_costs(tmp_path: Path) -> None:
    scaling.write(json.loads((scaling.FOLDER / "scaling.json").read_text(encoding="utf-8")), tmp_path)
    for name in ("scaling.md", "scaling.csv"):
        published = (scaling.FOLDER / name).read_text(encoding="utf-8")
        assert (tmp_path / name).read_text(encoding="utf-8") == published, "python -m benchmarks.scaling --again"


@pytest.mark.slow
def test_the_driver_is_measured_on_a_real_ray(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from benchmarks.driver import measure

    measured = measure(tmp_path, quick=True)
    assert all(seconds >= 0 for seconds in measured["driver"].values())
    assert measured["driver"]["store_cell"] > 0
    assert measured["check"]["real"] >= 60 * 0.25 / 2
    assert measured["check"]["simulated"] == pytest.approx(7.5, rel=0.2)
