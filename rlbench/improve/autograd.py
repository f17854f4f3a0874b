"""What `rlbench.improve.diagnostics` measures, on the device that trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from rlbench.data import Params, Samples
from rlbench.functional.losses import clipped_value_loss, weighted_mean
from rlbench.functional.optimizers import TensorAdamState, adam_, clip_by_norm_
from rlbench.functional.solvers import norm
from rlbench.functional.torch_networks import TensorNetwork, head_fisher
from rlbench.improve.minibatches import HeadTerms, TensorBatch, TensorRollout, gather_tensors

if TYPE_CHECKING:
    from rlbench.algorithm import Algorithm
    from rlbench.functional.distributions import Family


Array = npt.NDArray[Any]


class TensorMeter:
    """Sums over the gradient steps of one update, per replica; they leave the device when they are asked for."""

    def __init__(self, replicas: int, device: torch.device) -> None:
        self._zeros = torch.zeros(replicas, dtype=torch.float64, device=device)
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, torch.Tensor] = {}

    def add(self, name: str, values: torch.Tensor, active: torch.Tensor) -> None:
        """Add one measurement per replica, `[R]`, of the replicas in `active`, bool `[R]`."""
        counted = torch.where(active, values.to(torch.float64), self._zeros)
        self._sums[name] = self._sums.get(name, self._zeros) + counted
        self._counts[name] = self._counts.get(name, self._zeros.to(torch.int64)) + active

    def mean(self, name: str) -> Array:
        """Return the mean per replica `[R]`; NaN where nothing was measured."""
        with np.errstate(invalid="ignore"):
            means: Array = self.total(name) / self.count(name)
        return means

    def total(self, name: str) -> Array:
        """Return the sum of the measurements of each replica, `[R]`."""
        total: Array = self._sums.get(name, self._zeros).cpu().numpy()
        return total

    def count(self, name: str) -> Array:
        """Return how often each replica was measured, `[R]`."""
        count: Array = self._counts.get(name, self._zeros.to(torch.int64)).cpu().numpy()
        return count

    def clipping(
        self, x: Samples, slope: torch.Tensor | None, band: float | torch.Tensor, active: torch.Tensor
    ) -> None:
        """Add the clip fractions of one gradient step; `slope` `[R, B]` is the surrogate's gradient at `log_prob`."""
        counts = torch.ones_like(x.advantage, dtype=torch.bool) if x.weight is None else x.weight > 0
        total = counts.sum(-1).clamp(min=1).to(torch.float64)
        outside = ((x.ratio.detach() - 1).abs() > band) & counts
        self.add("clip_fraction", outside.sum(-1) / total, active)
        if slope is not None:  # else the surrogate does not depend on the log-probability: there is nothing to kill
            killed = (slope == 0) & (x.advantage != 0) & counts
            self.add("clip_killed", killed.sum(-1) / total, active)


def measure_update(problem: TensorProblem, params: Params) -> dict[str, Array]:
    """Return the measures after the update, one number per replica, `[R]` each."""
    if not problem.reference:
        problem.full()
    sums: dict[str, torch.Tensor] = {}
    peaks: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        for batch in problem.reference:
            x = problem.policy_samples(params, batch)
            distance = (x.ratio - 1).abs()
            for name, values in (
                ("kl", x.kl),
                ("entropy", x.entropy),
                ("outside_band", (distance > problem.algorithm.band).to(torch.float32)),
                ("surrogate", weighted_mean(problem.algorithm.surrogate(x), x.weight)),
            ):
                share = values.mean(-1).to(torch.float64)
                sums[name] = sums[name] + share if name in sums else share
            for name, values in (("kl_max", x.kl), ("ratio_max", x.ratio)):
                peak = values.amax(-1)
                peaks[name] = torch.maximum(peaks[name], peak) if name in peaks else peak
    means = {name: total / len(problem.reference) for name, total in sums.items()}
    return {name: values.cpu().numpy() for name, values in (means | peaks).items()}


Tensor = torch.Tensor
Objective = Callable[[Samples], Tensor]


class TensorProblem:
    """What `rlbench.improve.Problem` is, for any network: an algorithm's `improve` need not know which it is given.

    Everything is a tensor on the device of `params`, masks of replicas (bool `[R]`) too, and no gradient step asks the
    device for a number.

    algorithm   the replicas' algorithm, hyper fields `[R, 1]`
    params      parameters before the step `[R, P]`; the first `policy_size` are the policy's. Leave them unchanged.
    progress    share of the budget that is used
    alive       bool `[R]`, the replicas that still learn
    """

    def __init__(
        self,
        algorithm: Algorithm,
        network: TensorNetwork,
        family: Family,
        params: Tensor,
        optimizer: TensorAdamState,
        rollout: TensorRollout,
        *,
        lr: Tensor,
        alive: Tensor,
        permute: Callable[[int], Array],
        progress: float = 0.0,
    ) -> None:
        self.algorithm, self.params, self.progress = algorithm, params, progress
        self.policy_size = network.policy_size
        self.alive = alive
        self.meter = TensorMeter(len(params), params.device)
        self._network, self._family, self._optimizer = network, family, optimizer
        self._rollout, self._lr, self._permute = rollout, lr, permute
        self._eps, self._max_norm = self._column(algorithm.adam_eps), self._column(algorithm.max_grad_norm)
        self._value_coef = self._column(algorithm.value_coef)
        # Which terms there are at all is asked of the device once, here.
        bonus, clips = torch.as_tensor(algorithm.entropy_coef) != 0, torch.as_tensor(algorithm.value_clip).isfinite()
        self._entropy_coef = self._column(algorithm.entropy_coef) if bool(bonus.any()) else None
        self._value_clip = self._column(algorithm.value_clip) if bool(clips.any()) else None
        self._old_head: Tensor | None = None  # [R, n, H]
        self._old_log_prob: Tensor | None = None  # [R, n]
        self.reference: list[TensorBatch] = []

    @property
    def size(self) -> int:
        """The number of samples per replica, n."""
        return self._rollout.observation.shape[1]

    def full(self) -> TensorBatch:
        """Return the whole rollout as one batch."""
        return next(self.minibatches(epochs=1, count=1))

    def minibatches(self, *, epochs: int, count: int) -> Iterator[TensorBatch]:
        """Yield `count` equal batches, freshly shuffled for every replica, `epochs` times over."""
        # All permutations are drawn at once, whether or not every replica will use them, and sent at once.
        drawn = np.stack([self._order(count) for _ in range(epochs)])
        for order in torch.from_numpy(drawn).to(self.params.device):
            if self._old_head is None:
                self._evaluate_old_policy(order)
            yield from self._gather(order)

    def policy_samples(self, params: Params, batch: TensorBatch) -> Samples:
        """Return the samples of a batch under the policy of `params`, without gradient; `value` is the old one."""
        head = self._network.forward(params, batch.observation, value=False).head
        return batch.samples(HeadTerms(self._family, batch, head, batch.old_value))

    def gradient(
        self,
        params: Params,
        batch: TensorBatch,
        objective: Objective | None = None,
        *,
        policy: bool = True,
        entropy: bool = False,
        value: bool = False,
        active: Tensor | None = None,
    ) -> tuple[Tensor, Params, Samples]:
        """Return the objective `[R, 1]`, the gradient `[R, P]` of all that is to be maximised, and the samples.

        `objective` maps samples to one number per replica, `[R, 1]`; without one it is the mean of the algorithm's
        surrogate. `policy=False` leaves it out. `entropy` adds entropy_coef times the mean entropy to what is
        maximised, `value` takes off value_coef times the mean value loss. What was measured of the replicas in `active`
        `[R]` (default: all that are alive) enters the diagnostics.
        """
        counted = self.alive if active is None else active
        there = self._network.forward(params, batch.observation, policy=policy)
        terms = HeadTerms(self._family, batch, there.head.requires_grad_(), there.value.requires_grad_())
        x = batch.samples(terms)
        with torch.enable_grad():
            result = (objective or self._surrogate)(x) if policy else torch.zeros_like(params[:, :1])
            total = result.sum()  # replicas share no parameter: the sum's gradient holds each one's own
            if entropy and self._entropy_coef is not None:
                total = total + (self._entropy_coef * x.entropy * batch.shares).sum()
            if value:
                total = total - (self._value_coef * self._value_loss(batch, there.value, counted)).sum()
            log_prob = x.log_prob if policy else None
        at_head, at_value, at_log_prob = _slopes(total, (there.head, there.value, log_prob))
        grad = there.backward(at_head, at_value)
        self.meter.add("samples", torch.full_like(self._lr[:, 0], x.advantage.shape[1]), counted)
        if policy:
            self.meter.clipping(x, at_log_prob, self.algorithm.band, counted)
            self.meter.add("grad_norm", norm(grad[:, : self.policy_size])[:, 0], counted)
        return result.detach(), grad, x

    def fisher(self, params: Params, batch: TensorBatch) -> Callable[[Params], Params]:
        """Return the map from a vector to the policy's Fisher information, averaged over the batch, times it, `[R, P]`.

        J^T F J v with J the Jacobian of the heads and F the distribution's own Fisher matrix (Schulman et al. 2015,
        appendix C.1).
        """
        there = self._network.forward(params, batch.observation, value=False)
        at_head = head_fisher(self._family.build, there.head)
        shares = batch.shares[..., None]

        def product(vector: Params) -> Params:
            return there.backward(at_head(there.jvp_head(vector)) * shares, None)

        return product

    def ascend(
        self, params: Params, grad: Params, active: Tensor, *, policy: bool = True, value: bool = True
    ) -> Params:
        """Take one Adam step up `grad` in place, norms clipped per replica, for the replicas in `active` `[R]`.

        `policy` and `value` say which networks take the step; the other one keeps its parameters and its optimiser's
        state. A network that shares parameters between the two steps as a whole. `grad` is used up.
        """
        parts = self._network.parts(policy=policy, value=value)
        clip_by_norm_(grad, self._max_norm)
        adam_(params, grad, self._optimizer, lr=-self._lr, eps=self._eps, active=active, parts=parts)
        return params

    def usable(self, batch: TensorBatch) -> Tensor:
        """Return which replicas `[R]` are alive and have at least one sample that counts in this batch."""
        return self.alive if batch.weight is None else self.alive & (batch.weight.sum(-1) > 0)

    def mask(self, condition: Tensor) -> Tensor:
        """Return a condition `[R, 1]` as a mask of replicas `[R]`."""
        return condition[:, 0]

    def none_left(self, going: Tensor) -> bool:
        """Return whether no replica takes part any more; on a GPU never, since asking would wait for it."""
        return going.device.type == "cpu" and not bool(going.any())

    def _surrogate(self, x: Samples) -> Tensor:
        return weighted_mean(self.algorithm.surrogate(x), x.weight)

    def _value_loss(self, batch: TensorBatch, value: Tensor, counted: Tensor) -> Tensor:
        """Return the mean value loss `[R, 1]`, and note it."""
        loss = clipped_value_loss(value, batch.old_value, batch.target, self._value_clip)
        mean = (loss * batch.shares).sum(-1, keepdim=True)
        self.meter.add("value_loss", mean.detach()[:, 0], counted)
        return mean

    def _order(self, count: int) -> Array:
        """Return sample indices `[count, R, B]`: in order for a single batch, else shuffled per replica."""
        replicas = len(self.params)
        if count == 1:
            return np.tile(np.arange(self.size), (1, replicas, 1))
        return self._permute(self.size).reshape(replicas, count, -1).transpose(1, 0, 2)

    def _evaluate_old_policy(self, order: Tensor) -> None:
        """Record heads and log-probabilities of the acting policy, in the very batches of the first epoch.

        A matrix product of another shape may round differently; evaluated in the same batches, the ratio of the first
        step is exactly 1 for every sample.
        """
        rollout = self._rollout
        rows = torch.arange(len(self.params), device=order.device)[:, None]
        self._old_head = rollout.observation.new_empty((*rollout.advantage.shape, self._family.head_size))
        self._old_log_prob = torch.empty_like(rollout.advantage)
        for index in order:
            head = self._network.forward(self.params, rollout.observation[rows, index], value=False).head
            self._old_head[rows, index] = head
            self._old_log_prob[rows, index] = self._family.build(head).log_prob(rollout.action[rows, index])
        self.reference = list(self._gather(order))

    def _gather(self, order: Tensor) -> Iterator[TensorBatch]:
        assert self._old_head is not None
        assert self._old_log_prob is not None
        per_batch = self.algorithm.normalize_advantage == "minibatch"
        return gather_tensors(self._rollout, self._old_head, self._old_log_prob, order, standardised=per_batch)

    def _column(self, coefficient: float | Tensor) -> Tensor:
        """Return a coefficient as `[R, 1]`."""
        column = torch.as_tensor(coefficient, dtype=torch.float32, device=self.params.device)
        return column.expand(len(self.params), 1)


def _slopes(total: Tensor, inputs: tuple[Tensor | None, ...]) -> list[Tensor | None]:
    """Return the gradient of `total` at each input, None where it does not depend on it."""
    wanted = [one for one in inputs if one is not None and one.numel()]
    if not total.requires_grad or not wanted:
        return [None] * len(inputs)
    found = iter(torch.autograd.grad(total, wanted, allow_unused=True))
    return [next(found) if one is not None and one.numel() else None for one in inputs]
