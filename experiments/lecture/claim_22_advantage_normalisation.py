"""Claim 22: advantages must always be normalised, or training explodes."""

from lecture_arms import DEFAULTS, EFFECT, SEEDS, STEPS, TASKS
from rlbench import Arm, Claim, Experiment
from variants_scales import ScaledRewards

SCALES = (1, 10, 1000)
NORMALISED = [f"normalised, rewards x{scale}" for scale in SCALES]
RAW = [f"raw, rewards x{scale}" for scale in SCALES]

EXPERIMENT = Experiment(
    name="advantage-normalisation",
    question="Must advantages always be normalised?",
    design=(
        "PPO-Clip with the lecture's defaults, with advantages normalised in every minibatch or used as they are, and "
        "with rewards as the task gives them, ten times and a thousand times as large. Compared are the area under "
        "the learning curve, in units of the task's own rewards, and the size of the gradient."
    ),
    arms=[
        Arm(ScaledRewards, label, **DEFAULTS, reward_scale=float(scale), normalize_advantage=kind)
        for kind, labels in (("minibatch", NORMALISED), ("none", RAW))
        for label, scale in zip(labels, SCALES, strict=True)
    ],
    environments=TASKS,
    seeds=SEEDS,
    steps=STEPS,
    claims=[
        Claim(
            "Always normalise advantages: on every task it learns at least as well",
            [NORMALISED[0], RAW[0]],
            "not-less",
            smallest_effect=EFFECT,
            id="22a",
            source="Part 6, gotcha 1",
            known="Andrychowicz et al. 2021: it “seems not to affect performance too much”; Tianshou: no difference.",
        ),
        Claim(
            "Without normalisation gradients are huge: on every task their norm exceeds that with it by more than 10",
            [RAW[0], NORMALISED[0]],
            "greater",
            "grad_norm:mean",
            smallest_effect=10.0,
            id="22b",
            source="Part 6, gotcha 1; debugging checklist",
        ),
        Claim(
            "Without normalisation large rewards make training explode: it learns less than with rewards as they are",
            [RAW[2], RAW[0]],
            "less",
            smallest_effect=EFFECT,
            over="mean",
            id="22c",
            source="Part 6, gotcha 1",
            known="Adam's step does not depend on the scale of the gradient, so that only its balance with other "
            "terms and the bound on its norm can change.",
        ),
    ],
)
