"""Claim 21: one network for policy and value, or two."""

from lecture_arms import EFFECT, SEEDS, STEPS, TASKS, ppo
from rlbench import Claim, Experiment

EXPERIMENT = Experiment(
    name="shared-network",
    question="Does it matter whether policy and value share a network?",
    design=(
        "PPO-Clip with the lecture's defaults, once with two networks and once with one whose hidden layers serve "
        "both. Compared is the area under the learning curve."
    ),
    arms=[ppo("separate networks"), ppo("shared network", shared_trunk=True)],
    environments=TASKS,
    seeds=SEEDS,
    steps=STEPS,
    claims=[
        Claim(
            "Shared or separate networks make no difference",
            ["shared network", "separate networks"],
            "equivalent",
            smallest_effect=EFFECT,
            over="mean",
            id="21",
            source="Part 3, “same network or separate”",
            known="Andrychowicz et al. 2021: separate networks are better on four of five tasks.",
        ),
    ],
)
