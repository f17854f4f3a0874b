"""The improvement step with written-out derivatives, in compiled loops: the built-in network, on the CPU.

Autograd or its replay differentiates what the algorithm's author wrote, on tensors `[R, B]`, by the surrogate's inputs:
log-probabilities, entropies, divergences and values. From there on, the written-out derivatives of likelihood and
network continue.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache, cached_property, partial, reduce

import numpy as np
import torch

from rlbench.data import Params, Samples
from rlbench.functional.compiled import Array
from rlbench.functional.distributions import Family
from rlbench.functional.likelihoods import Likelihood
from rlbench.functional.optimizers import descend, norms
from rlbench.functional.returns import value_loss, weighted_mean
from rlbench.improve.diagnostics import Meter, measure_arrays
from rlbench.improve.minibatches import BaseProblem, Batch, standardise_, take
from rlbench.improve.replay import SURROGATE_INPUTS, Replay, record

Objective = Callable[[Samples], torch.Tensor]


class SurrogateInputs:
    """The `Terms` of one batch, `[R, B]` each, computed when first asked for; with `live` they collect gradients.

    `grads` holds the gradients that reached an input, `[R, B]` each.
    """

    def __init__(self, family: Family, batch: Batch, head: Array, value: Array, *, live: bool) -> None:
        self._family, self._action, self._live = family, batch.action, live
        self._heads = {"new": head, "old": batch.old_head}
        self._policies: dict[str, Likelihood] = {}
        self._arrays: dict[str, Array] = {"value": value}
        self._tensors: dict[str, torch.Tensor] = {}
        self.grads: Mapping[str, Array] = {}

    def log_prob(self) -> torch.Tensor:
        return self._tensor("log_prob")

    def entropy(self) -> torch.Tensor:
        return self._tensor("entropy")

    def kl(self) -> torch.Tensor:
        return self._tensor("kl")

    def value(self) -> torch.Tensor:
        return self._tensor("value")

    def array(self, name: str) -> Array:
        """Return an input as an array, `[R, B]`."""
        if name not in self._arrays:
            if name == "log_prob":
                self._arrays[name] = self._policy("new").log_prob(self._action)
            elif name == "entropy":
                self._arrays[name] = self._policy("new").entropy()
            else:
                self._arrays[name] = self._policy("new").kl_from(self._policy("old"))
        return self._arrays[name]

    def backward(self, total: torch.Tensor) -> None:
        """Collect the gradients of a number at the inputs by autograd."""
        total.backward()  # type: ignore[no-untyped-call]
        self.grads = {name: x.grad.numpy() for name, x in self._tensors.items() if x.grad is not None}

    def vjp(self, entropy_grad: Array | None) -> Array | None:
        """Return the gradient at the policy's head, `[R, B, H]`, or None; `entropy_grad` `[R, B]` is added."""
        parts = []
        if (grad := self.grads.get("log_prob")) is not None:
            parts.append(self._policy("new").vjp_log_prob(self._action, grad))
        if (grad := self.grads.get("kl")) is not None:
            parts.append(self._policy("new").vjp_kl(self._policy("old"), grad))
        for grad in (self.grads.get("entropy"), entropy_grad):
            if grad is not None:
                parts.append(self._policy("new").vjp_entropy(grad))
        return reduce(np.add, parts) if parts else None

    def _policy(self, which: str) -> Likelihood:
        """Return the policy that is optimised or the one that acted."""
        if which not in self._policies:
            self._policies[which] = self._family.likelihood(self._heads[which])
        return self._policies[which]

    def _tensor(self, name: str) -> torch.Tensor:
        if name not in self._tensors:
            self._tensors[name] = torch.from_numpy(np.ascontiguousarray(self.array(name))).requires_grad_(self._live)
        return self._tensors[name]


class CompiledProblem(BaseProblem):
    """A `Problem` whose batches and masks are arrays."""

    def policy_samples(self, params: Params, batch: Batch) -> Samples:
        return self._samples(batch, self._policy_inputs(params, batch))

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
        inputs = SurrogateInputs(self._family, batch, self._shifted(output.head), output.value, live=True)
        result = self._differentiate(batch, inputs, objective) if policy else torch.zeros((len(flat), 1))
        at_head = inputs.vjp(self._entropy_coef * batch.shares if entropy and self._has_bonus else None)
        at_value = inputs.grads.get("value")
        if value:
            clip = self._value_clip[:, 0]
            loss, by_loss = value_loss(output.value, batch.old_value, batch.target, clip, batch.shares)
            self.meter.add("value_loss", loss, counted)
            by_loss *= -self._value_coef
            at_value = by_loss if at_value is None else by_loss + at_value
        grad = self._network.backward(flat, output.tape, at_head, at_value)
        self.meter.add("samples", np.full(len(flat), batch.observation.shape[1]), counted)
        if policy:
            log_prob, norm = inputs.array("log_prob"), norms(grad[:, : self.policy_size])
            self.meter.add_policy_step(batch, log_prob, inputs.grads.get("log_prob"), self.band, norm, counted)
        return result, torch.from_numpy(grad), self._samples(batch, inputs)

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
        descend(
            params.numpy(), grad.numpy(), self._optimizer, rule=self.algorithm.optimizer,
            lr=-self._lr, value_lr=-self._value_lr, eps=self._eps, max_norm=self._max_norm, active=active,
            parts=(True, True) if self._network.shared else (policy, value),
        )  # fmt: skip
        return params

    def _measured(self, params: Params) -> Iterator[tuple[Array, Array, Array, Array, Array]]:
        for batch in self.reference:
            inputs = self._policy_inputs(params, batch)
            surrogate = self._differentiate(batch, inputs).numpy()[:, 0]
            log_prob, kl, entropy = (inputs.array(name) for name in ("log_prob", "kl", "entropy"))
            yield log_prob, batch.old_log_prob, kl, entropy, surrogate

    def _policy_inputs(self, params: Params, batch: Batch) -> SurrogateInputs:
        """Return the terms of a batch under the policy of `params`, without gradient; `value` is the old one."""
        head = self._network.forward(params.numpy(), batch.observation, value=False).head
        return SurrogateInputs(self._family, batch, head, batch.old_value, live=False)

    @cached_property
    def _replay(self) -> Callable[..., Replay | str]:
        """What `record` returns for this algorithm; asked for every batch."""
        return cache(partial(record, self.algorithm))

    def _differentiate(self, batch: Batch, inputs: SurrogateInputs, objective: Objective | None = None) -> torch.Tensor:
        """Return an objective `[R, 1]`, by default the mean surrogate, leaving its gradients at the inputs."""
        weighted = batch.weight is not None
        if objective is None and isinstance(
            replay := self._replay(batch.advantage.shape[1], weighted=weighted), Replay
        ):
            arrays = {n: inputs.array(n) if n in SURROGATE_INPUTS else getattr(batch, n) for n in replay.inputs}
            upstream = batch.shares if weighted else batch.shares[:, :1]
            surrogate, inputs.grads = replay(self.algorithm, arrays, upstream)
            return torch.from_numpy(np.vecdot(surrogate, batch.shares)[:, None])
        x = self._samples(batch, inputs)
        result = objective(x) if objective else weighted_mean(self.algorithm.surrogate(x), x.weight)
        if result.requires_grad:
            # Replicas share no parameter, so the gradient of the sum holds each replica's own gradient.
            inputs.backward(result.sum())
        return result.detach()

    def _start_meter(self) -> Meter:
        return Meter(len(self.params))

    def _own(self, tensor: torch.Tensor) -> Array:
        own: Array = tensor.numpy()
        return own

    def _tensor(self, own: Array) -> torch.Tensor:
        return torch.from_numpy(own)

    def _take(self, values: Array, order: Array) -> Array:
        return take(values, order)

    def _standardise(self, advantage: Array, weight: Array | None) -> Array:
        return standardise_(advantage, weight)

    def _act(self, observation: Array, action: Array) -> tuple[Array, Array]:
        head = self._network.forward(self.params.numpy(), observation, value=False).head
        return head, self._family.likelihood(head).log_prob(action)
