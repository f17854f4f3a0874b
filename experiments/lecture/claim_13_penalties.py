"""Claim 13: the clip against the penalty, with the settings of the PPO paper's table 1."""

from lecture_arms import EFFECT, SEEDS, STEPS, TASKS, TEN_EPOCHS, ppo
from rlbench import Arm, Claim, Experiment

CLIP = "clip 0.2"
FIXED = [f"fixed penalty {beta:g}" for beta in (0.3, 1, 3, 10)]
ADAPTIVE = [f"adaptive penalty, target {target:g}" for target in (0.003, 0.01, 0.03)]

EXPERIMENT = Experiment(
    name="penalties",
    question="Is the clip better than a penalty on the divergence?",
    design=(
        "The settings of table 1 of the PPO paper, ten epochs at its learning rate 3e-4: the clip, a penalty of fixed "
        "weight, and a penalty whose weight follows the divergence. Each is compared with the clip."
    ),
    arms=[
        ppo(CLIP, **TEN_EPOCHS),
        *(
            Arm("ppo-penalty", label, **TEN_EPOCHS, beta=beta)
            for label, beta in zip(FIXED, (0.3, 1.0, 3.0, 10.0), strict=True)
        ),
        *(
            Arm("ppo-penalty", label, **TEN_EPOCHS, adaptive=True, kl_target=target)
            for label, target in zip(ADAPTIVE, (0.003, 0.01, 0.03), strict=True)
        ),
    ],
    environments=TASKS,
    seeds=SEEDS,
    steps=STEPS,
    claims=[
        Claim(
            "The clip learns faster than every fixed penalty of the paper's table",
            [CLIP, *FIXED],
            "greater",
            smallest_effect=EFFECT,
            over="mean",
            id="13a",
            source="Part 7, PPO-Clip “most common”, “effective”",
            known="Schulman et al. 2017, table 1: 0.82 against 0.62 to 0.72 for fixed penalties, without intervals. A "
            "later comparison finds ties on CartPole, LunarLander, Hopper, HalfCheetah and Walker2d and the clip "
            "ahead on Ant and Humanoid.",
        ),
        Claim(
            "The clip learns faster than every adaptive penalty of the paper's table",
            [CLIP, *ADAPTIVE],
            "greater",
            smallest_effect=EFFECT,
            over="mean",
            id="13b",
            source="Part 7",
            known="Schulman et al. 2017, table 1: 0.82 against 0.68 to 0.74 for adaptive penalties, without intervals.",
        ),
    ],
)
