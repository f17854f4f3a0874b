"""The display: numbers that add up, a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from rlbench.records import Progress, RunRecord
from rlbench.study import progress as module
from rlbench.study.executors import Event
from rlbench.study.plan import Cell, Plan
from rlbench.study.progress import Bar, Lines, Meter, Summary, display_for
from rlbench.study.schedule import Pack, make_packs


@pytest.fixture
def packs(tiny_plan: Callable[..., Plan]) -> list[Pack]:
    return make_packs(tiny_plan(seeds=3).cells, 1)


def test_the_meter_counts_steps_runs_and_the_latest_return(packs: list[Pack], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    meter = Meter(packs)
    assert (meter.share, meter.rate, meter.left, meter.latest) == (0.0, 0.0, "-", "")
    now[0] = 102.0
    meter.event(Event(packs[0], Progress(16, 32, 3, 21.5)))
    assert meter.share == pytest.approx(0.25)
    assert meter.rate == pytest.approx(16 * 3 / 2)
    assert meter.left == "0:06"
    assert meter.latest == f"{packs[0].title}: return 21.5"
    meter.event(Event(packs[0], Progress(8, 32, 3, float("nan"))))  # tried again: nothing is taken back or doubled
    assert meter.rate == pytest.approx(16 * 3 / 2)
    assert meter.latest.endswith("21.5")
    for pack in packs:
        meter.ended(pack)
    assert meter.share == pytest.approx(1.0)
    assert (meter.done, meter.left) == (6, "0:00")


def test_what_an_earlier_command_did_is_not_counted_as_speed(
    packs: list[Pack], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    meter = Meter(packs)
    now[0] = 102.0
    meter.event(Event(packs[0], Progress(24, 32, 3, 21.5, begun=16)))
    assert meter.share == pytest.approx(0.375)  # of two packs
    assert meter.rate == pytest.approx(8 * 3 / 2)
    assert meter.left == "0:10"  # an eighth took two seconds, and five are left


def test_long_times_show_hours(packs: list[Pack], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    meter = Meter(packs)
    now[0] = 3600.0
    meter.event(Event(packs[0], Progress(16, 32, 3, 1.0)))
    assert meter.left == "3:00:00"


def test_without_a_terminal_there_are_plain_lines(
    packs: list[Pack], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.time, "monotonic", lambda: 100.0)
    display = display_for(packs, show=True)
    assert isinstance(display, Lines)
    display.event(Event(packs[0], line="a plugin says this"))
    display.event(Event(packs[0], Progress(16, 32, 3, 21.5)))
    for pack in packs:
        display.ended(pack)
    display.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "a plugin says this"
    assert len(lines) == 2
    assert lines[1].startswith("6/6 runs, 100%, ")
    assert "\x1b" not in "".join(lines)


def test_on_a_terminal_there_is_a_bar(packs: list[Pack], monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    display = display_for(packs, show=True)
    assert isinstance(display, Bar)
    display.event(Event(packs[0], Progress(16, 32, 3, 21.5)))
    display.event(Event(packs[0], line="[red] is not markup here"))
    display._live.refresh()
    display.ended(packs[0])
    display.close()
    shown = terminal.getvalue()
    for part in ("0/6 runs", "25%", "steps/s", "left", "return 21.5", "[red] is not markup here"):
        assert part in shown


def test_nothing_is_shown_if_nothing_is_wanted(packs: list[Pack], capsys: pytest.CaptureFixture[str]) -> None:
    display = display_for(packs, show=False)
    display.event(Event(packs[0], line="quiet"))
    display.ended(packs[0])
    display.close()
    assert type(display) is Meter
    assert capsys.readouterr() == ("", "")


def test_an_environment_without_an_end_and_an_arm_without_a_lesson_are_warned_of() -> None:
    def ran(arm: str, label: str, ends: list[int], learnt: bool, steps: int = 2_000) -> None:
        moved = 1.0 * learnt
        updates = {"step": [10, 20], "kl_max": [moved] * 2, "ratio_max": [1 + moved] * 2, "gradient_steps": [1, 1]}
        episodes = {"step": np.array(ends), "return": np.ones(len(ends)), "length": np.ones(len(ends))}
        cell = SimpleNamespace(arm=arm, trains=True, steps=steps, environment=SimpleNamespace(label=label))
        table = {name: np.array(column) for name, column in updates.items()}
        summary.add(cast(Cell, cell), RunRecord("finished", "", 20, episodes, table))

    summary = Summary()
    ran("a", "Endless on ice", [], learnt=True)
    ran("b", "Endless on ice", [], learnt=False)
    ran("a", "Sound", [5], learnt=True)
    ran("b", "Sound", [], learnt=False)
    ran("b", "Brief", [], learnt=False, steps=100)  # too short to say that no episode ends
    first, second, third = summary.idle
    assert third.startswith("b on Brief: 2 of 2 updates left the policy as it was")
    assert first.startswith("Endless on ice: no episode ended in any run")
    assert second.startswith("b on Sound: 2 of 2 updates left the policy as it was")
