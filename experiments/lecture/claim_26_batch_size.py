"""Claim 26b to 26d: the size of a rollout."""

from lecture_arms import EFFECT, SEEDS, STEPS, TASKS, ppo
from rlbench import Claim, Experiment

VALUES = [128, 512, 2048, 8192, 32768]
ARMS = [f"rollout {value}" for value in VALUES]

EXPERIMENT = Experiment(
    name="rollout-size",
    question="Is a rollout of 2,048 steps the sweet spot, 128 too noisy and 30,000 too slow?",
    design=(
        "PPO-Clip that collects 128 to 32,768 steps before every update, always in minibatches of 64 and otherwise "
        "with the lecture's defaults, so that every arm takes about as many gradient steps. Compared is the area "
        "under the learning curve."
    ),
    arms=[ppo(label, horizon=value, minibatches=value // 64) for label, value in zip(ARMS, VALUES, strict=True)],
    environments=TASKS,
    seeds=SEEDS,
    steps=STEPS,
    baseline="rollout 2048",
    claims=[
        Claim(
            "128 steps are too few: it learns less than with 2,048",
            ["rollout 128", "rollout 2048"],
            "less",
            over="mean",
            id="26b",
            source="Part 6, gotcha 5",
            known="rl-zoo's tuned rollouts hold 256 steps on CartPole and 8 on MountainCarContinuous.",
        ),
        Claim(
            "Very large rollouts are inefficient: with 32,768 steps it learns less than with 2,048",
            ["rollout 32768", "rollout 2048"],
            "less",
            smallest_effect=EFFECT,
            over="mean",
            id="26c",
            source="Part 6, gotcha 5",
            known="Andrychowicz et al. 2021: the size of the batch does not hurt within their range.",
        ),
        Claim(
            "2,048 is the sweet spot: no other size learns noticeably faster",
            ["rollout 2048", *(arm for arm in ARMS if arm != "rollout 2048")],
            "not-less",
            smallest_effect=EFFECT,
            over="mean",
            id="26d",
            source="Part 6, gotcha 5",
        ),
    ],
)
