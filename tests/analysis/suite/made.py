"""A made-up suite with every kind of claim, figure, check and erratum in it."""

from __future__ import annotations

from rlbench.analysis.report.entries import SuiteResults
from rlbench.claims import Claim
from rlbench.results import Results
from rlbench.suite import Erratum, Exact, Suite
from tests.analysis.synthetic import ENVIRONMENTS, experiment_document, make_tables

PAIR = ("ppo-clip", "reinforce")
SWEEP = tuple(f"ppo-clip clip={value}" for value in (0.1, 0.2, 0.4))
EVIL = "<script>alert('x')</script>"

PAIR_CLAIMS = (
    Claim("PPO beats REINFORCE", PAIR, "greater", smallest_effect=0.05, id="10", source="part 1", known="Often so."),
    Claim("PPO moves the policy less", PAIR, "less", "kl:mean", 0.001, id="9", source="part 1"),
    Claim("Their final returns are equal", PAIR, "equivalent", "final_normalised", 0.02, over="mean", id="22b"),
    Claim("PPO solves its task", ["ppo-clip"], "above", "final_normalised", bound=0.8, event=">= 0.9", id="22a"),
    Claim("A small KL", PAIR, "below", "kl:q0.9", bound=0.05, id="3"),
)
SWEEP_CLAIMS = (
    Claim("A wider clip range moves further", SWEEP, "increasing", "kl:mean", id="15", source="part 4"),
    Claim(f"0.2 is best {EVIL}", SWEEP, "peak", best=SWEEP[1], over="mean", id="15b"),
)


def fine():
    return True, "It holds at 1,000 of 1,000 points."


def wrong():
    return False, "It fails at 7 of 1,000 points."


def measured():
    return "It returns 10.9 instead of 1.0."


def raising():
    raise ZeroDivisionError("division by zero")


def suite(**changes):
    """Return the description of the suite."""
    given = {
        "title": "A lecture on trial",
        "introduction": f"What it claims, and what holds {EVIL}.",
        "checks": [Exact("min() is pessimistic", fine, id="11"), Exact("The ratio is bounded", wrong, id="12")],
        "errata": [
            Erratum("2", "A wrong return", "part 5", "The last step bootstraps.", "It must not.", measured),
            Erratum("1", f"A sign {EVIL}", "part 3", "plus", "minus"),
        ],
        "remarks": {"10": "Seen afterwards: one seed is slow."},
        "quick": ["pair"],
    }
    return Suite(**(given | changes))


def member(name, arms, claims, seeds=6, outcomes=None, environments=ENVIRONMENTS):
    """Return the results of one experiment."""
    document = experiment_document(arms, environments, baseline=arms[-1], seeds=seeds, steps=8_000) | {
        "name": name,
        "design": "Two variants train on two tasks. Everything else is equal.",
        "claims": [one.document() for one in claims],
    }
    return Results(document, make_tables(arms, environments, seeds, 8_000, outcomes))


def made(seeds=6, outcomes=None, **changes):
    """Return a suite of two experiments that share no run."""
    members = [
        member("pair", PAIR, PAIR_CLAIMS, seeds, outcomes),
        member("sweep", SWEEP, SWEEP_CLAIMS, seeds),
    ]
    return SuiteResults(**({"name": "lecture", "suite": suite(), "members": members} | changes))
