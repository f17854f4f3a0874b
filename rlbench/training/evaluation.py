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
from rlbench.training.envs import EnvBatch, Failure, copy_seeds
from rlbench.training.envs.classic import ClassicBatch
from rlbench.training.policy import Policy
from rlbench.training.state import Array

EVALUATION = 2**63  # the seeds of runs are smaller
LONGEST = 100_000  # steps of an episode: one that has not ended by then has no return
_FIRST, _CHUNK = 32, 256  # steps between two looks whether all episodes have ended


class Episodes(NamedTuple):
    """Returns `[R, E]`, NaN where an episode did not end or its environment failed; lengths `[R, E]`; and failures."""

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

    Equal to the bit, in classic control, to what each gives in Gymnasium's own environment, reset with `seeds_of` and
    asked action by action; `tests/training/test_evaluation.py` does so. Raises RlbenchError where the environment
    cannot be made.
    """
    with contextlib.closing(environments.make(environment, 1, 1)) as batch:
        many = isinstance(batch, ClassicBatch)
    groups = [policies] if many else [[policy] for policy in policies]
    played = []
    for group in groups:
        with contextlib.closing(environments.make(environment, len(group), episodes)) as batch:
            played.append(_play(group, batch, deterministic=deterministic))
    return Episodes(
        np.concatenate([one.returns for one in played]),
        np.concatenate([one.lengths for one in played]),
        {row: failed for row, one in enumerate(played) for failed in one.failures.values()},
    )


def _play(policies: Sequence[Policy], batch: EnvBatch, *, deterministic: bool) -> Episodes:
    first, shape = policies[0], (len(policies), batch.num_envs)
    now = batch.reset([EVALUATION] * len(policies))
    returns, lengths, ended = np.zeros(shape), np.zeros(shape, np.int64), np.zeros(shape, bool)
    generators = generators_of(batch.num_envs)
    built_in = isinstance(batch, ClassicBatch) and first.network is not None and first.statistics is None
    params = np.concatenate([policy.params for policy in policies]) if built_in else None
    horizon, taken = _FIRST, 0
    while taken < LONGEST and not ended.all():
        noise = np.zeros((horizon, *shape, first.family.noise_size), np.float32)
        if not deterministic:
            noise[:] = np.stack([first.family.draw_noise(rng, (horizon,)) for rng in generators], axis=1)[:, None]
        if params is not None and first.network and first.family.sampler and isinstance(batch, ClassicBatch):
            record = batch.rollout(first.network, params, first.family, noise, now)
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
                batch.rest(ended)
                now = step.observation
        taken, horizon = taken + horizon, min(2 * horizon, _CHUNK)
    return Episodes(np.where(ended, returns, np.nan), lengths, dict(batch.failures))


def _count(reward: Array, over: Array, returns: Array, lengths: Array, ended: Array) -> None:
    """Take a step `[R, E]` into the episodes that had not ended before it."""
    returns += np.where(ended, 0.0, reward)
    lengths += ~ended
    ended |= over
