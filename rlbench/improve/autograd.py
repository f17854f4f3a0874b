"""The improvement step by autograd: any network, on any device. No gradient step asks the device for a number."""

from collections.abc import Callable

import torch

from rlbench.data import HeadTerms, Params, Samples
from rlbench.functional.compiled import Array
from rlbench.functional.optimizers import clip_by_norm_, descend_, norm
from rlbench.functional.returns import clipped_value_loss, standardise, weighted_mean
from rlbench.functional.torch_networks import head_fisher
from rlbench.improve.diagnostics import TensorMeter, measure_tensors
from rlbench.improve.minibatches import BaseProblem, Batch

Tensor = torch.Tensor


class AutogradProblem(BaseProblem):
    """A `Problem` whose batches and masks are tensors on the device of `params`."""

    def policy_samples(self, params: Params, batch: Batch) -> Samples:
        head = self._network.forward(params, batch.observation, value=False).head
        return self._inputs(batch, head, batch.old_value)

    def measure(self, params: Params) -> dict[str, Array]:
        if not self.reference:
            self.full()
        with torch.no_grad():
            seen = (self.policy_samples(params, batch) for batch in self.reference)
            return measure_tensors(((x, self._surrogate(x)) for x in seen), self.band)

    def gradient(
        self,
        params: Params,
        batch: Batch,
        objective: Callable[[Samples], Tensor] | None = None,
        *,
        policy: bool = True,
        entropy: bool = False,
        value: bool = False,
        active: Tensor | None = None,
    ) -> tuple[Tensor, Params, Samples]:
        counted = self.alive if active is None else active
        there = self._network.forward(params, batch.observation, policy=policy)
        head, value_head = there.head.requires_grad_(), there.value.requires_grad_()
        with torch.enable_grad():
            x = self._inputs(batch, self._shifted(head), value_head)
        with torch.enable_grad():
            result = (objective or self._surrogate)(x) if policy else torch.zeros_like(params[:, :1])
            total = result.sum()  # replicas share no parameter: the sum's gradient holds each one's own
            if entropy and self._has_bonus:
                total = total + (self._entropy_coef * x.entropy * batch.shares).sum()
            if value:
                clip = self._value_clip if self._clips else None
                loss = clipped_value_loss(there.value, batch.old_value, batch.target, clip)
                mean = (loss * batch.shares).sum(-1, keepdim=True)
                self.meter.add("value_loss", mean.detach()[:, 0], counted)
                total = total - (self._value_coef * mean).sum()
            log_prob = x.log_prob if policy else None
        at_head, at_value, at_log_prob = _gradients(total, (there.head, there.value, log_prob))
        grad = there.backward(at_head, at_value)
        self.meter.add("samples", torch.full_like(self._lr[:, 0], x.advantage.shape[1]), counted)
        if log_prob is not None:
            size = norm(grad[:, : self.policy_size])[:, 0]
            self.meter.add_policy_step(batch, log_prob.detach(), at_log_prob, self.band, size, counted)
        return result.detach(), grad, x

    def fisher(self, params: Params, batch: Batch) -> Callable[[Params], Params]:
        there = self._network.forward(params, batch.observation, value=False)
        at_head = head_fisher(self._family.build, there.head)
        shares = batch.shares[..., None]

        def product(vector: Params) -> Params:
            grad: Params = there.backward(at_head(there.jvp_head(vector)) * shares, None)
            return grad

        return product

    def ascend(
        self, params: Params, grad: Params, active: Tensor, *, policy: bool = True, value: bool = True
    ) -> Params:
        parts = self._network.parts(policy=policy, value=value)
        clip_by_norm_(grad, self._max_norm)
        rates = {"lr": -self._lr, "value_lr": -self._value_lr}
        rule = self.algorithm.optimizer
        descend_(params, grad, self._optimizer, rule=rule, **rates, eps=self._eps, active=active, parts=parts)
        return params

    def _surrogate(self, x: Samples) -> Tensor:
        return weighted_mean(self.algorithm.surrogate(x), x.weight)

    def _inputs(self, batch: Batch, head: Tensor, value: Tensor) -> Samples:
        return self._samples(batch, HeadTerms(self._family.build, head, batch.old_head, batch.action, value))

    def _start_meter(self) -> TensorMeter:
        return TensorMeter(len(self.params), self.params.device)

    def _own(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.params.device)

    def _tensor(self, own: Tensor) -> Tensor:
        return own

    def _take(self, values: Tensor, order: Tensor) -> Tensor:
        return values[torch.arange(order.shape[1], device=order.device)[:, None], order]

    def _standardise(self, advantage: Tensor, weight: Tensor | None) -> Tensor:
        return standardise(advantage, weight)

    def _act(self, observation: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        head = self._network.forward(self.params, observation, value=False).head
        return head, self._family.build(head).log_prob(action)


def _gradients(total: Tensor, inputs: tuple[Tensor | None, ...]) -> list[Tensor | None]:
    """Return the gradient of `total` at each input, None where it does not depend on it."""
    wanted = [tensor for tensor in inputs if tensor is not None and tensor.numel()]
    if not total.requires_grad or not wanted:
        return [None] * len(inputs)
    found = iter(torch.autograd.grad(total, wanted, allow_unused=True))
    return [next(found) if tensor is not None and tensor.numel() else None for tensor in inputs]
