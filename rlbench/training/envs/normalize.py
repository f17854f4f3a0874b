"""Running normalisation of observations and rewards, with statistics of each replica's own.

The definitions are those of OpenAI Gym 0.26's wrappers `NormalizeObservation` and `NormalizeReward` with
the clipping that CleanRL's `ppo_continuous_action.py` adds; Gymnasium's vector wrappers descend from them.
Two differences in use: CleanRL wraps every copy by itself, while here the N copies of a replica share their
statistics, as in Gymnasium's vector wrappers; and today's Gymnasium forgets the running return one step
early where an episode terminates, while here, as in Gym 0.26, the last reward still belongs to the
episode's return.

Everything is computed element by element over the replicas in float64, so that a replica's numbers do not
depend on how many there are.
"""

import numpy as np
import numpy.typing as npt

from rlbench.functional.compiled import exact, exact_inlined, summed
from rlbench.training.envs.base import Flags, Floats, Observations
from rlbench.training.state import Saved

EPSILON = 1e-8  # added to the variance
CLIP = 10.0


@exact_inlined
def _mean(values: Floats, size: int) -> float:
    """Return what numpy's mean over the middle axis is, which adds up side by side only where the last is of size 1."""
    total = values[0]
    if size == 1:
        total = summed(values)
    else:
        for n in range(1, len(values)):
            total += values[n]
    mean: float = total / len(values)
    return mean


@exact
def take_in(batch: Floats, mean: Floats, variance: Floats, count: float) -> None:
    """Take N samples per replica `[R, N, K]` into moments `[R, K]` of `count` samples."""
    replicas, samples, size = batch.shape
    total = count + samples
    column = np.empty(samples)
    for r in range(replicas):
        for k in range(size):
            column[:] = batch[r, :, k]
            centre = _mean(column, size)
            for n in range(samples):
                column[n] = (column[n] - centre) * (column[n] - centre)
            spread = _mean(column, size)
            delta = centre - mean[r, k]
            mean[r, k] += delta * samples / total
            squares = variance[r, k] * count + spread * samples
            variance[r, k] = (squares + delta * delta * count * samples / total) / total


class RunningMoments(Saved):
    """Mean and variance of everything seen, [R, K], by the parallel update of Chan, Golub and LeVeque (1979).

    They start as if a ten-thousandth of a sample of mean 0 and variance 1 had been seen, as in Gym.
    """

    ROWS, COMMON = ("mean", "variance"), ("count",)

    def __init__(self, replicas: int, size: int) -> None:
        self.mean: Floats = np.zeros((replicas, size))
        self.variance: Floats = np.ones((replicas, size))
        self.count = 1e-4

    def update(self, batch: Floats) -> None:
        """Take in N samples per replica, [R, N, K]."""
        take_in(batch, self.mean, self.variance, self.count)
        self.count += batch.shape[1]

    def scale(self) -> Floats:
        """Return the standard deviation, kept away from zero, [R, K]."""
        deviation: Floats = np.sqrt(self.variance + EPSILON)
        return deviation


class ObservationNormalizer(Saved):
    """Shifts and scales observations to mean 0 and variance 1, clipped to [-10, 10]."""

    PARTS = ("moments",)

    def __init__(self, replicas: int, size: int) -> None:
        self.moments = RunningMoments(replicas, size)

    def update_and_apply(self, observation: Observations) -> Observations:
        """Take in the observations [R, N, O], then return them normalised; once per environment step."""
        self.moments.update(observation.astype(np.float64, order="C"))
        return self.apply(observation)

    @property
    def statistics(self) -> Floats:
        """What observations are shifted and divided by, `[R, 2, O]`."""
        return np.stack([self.moments.mean, self.moments.scale()], axis=1)

    def apply(self, observation: Observations) -> Observations:
        """Normalise [R, ..., O] with the statistics so far, as for the final observations of episodes."""
        lead = (observation.shape[0], *[1] * (observation.ndim - 2), observation.shape[-1])
        return standardised(observation, self.moments.mean.reshape(lead), self.moments.scale().reshape(lead))


def standardised(observation: Observations, mean: Floats, scale: Floats) -> Observations:
    """Return observations shifted and scaled, clipped to [-10, 10]; the shapes broadcast."""
    return np.clip((observation - mean) / scale, -CLIP, CLIP).astype(np.float32)


class RewardNormalizer(Saved):
    """Divides rewards by the standard deviation of the running discounted return, clipped to [-10, 10]."""

    ROWS, PARTS = ("returns",), ("moments",)

    def __init__(self, replicas: int, num_envs: int, gamma: npt.ArrayLike) -> None:
        """Start with returns of 0; `gamma` is the discount, a number or one per replica [R]."""
        self.moments = RunningMoments(replicas, 1)
        self.gamma = np.broadcast_to(np.asarray(gamma, np.float64), (replicas,)).copy()
        self.returns: Floats = np.zeros((replicas, num_envs))

    def apply(self, reward: Floats, ended: Flags) -> Floats:
        """Take in a step's rewards [R, N] and return them scaled; `ended` [R, N] is either kind of end."""
        self.returns = self.returns * self.gamma[:, None] + reward
        self.moments.update(self.returns[..., None])
        self.returns[ended] = 0.0
        scaled: Floats = np.clip(reward / self.moments.scale(), -CLIP, CLIP)
        return scaled
