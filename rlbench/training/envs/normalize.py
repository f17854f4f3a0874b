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

from rlbench.training.envs.base import Flags, Floats, Observations
from rlbench.training.state import Saved

EPSILON = 1e-8  # added to the variance
CLIP = 10.0


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
        samples = batch.shape[1]
        mean = batch.mean(axis=1)
        variance = np.square(batch - mean[:, None]).mean(axis=1)
        total = self.count + samples
        delta = mean - self.mean
        self.mean = self.mean + delta * samples / total
        squares = self.variance * self.count + variance * samples
        self.variance = (squares + np.square(delta) * self.count * samples / total) / total
        self.count = total

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

    ROWS, PARTS = ("_returns",), ("moments",)

    def __init__(self, replicas: int, num_envs: int, gamma: npt.ArrayLike) -> None:
        """Start with returns of 0; `gamma` is the discount, a number or one per replica [R]."""
        self.moments = RunningMoments(replicas, 1)
        self._gamma = np.broadcast_to(np.asarray(gamma, np.float64), (replicas,))[:, None]  # [R, 1]
        self._returns: Floats = np.zeros((replicas, num_envs))

    def apply(self, reward: Floats, ended: Flags) -> Floats:
        """Take in a step's rewards [R, N] and return them scaled; `ended` [R, N] is either kind of end."""
        self._returns = self._returns * self._gamma + reward
        self.moments.update(self._returns[..., None])
        self._returns[ended] = 0.0
        scaled: Floats = np.clip(reward / self.moments.scale(), -CLIP, CLIP)
        return scaled
