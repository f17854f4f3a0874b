"""Fixed reference returns of environments: a random policy scores 0, a stated target scores 1.

Scores are normalised by these constants and never by the smallest and largest score of what is compared, since then
adding an arm would change the scores of all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rlbench.errors import RlbenchError


@dataclass(frozen=True)
class Reference:
    """The two fixed points of one environment's scale, in units of its episode return.

    `random` is the mean return of uniformly random actions over `episodes` episodes with standard error
    `standard_error`; `target` is a return that counts as solved, for the reason in `source`.

    Raises:
        RlbenchError: `target` equals `random`, or one of them is not finite.
    """

    random: float
    target: float
    source: str = "given by the user"
    episodes: int = 0
    standard_error: float = float("nan")

    def __post_init__(self) -> None:
        if not np.isfinite([self.random, self.target]).all() or self.random == self.target:
            raise RlbenchError(
                f"A reference needs two different finite returns, but has random={self.random} and target={self.target}."
            )


SPEC = "reward_threshold of the Gymnasium specification"

REFERENCES: Mapping[str, Reference] = {
    "CartPole-v1": Reference(22.0, 475.0, SPEC),
    "Acrobot-v1": Reference(-500.0, -100.0, SPEC),
    "MountainCar-v0": Reference(-200.0, -110.0, SPEC),
    "MountainCarContinuous-v0": Reference(-33.0, 90.0, SPEC),
    "Pendulum-v1": Reference(-1200.0, -200.0, "no threshold in the specification"),
}


def normalise(
    scores: npt.ArrayLike, environment: str, references: Mapping[str, Reference] | None = None
) -> npt.NDArray[np.float64]:
    """Return the scores on the scale random policy = 0, target = 1; NaN for an environment without a reference.

    `environment` is the label (id and options): an environment with options has other returns than the plain one
    and so does not borrow its reference. `references` are looked up first, then the table of this module.
    """
    values = np.asarray(scores, np.float64)
    reference = {**REFERENCES, **(references or {})}.get(environment)
    if reference is None:
        return np.full(values.shape, np.nan)
    return (values - reference.random) / (reference.target - reference.random)
