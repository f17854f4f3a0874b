"""MuJoCo's tasks in compiled loops against Gymnasium's own environments, bit for bit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.wrappers import ClipReward

from rlbench.records import Environment
from rlbench.training.envs import copy_seeds, make
from rlbench.training.envs.classic import ClassicBatch, classic_batch, supports
from rlbench.training.envs.gymnasium import GymBatch, make_one, unlogged
from rlbench.training.state import UnusableError
from tests.training.envs.test_classic import Reference

mujoco = pytest.importorskip("mujoco")

WHOLE = ("HalfCheetah-v5", "Swimmer-v5", "Reacher-v5")  # whose episodes only the time limit ends
TASKS = (
    *WHOLE,
    *("Hopper-v5", "Walker2d-v5", "InvertedPendulum-v5", "InvertedDoublePendulum-v5", "Ant-v5", "Humanoid-v5"),
)
OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "positions are seen": ("HalfCheetah-v5", {"exclude_current_positions_from_observation": False}),
    "other rewards": ("Swimmer-v5", {"forward_reward_weight": 0.3, "ctrl_cost_weight": 0.7, "frame_skip": 2}),
    "falls are no ends": ("Hopper-v5", {"terminate_when_unhealthy": False, "healthy_reward": 0.25}),
    "narrow health": ("Hopper-v5", {"healthy_state_range": (-1.5, 1.5), "healthy_z_range": (1.0, 1.4)}),
    "walks little": ("Walker2d-v5", {"healthy_angle_range": (-0.3, 0.3), "reset_noise_scale": 0.1}),
    "reaches dearly": ("Reacher-v5", {"reward_dist_weight": 3, "reward_control_weight": 0.2}),
    "stands longer": ("InvertedDoublePendulum-v5", {"healthy_reward": 2, "frame_skip": 3}),
    "feels nothing": ("Ant-v5", {"include_cfrc_ext_in_observation": False, "contact_cost_weight": 0.1}),
    "feels much": ("Ant-v5", {"contact_force_range": (-30.0, 10.0), "main_body": "aux_1"}),
    "sees little": (
        "Humanoid-v5",
        {"include_cinert_in_observation": False, "include_qfrc_actuator_in_observation": False},
    ),
    "touches dearly": ("Humanoid-v5", {"contact_cost_weight": 1e-3, "contact_cost_range": (0.5, 4.0)}),
}


def actions(batch: Any, rng: np.random.Generator) -> Any:
    """Return random actions [R, N, A] that differ in size between copies: some keep a body up, some are cut."""
    size = np.array([0.05, 0.3, 2.0])[np.arange(batch.num_envs) % 3]
    shape = (batch.replicas, batch.num_envs, *batch.action.sizes)
    return (rng.normal(size=shape) * size[:, None]).astype(np.float32)


def follow(environment: Environment, steps: int) -> tuple[int, int]:
    """Compare a batch with Gymnasium's environments; return how many episodes ended, by themselves and by time."""
    seeds = [3, 2**40]
    batch = make(environment, replicas=2, num_envs=3)
    assert isinstance(batch, ClassicBatch)
    with unlogged("gymnasium.envs.mujoco"):
        reference = Reference(environment, seeds, 3)
    np.testing.assert_array_equal(batch.reset(seeds), np.array(reference.first, np.float32))
    rng = np.random.default_rng(0)
    ends = np.zeros(2, int)
    for _ in range(steps):
        action = actions(batch, rng)
        step = batch.step(action)
        expected = reference.step(batch.action.to_environment(action))
        for field, ours, theirs in zip(step._fields, step, expected, strict=True):
            theirs = np.array(theirs)
            theirs = theirs.astype(np.float32) if "observation" in field else theirs
            np.testing.assert_array_equal(ours, theirs, err_msg=field)
        ends += step.terminated.sum(), step.truncated.sum()
    return int(ends[0]), int(ends[1])


@pytest.mark.parametrize("task", TASKS)
def test_whole_episodes_are_gymnasiums_bit_for_bit(task: str) -> None:
    terminated, truncated = follow(Environment(task), 1020 if task in WHOLE else 400)
    assert (terminated == 0) == (task in WHOLE)
    assert (truncated >= 6) == (task in WHOLE)


@pytest.mark.parametrize("task", TASKS)
def test_episodes_that_a_time_limit_cuts_are_gymnasiums(task: str) -> None:
    assert follow(Environment(task, {"max_episode_steps": 12}), 60)[1] > 0


@pytest.mark.parametrize("case", OPTIONS)
def test_options_do_what_they_do_in_gymnasium(case: str) -> None:
    task, options = OPTIONS[case]
    follow(Environment(task, options | {"max_episode_steps": 70}), 150)


def play(batch: Any, steps: int, seed: int) -> Iterator[Any]:
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        yield batch.step(actions(batch, rng))


@pytest.mark.parametrize("task", ["Hopper-v5", "Ant-v5", "Humanoid-v5"])
def test_an_episode_goes_on_in_another_batch_where_it_was_left(task: str) -> None:
    here, there = (make(Environment(task, {"max_episode_steps": 40}), 2, 3) for _ in range(2))
    here.reset([4, 5])
    for _ in play(here, 25, seed=1):
        pass
    there.reset([4, 5])
    for _ in play(there, 7, seed=2):
        pass
    for r in range(2):
        there.restore(r, here.state(r))
    for ours, theirs in zip(play(here, 60, seed=3), play(there, 60, seed=3), strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
    with pytest.raises((UnusableError, ValueError)):
        make(Environment("Swimmer-v5"), 2, 3).restore(0, here.state(0))


def test_a_replica_does_not_depend_on_the_others() -> None:
    environment = Environment("Walker2d-v5", {"max_episode_steps": 50})
    many, one = make(environment, 3, 2), make(environment, 1, 2)
    np.testing.assert_array_equal(many.reset([7, 8, 9])[1], one.reset([8])[0])
    rng = np.random.default_rng(0)
    for _ in range(120):
        action = actions(many, rng)
        for whole, part in zip(many.step(action), one.step(action[1:2]), strict=True):
            np.testing.assert_array_equal(whole[1], part[0])


def test_what_the_loops_do_not_know_is_stepped_by_gymnasium(monkeypatch: pytest.MonkeyPatch) -> None:
    from gymnasium.envs.mujoco import hopper_v5

    model = str(Path(hopper_v5.__file__).parent / "assets" / "hopper.xml")
    for options in ({"render_mode": "rgb_array"}, {"xml_file": model}):
        assert isinstance(make(Environment("Hopper-v5", options), 1, 1), GymBatch)
    odd = make_one(Environment("Ant-v5", {"main_body": "torso"}))
    odd.unwrapped._main_body = "nobody"  # type: ignore[attr-defined]
    assert not supports(odd)
    whole = make_one(Environment("Hopper-v5"))
    mujoco.set_mjcb_passive(lambda model, data: None)
    found = supports(whole)
    mujoco.set_mjcb_passive(None)
    assert not found
    assert not supports(ClipReward(make_one(Environment("Hopper-v5")), 0))
    heavy = make_one(Environment("Hopper-v5"))
    heavy.unwrapped.model.opt.gravity[2] *= 2  # type: ignore[attr-defined]
    assert not supports(heavy)
    assert supports(make_one(Environment("Hopper-v5")))
    monkeypatch.setattr(hopper_v5.HopperEnv, "control_cost", lambda self, action: 0.0)
    assert not supports(make_one(Environment("Hopper-v5")))


def test_making_copies_says_nothing_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with contextlib.closing(make(Environment("HalfCheetah-v5"), 2, 2)) as batch:
        batch.reset([0, 1])
    with contextlib.closing(GymBatch(e := Environment("HalfCheetah-v5"), make_one(e), 1, 2)) as batch:
        batch.reset([0])
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("task", ["HalfCheetah-v5", "Humanoid-v5"])
def test_a_simulation_that_has_to_begin_anew_does_so_as_in_gymnasium(task: str) -> None:
    """So coarse a frame makes it unstable: MuJoCo then clears its data, and with them the action."""
    template = make_one(Environment(task, {"max_episode_steps": 40}))
    template.unwrapped.model.opt.timestep = 0.12  # type: ignore[attr-defined]
    batch = classic_batch(template, 1, 1)
    (seed,) = copy_seeds(5, 1)
    batch.reset([5])
    template.reset(seed=seed)
    rng, restarts = np.random.default_rng(0), 0
    for _ in range(40):
        action = rng.uniform(-1, 1, (1, 1, *batch.action.sizes)).astype(np.float32)
        ours = batch.step(action)
        theirs, reward, terminated, truncated, _ = template.step(batch.action.to_environment(action)[0, 0])
        restarts += template.unwrapped.data.time < 0.59  # type: ignore[attr-defined]  # a whole step takes 0.6
        assert (ours.reward[0, 0], ours.terminated[0, 0]) == (reward, terminated)
        np.testing.assert_array_equal(ours.next_observation[0, 0], np.float32(theirs))
        if terminated or truncated:
            template.reset()
    assert restarts > 2
