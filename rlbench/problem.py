"""What one improvement step of R replicas can see: `Problem`, the argument of `Algorithm.improve`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from rlbench.data import Params, Samples
from rlbench.diagnostics import Meter
from rlbench.functional.networks import ActorCritic
from rlbench.functional.optimizers import AdamState, adam, clip_by_norm, norms
from rlbench.functional.surrogates import standardise

if TYPE_CHECKING:
    from rlbench.algorithm import Algorithm
    from rlbench.functional.distributions import Family

Array = npt.NDArray[Any]
Objective = Callable[[Samples], torch.Tensor]


@dataclass(eq=False)
class Batch:
    """Some samples of every replica: `observation` `[R, B, obs]`, `action` `[R, B]` or `[R, B, K]`, the rest `[R, B]`.

    `old_head` `[R, B, H]` and `old_log_prob` describe the policy that acted; `weight` is None if all samples count.
    """

    observation: Array
    action: torch.Tensor
    advantage: torch.Tensor
    target: torch.Tensor
    old_value: torch.Tensor
    weight: torch.Tensor | None
    old_head: torch.Tensor
    old_log_prob: torch.Tensor


@dataclass(eq=False)
class Rollout:
    """The samples of one rollout, flattened to n = T N per replica, in the shapes of `Batch` with B = n."""

    observation: Array
    action: torch.Tensor
    advantage: torch.Tensor
    target: torch.Tensor
    old_value: torch.Tensor
    weight: torch.Tensor | None


class Problem:
    """What one improvement step of R replicas can see and use; the argument of `Algorithm.improve`.

    algorithm   the replicas' algorithm, hyper fields `[R, 1]`
    params      parameters before the step `[R, P]`; the first `policy_size` are the policy's. Leave them unchanged.
    progress    share of the budget that is used
    """

    def __init__(
        self,
        algorithm: Algorithm,
        network: ActorCritic,
        family: Family,
        params: Array,
        optimizers: tuple[AdamState, AdamState],
        rollout: Rollout,
        *,
        lr: Array,
        alive: Array,
        permute: Callable[[int], Array],
        progress: float = 0.0,
    ) -> None:
        self.algorithm = algorithm
        self.params: Params = torch.from_numpy(params)
        self.policy_size = network.policy_size
        self.progress = progress
        self.alive = alive  # bool [R]: replicas that still learn
        self.meter = Meter(len(params))
        self._network, self._family, self._optimizers = network, family, optimizers
        self._rollout, self._lr, self._permute = rollout, lr, permute
        self._old_heads: Array | None = None  # [R, n, H]
        self._old_log_probs: Array | None = None  # [R, n]
        self.reference: list[Batch] = []

    @property
    def size(self) -> int:
        """The number of samples per replica, n."""
        return int(self._rollout.observation.shape[1])

    def full(self) -> Batch:
        """Return the whole rollout as one batch."""
        return next(self.minibatches(epochs=1, count=1))

    def minibatches(self, *, epochs: int, count: int) -> Iterator[Batch]:
        """Yield `count` equal batches, freshly shuffled for every replica, `epochs` times over."""
        # All permutations are drawn at once: where a replica stops early, how many it draws must not depend on whether
        # another one of its pack goes on.
        for order in [self._order(count) for _ in range(epochs)]:
            if self._old_heads is None:
                self._evaluate_old_policy(order)
            yield from self._gather(order)

    def policy_samples(self, params: Params, batch: Batch) -> Samples:
        """Return the samples of a batch under the policy of `params`, without gradient; `value` is the old one."""
        output = self._network.forward(params.numpy(), batch.observation, value=False)
        return self._samples(batch, torch.from_numpy(np.ascontiguousarray(output.head)), batch.old_value)

    def gradient(
        self,
        params: Params,
        batch: Batch,
        objective: Objective,
        *,
        policy: bool = True,
        value: bool = True,
        active: Array | None = None,
    ) -> tuple[torch.Tensor, Params, Samples]:
        """Return the objective `[R, 1]`, its gradient `[R, P]`, and the samples it was computed from.

        `policy` and `value` say which networks take part. Surrogate autograd reaches heads and values; from there the
        networks' own backward pass goes on. The clip fractions of replicas in `active` `[R]` (default: all that are
        alive) and the norm of the gradient enter the diagnostics of the update.
        """
        flat = params.numpy()
        output = self._network.forward(flat, batch.observation, policy=policy, value=value)
        head = torch.from_numpy(np.ascontiguousarray(output.head)).requires_grad_(policy)
        values = torch.from_numpy(np.ascontiguousarray(output.value)).requires_grad_(value)
        x = self._samples(batch, head, values)
        result = objective(x)
        if policy and "log_prob" in x.__dict__ and x.log_prob.requires_grad:
            x.log_prob.retain_grad()
        # Replicas share no parameter, so the gradient of the sum holds each replica's own gradient.
        result.sum().backward()  # type: ignore[no-untyped-call]
        grad = self._network.backward(flat, output.tape, _grad(head), _grad(values))
        counted = self.alive if active is None else active
        self.meter.add("samples", np.full(len(flat), batch.observation.shape[1]), counted)
        if policy:
            self.meter.clipping(x, self.algorithm.band, counted)
            self.meter.add("grad_norm", norms(grad[:, : self.policy_size]), counted)
        return result.detach(), torch.from_numpy(grad), x

    def fisher(self, params: Params, batch: Batch) -> Callable[[Params], Params]:
        """Return the map from a vector to the policy's Fisher information, averaged over the batch, times it, `[R, P]`.

        J^T F J v with J the Jacobian of the heads and F the distribution's own Fisher matrix: exact, and without
        differentiating twice (Schulman et al. 2015, appendix C.1).
        """
        flat = params.numpy()
        output = self._network.forward(flat, batch.observation, value=False)
        distribution = self._family.build(torch.from_numpy(np.ascontiguousarray(output.head)))
        weights = _sample_weights(batch)[..., None]

        def product(vector: Params) -> Params:
            moved = self._network.jvp_head(flat, output.tape, vector.numpy())
            weighed = distribution.fisher(torch.from_numpy(np.ascontiguousarray(moved))) * weights
            return torch.from_numpy(self._network.backward(flat, output.tape, weighed.numpy(), None))

        return product

    def ascend(self, params: Params, grad: Params, active: Array, *, policy: bool = True, value: bool = True) -> Params:
        """Take one Adam step up `grad` in place, norms clipped per replica, for the replicas in `active` `[R]`.

        `policy` and `value` say which networks take the step. The other one keeps its parameters and its optimiser's
        state: a zero gradient would not do, since Adam's momentum moves on without one.
        """
        algorithm = self.algorithm
        down = -grad.numpy()
        clip_by_norm(down, _numpy(algorithm.max_grad_norm))
        split = self.policy_size
        shared = split == down.shape[1]
        parts = ((policy or shared, slice(0, split)), (value and not shared, slice(split, None)))
        for (takes, part), state in zip(parts, self._optimizers, strict=True):
            if takes:
                flat = params.numpy()[:, part]
                adam(flat, down[:, part], state, lr=self._lr, eps=_numpy(algorithm.adam_eps), active=active)
        return params

    def usable(self, batch: Batch) -> Array:
        """Return which replicas `[R]` are alive and have at least one sample that counts in this batch."""
        if batch.weight is None:
            return self.alive
        weighty: Array = (batch.weight.sum(-1) > 0).numpy()
        return self.alive & weighty

    def _samples(self, batch: Batch, head: torch.Tensor, value: torch.Tensor) -> Samples:
        advantage = batch.advantage
        if self.algorithm.normalize_advantage == "minibatch":
            advantage = standardise(advantage, batch.weight)
        build = self._family.build
        return Samples(
            advantage=advantage,
            old_log_prob=batch.old_log_prob,
            old_value=batch.old_value,
            target=batch.target,
            weight=batch.weight,
            value=value,
            action=batch.action,
            policy=lambda: build(head),
            old_policy=lambda: build(batch.old_head),
        )

    def _order(self, count: int) -> Array:
        """Return sample indices `[count, R, B]`: in order for a single batch, else shuffled per replica."""
        replicas = len(self.params)
        if count == 1:
            return np.tile(np.arange(self.size), (1, replicas, 1))
        order = self._permute(self.size)  # [R, n]
        return order.reshape(replicas, count, -1).transpose(1, 0, 2)

    def _evaluate_old_policy(self, order: Array) -> None:
        """Record heads and log-probabilities of the acting policy, in the very batches of the first epoch.

        A matrix product of another shape may round differently; evaluated in the same batches, the ratio of the first
        step is exactly 1 for every sample.
        """
        rollout, rows = self._rollout, np.arange(len(self.params))[:, None]
        self._old_heads = np.empty((*rollout.observation.shape[:2], self._family.head_size), np.float32)
        self._old_log_probs = np.empty(rollout.observation.shape[:2], np.float32)
        for index in order:
            output = self._network.forward(self.params.numpy(), rollout.observation[rows, index], value=False)
            head = torch.from_numpy(np.ascontiguousarray(output.head))
            self._old_heads[rows, index] = output.head
            action = rollout.action[torch.from_numpy(rows), torch.from_numpy(np.ascontiguousarray(index))]
            self._old_log_probs[rows, index] = self._family.build(head).log_prob(action).numpy()
        self.reference = list(self._gather(order))

    def _gather(self, order: Array) -> Iterator[Batch]:
        """Yield the batches of an order `[M, R, B]`, gathered in one go per epoch."""
        rollout, rows = self._rollout, np.arange(order.shape[1])[:, None]
        index = np.ascontiguousarray(order)

        def take(values: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(values.numpy()[rows, index])

        assert self._old_heads is not None
        assert self._old_log_probs is not None
        observation = rollout.observation[rows, index]
        weight = None if rollout.weight is None else take(rollout.weight)
        tensors = (rollout.action, rollout.advantage, rollout.target, rollout.old_value)
        action, advantage, target, old_value = (take(values) for values in tensors)
        old_head, old_log_prob = self._old_heads[rows, index], self._old_log_probs[rows, index]
        for k in range(len(index)):
            yield Batch(
                observation=observation[k],
                action=action[k],
                advantage=advantage[k],
                target=target[k],
                old_value=old_value[k],
                weight=None if weight is None else weight[k],
                old_head=torch.from_numpy(old_head[k]),
                old_log_prob=torch.from_numpy(old_log_prob[k]),
            )


def _grad(leaf: torch.Tensor) -> Array | None:
    return None if leaf.grad is None else leaf.grad.numpy()


def _numpy(coefficient: float | torch.Tensor) -> Array:
    column: Array = torch.as_tensor(coefficient, dtype=torch.float32).numpy().reshape(-1, 1)
    return column


def _sample_weights(batch: Batch) -> torch.Tensor:
    """Return weights that sum to 1 over the samples of each replica, `[R, B]`."""
    if batch.weight is None:
        return torch.full_like(batch.advantage, 1 / batch.advantage.shape[-1])
    return batch.weight / batch.weight.sum(-1, keepdim=True).clamp(min=1e-8)
