"""The lecture on trial: what is exact in it, what is wrong in it, and which experiments say the rest."""

import re

import errata_advice
import errata_code
import errata_estimates
import errata_formulas
import errata_loop
import errata_steps
import exact_ratio
import exact_steps
from remarks import REMARKS
from rlbench import Erratum, Showpiece, Suite


def place(erratum: Erratum) -> tuple[int, str]:
    """Return where an erratum's number, such as 9b, belongs in the list."""
    digits, letter = re.fullmatch(r"(\d+)([a-z]?)", erratum.number).groups()
    return int(digits), letter


FIGURES = [
    Showpiece(
        "ppo-versus-reinforce",
        "curves",
        experiment="algorithms",
        arms=["PPO-Clip", "REINFORCE", "TRPO", "A2C"],
        title="PPO against REINFORCE, each with its own learning rate",
    ),
    Showpiece(
        "gae-lambda",
        "dose",
        experiment="gae-lambda",
        field="gae_lambda",
        mark=0.95,
        said="the lecture's sweet spot",
        title="Lambda of generalised advantage estimation",
    ),
    Showpiece(
        "clip-fraction",
        "training",
        experiment="clip-fraction",
        arms=["PPO defaults", "PPO, ten epochs"],
        metric="clip_fraction",
        band=(0.1, 0.4),
        said="good, says the lecture",
        title="Share of clipped ratios in an update",
    ),
    Showpiece(
        "clip-fraction-and-score",
        "scatter",
        experiment="learning-rate",
        band=(0.1, 0.4),
        said="good, says the lecture",
        title="Clip fraction and score of eight learning rates",
    ),
    Showpiece("effective-ratio", "effective-ratio", title="The ratio that PPO-Clip uses"),
    Showpiece(
        "kl-per-update",
        "distribution",
        experiment="algorithms",
        arms=["PPO-Clip", "PPO-Penalty", "PPO-Adaptive", "TRPO", "REINFORCE", "no clip, lr 0.003"],
        metric="kl",
        mark=0.01,
        said="TRPO's bound",
        title="How far an update moves the policy",
    ),
    Showpiece(
        "stability",
        "stability",
        experiment="sensitivity",
        title="Each variant against its own hyper-parameter",
    ),
]

SUITE = Suite(
    title="A lecture on PPO, on trial",
    introduction=(
        "A lecture on proximal policy optimisation makes claims about what the algorithm does, which settings it "
        "wants and what goes wrong without them. Each claim was written down here as a statement that runs can "
        "support, refute or leave open, together with the rule for that; what can be calculated is calculated, and "
        "what is wrong in the lecture's text and listing is listed with a demonstration."
    ),
    checks=[*exact_ratio.CHECKS, *exact_steps.CHECKS],
    errata=sorted(
        [
            *errata_loop.ERRATA,
            *errata_code.ERRATA,
            *errata_estimates.ERRATA,
            *errata_steps.ERRATA,
            *errata_formulas.ERRATA,
            *errata_advice.ERRATA,
        ],
        key=place,
    ),
    remarks=REMARKS,
    figures=FIGURES,
    quick=["algorithms", "gae-lambda", "clip-fraction", "learning-rate", "listing-learns"],
    quick_seeds=5,
    take_home=["4a", "1", "7a", "13a", "3a", "11a", "24g", "19a"],
    again={"on MuJoCo": "lecture_mujoco"},
)
