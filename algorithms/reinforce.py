"""REINFORCE (Williams 1992) with a choice of baselines."""

from __future__ import annotations

import torch

from rlbench import Algorithm, Estimates, Params, Problem, Samples, Trajectory, first_order, hyper, static
from rlbench.functional import reward_to_go, rollout_mean


class Reinforce(Algorithm):
    """One gradient step on log pi(a|s) (G - b(s)) per batch of episodes, G the Monte-Carlo return from s on.

    The unfinished rest at the end of a rollout has no Monte-Carlo return: its samples have weight 0. An episode cut by
    the environment's time limit counts as it was played; nothing is bootstrapped. The default step size is the best of
    seven between 3e-4 and 1e-2 on CartPole-v1 and Acrobot-v1 over seeds 100 to 104, so that comparisons with PPO's
    published default are not won by a bad one.
    """

    name = "reinforce"

    lr: float = hyper(1e-2, low=0.0, doc="Adam's step size at the start")
    horizon: int = static(1024, low=1, doc="steps per environment copy in one rollout")
    epochs: int = static(1, low=1, doc="gradient steps on the policy per rollout; 1 is REINFORCE")
    minibatches: int = static(1, low=1, doc="equal parts of a rollout; 1 is REINFORCE")
    normalize_advantage: str = static(
        "batch", choices=("minibatch", "batch", "none"), doc="over which samples advantages are standardised"
    )
    baseline: str = static("value", choices=("none", "mean", "value"), doc="what is subtracted from the return")
    value_epochs: int = static(10, low=1, doc="passes over a rollout that fit the value (baseline=value)")
    value_minibatches: int = static(16, low=1, doc="parts of a rollout in these passes")

    def surrogate(self, x: Samples) -> torch.Tensor:
        """Williams 1992, equation 4, per sample."""
        return x.log_prob * x.advantage

    def advantages(self, tr: Trajectory) -> Estimates:
        """Return less baseline, for the samples whose episode ended."""
        returns, finished = reward_to_go(tr.reward, tr.ended, gamma=self.gamma)
        if self.baseline == "value":
            return Estimates(returns - tr.value, returns, finished)
        if self.baseline == "mean":
            return Estimates(returns - rollout_mean(returns, finished), returns, finished)
        return Estimates(returns, returns, finished)

    def improve(self, problem: Problem) -> Params:
        """One policy step; the value, where it is the baseline, is fitted on its own."""
        params = first_order(problem, value=False)
        if self.baseline != "value":
            return params
        return first_order(
            problem, start=params, policy=False, epochs=self.value_epochs, minibatches=self.value_minibatches
        )

    def validate(self) -> None:
        """The value's minibatches must be equal, too, and its fit must leave the policy alone."""
        if self.shared_trunk and self.baseline == "value":
            raise ValueError("reinforce with baseline value needs separate networks; set shared_trunk to false.")
        if self.samples_per_update % self.value_minibatches:
            raise ValueError(
                f"horizon x num_envs = {self.samples_per_update} samples cannot be split into "
                f"{self.value_minibatches} equal value_minibatches."
            )
