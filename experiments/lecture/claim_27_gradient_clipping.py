"""Claim 27: clipping the norm of the gradient."""

from lecture_arms import EFFECT, SEEDS, STEPS, TASKS, sweep
from rlbench import Claim, Experiment

EXPERIMENT = Experiment(
    name="gradient-clipping",
    question="Is clipping the gradient's norm at 0.5 important?",
    design=(
        "PPO-Clip with the norm of its gradient bounded by 0.5, by 1, and not at all, everything else the lecture's "
        "defaults. Compared is the area under the learning curve."
    ),
    arms=sweep("max_grad_norm", [0.5, 1.0, float("inf")]),
    environments=TASKS,
    seeds=SEEDS,
    steps=STEPS,
    claims=[
        Claim(
            "Clipping the gradient's norm at 0.5 is important: it learns faster than without",
            ["max_grad_norm=0.5", "max_grad_norm=inf"],
            "greater",
            smallest_effect=EFFECT,
            over="mean",
            id="27",
            source="Part 4, a comment in the listing",
            known="Andrychowicz et al. 2021: a small gain; Tianshou: no help.",
        ),
    ],
)
