"""Algorithms of other libraries: the same environments, seeds and budgets, in the same records."""

from __future__ import annotations

import sys
from typing import ClassVar

import numpy as np
import pytest

from rlbench import Peer, RlbenchError, registry, static
from rlbench.algorithm import configure
from rlbench.fields import fields_of
from rlbench.records import Environment
from rlbench.training.envs import copy_seeds
from rlbench.training.envs.gymnasium import make_one
from rlbench.training.trainer import train

pytest.importorskip("stable_baselines3")
pytest.importorskip("sb3_contrib")
CART_POLE = Environment("CartPole-v1")


def arm(name, **settings):
    return configure(registry.load(name), settings, name)


@pytest.mark.parametrize("name", ["sb3-ppo", "sb3-a2c", "sb3-trpo"])
def test_a_peer_trains_as_in_its_own_library(name):
    """The same model, made by hand: equal returns, in equal places."""
    from sb3_contrib import TRPO
    from stable_baselines3 import A2C, PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env

    class Ends(BaseCallback):
        rows: ClassVar[list[tuple[int, float, int]]] = []

        def _on_step(self):
            ended = [info["episode"] for info in self.locals["infos"] if "episode" in info]
            self.rows += [(self.num_timesteps, one["r"], one["l"]) for one in ended]
            return True

    (record,) = train([arm(name, n_envs=2, n_steps=128)], CART_POLE, 1024, [7])
    copies = make_vec_env(lambda: make_one(CART_POLE), n_envs=2)
    model = {"sb3-ppo": PPO, "sb3-a2c": A2C, "sb3-trpo": TRPO}[name](
        "MlpPolicy", copies, n_steps=128, seed=7, device="cpu"
    )
    copies._seeds = copy_seeds(7, 2)
    model.learn(1024, callback=(ends := Ends()))
    assert record.status == "finished"
    assert len(ends.rows) > 10
    own = zip(*(record.episodes[column].tolist() for column in ("step", "return", "length")), strict=True)
    assert list(own) == ends.rows
    assert record.updates["step"].tolist() == [256, 512, 768, 1024]
    assert record.updates["gradient_steps"][-1] == record.gradient_steps > 0


@pytest.mark.parametrize(("steps", "updates"), [(256, 2), (300, 2)])
def test_budgets_are_exact_and_the_rest_of_one_is_not_learnt_from(steps, updates):
    (record,) = train([arm("sb3-ppo", n_steps=128, n_epochs=1)], CART_POLE, steps, [0])
    assert (record.steps, len(record.updates["step"]), record.gradient_steps) == (steps, updates, 2 * updates)
    assert record.episodes["step"].max() <= steps
    assert steps - record.episodes["length"].sum() < 100  # all but the episode under way are recorded


def test_a_peer_begins_where_all_others_with_its_seed_begin():
    """On an environment whose first observation is its first reward, the returns of random policies would be equal."""

    class Idle(Peer):
        name = "idle"
        n_envs: int = static(2)

        def train(self, environments, steps, seed):
            for env, own in zip(environments, copy_seeds(seed, 2), strict=True):
                expected = make_one(CART_POLE).reset(seed=own)[0]
                assert np.array_equal(env.reset(seed=99)[0], expected)  # whatever seed it is given
                assert not np.array_equal(env.reset(seed=99)[0], expected)
            while True:
                for env in environments:
                    if any(env.step(0)[2:4]):
                        env.reset()

    (record,) = train([Idle()], CART_POLE, 100, [5])
    assert record.status == "finished"
    assert (record.episodes["step"] % 2 == 0).all()
    assert len(record.updates["step"]) == 50


def test_a_peer_that_ends_early_or_raises_is_a_failed_run():
    class Early(Peer):
        name = "early"

        def train(self, environments, steps, seed):
            environments[0].reset()

    with pytest.raises(RlbenchError, match="it ended its training after 0 of 100 steps"):
        train([Early()], CART_POLE, 100, [5])


def test_a_library_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(RlbenchError, match=r"sb3-ppo needs stable-baselines3: pip install 'rlbench\[peers\]'"):
        train([arm("sb3-ppo", n_steps=128)], CART_POLE, 128, [0])


def test_a_peer_has_its_own_fields_only():
    assert {"n_steps", "batch_size", "clip_range"} <= fields_of(registry.load("sb3-ppo")).keys()
    assert not fields_of(registry.load("sb3-ppo")).keys() & {"lr", "horizon", "minibatches", "squash"}
    with pytest.raises(RlbenchError, match=r"has no field 'lr'\. It is called 'learning_rate' here"):
        arm("sb3-ppo", lr=1e-3)


def test_settings_reach_the_library():
    chosen = {"n_steps": 128, "learning_rate": 0.0, "net_arch": (8,), "normalize": True, "linear_schedule": True}
    for name in ("sb3-ppo", "sb3-a2c", "sb3-trpo"):
        (record,) = train([arm(name, **chosen)], Environment("Pendulum-v1"), 400, [0])
        assert record.episodes["length"].tolist() == [200, 200]
        assert (record.episodes["return"] < -100).all()  # the environment's own, whatever VecNormalize makes of them
