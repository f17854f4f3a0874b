"""Whole episodes played by policies that do not learn meanwhile.

Episode i begins from the same seed for every policy, of every run and every arm: common random numbers, so that
policies differ and not their luck. The seeds are those of the copies of a run whose seed no run can have
(`EVALUATION`), so they come from a stream of their own. What a policy draws in episode i, where it draws, comes from
generator i, whatever happens in the others: the first 20 of 100 episodes are those of an evaluation of 20.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rlbench.records import Environment
from rlbench.training import envs as environments
from rlbench.training.envs import Failure, copy_seeds
from rlbench.training.envs.classic import ClassicBatch
from rlbench.training.policy import Policy
from rlbench.training.state import Array

EVALUATION = 2**63  # the seeds of runs are smaller
LONGEST = 100_000  # steps of an episode: one that has not ended by then has no return
_FIRST, _CHUNK = 32, 256  # steps between two looks whether all episodes have ended


class Episodes(NamedTuple):
    """Returns and lengths `[R, E]`, NaN where an episode did not end, returns also where its environment failed."""

    returns: Array
    lengths: Array
    failures: dict[int, Failure]


def seeds_of(episodes: int) -> list[int]:
    """Return what the environment of each episode is reset with."""
    return copy_seeds(EVALUATION, episodes)


def generators_of(episodes: int) -> list[np.random.Generator]:
    """Return what a policy draws its actions from in each episode, where it draws them."""
    return [np.random.default_rng(np.random.SeedSequence([EVALUATION, episode])) for episode in range(episodes)]


def evaluate(
    policies: Sequence[Policy], environment: Environment, episodes: int, *, deterministic: bool = True
) -> Episodes:
    """Return how R policies that were trained alike fare in the same `episodes`.

    Equal to the bit, in classic control and MuJoCo, to what each gives in Gymnasium's own environment, reset with
    `seeds_of` and asked action by action; `tests/training/test_evaluation.py` does so. Raises RlbenchError where the
    environment cannot be made.
    """
    with contextlib.closing(Arena(environment, len(policies), episodes)) as arena:
        return arena.play(policies, deterministic=deterministic)


class Arena:
    """The copies of an environment that episodes are played in: for all policies at once where they are compiled.

    Elsewhere one policy after the other plays in the same copies, which are reset with the same seeds each time.
    """

    def __init__(self, environment: Environment, policies: int, episodes: int) -> None:
        """Make them; RlbenchError where they cannot be made."""
        self._batch = environments.make(environment, 1, episodes, once=True)
        if isinstance(self._batch, ClassicBatch):
            self._batch = environments.make(environment, policies, episodes)

    def close(self) -> None:
        """Close the environments."""
        self._batch.close()

    def play(self, policies: Sequence[Policy], *, deterministic: bool) -> Episodes:
        """Return how the policies fare."""
        together = self._batch.replicas
        groups = [policies[at : at + together] for at in range(0, len(policies), together)]
        played = [self._play(group, deterministic=deterministic) for group in groups]
        return Episodes(
            np.concatenate([part.returns for part in played]),
            np.concatenate([part.lengths for part in played]),
            {row: failed for row, part in enumerate(played) for failed in part.failures.values()},
        )

    def _play(self, policies: Sequence[Policy], *, deterministic: bool) -> Episodes:
        batch, first = self._batch, policies[0]
        batch.action, shape = first.action, (len(policies), batch.num_envs)
        now = batch.reset([EVALUATION] * len(policies))
        returns, lengths, ended = np.zeros(shape), np.zeros(shape), np.zeros(shape, bool)
        generators = generators_of(batch.num_envs)
        network, family, plain = first.network, first.family, first.statistics is None
        horizon, taken = _FIRST, 0
        while taken < LONGEST and not ended.all():
            noise = np.zeros((horizon, *shape, family.noise_size), np.float32)
            if not deterministic:
                noise[:] = np.stack([family.draw_noise(rng, (horizon,)) for rng in generators], axis=1)[:, None]
            if isinstance(batch, ClassicBatch) and network is not None and plain and family.sampler:
                params = np.concatenate([policy.params for policy in policies])
                record = batch.rollout(network, params, family, noise, now)
                for reward, over in zip(record.reward, record.ended, strict=True):
                    _count(reward.reshape(shape), over.reshape(shape), returns, lengths, ended)
            else:
                for drawn in noise:
                    if ended.all():
                        break
                    pairs = zip(policies, now, drawn, strict=True)
                    step = batch.step(np.stack([policy.act(seen, each) for policy, seen, each in pairs]))
                    _count(step.reward, step.terminated | step.truncated, returns, lengths, ended)
                    for failed in batch.failures:
                        ended[failed], returns[failed] = True, np.nan
                    now = step.observation
            taken, horizon = taken + horizon, min(2 * horizon, _CHUNK)
        returns[~ended] = lengths[~ended] = np.nan
        return Episodes(returns, lengths, dict(batch.failures))


def _count(reward: Array, over: Array, returns: Array, lengths: Array, ended: Array) -> None:
    """Take a step `[R, E]` into the episodes that had not ended before it."""
    returns += np.where(ended, 0.0, reward)
    lengths += ~ended
    ended |= over
