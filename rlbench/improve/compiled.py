"""What one improvement step of R replicas can see: `Problem`, the argument of `Algorithm.improve`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from rlbench.data import Params, Samples
from rlbench.functional.losses import value_loss
from rlbench.functional.networks import ActorCritic
from rlbench.functional.optimizers import AdamState, adam, norms, per_replica
from rlbench.improve.diagnostics import Meter
from rlbench.improve.differentiation import Differentiation, Objective, samples
from rlbench.improve.leaves import Leaves
from rlbench.improve.minibatches import Batch, Rollout, gather, take

if TYPE_CHECKING:
    from rlbench.algorithm import Algorithm
    from rlbench.functional.distributions import Family

Array = npt.NDArray[Any]


class Problem:
    """What one improvement step of R replicas can see and use; the argument of `Algorithm.improve`.

    algorithm   the replicas' algorithm, hyper fields `[R, 1]`
    params      parameters before the step `[R, P]`; the first `policy_size` are the policy's. Leave them unchanged.
    progress    share of the budget that is used
    band        half-width of the ratio band that clip fractions refer to, `[R]`
    """

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
        self.algorithm = algorithm
        self.params: Params = torch.from_numpy(params)
        self.policy_size = network.policy_size
        self.progress = progress
        self.alive = alive  # bool [R]: replicas that still learn
        self.meter = Meter(len(params))
        self._network, self._family, self._optimizer = network, family, optimizer
        self._rollout, self._lr, self._permute = rollout, lr, permute
        self._eps, self._max_norm = _column(algorithm.adam_eps), _column(algorithm.max_grad_norm)
        self._entropy_coef, self._value_coef = _column(algorithm.entropy_coef), _column(algorithm.value_coef)
        replicas = len(params)
        self._value_clip = per_replica(_column(algorithm.value_clip), replicas)
        self.band = per_replica(_column(algorithm.band), replicas)
        self._has_bonus = bool(self._entropy_coef.any())
        self._differentiate = Differentiation(algorithm)
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
        return samples(batch, self._policy_leaves(params, batch))

    def evaluate(self, params: Params, batch: Batch) -> tuple[Leaves, Array]:
        """Return the terms of a batch under the policy of `params`, and its mean surrogate `[R]`."""
        leaves = self._policy_leaves(params, batch)
        mean: Array = self._differentiate(batch, leaves).numpy()[:, 0]
        return leaves, mean

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
        """Return the objective `[R, 1]`, the gradient `[R, P]` of all that is to be maximised, and the samples.

        `objective` maps samples to one number per replica, `[R, 1]`; without one it is the mean of the algorithm's
        surrogate. `policy=False` leaves it out. `entropy` adds entropy_coef times the mean entropy to what is
        maximised, `value` takes off value_coef times the mean value loss. What was measured of the replicas in `active`
        `[R]` (default: all that are alive) enters the diagnostics.
        """
        flat, counted = params.numpy(), self.alive if active is None else active
        output = self._network.forward(flat, batch.observation, policy=policy)
        leaves = self._leaves(batch, output.head, output.value, live=True)
        result = self._differentiate(batch, leaves, objective) if policy else torch.zeros((len(flat), 1))
        bonus = self._entropy_coef * batch.shares if entropy and self._has_bonus else None
        at_head = leaves.pull(bonus)
        at_value = self._value_slope(batch, output.value, counted) if value else None
        if (slope := leaves.slope("value")) is not None:
            at_value = slope if at_value is None else at_value + slope
        grad = self._network.backward(flat, output.tape, at_head, at_value)
        self.meter.add("samples", np.full(len(flat), batch.observation.shape[1]), counted)
        if policy:
            norm = norms(grad[:, : self.policy_size])
            log_prob, slope = leaves.array("log_prob"), leaves.slope("log_prob")
            self.meter.add_policy_step(batch, log_prob, slope, self.band, norm, counted)
        return result, torch.from_numpy(grad), samples(batch, leaves)

    def fisher(self, params: Params, batch: Batch) -> Callable[[Params], Params]:
        """Return the map from a vector to the policy's Fisher information, averaged over the batch, times it, `[R, P]`.

        J^T F J v with J the Jacobian of the heads and F the distribution's own Fisher matrix: exact, and without
        differentiating twice (Schulman et al. 2015, appendix C.1).
        """
        flat = params.numpy()
        output = self._network.forward(flat, batch.observation, value=False)
        likelihood = self._family.likelihood(output.head)
        shares = batch.shares[..., None]

        def product(vector: Params) -> Params:
            moved = self._network.jvp_head(flat, output.tape, vector.numpy())
            return torch.from_numpy(self._network.backward(flat, output.tape, likelihood.fisher(moved) * shares, None))

        return product

    def ascend(self, params: Params, grad: Params, active: Array, *, policy: bool = True, value: bool = True) -> Params:
        """Take one Adam step up `grad` in place, norms clipped per replica, for the replicas in `active` `[R]`.

        `policy` and `value` say which networks take the step. The other one keeps its parameters and its optimiser's
        state: a zero gradient would not do, since Adam's momentum moves on without one.
        """
        adam(
            params.numpy(), grad.numpy(), self._optimizer,
            lr=-self._lr, eps=self._eps, max_norm=self._max_norm, active=active, parts=self._parts(policy, value),
        )  # fmt: skip
        return params

    def usable(self, batch: Batch) -> Array:
        """Return which replicas `[R]` are alive and have at least one sample that counts in this batch."""
        if batch.weight is None:
            return self.alive
        usable: Array = np.logical_and(self.alive, batch.weight.any(-1))
        return usable

    def mask(self, condition: torch.Tensor) -> Array:
        """Return a condition `[R, 1]` as a mask of replicas `[R]`."""
        mask: Array = condition.numpy()[:, 0]
        return mask

    def none_left(self, going: Array) -> bool:
        """Return whether no replica takes part any more."""
        return not going.any()

    def _parts(self, policy: bool, value: bool) -> tuple[bool, bool]:
        return (True, True) if self._network.shared else (policy, value)

    def _value_slope(self, batch: Batch, value: Array, counted: Array) -> Array:
        """Return the gradient of -value_coef * mean value loss at the values, and note the loss."""
        loss, slope = value_loss(value, batch.old_value, batch.target, self._value_clip, batch.shares)
        self.meter.add("value_loss", loss, counted)
        slope *= -self._value_coef
        return slope

    def _policy_leaves(self, params: Params, batch: Batch) -> Leaves:
        """Return the terms of a batch under the policy of `params`, without gradient; `value` is the old one."""
        head = self._network.forward(params.numpy(), batch.observation, value=False).head
        return self._leaves(batch, head, batch.old_value, live=False)

    def _leaves(self, batch: Batch, head: Array, value: Array, *, live: bool) -> Leaves:
        likelihood = self._family.likelihood
        return Leaves(lambda: likelihood(head), lambda: likelihood(batch.old_head), batch.action, value, live=live)

    def _order(self, count: int) -> Array:
        """Return sample indices `[count, R, B]`: in order for a single batch, else shuffled per replica."""
        replicas = len(self.params)
        if count == 1:
            return np.tile(np.arange(self.size), (1, replicas, 1))
        order = self._permute(self.size)  # [R, n]
        return np.ascontiguousarray(order.reshape(replicas, count, -1).transpose(1, 0, 2))

    def _evaluate_old_policy(self, order: Array) -> None:
        """Record heads and log-probabilities of the acting policy, in the very batches of the first epoch.

        A matrix product of another shape may round differently; evaluated in the same batches, the ratio of the first
        step is exactly 1 for every sample.
        """
        rows = np.arange(len(self.params))[:, None]
        observations, actions = take(self._rollout.observation, order), take(self._rollout.action.numpy(), order)
        self._old_heads = np.empty((len(self.params), self.size, self._family.head_size), np.float32)
        self._old_log_probs = np.empty((len(self.params), self.size), np.float32)
        for index, observation, action in zip(order, observations, actions, strict=True):
            head = self._network.forward(self.params.numpy(), observation, value=False).head
            self._old_heads[rows, index] = head
            self._old_log_probs[rows, index] = self._family.likelihood(head).log_prob(action)
        self.reference = list(self._gather(order))

    def _gather(self, order: Array) -> Iterator[Batch]:
        assert self._old_heads is not None
        assert self._old_log_probs is not None
        per_batch = self.algorithm.normalize_advantage == "minibatch"
        return gather(self._rollout, self._old_heads, self._old_log_probs, order, standardised=per_batch)


def _column(coefficient: float | torch.Tensor) -> Array:
    """Return a coefficient as `[R, 1]` or, if it is one number for all, `[1, 1]`."""
    column: Array = torch.as_tensor(coefficient, dtype=torch.float32).numpy().reshape(-1, 1)
    return column
