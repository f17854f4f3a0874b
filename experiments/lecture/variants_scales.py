"""PPO-Clip under scales that the lecture warns of, and under the two remedies that it gives for them."""

from __future__ import annotations

import torch
from rlbench.algorithms.ppo_clip import PPOClip

from rlbench import Params, Problem, Trajectory, hyper
from rlbench.functional import gae, rollout_mean, weighted_mean


class ScaledRewards(PPOClip):
    """PPO-Clip that sees every reward multiplied by a number: advantages and value targets grow with it."""

    name = "scaled-rewards"

    reward_scale: float = hyper(1.0, low=0.0, doc="what rewards are multiplied by before advantages are estimated")

    def advantages(self, tr: Trajectory) -> tuple[torch.Tensor, torch.Tensor]:
        """Schulman et al. 2016, equation 16, of the scaled rewards."""
        reward = self.reward_scale * tr.reward
        return gae(reward, tr.value, tr.next_value, tr.terminated, tr.ended, gamma=self.gamma, lam=self.gae_lambda)


class ScaledAdvantages(PPOClip):
    """PPO-Clip whose advantages alone are multiplied by a number; the value learns what it always learns.

    Standardising would undo it, so that `normalize_advantage` should be "none".
    """

    name = "scaled-advantages"

    advantage_scale: float = hyper(1.0, low=0.0, doc="what advantages are multiplied by")

    def advantages(self, tr: Trajectory) -> tuple[torch.Tensor, torch.Tensor]:
        """GAE, multiplied."""
        advantage, target = super().advantages(tr)
        return self.advantage_scale * advantage, target


class StandardisedTargets(PPOClip):
    """PPO-Clip whose value learns standardised returns, while advantages are still made of raw rewards.

    What the lecture's first remedy for large returns amounts to: the value's scale is that of one rollout's z-scores,
    and delta = r + gamma V' - V adds it to rewards of another scale.
    """

    name = "standardised-targets"

    def advantages(self, tr: Trajectory) -> tuple[torch.Tensor, torch.Tensor]:
        """GAE as ever; its lambda-returns less their mean over the rollout, divided by their deviation."""
        advantage, target = super().advantages(tr)
        centred = target - rollout_mean(target)
        return advantage, centred / (rollout_mean(centred * centred).sqrt() + 1e-8)


class ClampedValueLoss(PPOClip):
    """PPO-Clip whose value loss is limited as a number, the lecture's second remedy for large returns.

    The derivative of a constant is zero: while a minibatch's mean of (V - target)^2 lies above `value_clamp`, the value
    gets no gradient from it. (The lower limit that the lecture writes never binds, since the loss is not negative.)
    """

    name = "clamped-value-loss"

    value_clamp: float = hyper(10.0, low=0.0, doc="upper limit of a minibatch's mean of (V - target)^2; inf: none")

    def improve(self, problem: Problem) -> Params:
        """Epochs of minibatch Adam as in `first_order`, without the value's gradient where its loss is limited."""
        params = problem.params.clone()
        for batch in problem.minibatches(epochs=self.epochs, count=self.minibatches):
            _, grad, _ = problem.gradient(params, batch, entropy=True)
            _, value_grad, x = problem.gradient(params, batch, policy=False, value=True)
            loss = weighted_mean((x.value.detach() - x.target) ** 2, x.weight)
            # Added as zero, not left out: Adam's momentum goes on, as it does in torch for a loss that is constant.
            grad += torch.where(loss > self.value_clamp, 0.0, value_grad)
            params = problem.ascend(params, grad, problem.usable(batch))
        return params

    def validate(self) -> None:
        """The loop above has no early stop."""
        if self.target_kl != float("inf"):
            raise ValueError(f"{self.name} does not stop by its KL divergence; leave target_kl at inf.")
