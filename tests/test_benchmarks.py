"""The benchmarks' own code: that it finds what it measures, and tells a regression from a slower machine."""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import breakdown, publish
from benchmarks.calibration import calibrate
from benchmarks.cases import ALGORITHMS, SETTINGS, train
from benchmarks.results import Measurement, compare, from_pytest, measurements
from benchmarks.tables import page

FOLDER = Path(__file__).parents[1] / "benchmarks"


def pack(seconds: float, machine: float = 1.0, replicas: int = 10) -> Measurement:
    """Return a measurement on a machine `machine` times as slow; `seconds` is what the first machine takes."""
    info = {"algorithm": "ppo-clip", "setting": "a", "replicas": replicas, "steps": 4096}
    rounds = [seconds * machine * noise for noise in (1.0, 1.1, 1.3)]
    calibration = [0.02 * machine * noise for noise in (1.02, 1.0, 1.05)]
    return Measurement(f"pack[{replicas}]", "training", rounds, calibration, series={"loop": rounds}, info=info)


def job(ours: list[float], theirs: list[float]) -> Measurement:
    info = {"setting": "a", "replicas": 10, "steps": 100_000, "peer_steps": 4096}
    return Measurement("job[a]", "job", ours, [0.02], theirs, info=info)


def document(*found: Measurement, **changes: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "commit": "0123456789abcdef",
        "dirty": False,
        "versions": {"python": "3.11", "torch": "2.13", "numpy": "2.4"},
        "created": "2026-01-02T03:04:05+00:00",
        "machine": {"system": "Linux", "processor": "A processor", "cpus": 2, "memory_gib": 8.0},
        "load_before": 0.1,
        "cores_used_by_others": 0.0,
        "quick": False,
        "measurements": [asdict(one) for one in found],
        **changes,
    }


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.stem)
def test_every_module_can_be_imported(file: Path) -> None:
    importlib.import_module(f"benchmarks.{file.stem}")


def test_a_doubled_time_is_flagged() -> None:
    (change,) = compare([pack(2.0)], [pack(1.0)])
    assert change.factor == pytest.approx(2.0)
    assert change.regressed()
    assert "REGRESSION" in publish.describe([change], 1.3)


@pytest.mark.parametrize("machine", [0.25, 3.0])
def test_another_machine_is_not_flagged(machine: float) -> None:
    changes = compare([pack(1.0, machine), pack(5.0, machine, replicas=50)], [pack(1.0), pack(5.0, replicas=50)])
    assert [change.factor for change in changes] == pytest.approx([1.0, 1.0])
    assert not any(change.regressed() for change in changes)


def test_a_regression_on_a_faster_machine_is_flagged() -> None:
    (change,) = compare([pack(2.0, machine=0.25)], [pack(1.0)])
    assert change.regressed()


def test_what_was_measured_while_the_machine_was_slow_is_not_judged() -> None:
    slow = replace(pack(1.6), calibration=[0.025, 0.026])
    changes = compare([slow, pack(1.0, replicas=50)], [pack(1.0), pack(1.0, replicas=50)])
    assert [(change.name, change.uncertain) for change in changes] == [("pack[10]", True), ("pack[50]", False)]
    assert not changes[0].regressed()
    assert "Not judged" in publish.describe(changes, 1.3)
    assert "pack[10] (1.25)" in page(document(slow, pack(1.0, replicas=50)))


def test_other_sizes_are_not_compared() -> None:
    other = pack(1.0)
    assert compare([replace(other, info={**other.info, "steps": 2048}), pack(1.0, replicas=50)], [other]) == []


def test_memory_is_compared_by_its_peak() -> None:
    then = Measurement("memory[100]", "memory", [1.0], [0.02], series={"imported": [300.0], "peak": [500.0]})
    (change,) = compare([replace(then, seconds=[9.0], series={**then.series, "peak": [1000.0]})], [then])
    assert change.factor == pytest.approx(2.0)


def test_pytest_benchmarks_document_is_read() -> None:
    one = pack(1.0)
    extra = {**one.info, "calibration": one.calibration, "loop": one.series["loop"]}
    raw = {
        "machine_info": {"node": "a-name"},
        "rlbench": {key: value for key, value in document().items() if key not in ("schema", "measurements")},
        "benchmarks": [
            {"name": f"test_{one.name}", "group": one.group, "stats": {"data": one.seconds}, "extra_info": extra}
        ],
    }
    read = from_pytest(raw)
    assert measurements(read) == [one]
    assert "a-name" not in json.dumps(read)


def test_the_table_names_machine_commit_and_ratios(tmp_path: Path) -> None:
    found = document(pack(2.0), job([10.0, 12.0, 11.0], [220.0, 240.0, 231.0]))
    publish.write(found, tmp_path)
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "Commit 0123456789ab" in text
    assert "A processor, 2 cores, 8.0 GiB" in text
    assert "| ppo-clip |  |  | 18.6 (15.8 to 20.5) |  |  |  |" in text  # 40,960 steps in 2.2 (2 to 2.6) seconds
    assert "21 (20 to 22) | 3 |" in text
    assert "| at least 25 | 21 | missed by a factor 1.19 |" in text
    assert "shared" not in text
    assert json.loads((tmp_path / "benchmarks.json").read_text(encoding="utf-8")) == found
    assert (tmp_path / "figure.svg").stat().st_size
    assert (tmp_path / "figure.png").stat().st_size


def test_a_shared_machine_and_tiny_sizes_are_said() -> None:
    assert "The machine was shared" in page(document(cores_used_by_others=0.5))
    assert "not to be quoted" in page(document(quick=True))


def test_the_parts_of_a_step_are_found_and_add_up() -> None:
    total = 0.0

    def loop() -> float:
        nonlocal total
        total = train("ppo-clip", SETTINGS["b"], 2, 1024)
        return total

    original = breakdown.find("rlbench.improve.compiled:value_loss")[0].value_loss
    parts = breakdown.break_down(loop, 2048)
    assert breakdown.find("rlbench.improve.compiled:value_loss")[0].value_loss is original
    assert list(parts) == breakdown.ROWS
    assert sum(parts.values()) == pytest.approx(1e6 * total / 2048)
    assert all(parts[row] > 0 for row in breakdown.ROWS)
    assert parts[breakdown.REST] < 0.5 * sum(parts.values())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_trains_in_its_setting(algorithm: str) -> None:
    assert train(algorithm, SETTINGS["b"], 1, 512) > 0


def test_the_calibration_takes_a_moment() -> None:
    assert 1e-4 < calibrate(repeats=1) < 5
