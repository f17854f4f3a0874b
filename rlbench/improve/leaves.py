"""Where a surrogate's graph begins: log-probabilities, entropies, divergences and values as leaves.

Autograd (or its recording) differentiates what the algorithm's author wrote, on tensors `[R, B]`. From the leaves on,
the written-out derivatives of likelihood and network continue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rlbench.functional.distributions import Likelihood

Array = npt.NDArray[Any]

LEAVES = ("log_prob", "entropy", "kl", "value")
"""What a surrogate may be differentiated by."""


class Leaves:
    """The `Terms` of one batch, each computed when first asked for; with `live` they collect gradients."""

    def __init__(
        self,
        likelihood: Callable[[], Likelihood],
        old: Callable[[], Likelihood],
        action: Array,
        value: Array,
        *,
        live: bool,
    ) -> None:
        self._likelihood, self._old, self._action, self._live = likelihood, old, action, live
        self._built: dict[str, Likelihood] = {}
        self._arrays: dict[str, Array] = {"value": value}
        self._leaves: dict[str, torch.Tensor] = {}
        self._slopes: Mapping[str, Array] | None = None

    @property
    def likelihood(self) -> Likelihood:
        """The policy being optimised."""
        return self._build("new", self._likelihood)

    @property
    def old(self) -> Likelihood:
        """The policy that acted."""
        return self._build("old", self._old)

    def log_prob(self) -> torch.Tensor:
        """Return the log-probabilities, `[R, B]`."""
        return self._leaf("log_prob")

    def entropy(self) -> torch.Tensor:
        """Return the entropies, `[R, B]`."""
        return self._leaf("entropy")

    def kl(self) -> torch.Tensor:
        """Return KL(old || new), `[R, B]`."""
        return self._leaf("kl")

    def value(self) -> torch.Tensor:
        """Return the values, `[R, B]`."""
        return self._leaf("value")

    def array(self, name: str) -> Array:
        """Return a leaf as an array, `[R, B]`."""
        if name not in self._arrays:
            if name == "log_prob":
                self._arrays[name] = self.likelihood.log_prob(self._action)
            elif name == "entropy":
                self._arrays[name] = self.likelihood.entropy()
            else:
                self._arrays[name] = self.likelihood.kl_from(self.old)
        return self._arrays[name]

    def take_slopes(self, slopes: Mapping[str, Array]) -> None:
        """Set the gradients at the leaves, `[R, B]` each, that autograd would have left there."""
        self._slopes = slopes

    def slope(self, name: str) -> Array | None:
        """Return the gradient that reached a leaf, `[R, B]`, or None."""
        if self._slopes is not None:
            return self._slopes.get(name)
        leaf = self._leaves.get(name)
        return None if leaf is None or leaf.grad is None else leaf.grad.numpy()

    def pull(self, entropy_slope: Array | None) -> Array | None:
        """Return the gradient at the policy's head, `[R, B, H]`, or None; `entropy_slope` `[R, B]` is added."""
        parts = []
        if (slope := self.slope("log_prob")) is not None:
            parts.append(self.likelihood.pull_log_prob(self._action, slope))
        if (slope := self.slope("kl")) is not None:
            parts.append(self.likelihood.pull_kl(self.old, slope))
        if (slope := self.slope("entropy")) is not None:
            parts.append(self.likelihood.pull_entropy(slope))
        if entropy_slope is not None:
            parts.append(self.likelihood.pull_entropy(entropy_slope))
        total = parts[0] if parts else None
        for part in parts[1:]:
            total += part
        return total

    def _build(self, name: str, make: Callable[[], Likelihood]) -> Likelihood:
        if name not in self._built:
            self._built[name] = make()
        return self._built[name]

    def _leaf(self, name: str) -> torch.Tensor:
        if name not in self._leaves:
            self._leaves[name] = torch.from_numpy(np.ascontiguousarray(self.array(name))).requires_grad_(self._live)
        return self._leaves[name]
