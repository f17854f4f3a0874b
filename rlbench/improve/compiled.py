"""The improvement step with written-out derivatives, in compiled loops: the built-in network, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from rlbench.data import Params, Samples
from rlbench.functional.networks import ActorCritic
from rlbench.functional.optimizers import AdamState, adam, norms
from rlbench.functional.returns import value_loss
from rlbench.improve.diagnostics import Meter, measure_arrays
from rlbench.improve.differentiation import Differentiation, Objective, SurrogateInputs, samples
from rlbench.improve.minibatches import BaseProblem, Batch, Rollout, standardise_, take

if TYPE_CHECKING:
    from rlbench.algorithm import Algorithm
    from rlbench.functional.distributions import Family

Array = npt.NDArray[Any]


class CompiledProblem(BaseProblem):
    """A `Problem` whose batches and masks are arrays."""

    def __init__(
        self,
        algorithm: Algorithm,
        network: ActorCritic,
        family: Family,
        params: Array,
        optimizer: AdamState,
        rollout: Rollout,
        *,
        lr: Array,
        alive: Array,
        permute: Callable[[int], Array],
        progress: float = 0.0,
    ) -> None:
        super().__init__(
            algorithm, network, family, torch.from_numpy(params), optimizer, rollout,
            lr=lr, alive=alive, permute=permute, progress=progress, meter=Meter(len(params)),
        )  # fmt: skip
        self.band = self._column(algorithm.band)[:, 0]  # [R], half-width of the clip range
        self._eps, self._max_norm = self._column(algorithm.adam_eps), self._column(algorithm.max_grad_norm)
        self._entropy_coef, self._value_coef = self._column(algorithm.entropy_coef), self._column(algorithm.value_coef)
        self._value_clip = self._column(algorithm.value_clip)[:, 0]
        self._has_bonus = bool(self._entropy_coef.any())
        self._differentiate = Differentiation(algorithm)

    def policy_samples(self, params: Params, batch: Batch) -> Samples:
        return samples(batch, self._policy_leaves(params, batch))

    def measure(self, params: Params) -> dict[str, Array]:
        if not self.reference:
            self.full()
        return measure_arrays(self._measured(params), self.band)

    def gradient(
        self,
        params: Params,
        batch: Batch,
        objective: Objective | None = None,
        *,
        policy: bool = True,
        entropy: bool = False,
        value: bool = False,
        active: Array | None = None,
    ) -> tuple[torch.Tensor, Params, Samples]:
        flat, counted = params.numpy(), self.alive if active is None else active
        output = self._network.forward(flat, batch.observation, policy=policy)
        leaves = self._leaves(batch, output.head, output.value, live=True)
        result = self._differentiate(batch, leaves, objective) if policy else torch.zeros((len(flat), 1))
        bonus = self._entropy_coef * batch.shares if entropy and self._has_bonus else None
        at_head = leaves.vjp(bonus)
        at_value = leaves.grad("value")
        if value:
            loss, by_loss = value_loss(output.value, batch.old_value, batch.target, self._value_clip, batch.shares)
            self.meter.add("value_loss", loss, counted)
            by_loss *= -self._value_coef
            at_value = by_loss if at_value is None else by_loss + at_value
        grad = self._network.backward(flat, output.tape, at_head, at_value)
        self.meter.add("samples", np.full(len(flat), batch.observation.shape[1]), counted)
        if policy:
            self.meter.add_policy_step(
                leaves.array("log_prob"), batch.old_log_prob, leaves.grad("log_prob"), batch.advantage, batch.weight,
                self.band, norms(grad[:, : self.policy_size]), counted,
            )  # fmt: skip
        return result, torch.from_numpy(grad), samples(batch, leaves)

    def fisher(self, params: Params, batch: Batch) -> Callable[[Params], Params]:
        flat = params.numpy()
        output = self._network.forward(flat, batch.observation, value=False)
        likelihood = self._family.likelihood(output.head)
        shares = batch.shares[..., None]

        def product(vector: Params) -> Params:
            moved = self._network.jvp_head(flat, output.tape, vector.numpy())
            return torch.from_numpy(self._network.backward(flat, output.tape, likelihood.fisher(moved) * shares, None))

        return product

    def ascend(self, params: Params, grad: Params, active: Array, *, policy: bool = True, value: bool = True) -> Params:
        adam(
            params.numpy(), grad.numpy(), self._optimizer,
            lr=-self._lr, eps=self._eps, max_norm=self._max_norm, active=active,
            parts=(True, True) if self._network.shared else (policy, value),
        )  # fmt: skip
        return params

    def usable(self, batch: Batch) -> Array:
        usable: Array = self.alive if batch.weight is None else self.alive & batch.weight.any(-1)
        return usable

    def mask(self, condition: torch.Tensor) -> Array:
        mask: Array = condition.numpy()[:, 0]
        return mask

    def none_left(self, going: Array) -> bool:
        return not going.any()

    def _measured(self, params: Params) -> Iterator[tuple[Array, Array, Array, Array, Array]]:
        for batch in self.reference:
            leaves = self._policy_leaves(params, batch)
            surrogate = self._differentiate(batch, leaves).numpy()[:, 0]
            log_prob, kl, entropy = (leaves.array(name) for name in ("log_prob", "kl", "entropy"))
            yield log_prob, batch.old_log_prob, kl, entropy, surrogate

    def _policy_leaves(self, params: Params, batch: Batch) -> SurrogateInputs:
        """Return the terms of a batch under the policy of `params`, without gradient; `value` is the old one."""
        head = self._network.forward(params.numpy(), batch.observation, value=False).head
        return self._leaves(batch, head, batch.old_value, live=False)

    def _leaves(self, batch: Batch, head: Array, value: Array, *, live: bool) -> SurrogateInputs:
        likelihood = self._family.likelihood
        return SurrogateInputs(
            lambda: likelihood(head), lambda: likelihood(batch.old_head), batch.action, value, live=live
        )

    def _own(self, tensor: torch.Tensor) -> Array:
        own: Array = tensor.numpy()
        return own

    def _take(self, values: Array, order: Array) -> Array:
        return take(values, order)

    def _in_order(self, parts: Sequence[Array], order: Array) -> Array:
        stacked = np.stack(parts)
        result = np.empty((len(self.params), self.size, *stacked.shape[3:]), stacked.dtype)
        result[np.arange(len(result))[:, None], order] = stacked
        return result

    def _standardise(self, advantage: Array, weight: Array | None) -> Array:
        return standardise_(advantage, weight)

    def _act(self, observation: Array, action: Array) -> tuple[Array, Array]:
        head = self._network.forward(self.params.numpy(), observation, value=False).head
        return head, self._family.likelihood(head).log_prob(action)
