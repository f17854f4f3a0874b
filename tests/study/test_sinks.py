"""Sinks: told in order and in a thread of their own; one that fails is switched off and nothing else is."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from rlbench.errors import RlbenchError
from rlbench.records import Progress, RunRecord, empty_episodes
from rlbench.store import Store
from rlbench.study.plan import Cell, Plan
from rlbench.study.run import Interrupted, execute
from rlbench.study.schedule import Pack
from rlbench.study.sinks import Place, Sink, open_sinks

MakePlan = Callable[..., Plan]


class Noting(Sink):
    """A sink that notes what it is told; `broken` is what fails, `gate` what it waits for."""

    title = "Noting"

    def __init__(
        self,
        cells: Sequence[Cell],
        warn: Callable[[str], None] = print,
        *,
        broken: str = "",
        gate: threading.Event | None = None,
        seconds: float = 0.0,
    ) -> None:
        self.calls: list[tuple[str, object]] = []
        self._broken, self._gate = broken, gate
        super().__init__({cell.id: [Place(Path(), "", cell.arm, ())] for cell in cells}, warn, seconds)

    def _begin(self, pack: Pack) -> Curve:
        self.note("begin", pack)
        return Curve(self)

    def _has(self, place: Place, cell: Cell, status: str) -> bool:
        return ("write", cell.id) in self.calls

    def _write(self, place: Place, cell: Cell, record: RunRecord) -> None:
        self.note("write", cell.id)

    def _end(self) -> None:
        super()._end()
        self.note("close", None)

    def note(self, what: str, which: object) -> None:
        if self._gate:
            assert self._gate.wait(10)
        self.calls.append((what, which))
        if what == self._broken:
            raise OSError(28, "No space left on device")


class Curve:
    def __init__(self, sink: Noting) -> None:
        self._sink = sink

    def add(self, progress: Progress) -> None:
        self._sink.note("add", progress.step)

    def close(self) -> None:
        self._sink.note("end", None)


RECORD = RunRecord("finished", "", 32, empty_episodes(), {})


def test_every_run_is_told_once_and_then_the_end(tiny_plan: MakePlan, tmp_path: Path) -> None:
    plan, said = tiny_plan(), []
    sink = Noting(plan.cells, said.append, seconds=60.0)
    assert execute(plan, tmp_path, workers=1, progress=False, sinks=[sink]).finished == 4
    sink.fill_in(plan.cells, tmp_path)
    sink.close()
    assert sorted(sink.calls[:-1]) == sorted(("write", cell.id) for cell in plan.cells)
    assert sink.calls[-1] == ("close", None)
    assert said == []


def test_what_was_stored_before_is_told_as_it_was_recorded(tiny_plan: MakePlan, tmp_path: Path) -> None:
    plan, told = tiny_plan(), {}

    class Keeping(Noting):
        def _write(self, place: Place, cell: Cell, record: RunRecord) -> None:
            told.setdefault(cell.id, []).append(record)

    first = Keeping(plan.cells)
    execute(plan, tmp_path, workers=0, progress=False, sinks=[first])
    first.close()
    later = Keeping(plan.cells)
    later.fill_in(plan.cells, tmp_path)
    later.close()
    for fresh, read in told.values():
        for table in ("episodes", "updates"):
            before, after = getattr(fresh, table), getattr(read, table)
            assert [*before] == [*after]
            assert all(before[name].tobytes() == after[name].tobytes() for name in before)
        for name in ("status", "reason", "steps", "gradient_steps", "samples", "seconds"):
            assert getattr(fresh, name) == getattr(read, name)


@pytest.mark.parametrize("broken", ["begin", "add", "write", "end", "close"])
def test_one_that_fails_is_switched_off_and_says_so_once(tiny_plan: MakePlan, tmp_path: Path, broken: str) -> None:
    plan, said = tiny_plan(), []
    sink, sound = (Noting(plan.cells, said.append, broken=what) for what in (broken, ""))
    assert execute(plan, tmp_path, workers=0, progress=False, sinks=[sink, sound]).finished == 4
    sink.close()
    sound.close()
    assert len(said) == 1
    assert said[0].startswith("Noting was switched off: OSError: [Errno 28] No space left on device. Runs are stored")
    assert len([what for what, _ in sound.calls if what == "write"]) == len(Store(tmp_path).list()) == 4
    assert [what for what, _ in sink.calls].count(broken) == 1 + (broken == "close")  # tried once more, in silence


def test_signs_of_life_are_passed_on_now_and_then(tiny_plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("rlbench.study.sinks.time.monotonic", lambda: now[0])
    pack = Pack(tiny_plan().cells)
    sink = Noting(pack.cells, seconds=1.0)
    for step in range(31):
        now[0] = step / 10
        sink.progress(pack, Progress(step, 100, 4, float("nan") if step == 10 else 1.0))
    sink.close()
    # Not at once, since most packs are short; not what no episode has ended of.
    assert [step for what, step in sink.calls if what == "add"] == [11, 21]


def test_a_pack_ends_when_its_last_run_is_stored_in_whichever_part(tiny_plan: MakePlan) -> None:
    cells = tiny_plan().cells
    sink = Noting(cells)
    sink.progress(Pack(cells[:3]), Progress(1, 32, 3, 1.0))
    for cell in cells[::-1]:
        sink.stored(cell, RECORD)
    sink.close()
    assert [what for what, _ in sink.calls] == ["begin", "add", *["write"] * 4, "end", "close"]


def test_training_does_not_wait_for_a_slow_sink(tiny_plan: MakePlan, tmp_path: Path) -> None:
    gate, plan = threading.Event(), tiny_plan()
    sink = Noting(plan.cells, gate=gate, seconds=60.0)
    execute(plan, tmp_path, workers=0, progress=False, sinks=[sink])
    assert sink.calls == []
    gate.set()
    sink.close()
    assert len(sink.calls) == 5


def test_after_an_interruption_what_is_stored_is_shown(tiny_plan: MakePlan, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    plan, calls = tiny_plan(), []

    def train(*_: object, **__: object) -> list[RunRecord]:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return [RECORD] * 2

    with (
        pytest.raises(Interrupted, match="2 of 4 runs are stored"),
        open_sinks([plan], tmp_path, ["tensorboard"]) as sinks,
    ):
        execute(plan, tmp_path, workers=0, progress=False, train=train, sinks=sinks)
    assert len(list((tmp_path / "tiny/tensorboard").rglob("*tfevents*"))) == 2


@pytest.mark.parametrize("package", ["tensorboard", "wandb"])
def test_a_missing_package_is_said_before_anything_trains(
    tiny_plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == package else find(name))
    said = rf"--{package} needs the package {package}: `pip install 'rlbench\[{package}\]'`"
    with pytest.raises(RlbenchError, match=said), open_sinks([tiny_plan()], tmp_path, [package]):
        pass
