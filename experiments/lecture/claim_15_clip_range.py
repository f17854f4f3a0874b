"""Claims 15 and 31b: what the clip range does."""

from lecture_arms import EFFECT, SEEDS, STEPS, TASKS, TEN_EPOCHS, sweep
from rlbench import Claim, Experiment

ARMS = [f"clip={value:g}" for value in (0.05, 0.1, 0.2, 0.3, 0.5)]

EXPERIMENT = Experiment(
    name="clip-range",
    question="Is a smaller clip range more conservative, and is 0.2 the best?",
    design=(
        "PPO-Clip with five clip ranges and ten epochs, everything else the lecture's defaults. Compared are how far "
        "an update moves the policy, as mean divergence of old from new, and the area under the learning curve."
    ),
    arms=sweep("clip", [0.05, 0.1, 0.2, 0.3, 0.5], **TEN_EPOCHS),
    environments=TASKS,
    seeds=SEEDS,
    steps=STEPS,
    baseline="clip=0.2",
    claims=[
        Claim(
            "A smaller clip range is more conservative: the divergence of an update rises with the range",
            ARMS,
            "increasing",
            "kl:mean",
            smallest_effect=0.001,
            over="mean",
            id="15a",
            source="Part 7; part 9",
        ),
        Claim(
            "0.2 is the best clip range: better than 0.05 and than 0.5",
            ARMS,
            "peak",
            best="clip=0.2",
            smallest_effect=EFFECT,
            over="mean",
            id="15b",
            source="Part 9, defaults",
            known="Schulman et al. 2017, table 1: 0.76, 0.82 and 0.70 for 0.1, 0.2 and 0.3. Andrychowicz et al. 2021 "
            "recommend 0.25.",
        ),
        Claim(
            "Decreasing the clip range allows more change",
            ["clip=0.1", "clip=0.2"],
            "greater",
            "kl:mean",
            over="mean",
            id="31b",
            source="Part 9, “policy is too deterministic”",
            known="The same page calls a smaller range more conservative.",
        ),
    ],
)
