"""GRPO (Shao et al. 2024, "DeepSeekMath") and RLOO (Ahmadian et al. 2024): PPO with a group for a baseline."""

from rlbench.algorithms.ppo_clip import PPOClip

from rlbench import Estimates, Params, Problem, Trajectory, first_order, hyper, static
from rlbench.functional import reward_to_go, rollout_mean


class GRPO(PPOClip):
    """PPO-Clip on returns less their mean over a group, the episodes that end in a rollout, all of one question.

    The deviation of the group divides them unless normalize_advantage is none. No value is learnt.
    """

    name = "grpo"
    gamma: float = hyper(1.0, low=0.0, high=1.0, doc="discount factor")
    normalize_advantage: str = static("batch", choices=("minibatch", "batch", "none"), doc="as PPO's")
    leave_one_out: bool = static(False, doc="compare an episode with the others only, as RLOO does")

    def advantages(self, tr: Trajectory) -> Estimates:
        """DeepSeekMath, section 4.1.2."""
        returns, finished = reward_to_go(tr.reward, tr.ended, gamma=self.gamma)
        episodes = tr.ended.to(returns.dtype).sum(0, keepdim=True).sum(-1, keepdim=True)
        factor = episodes / (episodes - 1).clamp(min=1) if self.leave_one_out else 1.0
        return Estimates((returns - rollout_mean(returns, finished)) * factor, returns, finished)

    def improve(self, problem: Problem) -> Params:
        """Epochs of minibatches on the policy alone."""
        return first_order(problem, value=False)
