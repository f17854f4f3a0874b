"""Where a surrogate's graph begins: log-probabilities, entropies, divergences and values as leaves for autograd.

Autograd differentiates what the algorithm's author wrote, on tensors `[R, B]`. From the leaves on, the written-out
derivatives of likelihood and network continue.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rlbench.functional.likelihoods import Likelihood

Array = npt.NDArray[Any]


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
        self._likelihood, self._old, self._action, self._value, self._live = likelihood, old, action, value, live
        self._built: dict[str, Likelihood] = {}
        self._leaves: dict[str, torch.Tensor] = {}

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
        return self._leaf("log_prob", lambda: self.likelihood.log_prob(self._action))

    def entropy(self) -> torch.Tensor:
        """Return the entropies, `[R, B]`."""
        return self._leaf("entropy", self.likelihood.entropy)

    def kl(self) -> torch.Tensor:
        """Return KL(old || new), `[R, B]`."""
        return self._leaf("kl", lambda: self.likelihood.kl_from(self.old))

    def value(self) -> torch.Tensor:
        """Return the values, `[R, B]`."""
        return self._leaf("value", lambda: self._value)

    def slope(self, name: str) -> Array | None:
        """Return the gradient that reached a leaf, `[R, B]`, or None."""
        leaf = self._leaves.get(name)
        return None if leaf is None or leaf.grad is None else leaf.grad.numpy()

    def pull(self, entropy_slope: Array | None) -> Array | None:
        """Return the gradient at the policy's head, `[R, B, H]`, or None; `entropy_slope` `[R, B or 1]` is added."""
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

    def _leaf(self, name: str, compute: Callable[[], Array]) -> torch.Tensor:
        if name not in self._leaves:
            self._leaves[name] = torch.from_numpy(np.ascontiguousarray(compute())).requires_grad_(self._live)
        return self._leaves[name]
