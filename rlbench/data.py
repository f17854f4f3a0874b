"""The records that travel between the core and an algorithm; `...` is empty in a unit test and `[R]` in training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch

if TYPE_CHECKING:
    from rlbench.functional.distributions import Distribution

Params = torch.Tensor
"""The parameters of R replicas, flat: `[R, P]`."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One rollout; every tensor is `[T, ..., N]`, time first, environment copies last.

    reward       the reward received (after reward normalisation, if that is on)
    value        V(s_t) by the value network before the update
    next_value   V(s_{t+1}) of the true successor: at a truncation that of the final observation
    terminated   bool, the episode is over and its future is worth nothing
    ended        bool, terminated or cut by a time limit
    """

    reward: torch.Tensor
    value: torch.Tensor
    next_value: torch.Tensor
    terminated: torch.Tensor
    ended: torch.Tensor


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
    """

    kl: torch.Tensor
    entropy: torch.Tensor
    surrogate: torch.Tensor
    mean_return: torch.Tensor
    progress: torch.Tensor


class Terms(Protocol):
    """Where samples get from what depends on the parameters being optimised; every tensor is `[..., B]`."""

    def log_prob(self) -> torch.Tensor:
        """Return the log-probabilities of the actions."""
        ...

    def entropy(self) -> torch.Tensor:
        """Return the entropies of the policy."""
        ...

    def kl(self) -> torch.Tensor:
        """Return KL(old || new)."""
        ...

    def value(self) -> torch.Tensor:
        """Return the values."""
        ...


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
        terms = _HeadTerms(build(head), build(old_head), action, zero)
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


@dataclass(frozen=True, eq=False)
class _HeadTerms:
    """Terms by autograd through two distributions."""

    policy: Distribution
    old_policy: Distribution
    action: torch.Tensor
    values: torch.Tensor

    def log_prob(self) -> torch.Tensor:
        return self.policy.log_prob(self.action)

    def entropy(self) -> torch.Tensor:
        return self.policy.entropy()

    def kl(self) -> torch.Tensor:
        return self.policy.kl_from(self.old_policy)

    def value(self) -> torch.Tensor:
        return self.values
