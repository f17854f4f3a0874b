"""A policy in the middle of its training, held fixed: its rollouts, its values, and the gradients they give.

Everything is done by the engine that trains: its collector, its estimates, its gradients. R independent rollouts of
one policy are R replicas with the same parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rlbench import Algorithm, Environment, Trajectory, registry
from rlbench.algorithm import configure, stack
from rlbench.functional.distributions import Family
from rlbench.functional.networks import ActorCritic
from rlbench.functional.optimizers import AdamState
from rlbench.improve.compiled import CompiledProblem
from rlbench.improve.minibatches import Rollout
from rlbench.lab import environments
from rlbench.training.engines import Training
from rlbench.training.noise import Streams
from rlbench.training.rollout import Collector, Experience, trajectory

Array = npt.NDArray[Any]

STEPS = {"CartPole-v1": 10_240, "Acrobot-v1": 40_960, "Pendulum-v1": 40_960}
"""Environment steps after which policies are held fixed: 5 or 20 updates of the default PPO-Clip.

Where the task is partly learnt. CartPole's policies no longer fail after 20,480 steps, and where nothing fails all
returns are equal; some of Acrobot's have not reached the goal once after 10,240.
"""
CHUNK = 65_536
"""Samples whose gradients are computed at a time, so that their activations need no more than some 100 MB."""


@dataclass(eq=False)
class FixedPolicy:
    """What is held fixed: parameters `[1, P]` of policy and critic, and the optimiser as training left it."""

    environment: Environment
    algorithm: Algorithm
    network: ActorCritic
    family: Family
    params: Array
    optimizer: AdamState

    def tiled(self, replicas: int) -> Array:
        """Return the parameters once for each replica, `[R, P]`."""
        return np.repeat(self.params, replicas, axis=0)

    def trajectory(self, experience: Experience) -> Trajectory:
        """Return the rewards and ends of rollouts `[T, R, N]` with the critic's values."""
        return trajectory(self.network, self.tiled(experience.reward.shape[1]), experience)


def algorithm(name: str, **settings: Any) -> Algorithm:
    """Return a built-in algorithm with some fields set."""
    return configure(registry.load(name), settings, f"Algorithm {name!r}")


def trained(environment: Environment, seed: int, steps: int, **settings: Any) -> FixedPolicy:
    """Return the default PPO-Clip after `steps`; its step size is not annealed, so that it is in full training."""
    one = algorithm("ppo-clip", anneal_lr=False, **settings)
    training = Training([one], environment, steps, [seed])
    with np.errstate(all="ignore"):
        training.run(None)
    training.close()
    return FixedPolicy(environment, one, training.network, training.family, training.params, training.optimizer)


def fresh_seeds(seed: int, purpose: int, count: int) -> list[int]:
    """Return seeds of 32 bits for rollouts that share nothing with the training of `seed` or other purposes."""
    return np.random.SeedSequence([seed, 0x6D656368, purpose]).generate_state(count).tolist()


def rollouts(policy: FixedPolicy, seeds: Sequence[int], horizon: int) -> Experience:
    """Return one rollout of `horizon` steps per seed, `[T, R, 1]`, each from a fresh start."""
    collector, _ = collecting(policy, seeds)
    return collector.collect(policy.tiled(len(seeds)), horizon, np.ones(len(seeds), bool))


def collecting(policy: FixedPolicy, seeds: Sequence[int]) -> tuple[Collector, environments.EnvBatch]:
    """Return what collects one rollout per seed, and its environments."""
    replicas = len(seeds)
    envs = environments.make(policy.environment, replicas, 1)
    one = [policy.algorithm] * replicas
    return Collector(envs, policy.family, policy.network, one, seeds, Streams(seeds)), envs


def segments(experience: Experience, length: int) -> Experience:
    """Return rollouts `[T, R, N]` cut into T / length consecutive ones, `[length, R T / length, N]`.

    Each is what training would have seen of these steps: it ends where the next one begins.
    """
    horizon, replicas, _ = experience.reward.shape
    count = horizon // length
    assert count * length == horizon, f"{horizon} steps cannot be cut into pieces of {length}"

    def cut(x: Array) -> Array:
        pieces = x.reshape(count, length, *x.shape[1:])
        return np.moveaxis(pieces, 0, 2).reshape(length, replicas * count, *x.shape[2:])

    following = np.concatenate([experience.observation[length::length], experience.last_observation[None]])
    truncations: dict[int, tuple[Array, Array, Array]] = {}
    for r, (times, copies, finals) in experience.truncations.items():
        for s in np.unique(times // length):
            own = times // length == s
            truncations[r * count + int(s)] = (times[own] % length, copies[own], finals[own])
    return Experience(
        observation=cut(experience.observation),
        action=cut(experience.action),
        reward=cut(experience.reward),
        terminated=cut(experience.terminated),
        ended=cut(experience.ended),
        last_observation=np.moveaxis(following, 0, 1).reshape(replicas * count, *following.shape[2:]),
        truncations=truncations,
    )


def problem_of(policy: FixedPolicy, rollout: Rollout, *, seeds: Sequence[int] = (), **settings: Any) -> CompiledProblem:
    """Return the improvement step of the policy on R rollouts; `seeds`, one each, decide their permutations."""
    replicas = len(rollout.observation)
    one = replace(policy.algorithm, **settings)  # type: ignore[type-var]  # a dataclass since subclassing
    state = policy.optimizer
    moments = (np.repeat(part, replicas, axis=0) for part in (state.first, state.second, state.steps))
    return CompiledProblem(
        stack([one] * replicas), policy.network, policy.family, policy.tiled(replicas),
        AdamState(*moments, split=state.split), rollout,
        lr=np.full((replicas, 1), one.lr, np.float32), alive=np.ones(replicas, bool), permute=Streams(seeds).permute,
    )  # fmt: skip


def gradients(policy: FixedPolicy, rollout: Rollout) -> Array:
    """Return the policy gradient that each of R rollouts gives with its advantages as they are, `[R, P]`.

    P counts the policy's parameters; double precision, since sums over rollouts follow.
    """
    parts = []
    for part in _chunks(rollout):
        problem = problem_of(policy, part, normalize_advantage="none")
        _, gradient, _ = problem.gradient(problem.params, problem.full())
        parts.append(gradient.numpy()[:, : policy.network.policy_size].astype(np.float64))
    return np.concatenate(parts)


def some(rollout: Rollout, replicas: Any) -> Rollout:
    """Return the rollouts of some replicas: indices or a slice."""
    parts = {field.name: getattr(rollout, field.name) for field in fields(rollout)}
    return Rollout(**{name: None if part is None else part[replicas] for name, part in parts.items()})


def _chunks(rollout: Rollout) -> Iterator[Rollout]:
    """Yield the rollouts some at a time."""
    replicas, size = rollout.observation.shape[:2]
    each = max(CHUNK // size, 1)
    for start in range(0, replicas, each):
        yield some(rollout, slice(start, start + each))
