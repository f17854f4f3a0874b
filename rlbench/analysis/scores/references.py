"""Fixed reference returns of environments: a random policy scores 0, a stated target scores 1.

Scores are normalised by these constants and never by the smallest and largest score of what is compared,
since then adding an arm would change the scores of all others. A score above 1 or below 0 is possible.

The random returns were measured with `measure_random` (Gymnasium 1.4.0, seed 0). The target is the
`reward_threshold` of Gymnasium's specification where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rlbench.analysis.stats.estimates import ANYTHING, Range
from rlbench.errors import RlbenchError


@dataclass(frozen=True)
class Reference:
    """The two fixed points of one environment's scale, in units of its undiscounted episode return.

    `random` is the mean return of uniformly random actions over `episodes` episodes, with `standard_error`;
    `target` is a return that counts as solved, for the reason in `source`. No return is below `low` or above `high`,
    which are infinite where that is not known; `low` is the worst possible score.

    Raises:
        RlbenchError: `target` equals `random`, one of them is not finite, or they are not between `low` and `high`.
    """

    random: float
    target: float
    source: str = "given by the user"
    episodes: int = 0
    standard_error: float = float("nan")
    low: float = float("-inf")
    high: float = float("inf")

    def __post_init__(self) -> None:
        if not np.isfinite([self.random, self.target]).all() or self.random == self.target:
            raise RlbenchError(
                f"A reference needs two different finite returns, not random={self.random} and target={self.target}."
            )
        if not self.low <= min(self.random, self.target) <= max(self.random, self.target) <= self.high:
            raise RlbenchError(f"The references of a score lie outside its range of {self.low} to {self.high}.")


_SPEC = "reward_threshold of the Gymnasium specification"

REFERENCES: Mapping[str, Reference] = {
    # The ranges follow from the rewards and the longest episode: 1 a step for 500 steps, -1 for 500 or 200.
    "CartPole-v1": Reference(22.19, 475.0, _SPEC, episodes=20_000, standard_error=0.08, low=1.0, high=500.0),
    "Acrobot-v1": Reference(-498.8, -100.0, _SPEC, episodes=2_000, standard_error=0.26, low=-500.0, high=0.0),
    "MountainCar-v0": Reference(-200.0, -110.0, _SPEC, episodes=2_000, standard_error=0.0, low=-200.0, high=-1.0),
    "MountainCarContinuous-v0": Reference(  # at most 0.1 a step is lost to the action, and 100 won at the goal
        -33.33, 90.0, _SPEC, episodes=1_000, standard_error=0.03, low=-99.9, high=100.0
    ),
    "Pendulum-v1": Reference(
        -1228.5,
        -150.0,
        "the specification has none: what swinging up by energy and balancing by hand-set gains reach "
        "(-147, standard error 3, 1000 episodes), rounded",
        episodes=4_000,
        standard_error=4.6,
        low=-3254.8,  # 200 steps at angle pi, speed 8 and torque 2 cost pi^2 + 6.4 + 0.004 each
        high=0.0,
    ),
    "LunarLander-v3": Reference(-182.1, 200.0, _SPEC, episodes=2_000, standard_error=2.5),
}


def reference(environment: str, references: Mapping[str, Reference] | None = None) -> Reference | None:
    """Return the reference of an environment label, None if there is none.

    `references` are all that there are; `REFERENCES` if None is given. The label holds the id and the options, and an
    environment with options has other returns than the plain one: it does not borrow its reference.
    """
    return (REFERENCES if references is None else references).get(environment)


def normalise(
    scores: npt.ArrayLike, environment: str, references: Mapping[str, Reference] | None = None
) -> npt.NDArray[np.float64]:
    """Return the scores on the scale random policy = 0, target = 1; NaN for an unknown environment."""
    values = np.asarray(scores, np.float64)
    scale = reference(environment, references)
    if scale is None:
        return np.full(values.shape, np.nan)
    return (values - scale.random) / (scale.target - scale.random)


def possible_range(
    environments: Sequence[str], references: Mapping[str, Reference] | None = None, *, normalised: bool = False
) -> Range:
    """Return the range that the scores on an environment can be in, infinite where it is not known.

    Of several environments it is that of the mean over them, for which their scores must be `normalised`.
    """
    ends = []
    for environment in environments:
        scale = reference(environment, references)
        if scale is None:
            return ANYTHING
        own = np.array([scale.low, scale.high])
        ends.append(np.sort(normalise(own, environment, references)) if normalised else own)
    low, high = np.mean(ends, axis=0) if ends else ANYTHING
    return float(low), float(high)


def measure_random(environment: str, episodes: int = 1_000, seed: int = 0) -> tuple[float, float]:
    """Run uniformly random actions through Gymnasium; return the mean episode return and its standard error.

    This is how the table was made and how to get the entry of another environment.
    """
    import gymnasium

    env = gymnasium.make(environment)
    env.action_space.seed(seed)
    returns = np.zeros(episodes)
    for episode in range(episodes):
        env.reset(seed=seed * 1_000_003 + episode)
        ended = False
        while not ended:
            _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            returns[episode] += float(reward)
            ended = terminated or truncated
    env.close()
    return float(returns.mean()), float(returns.std(ddof=1) / np.sqrt(episodes))
