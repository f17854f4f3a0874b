"""The records that travel between the core and an algorithm, and the contract of `Algorithm.improve`.

`...` is empty in a unit test and `[R]` in training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, Self

import torch

from rlbench.functional.distributions import Distribution

Params = torch.Tensor
"""The parameters of R replicas, flat: `[R, P]`."""


_UNKNOWN = torch.full((1,), float("nan"))


def _not_known() -> torch.Tensor:
    raise RuntimeError("Only a rollout of a policy knows log_prob; give Trajectory(..., acted=...) to try a formula.")


class ObservationSize(int):
    """How many numbers an observation has; `shape` is the environment's own, (n,) of one of n categories."""

    shape: tuple[int, ...]

    def __new__(cls, shape: tuple[int, ...]) -> Self:
        size = super().__new__(cls, math.prod(shape))
        size.shape = shape
        return size

    def __reduce__(self) -> tuple[type[Self], tuple[tuple[int, ...]]]:  # a layer that holds it may be copied
        return type(self), (self.shape,)


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One rollout; every tensor is `[T, ..., N]`, time first, environment copies last.

    reward       the reward received (after reward normalisation, if that is on)
    value        V(s_t) by the value network before the update
    next_value   V(s_{t+1}) of the true successor: at a truncation that of the final observation
    terminated   bool, the episode is over and its future is worth nothing
    ended        bool, terminated or cut by a time limit
    observation  s_t, `[T, ..., N, O]`, flat
    action       a_t, `[T, ..., N]` or, of several numbers, `[T, ..., N, K]`
    log_prob     log-probability of a_t under the policy that acted, computed when first used (by `acted`)
    ratio        pi(a_t | s_t) of the policy being improved over that of the one that acted: 1 before the first step;
                 computed when first used (by `improved`, its log-probability)
    """

    reward: torch.Tensor
    value: torch.Tensor
    next_value: torch.Tensor
    terminated: torch.Tensor
    ended: torch.Tensor
    observation: torch.Tensor = _UNKNOWN
    action: torch.Tensor = _UNKNOWN
    acted: Callable[[], torch.Tensor] = _not_known
    improved: Callable[[], torch.Tensor] | None = None

    @cached_property
    def log_prob(self) -> torch.Tensor:
        """Log-probability of the actions under the policy that acted."""
        return self.acted()

    @cached_property
    def ratio(self) -> torch.Tensor:
        """Probability of the actions under the policy being improved over that under the policy that acted."""
        return torch.ones_like(self.reward) if self.improved is None else (self.improved() - self.log_prob).exp()


class Estimates(NamedTuple):
    """What `advantages` may return: advantage and value target, and the weight of each sample, all `[T, ..., N]`."""

    advantage: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor | None = None


@dataclass(frozen=True, eq=False)
class Stats:
    """What `adapt` sees after one update; every tensor is `[..., 1]`.

    kl           mean KL(old || new) over all samples of the rollout, after the update
    entropy      mean entropy of the new policy over the same samples, nats
    surrogate    mean surrogate over the samples that count, after the update
    mean_return  mean return of the episodes that ended in the rollout (of the last one that had any)
    progress     share of the budget that is used, 0 to 1

    and what was measured of the update besides, NaN where nothing was:

    clip_fraction       share of the samples with a ratio beyond 1 - eps to 1 + eps, mean over the gradient steps
    explained_variance  share of the targets' variance that the value explained before the update, at most 1
    grad_norm           norm of the policy's gradient before it is clipped, mean over the gradient steps
    """

    kl: torch.Tensor
    entropy: torch.Tensor
    surrogate: torch.Tensor
    mean_return: torch.Tensor
    progress: torch.Tensor
    clip_fraction: torch.Tensor = _UNKNOWN
    explained_variance: torch.Tensor = _UNKNOWN
    grad_norm: torch.Tensor = _UNKNOWN


class Terms(Protocol):
    """Where samples get from what depends on the parameters being optimised; every tensor is `[..., B]`."""

    def log_prob(self) -> torch.Tensor: ...

    def entropy(self) -> torch.Tensor: ...

    def kl(self) -> torch.Tensor: ...

    def value(self) -> torch.Tensor: ...


class Samples:
    """One minibatch. Every tensor is `[..., B]`; those under "lazy" carry gradient and are computed when first used.

    advantage      standardised as the algorithm's `normalize_advantage` says
    old_log_prob   log-probability of the action under the policy that acted
    old_value      value before the update
    target         value target
    weight         1 for a sample that counts, 0 for one left out; None if all count
    lazy: log_prob, entropy, log_ratio, ratio (new to old), kl (KL(old || new) per state, analytic); and value
    """

    def __init__(
        self,
        *,
        advantage: torch.Tensor,
        old_log_prob: torch.Tensor,
        old_value: torch.Tensor,
        target: torch.Tensor,
        terms: Terms,
        weight: torch.Tensor | None = None,
    ) -> None:
        self.advantage = advantage
        self.old_log_prob = old_log_prob
        self.old_value = old_value
        self.target = target
        self.weight = weight
        self._terms = terms

    @classmethod
    def from_heads(
        cls,
        build: Callable[[torch.Tensor], Distribution],
        head: torch.Tensor,
        old_head: torch.Tensor,
        action: torch.Tensor,
        advantage: torch.Tensor,
    ) -> Samples:
        """Return samples for a unit test of a surrogate, from policy heads `[..., B, H]`; values are zero.

        `build` makes a distribution of a head, for example `rlbench.functional.distributions.Categorical`.
        """
        zero = torch.zeros_like(advantage)
        with torch.no_grad():
            old_log_prob = build(old_head).log_prob(action)
        terms = HeadTerms(build, head, old_head, action, zero)
        return cls(advantage=advantage, old_log_prob=old_log_prob, old_value=zero, target=zero, terms=terms)

    @cached_property
    def log_prob(self) -> torch.Tensor:
        """Log-probability of the action under the parameters being optimised."""
        return self._terms.log_prob()

    @cached_property
    def log_ratio(self) -> torch.Tensor:
        """log_prob - old_log_prob."""
        return self.log_prob - self.old_log_prob

    @cached_property
    def ratio(self) -> torch.Tensor:
        """pi_new(a | s) / pi_old(a | s)."""
        return self.log_ratio.exp()

    @cached_property
    def entropy(self) -> torch.Tensor:
        """Entropy of the policy in each state, nats."""
        return self._terms.entropy()

    @cached_property
    def kl(self) -> torch.Tensor:
        """KL(old || new) in each state, analytic; the papers' direction."""
        return self._terms.kl()

    @cached_property
    def value(self) -> torch.Tensor:
        """V(s) under the parameters being optimised."""
        return self._terms.value()


@dataclass(eq=False)
class HeadTerms:
    """Terms by autograd, from policy heads `[..., B, H]` and values `[..., B]`."""

    build: Callable[[torch.Tensor], Distribution]
    head: torch.Tensor
    old_head: torch.Tensor
    action: torch.Tensor
    values: torch.Tensor

    @cached_property
    def policy(self) -> Distribution:
        return self.build(self.head)

    def log_prob(self) -> torch.Tensor:
        return self.policy.log_prob(self.action)

    def entropy(self) -> torch.Tensor:
        return self.policy.entropy()

    def kl(self) -> torch.Tensor:
        return self.policy.kl_from(self.build(self.old_head))

    def value(self) -> torch.Tensor:
        return self.values


class Problem(Protocol):
    """What one improvement step of R replicas can see and use; the argument of `Algorithm.improve`.

    Two engines implement it, `rlbench.improve.compiled` and `rlbench.improve.autograd`. Batches and masks of replicas
    are theirs: an author takes them from one method and hands them to another.

    algorithm     the replicas' algorithm, hyper fields `[R, 1]`
    params        parameters before the step `[R, P]`; the first `policy_size` are the policy's. Leave them unchanged.
    progress      share of the budget that is used
    alive         mask of the replicas that still learn, bool `[R]`
    memory        tensors of your own, `[R, ...]` by name on the device of `params`, which last from update to update,
                  through interruptions, too; empty at first, and 0 for a replica that diverged
    """

    algorithm: Any  # an `Algorithm`, which is made of these records
    params: Params
    policy_size: int
    progress: float
    alive: Any
    memory: dict[str, torch.Tensor]

    def full(self) -> Any:
        """Return the whole rollout as one batch."""

    def reestimate(self, params: Params) -> None:
        """Ask `Algorithm.advantages` anew, of the values and the policy of `params`, for the batches to come."""

    def minibatches(self, *, epochs: int, count: int) -> Iterator[Any]:
        """Yield `count` equal batches, freshly shuffled for every replica, `epochs` times over."""

    def policy_samples(self, params: Params, batch: Any) -> Samples:
        """Return the samples of a batch under the policy of `params`, without gradient; `value` is the old one."""

    def gradient(
        self,
        params: Params,
        batch: Any,
        objective: Callable[[Samples], torch.Tensor] | None = None,
        *,
        policy: bool = True,
        entropy: bool = False,
        value: bool = False,
        active: Any = None,
    ) -> tuple[torch.Tensor, Params, Samples]:
        """Return the objective `[R, 1]`, the gradient `[R, P]` of all that is to be maximised, and the samples.

        `objective` maps samples to one number per replica, `[R, 1]`; without one it is the mean of the algorithm's
        surrogate. `policy=False` leaves it out. `entropy` adds entropy_coef times the mean entropy to what is
        maximised, `value` takes off value_coef times the mean value loss. What was measured of the replicas in `active`
        `[R]` (default: all that are alive) enters the diagnostics.
        """

    def fisher(self, params: Params, batch: Any) -> Callable[[Params], Params]:
        """Return the map from a vector to the policy's Fisher information, averaged over the batch, times it, `[R, P]`.

        J^T F J v with J the Jacobian of the heads and F the distribution's own Fisher matrix: exact, and without
        differentiating twice (Schulman et al. 2015, appendix C.1).
        """

    def ascend(self, params: Params, grad: Params, active: Any, *, policy: bool = True, value: bool = True) -> Params:
        """Take one Adam step up `grad` in place, norms clipped per replica, for the replicas in `active` `[R]`.

        `policy` and `value` say which networks take the step. The other one keeps its parameters and its optimiser's
        state: a zero gradient would not do, since Adam's momentum moves on without one. A network that shares
        parameters between the two steps as a whole. `grad` is used up.
        """

    def usable(self, batch: Any) -> Any:
        """Return which replicas `[R]` are alive and have at least one sample that counts in this batch."""

    def mask(self, condition: torch.Tensor) -> Any:
        """Return a condition `[R, 1]` as a mask of replicas `[R]`."""

    def none_left(self, going: Any) -> bool:
        """Return whether no replica of a mask takes part any more; on a GPU never, since asking would wait for it."""
