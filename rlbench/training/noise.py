"""All random numbers of a run, as streams that are functions of its own seed.

The environment's stream belongs to the environment (`rlbench.training.envs`). Runs of different algorithms with the
same seed share all of them, which is what makes a comparison paired by seed.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rlbench.training.state import State, from_generators, to_generators

_STREAMS = ("weights", "actions", "permutations", "shifts")


class Streams:
    """One generator per replica and purpose."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.weights, self.actions, self.permutations, self.shifts = (
            [np.random.default_rng(np.random.SeedSequence([seed, tag])) for seed in seeds]
            for tag in range(1, len(_STREAMS) + 1)
        )

    def permute(self, size: int) -> npt.NDArray[np.int64]:
        """Return a fresh permutation of range(size) for every replica, `[R, size]`."""
        return np.stack([rng.permutation(size) for rng in self.permutations])

    def shift(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Return fresh uniform numbers between -1 and 1 for every replica, `[R, *shape]`."""
        return np.stack([2 * rng.random(shape, np.float32) - 1 for rng in self.shifts])

    def state(self, replica: int) -> State:
        """Return where the streams of one replica are."""
        return {"generators": from_generators(self._of(replica))}

    def restore(self, replica: int, state: State) -> None:
        """Put the streams of one replica where `state` found them."""
        to_generators(state["generators"], self._of(replica))

    def _of(self, replica: int) -> list[np.random.Generator]:
        return [getattr(self, name)[replica] for name in _STREAMS]
