"""Does it matter for Table 1 of the PPO paper that actions are cut to their bounds before they are sent?

The program of the paper's authors sends them as the policy drew them (OpenAI Baselines, `ppo1/pposgd_simple.py`), and
HalfCheetah charges the effort of the action that it is given, in Gym as in Gymnasium, while the simulator bounds the
torque. So a policy whose actions grow without bound earns less than a random one. rlbench cuts actions first, as most
programs do today. Here both surrogates train with either: on HalfCheetah-v5 as it is, whose runs are those of
`ppo_table1.py`, and without bounds on what may be sent. The claims were written before any run; then the budget was
raised to that of Table 1, after 300,000 steps had been seen. Ten minutes on two cores beside Table 1's.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.spaces import Box, Space

from rlbench import Arm, Claim, Experiment


class UncutHalfCheetah(HalfCheetahEnv):
    """HalfCheetah that charges the whole action; the simulator bounds the torque, as it always does."""

    def _set_action_space(self) -> Space[Any]:
        self.action_space = Box(-np.inf, np.inf, (self.model.nu,), np.float32)
        return self.action_space


gymnasium.register("UncutHalfCheetah-v5", UncutHalfCheetah, max_episode_steps=1000)

PAPER: dict[str, Any] = {
    "anneal_lr": False,
    "max_grad_norm": float("inf"),
    "normalize_advantage": "batch",
    "normalize_observation": True,
}
NOTHING, CLIP = "no clipping or penalty", "clipping, eps = 0.2"
CUT, UNCUT = "HalfCheetah-v5", "UncutHalfCheetah-v5"

EXPERIMENT = Experiment(
    name="ppo_table1_actions",
    question="Is PPO without clipping worse than random where an action is charged as it was drawn?",
    design=(
        "PPO with and without clipping, with the settings of Table 1 of the PPO paper, on HalfCheetah with actions cut "
        "to their bounds and with actions that are charged in full. A random policy has -281 on the first."
    ),
    arms=[Arm("ppo-clip", NOTHING, clip=float("inf"), **PAPER), Arm("ppo-clip", CLIP, clip=0.2, **PAPER)],
    environments=[CUT, UNCUT],
    seeds=3,
    steps=1_000_000,
    baseline=CLIP,
    claims=[
        Claim(
            "Where actions are charged in full, PPO without clipping ends below -281, a random policy's return",
            [NOTHING],
            "below",
            "last100",
            bound=-281.0,
            environments=[UNCUT],
            source="Schulman et al. 2017, section 6.1: “a very negative score”, on HalfCheetah",
        ),
        Claim(
            "Where actions are cut to their bounds, it does not",
            [NOTHING],
            "above",
            "last100",
            bound=-281.0,
            environments=[CUT],
            source="`ppo_table1.py`, where it is about as good as with clipping",
        ),
    ],
)
