"""Claims 26a, 26e and 26f: the gradient of a small batch is noisy."""

from mechanism_batches import SIZES, measure
from rlbench import Claim, Measurement

SOURCE = "Part 6, gotcha 5"
# A step of some length along a gradient whose cosine with the true one is c gains c times what the true one would.
HALF = 0.5

EXPERIMENT = Measurement(
    name="gradient-noise",
    question="How well does the gradient of a batch point where that of a very large one does?",
    design=(
        "A policy and its critic are held fixed in the middle of their training, and batches of 128 to 32,768 steps "
        "are cut from six independent rollouts. Compared is the mean cosine of a batch's policy gradient with that of "
        "the five other rollouts together, 163,840 steps."
    ),
    measure=measure,
    arms=[f"N={size}" for size in SIZES],
    environments=["CartPole-v1", "Acrobot-v1", "Pendulum-v1"],
    seeds=20,
    claims=[
        Claim(
            "The larger a batch, the better its gradient points",
            [f"N={size}" for size in SIZES],
            "increasing",
            "cosine:mean",
            smallest_effect=0.1,
            id="26a",
            source=SOURCE,
            known="Ilyas et al. 2020, figures 1 and 2: with some 2,000 samples the estimates are poor, sometimes "
            "hardly correlated.",
        ),
        Claim(
            "128 steps are noise: their gradient gains less than half of what the true one would",
            ["N=128"],
            "below",
            "cosine:mean",
            bound=HALF,
            id="26e",
            source=SOURCE,
        ),
        Claim(
            "2,048 steps are enough: their gradient gains more than half of what the true one would",
            ["N=2048"],
            "above",
            "cosine:mean",
            bound=HALF,
            id="26f",
            source=SOURCE,
            known="Ilyas et al. 2020, figures 1 and 2: with some 2,000 samples the estimates are poor, sometimes "
            "hardly correlated.",
        ),
    ],
)
