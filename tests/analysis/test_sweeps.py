"""Which arms are a sweep, and how the values of one stand on an axis."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rlbench.analysis.draw.axes import scale_of, short, shorts
from rlbench.analysis.draw.spec import find_sweeps
from rlbench.analysis.scores.results import ArmEntry


def arm(label, algorithm="ppo", given=(), **fields):
    whole = {"clip": 0.2, "lr": 0.001, "epochs": 4, "minibatches": 32, "anneal": True, "hidden": [64], **fields}
    return ArmEntry(label, algorithm, {name: whole[name] for name in given}, whole)


def test_arms_that_differ_in_one_field_are_a_sweep_in_the_order_of_its_values():
    arms = [
        arm("ppo clip=0.4", given=["clip"], clip=0.4),
        arm("ppo", lr=0.001),
        arm("ppo clip=0.1", given=["clip"], clip=0.1),
        arm("fast", given=["lr"], lr=0.01),
        arm("trpo", "trpo", clip=0.3),
    ]
    clip, lr = find_sweeps(arms)
    assert (clip.field, clip.values, clip.arms) == ("clip", (0.1, 0.2, 0.4), ("ppo clip=0.1", "ppo", "ppo clip=0.4"))
    assert (clip.name, clip.usual) == ("ppo", 0.2)
    assert (lr.field, lr.values, lr.usual) == ("lr", (0.001, 0.01), 0.001)
    assert find_sweeps(arms, fields=["lr"]) == [lr]
    assert find_sweeps(arms, arms=["ppo", "trpo"]) == []


def test_every_variant_has_its_own_sweep_and_one_that_all_arms_set_has_no_usual_value():
    arms = [arm(f"{name} lr={lr:g}", name, ["lr"], lr=lr) for name in ("ppo", "trpo") for lr in (0.1, 0.01)]
    assert [(one.name, one.values, one.usual) for one in find_sweeps(arms)] == [
        ("ppo", (0.01, 0.1), None),
        ("trpo", (0.01, 0.1), None),
    ]


def test_fields_that_change_together_are_a_sweep_where_the_arms_are_named():
    arms = [arm(f"N={n}", horizon=n, minibatches=n // 64) for n in (128, 512, 2048)]
    assert find_sweeps(arms) == []
    labels = [one.label for one in arms]
    (found,) = find_sweeps(arms, labels, ["horizon"])
    assert (found.values, found.arms) == ((128, 512, 2048), tuple(labels))


def test_an_arm_without_fields_says_its_value_in_its_label():
    labels = [f"{kind} lambda={value}" for kind in ("clip", "no clip") for value in (1, 0, 0.95)]
    found = find_sweeps(ArmEntry(label, "measurement") for label in labels)
    assert [one.values for one in found] == [(0, 0.95, 1)] * 2
    assert [one.name for one in found] == ["clip", "no clip"]
    assert find_sweeps(map(ArmEntry, labels), fields=["lambda"])[0].arms == (
        "clip lambda=0",
        "clip lambda=0.95",
        "clip lambda=1",
    )
    assert find_sweeps(map(ArmEntry, ["one", "two"])) == []


def test_no_bound_is_a_value_beyond_all_others():
    arms = [arm(str(bound), max_grad_norm=bound) for bound in ("inf", 0.5, 1.0)]
    (found,) = find_sweeps(arms)
    assert found.values == (0.5, 1.0, math.inf)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ((1e-4, 1e-3, 1e-2), "log"),
        ((0.1, 0.2, 0.3), "linear"),
        ((0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 1.0), "even"),
        ((0.0, 1e-4, 1e-1), "even"),
        ((0.5, 1.0, math.inf), "even"),
        ((0.3,), "linear"),
    ],
)
def test_the_scale_keeps_all_values_apart(values, kind):
    scale = scale_of(values[::-1])
    assert scale.kind == kind
    places = scale.place(values)
    assert len(set(places)) == len(values)
    assert (np.diff(places) > 0).all()


def test_an_even_scale_places_what_lies_between_its_values():
    scale = scale_of([0.0, 0.9, 0.95, 1.0])
    np.testing.assert_allclose(scale.place([0.9, 0.925, 1.0]), [1.0, 1.5, 3.0])


def test_numbers_are_short_and_alike_on_one_axis():
    assert [short(value) for value in (0.95, 0.01, 3e-4, 250_000, 0, math.inf)] == [
        "0.95",
        "0.01",
        "3e-4",
        "2.5e5",
        "0",
        "∞",
    ]
    assert shorts([1e-3, 0.01, 0.03]) == ["1e-3", "1e-2", "3e-2"]
    assert shorts([0.1, 0.2]) == ["0.1", "0.2"]
