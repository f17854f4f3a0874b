"""`measure`: rounds of some work, each beside the calibration workload and, where given, beside a reference."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.calibration import calibrate
from benchmarks.machine import Bystanders, describe
from benchmarks.results import SLOW

Measure = Callable[..., None]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --quick, for trying the benchmarks out."""
    parser.addoption("--quick", action="store_true", help="tiny sizes: to try benchmarks out, not to quote")


def pytest_configure(config: pytest.Config) -> None:
    """Note how busy the machine is before anything is measured."""
    config.stash[_BYSTANDERS] = Bystanders()


class Patience:
    """Waits until the machine is as fast as it was at its best; all waits of a session together are bounded."""

    def __init__(self, seconds: float = 90.0) -> None:
        self._left, self._best = seconds, calibrate()

    def calibrate(self) -> float:
        """Return the seconds of the calibration workload, once it is not slow or patience is at its end."""
        while True:
            taken = calibrate()
            self._best = min(self._best, taken)
            if taken <= SLOW * self._best or self._left <= 0:
                return taken
            time.sleep(1)
            self._left -= 1


_BYSTANDERS = pytest.StashKey[Bystanders]()


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: Any, output_json: dict[str, Any]) -> None:
    """Put the machine, without its name, beside the measurements, and who else was using it."""
    quick = bool(config.getoption("--quick"))
    output_json["rlbench"] = {**describe(), **config.stash[_BYSTANDERS].report(), "quick": quick}


@pytest.fixture
def quick(request: pytest.FixtureRequest) -> bool:
    """Whether to use tiny sizes."""
    return bool(request.config.getoption("--quick"))


@pytest.fixture(scope="session")
def patience() -> Patience:
    """The session's patience with a machine that is slow for a while."""
    return Patience()


@pytest.fixture
def measure(benchmark: Any, quick: bool, patience: Patience) -> Measure:
    """Return a function (work, rounds, reference, **info) that times `work()`, interleaved with `reference()`.

    `reference` returns the seconds of what is compared with, `work` a mapping of numbers of this round, or None. All
    ends up in `extra_info`: `calibration`, `reference`, the numbers as lists with an entry per round, and `info`.
    """

    def run(
        work: Callable[[], dict[str, float] | None],
        *,
        rounds: int = 3,
        reference: Callable[[], float] | None = None,
        **info: Any,
    ) -> None:
        lists: dict[str, list[float]] = {"calibration": []}

        def before() -> None:
            lists["calibration"].append(patience.calibrate())
            if reference is not None:
                lists.setdefault("reference", []).append(reference())

        def round_() -> None:
            for name, number in (work() or {}).items():
                lists.setdefault(name, []).append(number)

        benchmark.pedantic(round_, setup=before, rounds=2 if quick else rounds)
        lists["calibration"].append(calibrate())
        benchmark.extra_info.update(info, **lists)

    return run


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep what processes of a benchmark write out of the working tree, and to one thread."""
    monkeypatch.chdir(tmp_path)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setitem(os.environ, name, "1")
