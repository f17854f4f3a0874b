"""A run that is interrupted and goes on from its checkpoint gives the numbers of one that was not, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from rlbench import Environment
from rlbench.records import RunRecord
from rlbench.training import checkpoints as module
from rlbench.training import trainer
from rlbench.training.checkpoints import Checkpoints, say_once, stamp
from rlbench.training.state import UnusableError
from tests.training.conftest import Walk
from tests.training.interruption import STEPS, UPDATES, interrupted, named, resumed, whole
from tests.training.small import OWN, make

NORMALISED = {"normalize_observation": True, "normalize_reward": True}
# A compiled environment, another with all running statistics, and one that draws in every step and gives its state.
TASKS: list[tuple[str, dict[str, Any]]] = [
    ("CartPole-v1", {}),
    ("Pendulum-v1", NORMALISED),
    ("rlbench-train/Walk-v0", {}),
]
Same = Callable[[RunRecord, RunRecord], None]


@pytest.fixture(autouse=True)
def nothing_said() -> None:
    """Forget what was said before, since every sentence is said once."""
    say_once.cache_clear()


@pytest.mark.parametrize(("identifier", "settings"), TASKS, ids=[name for name, _ in TASKS])
@pytest.mark.parametrize("name", OWN)
def test_every_algorithm_goes_on_in_another_pack(
    name: str, identifier: str, settings: dict[str, Any], tmp_path: Path, same_runs: Same
) -> None:
    algorithm, environment = make(name, **settings), Environment(identifier)
    expected = dict(zip((3, 5, 7, 9), whole(algorithm, environment, (3, 5, 7, 9)), strict=True))
    after = 1 + OWN.index(name) % 6
    interrupted(algorithm, environment, (9, 3, 5), tmp_path, after)
    # Seed 7 joins from the beginning, 9 stays away; then 9 goes on alone.
    records, told = resumed(algorithm, environment, (7, 5, 3), tmp_path)
    for seed, record in zip((7, 5, 3), records, strict=True):
        same_runs(record, expected[seed])
    assert len(told) == UPDATES + (UPDATES - after)
    (alone,), told = resumed(algorithm, environment, (9,), tmp_path)
    same_runs(alone, expected[9])
    assert told == [100 * (update + 1) for update in range(after, UPDATES)]


@pytest.mark.parametrize(("identifier", "settings"), TASKS, ids=[name for name, _ in TASKS])
def test_a_run_may_be_interrupted_after_every_rollout(
    identifier: str, settings: dict[str, Any], tmp_path: Path, same_runs: Same
) -> None:
    algorithm, environment = make("ppo-adaptive", **settings), Environment(identifier)
    for already in range(UPDATES - 1):
        interrupted(algorithm, environment, (3, 5), tmp_path, 1)
        assert Checkpoints(tmp_path).step("seed3") == 100 * (already + 1)
    records, told = resumed(algorithm, environment, (3, 5), tmp_path)
    assert told == [STEPS]
    for record, expected in zip(records, whole(algorithm, environment, (3, 5)), strict=True):
        same_runs(record, expected)
        assert record.seconds > 0


@pytest.mark.parametrize(
    "identifier", ["FrozenLake-v1", "rlbench-train/DiscreteObservation-v0", "rlbench-train/Box-v0"]
)
def test_other_spaces(identifier: str, tmp_path: Path, same_runs: Same) -> None:
    algorithm, environment = make("ppo-clip"), Environment(identifier)
    interrupted(algorithm, environment, (3,), tmp_path, 5)
    (record,), told = resumed(algorithm, environment, (3,), tmp_path)
    assert told == [600, 700, 800]
    same_runs(record, whole(algorithm, environment, (3,))[0])


def test_runs_that_ended_early_stay_as_they_ended(tmp_path: Path, same_runs: Same) -> None:
    environment = Environment("rlbench-train/Fragile-v0", {"broken_seed": 5, "at": 120, "how": "raises"})
    algorithm = make("ppo-clip")
    expected = whole(algorithm, environment, (5,))[0]
    assert (expected.status, expected.steps) == ("failed", 300)
    interrupted(algorithm, environment, (5, 3), tmp_path, 4)
    (record,), _ = resumed(algorithm, environment, (5,), tmp_path)
    same_runs(record, expected)
    assert record.detail.splitlines()[-1] == expected.detail.splitlines()[-1] == "RuntimeError: the motor is on fire"

    diverging, pendulum = make("ppo-clip", lr=1e30), Environment("Pendulum-v1")
    expected = whole(diverging, pendulum, (1,))[0]
    assert expected.status == "diverged"
    folder = tmp_path / "diverged"
    checkpoints = Checkpoints(folder, ("a",), 0.0)
    trainer.train([diverging], pendulum, STEPS, (1,), checkpoints=checkpoints)
    assert checkpoints.step("a") == expected.steps
    same_runs(trainer.train([diverging], pendulum, STEPS, (1,), checkpoints=checkpoints)[0], expected)


class Stateless(Walk):
    """A walk that cannot be asked for its state."""

    get_state = set_state = None  # type: ignore[assignment]


class Partial(Walk):
    """A walk that does not take back all of its state."""

    def get_state(self) -> Any:
        return [self.place, self.time, id(self)]

    def set_state(self, state: Any) -> None:
        super().set_state(state[:2])


class Unwritable(Walk):
    """A walk whose state is no array and no JSON."""

    def get_state(self) -> Any:
        return object()


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        (Stateless, "its environment is not Gymnasium's own and has no get_state and set_state"),
        (Partial, "its environment does not take back its state"),
        (Unwritable, "its environment cannot be written down (TypeError)"),
    ],
)
def test_an_environment_that_cannot_be_brought_back_starts_from_the_beginning(
    environment: type[Walk], why: str, tmp_path: Path, same_runs: Same, capsys: pytest.CaptureFixture[str]
) -> None:
    gymnasium.register("rlbench-train/Other-v0", entry_point=environment, max_episode_steps=11)
    try:
        other = Environment("rlbench-train/Other-v0")
        interrupted(make("ppo-clip"), other, (3,), tmp_path, 3)
        (record,), told = resumed(make("ppo-clip"), other, (3,), tmp_path)
        same_runs(record, whole(make("ppo-clip"), other, (3,))[0])
    finally:
        del gymnasium.registry["rlbench-train/Other-v0"]
    assert told[0] == 100
    assert why in capsys.readouterr().err


def test_one_run_without_a_checkpoint_keeps_none_of_the_others_from_going_on(
    tmp_path: Path, same_runs: Same, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "BLOCK", 2)
    algorithm, environment, seeds = make("ppo-clip"), Environment("CartPole-v1"), (1, 2, 3, 4, 5)
    interrupted(algorithm, environment, seeds, tmp_path, UPDATES + 3)  # the first block is done, the second under way
    steps = [Checkpoints(tmp_path).step(cell) for cell in named(seeds)]
    assert steps == [STEPS] * 1 + [300] * 2 + [0] * 2 or steps == [STEPS] * 2 + [300] * 2 + [0]
    damaged = tmp_path / "seed3.npz"
    damaged.write_bytes(damaged.read_bytes()[:-2000] + bytes(2000))
    records, _ = resumed(algorithm, environment, seeds, tmp_path)
    for record, expected in zip(records, whole(algorithm, environment, seeds), strict=True):
        same_runs(record, expected)


def rewritten(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    """Change header and arrays of a checkpoint."""
    with np.load(path, allow_pickle=False) as archive:
        state = {name: archive[name] for name in archive.files}
    header = json.loads(state.pop("header").tobytes())
    change(header, state)
    np.savez(path, **state, header=np.frombuffer(json.dumps(header).encode(), np.uint8))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def save(path: Path, array: Any) -> None:
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=True)


class Trap:
    """Unpickling this would say so."""

    def __reduce__(self) -> Any:
        return print, ("UNPICKLED",)


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "truncated": truncate,
    "a bit flipped": flip,
    "text": lambda path: path.write_text("not a checkpoint"),
    "an array": lambda path: save(path, np.zeros(3)),
    "a pickle": lambda path: save(path, np.array([Trap()], object)),
    "a pickle inside": lambda path: rewritten(path, lambda _, state: state.update(step=np.array([Trap()], object))),
    "another archive": lambda path: np.savez(path, header=np.zeros(3)),
    "a number changed": lambda path: rewritten(path, lambda _, state: state["params"].__setitem__(0, 1.0)),
    "of another run": lambda path: rewritten(path, lambda header, _: header.update(cell="seed4")),
    "of other code": lambda path: rewritten(path, lambda header, _: header.update(stamp="0" * 64)),
    "of another version": lambda path: rewritten(path, lambda header, _: header.update(schema=0)),
    "no document": lambda path: rewritten(path, lambda header, _: header.pop("sha256")),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, RunRecord]:
    """Return a checkpoint, and the record of the undisturbed run."""
    folder, algorithm, environment = tmp_path_factory.mktemp("kept"), make("ppo-clip"), Environment("CartPole-v1")
    interrupted(algorithm, environment, (3,), folder, 3)
    return (folder / "seed3.npz").read_bytes(), whole(algorithm, environment, (3,))[0]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_what_cannot_be_trusted_is_not_used(
    damage: Callable[[Path], Any],
    kept: tuple[bytes, RunRecord],
    tmp_path: Path,
    same_runs: Same,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "seed3.npz"
    path.write_bytes(kept[0])
    (tmp_path / "mine.npz").write_bytes(b"somebody's own")
    (record,), told = resumed(make("ppo-clip"), Environment("CartPole-v1"), (3,), tmp_path)
    assert told[0] == 400  # it can be used as it is
    same_runs(record, kept[1])
    path.write_bytes(kept[0])
    damage(path)
    (record,), told = resumed(make("ppo-clip"), Environment("CartPole-v1"), (3,), tmp_path)
    assert told == [100 * (update + 1) for update in range(UPDATES)]
    same_runs(record, kept[1])
    said = capsys.readouterr()
    assert "A run starts from the beginning, since its checkpoint cannot be used" in said.err
    assert "UNPICKLED" not in said.out
    assert (tmp_path / "mine.npz").read_bytes() == b"somebody's own"


def test_flipped_bits_are_noticed_wherever_they_are(kept: tuple[bytes, RunRecord], tmp_path: Path) -> None:
    checkpoints, chance = Checkpoints(tmp_path, named([3]), 0.0), np.random.default_rng(0)
    file, intact = tmp_path / "seed3.npz", kept[0]
    file.write_bytes(intact)
    expected, unusable = checkpoints.read("seed3"), 0
    for trial in range(300):
        content = bytearray(intact)
        # Half of them in the archive's directory, at its end, where a bit decides how all else is read.
        content[-1 - chance.integers(len(content) if trial % 2 else 4000)] ^= 1 << chance.integers(8)
        file.write_bytes(content)
        assert checkpoints.step("seed3") in (0, 300)
        try:
            state = checkpoints.read("seed3")
        except UnusableError:
            unusable += 1
            continue
        assert list(state) == list(expected)  # a bit that no reader looks at, such as one of a date
        assert all(state[name].tobytes() == expected[name].tobytes() for name in expected)
    assert unusable > 150


def test_what_is_no_checkpoint_is_neither_overwritten_nor_removed(tmp_path: Path) -> None:
    checkpoints, note = Checkpoints(tmp_path, named([3]), 0.0), b"a note of mine"
    (tmp_path / "seed3.npz").write_bytes(note)
    checkpoints.discard("seed3")
    checkpoints.sweep(["seed3"])
    assert (tmp_path / "seed3.npz").read_bytes() == note
    interrupted(make("ppo-clip"), Environment("CartPole-v1"), (3,), tmp_path, 3)
    assert (tmp_path / "seed3.npz.aside-1").read_bytes() == note
    assert checkpoints.step("seed3") == 300
    checkpoints.sweep(["seed4"])
    assert checkpoints.step("seed3") == 300
    checkpoints.sweep(["seed3", "seed4"])
    assert {path.name for path in tmp_path.iterdir()} == {"seed3.npz.aside-1"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Box2D warns, and ends the process if that is an error
@pytest.mark.skipif(find_spec("Box2D") is None, reason="needs Box2D")
@pytest.mark.parametrize(("identifier", "step"), [("LunarLander-v3", 500), ("BipedalWalker-v3", 100)])
def test_a_simulated_world_is_gone_on_from_only_if_it_is_the_episodes_own(
    identifier: str, step: int, tmp_path: Path, same_runs: Same
) -> None:
    """BipedalWalker simulates all episodes in one world, whose state nobody sees."""
    algorithm, environment = make("ppo-clip", **NORMALISED), Environment(identifier, {"max_episode_steps": 40})
    expected = whole(algorithm, environment, (3,))[0]
    interrupted(algorithm, environment, (3,), tmp_path, 4)
    (record,), told = resumed(algorithm, environment, (3,), tmp_path)
    same_runs(record, expected)
    assert told[0] == step


def test_checkpoints_are_as_seldom_as_asked_for(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, ("a",), 3600.0)
    trainer.train([make("ppo-clip")], Environment("CartPole-v1"), STEPS, (3,), checkpoints=checkpoints)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_refuses_does_not_stop_the_training(
    tmp_path: Path, same_runs: Same, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "file"
    folder.write_text("where a folder should be")
    algorithm, environment = make("ppo-clip"), Environment("CartPole-v1")
    (record,), _ = resumed(algorithm, environment, (3,), folder)
    same_runs(record, whole(algorithm, environment, (3,))[0])
    assert capsys.readouterr().err.count(f"Cannot write checkpoints to {folder}") == 1


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    algorithm, environment = make("ppo-clip"), Environment("CartPole-v1")
    interrupted(algorithm, environment, (3,), tmp_path, 2)
    before = (tmp_path / "seed3.npz").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    interrupted(algorithm, environment, (3,), tmp_path, 3)
    assert (tmp_path / "seed3.npz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["seed3.npz"]


def test_discarding_leaves_what_belongs_to_others(tmp_path: Path) -> None:
    names = ("a.npz", ".a.12345678.tmp", "ab.npz", ".ab.12345678.tmp", "notes.txt")
    for name in names:
        (tmp_path / name).write_text("x")
    Checkpoints(tmp_path).write("a", {"step": np.array(1), "seconds": np.zeros(1)})
    Checkpoints(tmp_path).discard("a")
    Checkpoints(tmp_path / "nowhere").discard("a")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[2:])


def test_the_stamp_is_of_this_code_and_these_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    stamp.cache_clear()
    here = stamp()
    stamp.cache_clear()
    monkeypatch.setattr(module.metadata, "version", lambda name: "0.0")
    assert stamp() != here
    stamp.cache_clear()
