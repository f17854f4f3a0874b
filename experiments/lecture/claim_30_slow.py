"""Claim 30: the lecture's remedies for slow learning."""

from lecture_arms import EFFECT, SEEDS, STEPS, TASKS, ppo
from rlbench import Claim, Experiment

SLOW = {"lr": 1e-4}
BASE, RATE, EPOCHS, BONUS = "slow", "lr 1e-3", "ten epochs", "no entropy bonus"
SOURCE = "Part 9, “learning is too slow”"

EXPERIMENT = Experiment(
    name="remedies-slow",
    question="Do the remedies for slow learning help where learning is slow?",
    design=(
        "PPO-Clip is made slow by a learning rate of 1e-4, the low end of what the lecture allows; each remedy is "
        "then applied alone. Compared is the area under the learning curve."
    ),
    arms=[
        ppo(BASE, **SLOW),
        ppo(RATE, lr=1e-3),
        ppo(EPOCHS, **SLOW, epochs=10),
        ppo(BONUS, **SLOW, entropy_coef=0.0),
    ],
    environments=TASKS,
    seeds=SEEDS,
    steps=STEPS,
    claims=[
        Claim(
            "A learning rate of 1e-3 makes slow learning faster",
            [RATE, BASE],
            "greater",
            smallest_effect=EFFECT,
            over="mean",
            id="30a",
            source=SOURCE,
        ),
        Claim(
            "Ten epochs make slow learning faster",
            [EPOCHS, BASE],
            "greater",
            smallest_effect=EFFECT,
            over="mean",
            id="30b",
            source=SOURCE,
        ),
        Claim(
            "Less entropy bonus makes slow learning faster",
            [BONUS, BASE],
            "greater",
            smallest_effect=EFFECT,
            over="mean",
            id="30c",
            source=SOURCE,
        ),
    ],
)
