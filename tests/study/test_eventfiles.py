"""TensorBoard's event files: read back with its own reader, they hold the store's tables."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlbench import Environment
from rlbench.records import Progress, RunRecord, empty_episodes
from rlbench.store import Store
from rlbench.study.experiment import Arm
from rlbench.study.plan import Plan
from rlbench.study.run import execute
from rlbench.study.schedule import Pack
from rlbench.study.sinks import EventFiles, open_sinks, places_of

pytest.importorskip("tensorboard")

MakePlan = Callable[..., Plan]
Points = dict[str, tuple[list[int], list[float]]]


def go(plan: Plan, folder: Path, *, shown: bool = True) -> list[str]:
    """Train what is left of a plan and return what was said of the sink."""
    said: list[str] = []
    with open_sinks([plan], folder, ["tensorboard"] if shown else [], said.append) as sinks:
        assert execute(plan, folder, workers=0, progress=False, sinks=sinks).fine
    return said


def read(folder: Path) -> Points:
    """Return (steps, values) by name, all that TensorBoard finds in the folder of a run."""
    events = loaded(folder)
    return {
        tag: ([one.step for one in events.Scalars(tag)], [one.value for one in events.Scalars(tag)])
        for tag in events.Tags()["scalars"]
    }


def loaded(folder: Path) -> Any:
    from tensorboard.backend.event_processing import event_accumulator

    events = event_accumulator.EventAccumulator(str(folder), size_guidance={event_accumulator.SCALARS: 0})
    events.Reload()
    return events


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """Return what tells files apart from their replacements, by path."""
    found = {str(path.relative_to(folder)): path.stat() for path in folder.rglob("*tfevents*")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


def written(record: RunRecord, plan: Plan, folder: Path) -> Points:
    sink = EventFiles(places_of([plan], folder), folder / "tiny", print)
    sink.stored(plan.cells[0], record)
    sink.close()
    return read(folder / "tiny/tensorboard/tiny/ppo-clip/CartPole-v1/0")


def test_every_number_of_every_run_is_there(tiny_plan: MakePlan, tmp_path: Path) -> None:
    """As float32, which is how TensorBoard keeps scalars; steps are whole numbers and exact."""
    plan = tiny_plan(steps=256)
    assert go(plan, tmp_path) == []
    for cell in plan.cells:
        found = read(tmp_path / "tiny/tensorboard/tiny" / cell.arm / "CartPole-v1" / str(cell.seed))
        stored = Store(tmp_path).read(cell.id)
        assert stored is not None
        manifest, episodes, updates = stored
        expected: dict[str, tuple[Any, Any]] = {
            f"{group}/{name}": (table["step"].to_numpy(), table[name].to_numpy())
            for group, table in (("train", episodes), ("update", updates))
            for name in table.column_names
            if name != "step"
        }
        assert {"train/return", "train/length", "update/kl", "update/mean_return", "update/lr"} <= {*expected}
        assert len(expected["train/return"][0]) > 1
        assert len(expected["update/kl"][0]) == 16
        taken = ("gradient_steps", "samples", "seconds")
        expected |= {f"used/{name}": ([256], [manifest["outcome"][name]]) for name in taken}
        expected["used/steps"] = ([256], [256])
        assert {*found} == {*expected}
        for name, (steps, values) in expected.items():
            np.testing.assert_array_equal(found[name][0], steps)
            np.testing.assert_array_equal(found[name][1], np.asarray(values).astype(np.float32))


def test_numbers_that_are_none_and_steps_of_any_size(tiny_plan: MakePlan, tmp_path: Path) -> None:
    steps = np.array([1, 5, 5, 2**40])  # two episodes may end in one step of several copies
    values = np.array([np.nan, -np.inf, 1e-300, 1e300])
    episodes = {"step": steps, "return": values, "length": np.array([1, 2, 3, 2**40])}
    found = written(RunRecord("diverged", "NaN", 2**40, episodes, {}), tiny_plan(), tmp_path)
    assert found["train/return"][0] == steps.tolist()
    np.testing.assert_array_equal(found["train/return"][1], [np.nan, -np.inf, 0.0, np.inf])
    assert found["train/length"][1] == [1, 2, 3, 2**40]


def test_there_are_points_of_evaluations_only_where_there_was_one(tiny_plan: MakePlan, tmp_path: Path) -> None:
    updates = {"step": np.array([10, 20, 30]), "kl": np.array([0.1, np.nan, 0.3])}
    updates |= {"eval_return": np.array([np.nan, 5.0, np.nan])}
    points = written(RunRecord("finished", "", 30, empty_episodes(), updates), tiny_plan(), tmp_path)
    assert points["update/eval_return"] == ([20], [5.0])
    assert points["update/kl"][0] == [10, 20, 30]


def test_hyper_parameters_and_outcome_can_be_compared(tiny_plan: MakePlan, tmp_path: Path) -> None:
    from tensorboard.plugins.hparams import metadata

    plan = tiny_plan(arms=[Arm("ppo-clip", horizon=16, minibatches=1, hidden=[4], clip=0.1), "reinforce"], steps=8192)
    written(RunRecord("diverged", "a loss became NaN", 16, empty_episodes(), {}), plan, tmp_path)
    events = loaded(tmp_path / "tiny/tensorboard/tiny/ppo-clip/CartPole-v1/0")
    contents = events.summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
    start = metadata.parse_session_start_info_plugin_data(contents)
    found = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    assert found["field.clip"] == 0.1
    assert (found["field.hidden"], found["field.target_kl"], found["field.anneal_lr"]) == ("[4]", "inf", True)
    assert [found[name] for name in ("algorithm", "arm", "environment", "seed", "budget")] == [
        "ppo-clip",
        "ppo-clip",
        "CartPole-v1",
        0,
        8192,
    ]
    assert (found["status"], found["reason"]) == ("diverged", "a loss became NaN")


def test_the_same_command_writes_nothing_twice_and_what_is_missing(tiny_plan: MakePlan, tmp_path: Path) -> None:
    plan, logs = tiny_plan(), tmp_path / "tiny/tensorboard"
    go(plan, tmp_path, shown=False)
    assert not logs.exists()
    go(plan, tmp_path)  # everything is stored, nothing is shown
    first = files(logs)
    assert len(first) == 4
    go(plan, tmp_path)
    assert files(logs) == first
    (gone, *kept) = sorted(first)
    (logs / gone).unlink()
    (logs / gone).with_name(".0badcafe.tmp").write_bytes(b"half a file of a process that was killed")
    go(plan, tmp_path)
    again = files(logs)
    assert {*again} == {*first}
    assert {name: again[name] for name in kept} == {name: first[name] for name in kept}
    assert read((logs / gone).parent)["used/steps"] == ([32], [32.0])


def test_another_run_in_the_same_place_replaces_the_one_before(tiny_plan: MakePlan, tmp_path: Path) -> None:
    for steps in (32, 64):
        go(tiny_plan(steps=steps), tmp_path)
    assert len(files(tmp_path / "tiny/tensorboard")) == 4
    found = read(tmp_path / "tiny/tensorboard/tiny/ppo-clip/CartPole-v1/0")
    assert found["used/steps"] == ([64], [64.0])


def test_names_cannot_leave_their_folder_nor_meet(tiny_plan: MakePlan, tmp_path: Path) -> None:
    labels = ["../../../up", "/etc/passwd", "a/b", "a b", "A b", "a\\b", "..", "~", "ü", "x" * 290, "x" * 291]
    statics = {"horizon": 16, "minibatches": 1, "hidden": [4]}
    arms = [Arm("ppo-clip", label=label, clip=0.1 + 0.01 * i, **statics) for i, label in enumerate(labels)]
    plan = tiny_plan(arms=arms, seeds=1, environments=[Environment("CartPole-v1", {"sutton_barto_reward": True})])
    folder = tmp_path / "deep/er"
    said: list[str] = []
    with open_sinks([plan], folder, ["tensorboard"], said.append) as (sink,):
        for cell in plan.cells:
            sink.stored(cell, RunRecord("finished", "", 32, empty_episodes(), {}))
    assert said == []
    logs = folder / "tiny/tensorboard/tiny"
    assert len(files(logs)) == len(labels) == len(list(logs.iterdir()))
    assert len({path.name.lower() for path in logs.iterdir()}) == len(labels)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and logs not in path.parents] == []
    assert {path.name for path in logs.glob("*/*")} == {"CartPole-v1-sutton-barto-reward-True"}


def test_a_run_that_experiments_share_is_in_both(tiny_plan: MakePlan, tmp_path: Path) -> None:
    from dataclasses import replace

    plans = [replace(tiny_plan(), suite="suite")]
    plans.append(replace(plans[0], experiment=replace(plans[0].experiment, name="other")))
    with open_sinks(plans, tmp_path, ["tensorboard"]) as (sink,):
        sink.stored(plans[0].cells[0], RunRecord("finished", "", 32, empty_episodes(), {}))
    names = [Path(path).parts[:4] for path in sorted(files(tmp_path / "suite/tensorboard"))]
    assert names == [(name, "ppo-clip", "CartPole-v1", "0") for name in ("other", "tiny")]


def test_a_pack_that_trains_has_a_curve_until_its_runs_are_there(tiny_plan: MakePlan, tmp_path: Path) -> None:
    plan = tiny_plan()
    pack, live = Pack(plan.cells[:2]), tmp_path / "tiny/tensorboard/_live"
    sink = EventFiles(places_of([plan], tmp_path), tmp_path / "tiny", print)

    def curves() -> list[tuple[list[int], list[float]]]:
        return [read(folder)["live/mean_return"] for folder in live.iterdir()]

    sink._add_point(pack, Progress(16, 32, 2, 1.5))
    assert curves() == [([16], [1.5])]
    sink._add_point(pack, Progress(32, 32, 2, 2.5))
    assert curves() == [([16, 32], [1.5, 2.5])]
    sink._add_point(pack, Progress(16, 32, 2, 3.5))  # its worker died, and it is tried again
    assert curves() == [([16], [3.5])]
    for cell in pack.cells:
        assert len(curves()) == 1
        sink._show(cell, RunRecord("finished", "", 32, empty_episodes(), {}))
    assert curves() == []
    sink._add_point(Pack(plan.cells[2:]), Progress(16, 32, 2, 1.5))
    sink.close()
    assert not live.exists()


def test_curves_of_killed_processes_are_swept_and_those_that_grow_are_not(tiny_plan: MakePlan, tmp_path: Path) -> None:
    live, plan = tmp_path / "tiny/tensorboard/_live", tiny_plan()
    for name, age in (("killed", 7200), ("alive", 0)):
        file = live / name / "events.out.tfevents.live"
        file.parent.mkdir(parents=True)
        file.touch()
        os.utime(file, (time.time() - age,) * 2)
    EventFiles(places_of([plan], tmp_path), tmp_path / "tiny", print).close()
    assert [path.name for path in live.iterdir()] == ["alive"]


def test_a_disk_that_refuses_costs_no_run_and_the_next_call_writes_it(tiny_plan: MakePlan, tmp_path: Path) -> None:
    plan, logs = tiny_plan(), tmp_path / "tiny/tensorboard"
    logs.parent.mkdir()
    logs.write_text("a file where a folder should be")
    (said,) = go(plan, tmp_path)
    assert said.startswith("TensorBoard was switched off: ")
    assert "the same command shows what is missing" in said
    assert len(Store(tmp_path).list()) == 4
    logs.unlink()
    assert go(plan, tmp_path) == []
    assert len(files(logs)) == 4
