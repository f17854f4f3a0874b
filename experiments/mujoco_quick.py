"""A first look at continuous control: PPO-Clip against REINFORCE and TRPO on two MuJoCo tasks, in a few minutes.

Needs `pip install 'rlbench[mujoco]'`. Five seeds say little of small differences; these are large.
"""

from rlbench import Arm, Claim, Experiment

SCALED = {"normalize_observation": True, "normalize_reward": True}  # what matters most here, see docs/mujoco.md

EXPERIMENT = Experiment(
    name="mujoco-quick",
    question="Does PPO beat REINFORCE and TRPO on two MuJoCo tasks, within 200,000 steps?",
    design=(
        "Each algorithm trains with its own defaults, in rollouts of 2,048 steps, with observations standardised and "
        "rewards divided by the deviation of the return."
    ),
    arms=[
        Arm("ppo-clip", "PPO-Clip", **SCALED),
        Arm("trpo", "TRPO", **SCALED),
        Arm("reinforce", "REINFORCE", **SCALED, horizon=2048, lr=3e-3),
    ],
    environments=["HalfCheetah-v5", "InvertedDoublePendulum-v5"],
    seeds=5,
    steps=200_000,
    baseline="REINFORCE",
    claims=[
        Claim(
            "PPO learns faster than REINFORCE",
            ["PPO-Clip", "REINFORCE"],
            "greater",
            smallest_effect=0.05,
            over="mean",
        ),
        Claim(
            "PPO learns nearly as well as TRPO",
            ["PPO-Clip", "TRPO"],
            "not-less",
            smallest_effect=0.05,
            over="mean",
        ),
    ],
)
