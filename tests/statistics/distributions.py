"""Scores whose truth is known: every distribution is given by its quantile function, and so is what is true of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import ndtri

Array = npt.NDArray[np.float64]

_GRID = (np.arange(2_000_000) + 0.5) / 2_000_000


@dataclass(frozen=True)
class Distribution:
    """Scores of one arm; `quantile` maps uniform numbers to scores, and increases."""

    name: str
    quantile: Callable[[Array], Array]

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Return independent scores."""
        return self.quantile(rng.random(shape))

    def between(self, low: float, high: float) -> float:
        """Return the mean of the scores between two quantiles: (0, 1) is the mean, (0.25, 0.75) the IQM."""
        return float(self.quantile(low + (high - low) * _GRID).mean())

    def mean_of(self, function: Callable[[Array], Array]) -> float:
        """Return the expectation of a function of a score."""
        return float(function(self.quantile(_GRID)).mean())


def _bimodal(u: Array) -> Array:
    """A fifth of the runs fails: around 0, where the others are around 5."""
    failed = u < 0.2
    inside = np.where(failed, u / 0.2, (u - 0.2) / 0.8)
    z = ndtri(np.clip(inside, 1e-16, 1 - 1e-16))
    return np.asarray(np.where(failed, 0.3 * z, 5.0 + 0.5 * z))


NORMAL = Distribution("normal", lambda u: np.asarray(ndtri(u)))
LOGNORMAL = Distribution("lognormal", lambda u: np.exp(ndtri(u)))
BIMODAL = Distribution("bimodal", _bimodal)
SATURATED = Distribution("saturated", lambda u: np.minimum(ndtri(u), 1 / 3))
_STEPS = stats.binom.cdf(np.arange(5), 4, 0.6)
TIED = Distribution("tied", lambda u: np.searchsorted(_STEPS, u).clip(0, 4).astype(np.float64))

ALL = (NORMAL, LOGNORMAL, BIMODAL, SATURATED, TIED)
SMOOTH = (NORMAL.name, LOGNORMAL.name)
SIZES = (3, 5, 10, 20)


def shifted(distribution: Distribution, shift: float, name: str = "") -> Distribution:
    """Return the distribution moved by `shift`."""
    return Distribution(name or f"{distribution.name} {shift:+g}", lambda u: distribution.quantile(u) + shift)
