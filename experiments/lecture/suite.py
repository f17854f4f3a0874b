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
from rlbench import Erratum, Suite


def place(erratum: Erratum) -> tuple[int, str]:
    """Return where an erratum's number, such as 9b, belongs in the list."""
    digits, letter = re.fullmatch(r"(\d+)([a-z]?)", erratum.number).groups()
    return int(digits), letter


SUITE = Suite(
    title="A lecture on PPO, on trial",
    introduction=(
        "A lecture on proximal policy optimisation makes claims about what the algorithm does, which settings it "
        "wants and what goes wrong without them. Each claim was written down here as a statement that runs can "
        "support, refute or leave open, with the rule for that fixed before the first run; what can be calculated is "
        "calculated, and what is wrong in the lecture's text and listing is listed with a demonstration."
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
)
