"""What is said of verdicts: names of metrics, effects, and what would change them, with the right numbers."""

from __future__ import annotations

import math

import pytest

from rlbench import records
from rlbench.analysis.judge.verdicts import Part, Verdict, clearance, regions
from rlbench.analysis.report.claims import (
    asked_text,
    change_text,
    effect_text,
    runs_text,
    short_labels,
)
from rlbench.analysis.report.entries import Entry
from rlbench.analysis.scores.metrics import (
    OF_EPISODES,
    OF_UPDATES,
    axis_label,
    metric_definition,
    metric_name,
    short_name,
)
from rlbench.analysis.stats.estimates import Estimate
from rlbench.analysis.stats.power import Seeds
from rlbench.claims import DIRECTIONS, Claim


def part(low, high, verdict, place="CartPole-v1", needed=math.nan, p=0.01, note="", **changes):
    effect = Estimate((low + high) / 2, low, high, 0.95, 40, "bootstrap-t", 20, "difference")
    seeds = Seeds(needed, needed, needed)
    given = {"arm": "a", "other": "b", "environment": place, "environments": (place,), "n_arm": 20, "n_other": 18}
    given |= {"effect": effect, "p": p, "p_against": p, "size_name": "", "size": None, "detectable": 0.1}
    return Part(**(given | {"needed": seeds, "verdict": verdict, "note": note} | changes))


def entry(direction, *parts, d=0.05, outcome=None, with_failures=None, **changes):
    claim = Claim("It is so", ["a", "b"], direction, smallest_effect=d, **changes)
    verdicts = {one.verdict for one in parts}
    found = outcome or (
        "refuted" if "refuted" in verdicts else "supported" if verdicts == {"supported"} else "inconclusive"
    )
    verdict = Verdict(claim, found, parts, 40, 0, with_failures)
    return Entry("1", claim.statement, "", "", "claim-1", found, judged=verdict, claim=claim)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_regions_of_a_claim_exclude_each_other_and_hold_the_right_numbers(direction):
    arms = ["a", "b", "c"]
    bound = {"bound": 0.5} if direction in ("above", "below", "within") else {}
    best = {"best": "b"} if direction in ("peak", "dip") else {}
    claim = Claim("It is so", arms, direction, smallest_effect=0.1, **bound, **best)
    support, refute = regions(claim)
    origin = claim.bound or 0.0

    def inside(value, places):
        return any(low < value < high for low, high in places)

    for step in range(-40, 41):
        value = origin + step / 97
        assert not (inside(value, support) and inside(value, refute))
    true = {"less": -0.2, "decreasing": -0.2, "dip": -0.2, "below": -0.2, "equivalent": 0.01, "within": 0.01}
    false = {"less": 0.0, "equivalent": 0.2, "within": -0.2, "not-less": -0.2, "not-greater": 0.2}
    false |= {"decreasing": 0.0, "dip": 0.0, "below": 0.0}
    assert inside(origin + true.get(direction, 0.2 if direction != "not-greater" else 0.0), support)
    assert inside(origin + false.get(direction, 0.0), refute)


def test_clearance_is_the_distance_to_the_nearest_end():
    effect = part(0.2, 0.3, "supported").effect
    assert clearance(effect, [(0.05, math.inf)]) == pytest.approx(0.15)
    assert clearance(effect, [(0.25, math.inf)]) == pytest.approx(-0.05)
    assert clearance(effect, [(-math.inf, -0.1), (0.1, 0.35)]) == pytest.approx(0.05)


def test_a_supported_claim_says_its_closest_call():
    one = entry("greater", part(0.3, 0.4, "supported"), part(0.08, 0.2, "supported", "Acrobot-v1"))
    (said,) = change_text(one.judged)
    assert said.startswith("Both parts support it; the weakest is ")
    assert "a against b on Acrobot-v1" in said
    assert "stays 0.03 clear" in said


def test_a_refuted_claim_says_on_what_it_hangs_and_what_it_would_be_without():
    one = entry(
        "greater", part(0.3, 0.4, "supported"), part(-0.3, -0.1, "refuted", "Acrobot-v1"), with_failures="refuted"
    )
    said = " ".join(change_text(one.judged))
    assert "1 of 2 parts refutes it; without it the claim would be supported." in said
    assert "The decisive part is a against b on Acrobot-v1" in said
    assert "lies 0.15 beyond" in said
    assert "worst possible score, it is refuted, too." in said
    other = entry("greater", part(-0.2, 0.4, "inconclusive"), part(-0.3, -0.1, "refuted", "Acrobot-v1"))
    assert "without it the claim would be inconclusive" in " ".join(change_text(other.judged))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (part(-0.02, 0.2, "inconclusive", needed=64), "about 64 seeds"),
        (part(-0.02, 0.2, "inconclusive", needed=math.inf), "no reasonable number of seeds"),
        (part(-0.02, 0.2, "inconclusive", note="Too few runs."), "Too few runs."),
        (part(0.06, 0.2, "inconclusive", needed=64, p=0.08), "corrected p of 0.08 does not"),
    ],
)
def test_an_inconclusive_claim_says_what_it_would_take(made, words):
    text = " ".join(change_text(entry("greater", made).judged))
    assert words in text.replace("No reasonable", "no reasonable")
    if made.effect.low < 0:
        assert "reaches 0.07 beyond the limit" in text


def test_an_undecidable_claim_says_why():
    made = entry("greater", part(-1, 1, "undecidable", note="It cannot be decided: no value."), outcome="undecidable")
    assert change_text(made.judged)[0] == "It cannot be decided: no value."
    other = entry("greater", part(-0.2, 0.4, "undecidable"), part(-0.3, -0.1, "refuted", "Acrobot-v1"))
    assert "without it the claim would be undecidable" in " ".join(change_text(other.judged))


def test_effects_and_counts_are_said_in_the_right_units():
    estimate = Estimate(0.35, 0.1304, 0.62, 0.95, 20, "Clopper-Pearson")
    share = Claim("It is so", ["a"], "above", "final_normalised", bound=0.8, event=">= 0.9")
    assert effect_text(share, estimate) == "35 % [13 %, 62 %]"
    assert effect_text(Claim("It is so", ["a"], "above", bound=0.8), estimate) == "0.35 [0.13, 0.62]"
    assert "for a the share of runs with normalised final return ≥ 0.9 is more than 80 %" in asked_text(
        share, ["x", "y"]
    )
    assert runs_text([part(0, 1, "supported")]) == "18–20"
    several = part(0, 1, "supported", environments=("x", "y"), n_arm=40, n_other=40)
    assert runs_text([several]) == "20"


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_direction_can_be_said(direction):
    bound = {"bound": 0.5} if direction in ("above", "below", "within") else {}
    best = {"best": "b"} if direction in ("peak", "dip") else {}
    text = asked_text(Claim("It is so", ["a", "b", "c"], direction, "kl:mean", 0.1, **bound, **best), ["x", "y"])
    assert "KL divergence (mean of a run)" in text
    assert "on every environment" in text


def test_metrics_have_names_and_definitions():
    assert metric_name("auc_normalised") == "normalised return over training"
    assert metric_name("clip_fraction:q0.9") == "clip fraction (90 % quantile of a run)"
    assert metric_name("ratio_max:share>1.2") == "share of updates with largest ratio > 1.2"
    assert metric_name("gradient_variance:mean") == "gradient variance (mean of a run)"
    assert "0 is a random policy" in metric_definition("final_normalised")
    assert metric_definition("kl").endswith("mean over the visited states, in nats.")
    assert "“variance”" in metric_definition("variance:mean")
    assert short_name("auc_normalised") == "normalised AUC"
    assert axis_label("auc") == "return over training (AUC)"
    assert axis_label("final_normalised") == "normalised final return (0 random, 1 target)"
    assert all(name in str(records.__doc__) for name in (*OF_UPDATES, *OF_EPISODES))


def test_what_labels_share_is_said_once():
    assert short_labels(["ppo-clip clip=0.1", "ppo-clip clip=0.2"]) == ("ppo-clip, clip", ["0.1", "0.2"])
    assert short_labels(["lambda=0", "lambda=1"]) == ("lambda", ["0", "1"])
    assert short_labels(["ppo-clip", "trpo"]) == ("", ["ppo-clip", "trpo"])
    assert short_labels(["ppo-clip", "ppo-clip clip=0.1"]) == ("", ["ppo-clip", "ppo-clip clip=0.1"])
    assert short_labels(["a x=1 y=2", "a x=2 y=1"]) == ("a", ["x=1 y=2", "x=2 y=1"])
    assert short_labels(["no clip", "no clip, one corrupted"]) == ("", ["no clip", "no clip, one corrupted"])
    assert short_labels(["raw, rewards x1", "raw, rewards x10"]) == ("raw, rewards", ["x1", "x10"])
    assert short_labels(["10 actions", "1,000 actions"]) == ("actions", ["10", "1,000"])
    assert short_labels(["clip 0.2, lr 0.1", "clip 0.3, lr 0.1"]) == ("clip", ["0.2, lr 0.1", "0.3, lr 0.1"])
    assert short_labels(["raw, rewards x1", "scaled, rewards x1"]) == ("rewards x1", ["raw", "scaled"])
    assert short_labels(["only"]) == ("", ["only"])
