"""A surrogate and its derivative on one batch: replayed where it was recorded, else by autograd.

Autograd or its replay differentiates what the algorithm's author wrote, on tensors `[R, B]`, by the surrogate's inputs:
log-probabilities, entropies, divergences and values. From there on, the written-out derivatives of likelihood and
network continue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from rlbench.data import Samples
from rlbench.functional.distributions import Likelihood
from rlbench.functional.returns import weighted_mean
from rlbench.improve.minibatches import Batch
from rlbench.improve.replay import SURROGATE_INPUTS, Replay, record

if TYPE_CHECKING:
    from rlbench.algorithm import Algorithm

Array = npt.NDArray[Any]
Objective = Callable[[Samples], torch.Tensor]


class SurrogateInputs:
    """The `Terms` of one batch, `[R, B]` each, computed when first asked for; with `live` they collect gradients."""

    def __init__(
        self,
        likelihood: Callable[[], Likelihood],
        old: Callable[[], Likelihood],
        action: Array,
        value: Array,
        *,
        live: bool,
    ) -> None:
        self._make_likelihood, self._make_old = likelihood, old
        self._action, self._live = action, live
        self._arrays: dict[str, Array] = {"value": value}
        self._tensors: dict[str, torch.Tensor] = {}
        self._grads: Mapping[str, Array] | None = None

    @cached_property
    def likelihood(self) -> Likelihood:
        """The policy being optimised."""
        return self._make_likelihood()

    @cached_property
    def old(self) -> Likelihood:
        """The policy that acted."""
        return self._make_old()

    def log_prob(self) -> torch.Tensor:
        """Return the log-probabilities of the actions."""
        return self._tensor("log_prob")

    def entropy(self) -> torch.Tensor:
        """Return the entropies of the policy."""
        return self._tensor("entropy")

    def kl(self) -> torch.Tensor:
        """Return KL(old || new)."""
        return self._tensor("kl")

    def value(self) -> torch.Tensor:
        """Return the values."""
        return self._tensor("value")

    def array(self, name: str) -> Array:
        """Return an input as an array, `[R, B]`."""
        if name not in self._arrays:
            if name == "log_prob":
                self._arrays[name] = self.likelihood.log_prob(self._action)
            elif name == "entropy":
                self._arrays[name] = self.likelihood.entropy()
            else:
                self._arrays[name] = self.likelihood.kl_from(self.old)
        return self._arrays[name]

    def set_grads(self, grads: Mapping[str, Array]) -> None:
        """Set the gradients, `[R, B]` each, that autograd would have left at the inputs."""
        self._grads = grads

    def grad(self, name: str) -> Array | None:
        """Return the gradient that reached an input, `[R, B]`, or None."""
        if self._grads is not None:
            return self._grads.get(name)
        tensor = self._tensors.get(name)
        return None if tensor is None or tensor.grad is None else tensor.grad.numpy()

    def vjp(self, entropy_grad: Array | None) -> Array | None:
        """Return the gradient at the policy's head, `[R, B, H]`, or None; `entropy_grad` `[R, B]` is added."""
        parts = []
        if (grad := self.grad("log_prob")) is not None:
            parts.append(self.likelihood.pull_log_prob(self._action, grad))
        if (grad := self.grad("kl")) is not None:
            parts.append(self.likelihood.pull_kl(self.old, grad))
        for grad in (self.grad("entropy"), entropy_grad):
            if grad is not None:
                parts.append(self.likelihood.pull_entropy(grad))
        total = parts[0] if parts else None
        for part in parts[1:]:
            total += part
        return total

    def _tensor(self, name: str) -> torch.Tensor:
        if name not in self._tensors:
            self._tensors[name] = torch.from_numpy(np.ascontiguousarray(self.array(name))).requires_grad_(self._live)
        return self._tensors[name]


class Differentiation:
    """Objectives of one algorithm, hyper fields `[R, 1]`, on batches of any size."""

    def __init__(self, algorithm: Algorithm) -> None:
        self._algorithm = algorithm
        self._replays: dict[tuple[int, bool], Replay | str] = {}

    def __call__(self, batch: Batch, inputs: SurrogateInputs, objective: Objective | None = None) -> torch.Tensor:
        """Return an objective `[R, 1]`, by default the mean surrogate, leaving its gradients at the inputs."""
        if objective is None and isinstance(replay := self._replay(batch), Replay):
            arrays = {n: inputs.array(n) if n in SURROGATE_INPUTS else getattr(batch, n) for n in replay.inputs}
            weights = batch.shares if batch.weight is not None else batch.shares[:, :1]
            surrogate, grads = replay(self._algorithm, arrays, weights)
            inputs.set_grads(grads)
            return torch.from_numpy(np.vecdot(surrogate, batch.shares)[:, None])
        x = samples(batch, inputs)
        result = objective(x) if objective else weighted_mean(self._algorithm.surrogate(x), x.weight)
        if result.requires_grad:
            # Replicas share no parameter, so the gradient of the sum holds each replica's own gradient.
            result.sum().backward()  # type: ignore[no-untyped-call]
        return result.detach()

    def _replay(self, batch: Batch) -> Replay | str:
        key = (batch.advantage.shape[1], batch.weight is not None)
        if key not in self._replays:
            self._replays[key] = record(self._algorithm, key[0], weighted=key[1])
        return self._replays[key]


def samples(batch: Batch, inputs: SurrogateInputs) -> Samples:
    """Return a batch as an algorithm sees it."""
    return Samples(
        advantage=torch.from_numpy(batch.advantage),
        old_log_prob=torch.from_numpy(batch.old_log_prob),
        old_value=torch.from_numpy(batch.old_value),
        target=torch.from_numpy(batch.target),
        weight=None if batch.weight is None else torch.from_numpy(batch.weight),
        terms=inputs,
    )
