"""What the trainer sees of any environment: R replicas of N copies, stepped together.

Axes: R replicas, N copies per replica, O width of an encoded observation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from rlbench.training.envs.spaces import ActionSpec
from rlbench.training.state import State

Floats = npt.NDArray[np.float64]
Observations = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

_STREAM = 0x656E76  # "env": keeps the copies' seeds apart from every other stream derived from a run's seed


class Step(NamedTuple):
    """The outcome of one step of all copies, in arrays of its own (the two observations may be one array).

    A copy that ended was reset within the step, so there is no bogus transition after it.
    `next_observation` is the true successor, from which a truncated episode bootstraps; `observation` is
    where the policy acts next. Where nothing ended the two are equal. `terminated` and `truncated` may both
    be true: the episode then ended by itself in the step in which its time was up, and has no value to
    bootstrap.
    """

    observation: Observations  # [R, N, O], after the reset of the copies that ended
    next_observation: Observations  # [R, N, O], before it
    reward: Floats  # [R, N]
    terminated: Flags  # [R, N], the environment's own end
    truncated: Flags  # [R, N], cut from outside, as by a time limit


class Failure(NamedTuple):
    """How an environment failed: the `cause` in words that follow "the environment", and the traceback.

    `again`: whether the same replica may end otherwise when it is tried again.
    """

    cause: str
    trace: str
    again: bool = False


class EnvBatch(Protocol):
    """R x N copies of one environment; a replica's numbers depend on its own seed and actions only.

    `failures` maps a replica whose environment raised, or did not return in time, to how. Such a replica yields
    zeros (no reward, no ends) from then on and is not stepped again; the others are untouched. NaN in an
    observation or a reward is passed on as it is: whether that ends a run is the trainer's decision.
    """

    observation_size: int
    action: ActionSpec
    replicas: int
    num_envs: int
    failures: dict[int, Failure]

    def reset(self, seeds: Sequence[int]) -> Observations:
        """Start all copies anew, from one seed per replica; return the observations [R, N, O]."""

    def step(self, action: npt.NDArray[Any]) -> Step:
        """Advance all copies by one step; `action` is as `ActionSpec` says, [R, N] or [R, N, K]."""

    def state(self, replica: int) -> State:
        """Return where the copies of one replica are; UnusableError where they cannot be brought there again."""

    def restore(self, replica: int, state: State) -> None:
        """Bring the copies of one replica, after a reset from the same seed, to where `state` found them.

        UnusableError where they do not get there.
        """

    def close(self) -> None:
        """Release what the environments hold."""


def copy_seeds(seed: int, num_envs: int) -> list[int]:
    """Return the integer seed of each copy of a replica, of 31 bits, which every environment accepts.

    Copy n gets the first word of `numpy.random.SeedSequence(seed, spawn_key=(0x656E76, n))`, less one bit,
    so a copy's seed does not depend on how many copies there are.
    """
    streams = (np.random.SeedSequence(seed, spawn_key=(_STREAM, copy)) for copy in range(num_envs))
    return [int(stream.generate_state(1, np.uint32)[0] >> 1) for stream in streams]
