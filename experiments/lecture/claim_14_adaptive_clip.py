"""Claim 14: the rule that adapts the clip range, as the lecture writes it, without bounds."""

from lecture_arms import EFFECT, SEEDS, STEPS, TASKS, TEN_EPOCHS, ppo
from rlbench import Arm, Claim, Experiment

RULE, BOUNDED, FIXED = "adaptive clip, no bounds", "adaptive clip within 0.05 and 0.5", "clip 0.2"
NO_BOUNDS = {"min_clip": 0.0, "max_clip": float("inf")}

EXPERIMENT = Experiment(
    name="adaptive-clip",
    question="Does a clip range that follows the divergence hold it near its target, and does it help?",
    design=(
        "The lecture's rule halves the clip range after an update that moved further than 1.5 times the target of "
        "0.01 and doubles it after one that moved less than the target over 1.5. It is trained as written, which "
        "knows no bounds, with bounds, and beside a fixed clip range; ten epochs."
    ),
    arms=[
        Arm("ppo-adaptive", RULE, **TEN_EPOCHS, **NO_BOUNDS),
        Arm("ppo-adaptive", BOUNDED, **TEN_EPOCHS),
        ppo(FIXED, **TEN_EPOCHS),
    ],
    environments=TASKS,
    seeds=SEEDS,
    steps=STEPS,
    baseline=FIXED,
    claims=[
        Claim(
            "The rule holds the divergence near its target: that of a run's median update lies within a half of it",
            [RULE],
            "within",
            "kl:q0.5",
            bound=0.01,
            smallest_effect=0.005,
            over="mean",
            id="14a",
            source="Part 7, PPO-Adaptive",
            known="The PPO paper adapts the weight of a penalty, never the clip range; three doublings from 0.2 pass "
            "1, where the lower clip is gone.",
        ),
        Claim(
            "The rule learns as well as a fixed clip range",
            [RULE, FIXED],
            "not-less",
            smallest_effect=EFFECT,
            over="mean",
            id="14b",
            source="Part 7, PPO-Adaptive",
        ),
        Claim(
            "With bounds on the clip range the rule learns as well as a fixed one",
            [BOUNDED, FIXED],
            "not-less",
            smallest_effect=EFFECT,
            over="mean",
            id="14c",
            source="Part 7, PPO-Adaptive",
        ),
    ],
)
