"""Claim 29: the lecture's remedies for unstable learning."""

from lecture_arms import EFFECT, SEEDS, STEPS, TASKS, ppo
from rlbench import Claim, Experiment

UNSTABLE = {"lr": 1e-2, "epochs": 20}
BASE, RATE, CLIP, NORM = "unstable", "lr 1e-4", "clip 0.1", "gradient norm 1"
SOURCE = "Part 9, “learning is unstable”"

EXPERIMENT = Experiment(
    name="remedies-unstable",
    question="Do the remedies for unstable learning help where learning is unstable?",
    design=(
        "PPO-Clip is made unstable by a learning rate of 1e-2 and 20 epochs; each remedy is then applied alone. "
        "Compared is the drop from the curve's highest point to its end."
    ),
    arms=[
        ppo(BASE, **UNSTABLE),
        ppo(RATE, **(UNSTABLE | {"lr": 1e-4})),
        ppo(CLIP, **UNSTABLE, clip=0.1),
        ppo(NORM, **UNSTABLE, max_grad_norm=1.0),
    ],
    environments=TASKS,
    seeds=SEEDS,
    steps=STEPS,
    claims=[
        Claim(
            "A learning rate of 1e-4 makes unstable learning stable: the drop is smaller",
            [RATE, BASE],
            "less",
            "drop_normalised",
            smallest_effect=EFFECT,
            over="mean",
            id="29a",
            source=SOURCE,
        ),
        Claim(
            "A clip range of 0.1 makes unstable learning stable: the drop is smaller",
            [CLIP, BASE],
            "less",
            "drop_normalised",
            smallest_effect=EFFECT,
            over="mean",
            id="29b",
            source=SOURCE,
        ),
        Claim(
            "“Increasing gradient clipping to 1.0” makes unstable learning stable: the drop is smaller",
            [NORM, BASE],
            "less",
            "drop_normalised",
            smallest_effect=EFFECT,
            over="mean",
            id="29c",
            source=SOURCE,
            known="A bound of 1 instead of 0.5 lets longer gradients pass, which is less clipping.",
        ),
    ],
)
