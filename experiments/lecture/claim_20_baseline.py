"""Claim 20a: a baseline helps REINFORCE."""

from lecture_arms import EFFECT, FAIR, SEEDS, STEPS, TASKS
from rlbench import Arm, Claim, Experiment

EXPERIMENT = Experiment(
    name="baseline",
    question="Does a learned value as the baseline help?",
    design=(
        "REINFORCE with its own learning rate, once with nothing subtracted from the return, once with the rollout's "
        "mean and once with a learned value. Compared is the area under the learning curve."
    ),
    arms=[
        Arm("reinforce", f"baseline {kind}", anneal_lr=False, lr=FAIR["reinforce"], baseline=kind)
        for kind in ("none", "mean", "value")
    ],
    environments=TASKS,
    seeds=SEEDS,
    steps=STEPS,
    claims=[
        Claim(
            "With a learned value as its baseline REINFORCE learns faster than without",
            ["baseline value", "baseline none"],
            "greater",
            smallest_effect=EFFECT,
            over="mean",
            id="20a",
            source="Part 3, value function; recap",
            known="Ilyas et al. 2020: the learned value lowers the gradient's variance only marginally, yet returns "
            "improve.",
        ),
    ],
)
