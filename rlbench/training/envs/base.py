"""What the trainer sees of any environment: R replicas of N copies, stepped together, and the spaces of Gymnasium.

Observations are flat float32 vectors of O numbers, actions of one of four kinds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from rlbench.errors import RlbenchError
from rlbench.training.state import State

LARGEST = float(np.finfo(np.float32).max)
_WIDEST = 1e6  # bounds beyond which there might as well be none
MOST_CATEGORIES = 2**16  # of a Discrete observation: a rollout of 2,048 steps then takes half a GiB for each run

Kind = Literal["categorical", "multicategorical", "bernoulli", "gaussian", "squashed"]


class UnusableValue(ValueError):
    """What an environment returned cannot be learnt from; the message follows the words "the environment"."""


@dataclass(frozen=True, eq=False)
class ActionSpec:
    """What a policy must produce, and how that becomes an action of the environment.

    | kind             | space         | sizes              | the learner's action             |
    |------------------|---------------|--------------------|----------------------------------|
    | categorical      | Discrete      | (n,)               | ints [...] from 0                |
    | multicategorical | MultiDiscrete | (n_1, ..., n_K)    | ints [..., K] from 0             |
    | bernoulli        | MultiBinary   | (K,)               | ints or bools [..., K], 0 or 1   |
    | gaussian         | Box of floats | (A,)               | floats [..., A], any real number |
    | squashed         | Box of floats | (A,)               | floats [..., A], any real number |

    `start` is added to the categories; `low` and `high` bound what the environment receives: a Gaussian action is cut
    to them, of a squashed one the hyperbolic tangent is stretched to them. The learner keeps its own action, as it was
    before, since that is the one whose probability it knows. Spaces of several
    axes are flattened in C order; `shape` and `dtype` are the environment's own.
    """

    kind: Kind
    sizes: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: npt.NDArray[np.int64] | None = None  # [K] or []
    low: npt.NDArray[Any] | None = None  # [A]
    high: npt.NDArray[Any] | None = None  # [A]

    @property
    def is_real(self) -> bool:
        """Whether actions are real numbers, of a policy with a mean and a standard deviation for each."""
        return self.kind in ("gaussian", "squashed")

    def squashed(self, environment: str) -> Self:
        """Return the same for a policy whose actions are squashed to the bounds, if they are real numbers.

        RlbenchError where they have no bounds; the message names `environment`.
        """
        if self.kind != "gaussian":
            return self
        if not (np.abs([self.low, self.high]) <= _WIDEST).all():  # type: ignore[arg-type]
            raise RlbenchError(
                f"{environment}: squash needs actions with bounds of at most {_WIDEST:,.0f}, and these reach further; "
                "leave it out."
            )
        return replace(self, kind="squashed")

    @cached_property
    def _from_zero(self) -> bool:
        """Whether the learner's index, a 64-bit integer, is the environment's action."""
        return self.dtype == np.int64 and not np.any(self.start)

    def draw(self, rng: np.random.Generator) -> npt.NDArray[Any]:
        """Return a learner's action for one copy, [1] or [1, K], drawn by chance."""
        if self.is_real:
            return rng.normal(size=(1, *self.sizes)).astype(np.float32)
        if self.kind == "bernoulli":
            return rng.integers(2, size=(1, *self.sizes))
        drawn = rng.integers(self.sizes, size=(1, len(self.sizes)))
        return drawn[:, 0] if self.kind == "categorical" else drawn

    def to_environment(self, action: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the environment's actions [..., *shape] for the learner's, [...] or [..., K]."""
        if self.kind == "categorical":
            return action if self._from_zero else (action + self.start).astype(self.dtype)
        if self.kind == "multicategorical":
            sent = (action + self.start).astype(self.dtype)
        elif self.kind == "gaussian":
            sent = np.clip(action.astype(self.dtype), self.low, self.high)
        elif self.kind == "squashed":
            from rlbench.functional.likelihoods import squash  # here, since that loads the compiler

            rows = action.reshape(-1, *self.sizes).astype(np.float64)
            low, high = (np.asarray(bound, np.float64) for bound in (self.low, self.high))
            squash(rows, low, high, rows)
            sent = rows.reshape(action.shape).astype(self.dtype)
        else:
            sent = action.astype(self.dtype)
        return sent.reshape(action.shape[:-1] + self.shape)


def action_spec(space: spaces.Space[Any], environment: str) -> ActionSpec:
    """Return the `ActionSpec` of an action space.

    Raises:
        RlbenchError: the space is not supported; the message names `environment` and the space.
    """
    if isinstance(space, spaces.Discrete):
        start = np.asarray(space.start, np.int64)
        return ActionSpec("categorical", (int(space.n),), (), np.dtype(space.dtype), start=start)
    if isinstance(space, spaces.MultiDiscrete):
        sizes = tuple(int(n) for n in space.nvec.flat)
        start = np.asarray(space.start, np.int64).ravel()
        return ActionSpec("multicategorical", sizes, space.nvec.shape, np.dtype(space.dtype), start=start)
    if isinstance(space, spaces.MultiBinary):
        shape = tuple(int(n) for n in space.shape)
        return ActionSpec("bernoulli", (int(np.prod(shape)),), shape, np.dtype(space.dtype))
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        sizes = (int(np.prod(space.shape)),)
        bounds = {"low": space.low.ravel(), "high": space.high.ravel()}
        return ActionSpec("gaussian", sizes, space.shape, np.dtype(space.dtype), **bounds)
    raise RlbenchError(
        f"Environment {environment!r} has the action space {space}, which is not supported: "
        "it must be Discrete, MultiDiscrete, MultiBinary or a Box of floats."
    )


class ObservationEncoder:
    """Turns a batch of observations [...] x space into flat float32 vectors [..., size].

    Of a Box of any shape and numeric dtype they are its numbers, of a Discrete space one-hot vectors.

    shape        the environment's own; of one-hot vectors theirs
    space_shape  of what the environment returns
    first        the first category, of one-hot vectors; else None
    """

    def __init__(self, shape: Sequence[int], categories: int | None = None, first: int = 0) -> None:
        self.space_shape = tuple(shape)
        self.shape = self.space_shape if categories is None else (categories,)
        self.size, self.first = math.prod(self.shape), None if categories is None else first

    @classmethod
    def of(cls, space: spaces.Space[Any], environment: str) -> Self:
        """Return the encoder of a space.

        Raises:
            RlbenchError: the space is not supported; the message names `environment` and the space.
        """
        if isinstance(space, spaces.Discrete):
            if space.n > MOST_CATEGORIES:
                raise RlbenchError(
                    f"Environment {environment!r} has {int(space.n):,} different observations, and a one-hot vector is "
                    f"made for at most {MOST_CATEGORIES:,}; register a version whose observations are numbers, such "
                    "as the coordinates that an index stands for."
                )
            return cls((), int(space.n), int(space.start))
        if isinstance(space, spaces.Box):
            return cls(space.shape)
        raise RlbenchError(
            f"Environment {environment!r} has the observation space {space}, which is not supported: "
            "it must be Box or Discrete (register a version wrapped in gymnasium's FlattenObservation)."
        )

    def document(self) -> dict[str, Any]:
        """Return as JSON the arguments that it was made with."""
        known = {} if self.first is None else {"categories": self.size, "first": self.first}
        return {"shape": list(self.space_shape), **known}

    def __call__(self, observation: Any, batch: tuple[int, ...] = ()) -> npt.NDArray[np.float32]:
        """Return [*batch, size] for observations of shape [*batch, *space.shape], in an array of its own.

        Raises:
            UnusableValue: an observation is not of real numbers, or of such as single precision cannot hold.
            ValueError: an observation has the wrong size, or is no member of its Discrete space.
        """
        observation = np.asarray(observation)
        if observation.dtype.kind in "USc":  # which numpy would read as numbers, or cut down to them
            raise UnusableValue(f"returned an observation that is not of real numbers but of {observation.dtype}")
        if self.first is None:
            encoded: npt.NDArray[np.float32] = np.array(observation, np.float32).reshape(*batch, self.size)
            if (
                np.isinf(encoded).any()
                and (wrong := np.abs(observation[np.isfinite(observation)]).max(initial=0)) > LARGEST
            ):
                raise UnusableValue(
                    f"returned {wrong:g} in an observation, beyond the {LARGEST:.2g} of single precision"
                )
            return encoded
        index = (observation - self.first).reshape(*batch, 1)
        if np.any((index < 0) | (index >= self.size)):
            raise ValueError(f"observation {observation} lies outside {self.first}..{self.first + self.size - 1}")
        one_hot = np.zeros((*batch, self.size), np.float32)
        np.put_along_axis(one_hot, index, 1, axis=-1)
        return one_hot


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

    observation: ObservationEncoder
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
