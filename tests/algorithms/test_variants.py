"""The variants of PPO: by hand, and equal to what they vary where their own coefficient has no effect."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from rlbench import Environment, RlbenchError, Samples, Trajectory, registry
from rlbench.algorithm import configure
from rlbench.records import RunRecord
from rlbench.training.trainer import train

SamplesOf = Callable[[list[float], list[float]], Samples]
RATIOS = [0.7, 1.0, 1.5, 0.7, 1.0, 1.5, 1.9]
ADVANTAGES = [2.0, 2.0, 2.0, -2.0, -2.0, -2.0, -2.0]
KLS = [-0.5 * (math.log(r) + math.log(2 - r)) for r in RATIOS]
INF = float("inf")


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("ppo-dual-clip", {"dual": 1.2}, [1.4, 2.0, 2.4, -1.6, -2.0, -2.4, -2.4]),
        ("ppo-clip-higher", {"clip": 0.1, "clip_high": 0.4}, [1.4, 2.0, 2.8, -1.8, -2.0, -3.0, -3.8]),
        # Beyond 1.2 by 0.3, and below 0.8 by 0.1, a tenth of that is taken off.
        ("ppo-rollback", {"rollback": 0.1}, [1.4, 2.0, 2.34, -1.62, -2.0, -3.0, -3.8]),
        (
            "truly-ppo",
            {"delta": 0.05, "rollback": 2.0},
            [1.4, 2.0, 3.0 - 2 * (KLS[2] - 0.05), -1.4, -2.0, -3.0, -3.8],
        ),
        ("spo", {"clip": 0.25}, [r * a - 2 * (r - 1) ** 2 / 0.5 for r, a in zip(RATIOS, ADVANTAGES, strict=True)]),
        ("espo", {}, [r * a for r, a in zip(RATIOS, ADVANTAGES, strict=True)]),
    ],
)
def test_surrogates(name: str, settings: dict[str, float], expected: list[float], samples_of: SamplesOf) -> None:
    value = registry.load(name)(**settings).surrogate(samples_of(RATIOS, ADVANTAGES))
    if name == "truly-ppo":  # of the first four the KL divergence is 0.047 or 0
        assert max(KLS[0], KLS[3]) < 0.05 < KLS[2]
    assert value.tolist() == pytest.approx(expected)


def test_the_best_ratio_of_spo_is_epsilon_away(samples_of: SamplesOf) -> None:
    for advantage, best in ((0.3, 1.2), (-5.0, 0.8)):
        ratios = np.linspace(0.5, 1.5, 1001).tolist()
        value = registry.load("spo")(clip=0.2).surrogate(samples_of(ratios, [advantage] * 1001))
        assert ratios[int(value.argmax())] == pytest.approx(best)


SMALL: dict[str, Any] = {"horizon": 64, "num_envs": 2, "epochs": 3, "minibatches": 4, "hidden": (8,), "lr": 3e-3}


def run(name: str, task: str = "CartPole-v1", **settings: Any) -> RunRecord:
    (record,) = train([configure(registry.load(name), SMALL | settings, name)], Environment(task), 640, [1])
    assert record.status == "finished"
    return record


def same(one: RunRecord, other: RunRecord) -> bool:
    names = one.updates.keys() & other.updates.keys()
    return all(np.array_equal(one.updates[name], other.updates[name], equal_nan=True) for name in names)


@pytest.mark.parametrize(
    ("name", "neutral", "effective", "original"),
    [
        ("ppo-early-stop", {"target_kl": INF}, {"target_kl": 1e-3}, "ppo-clip"),
        ("ppo-dual-clip", {"dual": INF}, {"dual": 1.0}, "ppo-clip"),
        ("ppo-clip-higher", {"clip_high": 0.2}, {"clip_high": 0.0}, "ppo-clip"),
        ("ppo-rollback", {"rollback": 0.0}, {"rollback": 5.0}, "ppo-clip"),
        ("truly-ppo", {"rollback": 0.0}, {"rollback": 50.0, "delta": 0.0}, "actor-critic"),
        ("espo", {"delta": INF}, {"delta": 0.02}, "actor-critic"),
    ],
)
def test_without_effect_a_variant_is_what_it_varies(
    name: str, neutral: dict[str, float], effective: dict[str, float], original: str
) -> None:
    assert same(run(name, **neutral), run(original))
    assert not same(run(name, **effective), run(original))


def test_vtrace_by_hand() -> None:
    rng = np.random.default_rng(0)
    reward, value, following = (torch.from_numpy(rng.normal(size=(7, 2))) for _ in range(3))
    ended = torch.from_numpy(rng.random((7, 2)) < 0.3)
    terminated = ended & torch.from_numpy(rng.random((7, 2)) < 0.5)
    ratio = torch.from_numpy(np.exp(rng.normal(size=(7, 2))))
    tr = Trajectory(
        reward, value, following, terminated, ended,
        acted=lambda: torch.zeros(7, 2, dtype=torch.float64), improved=lambda: ratio.log(),
    )  # fmt: skip
    settings = {"gamma": 0.9, "gae_lambda": 0.8, "rho": 1.3, "trace": 0.7}
    advantage, target = registry.load("ppo-vtrace")(**settings).advantages(tr)
    for n in range(2):
        later = 0.0
        for t in reversed(range(7)):
            error = reward[t, n] + 0.9 * following[t, n] * (not terminated[t, n]) - value[t, n]
            later = min(1.3, ratio[t, n]) * error + (0.0 if ended[t, n] else 0.9 * 0.8 * min(0.7, ratio[t, n]) * later)
            assert float(advantage[t, n]) == pytest.approx(float(later))
            assert float(target[t, n]) == pytest.approx(float(later + value[t, n]))


def test_vtrace_of_the_policy_that_acted_is_gae_and_later_epochs_differ() -> None:
    assert same(run("ppo-vtrace", reestimate=False), run("ppo-clip"))
    assert same(run("ppo-vtrace", epochs=1), run("ppo-clip", epochs=1))
    traced, again = run("ppo-vtrace"), run("ppo-clip", reestimate=True)
    assert not same(traced, run("ppo-clip"))
    assert not same(again, run("ppo-clip"))
    assert not same(traced, again)
    assert same(run("ppo-vtrace", rho=INF, trace=INF, lr=0.0), run("ppo-clip", lr=0.0))  # nothing moved: ratio 1


def test_rpo_moves_the_means_of_gaussian_policies_only() -> None:
    assert same(run("rpo"), run("ppo-clip"))
    plain, moved, again = (run(name, task="Pendulum-v1") for name in ("ppo-clip", "rpo", "rpo"))
    assert same(moved, again)
    assert same(run("rpo", task="Pendulum-v1", mean_noise=0.0), plain)
    assert not same(moved, plain)
    first = [record.updates["entropy"][0] for record in (plain, moved)]
    assert first[1] > first[0]  # what is likely wherever the mean lies is a wider policy


def test_noise_is_a_replica_s_own_whatever_it_trains_with() -> None:
    rpo = [configure(registry.load("rpo"), SMALL | {"mean_noise": noise}, "rpo") for noise in (0.3, 0.0, 0.5)]
    packed = train(rpo, Environment("Pendulum-v1"), 640, [1, 2, 3])
    for algorithm, seed, record in zip(rpo, (1, 2, 3), packed, strict=True):
        assert same(train([algorithm], Environment("Pendulum-v1"), 640, [seed])[0], record)


def test_a_group_is_the_baseline() -> None:
    """Three episodes of two steps that are paid at their end, and one that is under way."""
    reward = torch.tensor([[0.0, 0.0], [4.0, 1.0], [0.0, 0.0], [1.0, 9.0]], dtype=torch.float64)
    ended = torch.tensor([[False, False], [True, True], [False, False], [True, False]])
    zero = torch.zeros(4, 2, dtype=torch.float64)
    for leave_one_out, first in ((False, 4 - 2), (True, 4 - (1 + 1) / 2)):
        group = registry.load("grpo")(leave_one_out=leave_one_out)
        advantage, _, weight = group.advantages(Trajectory(reward, zero, zero, ended, ended))
        assert advantage[:2, 0].tolist() == pytest.approx([first, first])
        assert weight.tolist() == [[1, 1], [1, 1], [1, 0], [1, 0]]


def test_espo_stops_an_update() -> None:
    few, all_ = run("espo", delta=0.005, lr=3e-2), run("actor-critic", lr=3e-2)
    assert few.gradient_steps < all_.gradient_steps == 5 * 12


def test_a2c_is_an_actor_critic_with_other_settings() -> None:
    settings = {"gae_lambda": 1.0, "value_coef": 1.0, "anneal_lr": False, "normalize_advantage": "none"}
    alike = {"epochs": 1, "minibatches": 1, "optimizer": "rmsprop", **settings}
    assert same(run("a2c", epochs=1, minibatches=1), run("actor-critic", **alike))
    assert not same(run("a2c", epochs=1, minibatches=1), run("a2c", epochs=1, minibatches=1, optimizer="adam"))


def test_the_value_has_a_step_size_of_its_own() -> None:
    assert same(run("ppo-clip", value_lr_factor=1.0), run("ppo-clip"))
    still, moved = (run("ppo-clip", value_lr_factor=factor) for factor in (0.0, 3.0))
    losses = [record.updates["value_loss"] for record in (still, run("ppo-clip"), moved)]
    assert losses[0][0] > losses[1][0] > losses[2][0]  # in its first update the policy collects the same


NAMES = ["a2c", "espo", "grpo", "ppo-clip-higher", "ppo-dual-clip", "ppo-early-stop", "ppo-rollback", "ppo-vtrace"]


@pytest.mark.parametrize("name", [*NAMES, "rpo", "spo", "truly-ppo"])
def test_a_variant_takes_thirty_lines_at_most(name: str) -> None:
    source = inspect.getsource(inspect.getmodule(registry.load(name)))
    assert len(source.splitlines()) <= 30


def test_an_unknown_optimiser_is_refused() -> None:
    choices = "'adam', 'rmsprop', 'rmsprop-tf', 'sgd'"
    with pytest.raises(RlbenchError, match=f"optimizer must be one of {choices}, not 'lamb'"):
        configure(registry.load("ppo-clip"), {"optimizer": "lamb"}, "x")
