"""Four algorithms, each with one very wrong advantage estimate in one rollout: what does it do to the policy?

"Very wrong" is against the sample's own estimate: where the rollout says that the action was better than average, it
now says worse by `corruption` standard deviations of the rollout's advantages, and the other way round. It enters
before advantages are standardised, as an error of the estimate would.
"""

from __future__ import annotations

from typing import Self

import torch
from rlbench.algorithms.actor_critic import ActorCritic
from rlbench.algorithms.ppo_clip import PPOClip
from rlbench.algorithms.ppo_penalty import PPOPenalty
from rlbench.algorithms.trpo import TRPO

from rlbench import Algorithm, Stats, Trajectory, hyper
from rlbench.functional import rollout_mean

BEFORE, NOW, AFTER = 0.0, 1.0, 2.0


class Corrupted(Algorithm):
    """The corruption, for an algorithm that is named before it among the bases, so that its own fields win."""

    corruption: float = hyper(100.0, low=0.0, doc="size of the wrong advantage in standard deviations; 0: none")
    at: float = hyper(0.5, low=0.0, high=1.0, doc="share of the budget after which the next rollout has it")
    stage: float = hyper(BEFORE, low=BEFORE, high=AFTER, doc="0 before the corrupted rollout, 1 in it, 2 after it")

    def advantages(self, tr: Trajectory) -> tuple[torch.Tensor, torch.Tensor]:
        """GAE; in the one rollout with one sample's advantage replaced. Value targets are right throughout."""
        advantage, target = super().advantages(tr)
        mean = rollout_mean(advantage)
        deviation = rollout_mean((advantage - mean) ** 2).sqrt()
        opposite = torch.where(advantage > mean, -1.0, 1.0)
        hit = torch.zeros_like(advantage, dtype=torch.bool)
        hit[len(hit) // 2, ..., 0] = True
        hit &= (torch.as_tensor(self.stage) == NOW) & (torch.as_tensor(self.corruption) > 0)
        return torch.where(hit, mean + opposite * self.corruption * deviation, advantage), target

    def adapt(self, stats: Stats) -> Self:
        """Go on to the corrupted rollout once `at` of the budget is used, and to the time after it."""
        begun = torch.where(torch.as_tensor(self.stage) == BEFORE, NOW, AFTER)
        waits = (torch.as_tensor(self.stage) == BEFORE) & (stats.progress < self.at)
        return self.replace(stage=torch.where(waits, BEFORE, begun))


class CorruptedClip(PPOClip, Corrupted):
    """PPO-Clip with one corrupted advantage."""

    name = "corrupted-clip"


class CorruptedActorCritic(ActorCritic, Corrupted):
    """No clip and no penalty, with one corrupted advantage."""

    name = "corrupted-actor-critic"


class CorruptedPenalty(PPOPenalty, Corrupted):
    """PPO-Penalty with one corrupted advantage."""

    name = "corrupted-penalty"

    def adapt(self, stats: Stats) -> Self:
        """Both beta and the stage."""
        return Corrupted.adapt(super().adapt(stats), stats)


class CorruptedTRPO(TRPO, Corrupted):
    """TRPO with one corrupted advantage."""

    name = "corrupted-trpo"
