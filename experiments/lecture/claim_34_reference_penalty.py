"""Claim 34: in learning from human feedback a penalty on leaving the reference policy is critical."""

from lecture_arms import SEEDS
from rlbench import Claim, Measurement
from toy_language import ID
from toy_rlhf import LEARNED, MIDDLE, TRUE, measure

ARMS = [one.label for one in LEARNED]
NONE, BEST = ARMS[0], next(one.label for one in LEARNED if one.coefficient == MIDDLE)
LESS_AND_LESS = ARMS[ARMS.index(BEST) :: -1]
EFFECT = 0.2
"""Standard deviations of the reference's texts: by convention a small effect; readers would hardly notice less."""
SOURCE = "Part 10, “KL penalty critical (prevent nonsense)”"
KNOWN = (
    "Gao et al. 2022 (arXiv 2210.10760, abstract) report that optimising a learned reward too far can hinder the true "
    "one, with a fixed reward model in the place of people. By a summary of their paper, a penalty acted on the true "
    "reward like stopping earlier."
)

EXPERIMENT = Measurement(
    name="reference-penalty",
    question="Does a policy that learns from a learned reward need a penalty on leaving its reference policy?",
    design=(
        "PPO writes texts of twelve words in a toy language and is paid by a reward model that was fitted to 1000 "
        "noisy preferences between texts of the reference policy; the penalty's coefficient goes from 0 to 3, and two "
        "arms are paid by the true quality instead. Every seed is another language with other raters, and 1000 texts "
        "of each policy are judged by the true quality, in standard deviations of the reference's own texts."
    ),
    measure=measure,
    arms=[*ARMS, *(one.label for one in TRUE)],
    environments=[ID],
    seeds=SEEDS,
    claims=[
        Claim(
            f"Without the penalty the texts are truly worse than with a coefficient of {MIDDLE}",
            [NONE, BEST],
            "less",
            "gold:last",
            smallest_effect=EFFECT,
            paired=True,
            id="34a",
            source=SOURCE,
            known=KNOWN,
        ),
        Claim(
            "Without the penalty the texts end truly worse than those of the reference, where training began",
            [NONE],
            "below",
            "gold:last",
            smallest_effect=EFFECT,
            bound=0.0,
            id="34b",
            source=SOURCE,
            known=KNOWN,
        ),
        Claim(
            "The penalty prevents nonsense: without it a word is less likely under the reference by over a quarter nat",
            [NONE, BEST],
            "less",
            "coherence:last",
            smallest_effect=0.25,
            paired=True,
            id="34c",
            source=SOURCE,
        ),
        Claim(
            f"The less penalty below {MIDDLE}, the better the texts in the eyes of the reward model",
            LESS_AND_LESS,
            "increasing",
            "proxy:last",
            smallest_effect=EFFECT,
            id="34d",
            source=SOURCE,
            known=KNOWN,
        ),
        Claim(
            f"The less penalty below {MIDDLE}, the worse they truly are",
            LESS_AND_LESS,
            "decreasing",
            "gold:last",
            smallest_effect=EFFECT,
            id="34e",
            source=SOURCE,
            known=KNOWN,
        ),
        Claim(
            f"True quality is highest between no and much penalty: at {MIDDLE} above both ends",
            ARMS,
            "peak",
            "gold:last",
            smallest_effect=EFFECT,
            best=BEST,
            paired=True,
            id="34f",
            source=SOURCE,
            known=KNOWN,
        ),
        Claim(
            "Paid by the true quality, PPO needs no penalty",
            [TRUE[0].label, TRUE[1].label],
            "not-less",
            "gold:last",
            smallest_effect=EFFECT,
            paired=True,
            id="34g",
            source=SOURCE,
        ),
    ],
)
