"""Claim 35c: PPO works where nothing but the goal is rewarded."""

from lecture_arms import EFFECT, SEEDS, STEPS, ppo
from rlbench import Claim, Experiment

DEFAULT = "PPO defaults"

EXPERIMENT = Experiment(
    name="mountain-car",
    question="Does PPO work where the return says nothing until the goal is reached once?",
    design=(
        "PPO-Clip with the lecture's defaults and a random policy on MountainCar-v0, where every episode that does not "
        "reach the goal returns the same -200. The score is 0 for that and 1 for the task's target of -110."
    ),
    arms=[ppo(DEFAULT), "random"],
    environments=["MountainCar-v0"],
    seeds=SEEDS,
    steps=STEPS,
    baseline="random",
    claims=[
        Claim(
            "On MountainCar, where only reaching the goal makes a difference, PPO comes half of the way to the target",
            [DEFAULT],
            "above",
            "final_normalised",
            smallest_effect=EFFECT,
            bound=0.5,
            id="35c",
            source="Part 10, “works with sparse rewards”",
            known="CleanRL's documented PPO defaults end at -200 on MountainCar-v0 in every run.",
        ),
    ],
)
