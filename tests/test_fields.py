"""Hyper-parameters: declared, listed, read from any type a user may give, and refused in one clear sentence."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest

from rlbench import Algorithm, hyper, registry, static
from rlbench.algorithm import configure, identifying, settings
from rlbench.errors import RlbenchError
from rlbench.fields import _CALLED, design, fields_of, ranges


class Toy(Algorithm):
    name = "toy"

    strength: float = hyper(0.5, low=0.0, high=1.0, doc="a float")
    shape: str = static("round", choices=("round", "square"), doc="a word")
    offset: float = static(-1.0, low=-2.0, doc="a static float")

    def validate(self) -> None:
        if self.shape == "square" and self.offset > 0:
            raise ValueError("a square shape needs an offset below 0.")


def test_fields_are_listed_with_what_was_declared() -> None:
    fields = fields_of(Toy)
    assert list(fields)[-3:] == ["strength", "shape", "offset"]
    strength = fields["strength"]
    assert (strength.kind, strength.default, strength.low, strength.high) == ("hyper", 0.5, 0.0, 1.0)
    assert fields["shape"].choices == ("round", "square")
    assert not fields["shape"].is_hyper
    assert all(field.doc for field in fields_of(Algorithm).values())


@pytest.mark.parametrize(
    ("name", "given", "parsed"),
    [
        ("strength", 1, 1.0),
        ("strength", "0.25", 0.25),
        ("value_clip", "inf", math.inf),
        ("epochs", 4.0, 4),
        ("epochs", "4", 4),
        ("horizon", 1e3, 1000),
        ("anneal_lr", "False", False),
        ("anneal_lr", "true", True),
        ("anneal_lr", True, True),
        ("hidden", "32,16", (32, 16)),
        ("hidden", [32, 16], (32, 16)),
        ("hidden", ("8",), (8,)),
        ("shape", "square", "square"),
        ("offset", "-2", -2.0),
    ],
)
def test_values_are_read(name: str, given: Any, parsed: Any) -> None:
    value = getattr(configure(Toy, {name: given, "minibatches": 1}, "here"), name)
    assert value == parsed
    assert type(value) is type(parsed)


@pytest.mark.parametrize(
    ("name", "given", "complaint"),
    [
        ("strenght", 1, "toy has no field 'strenght'. Did you mean 'strength'?"),
        ("strength", 1.5, "strength must be at most 1, not 1.5"),
        ("strength", -0.1, "strength must be at least 0, not -0.1"),
        ("strength", "much", "strength must be a number, not 'much'"),
        ("strength", True, "strength must be a number, not True"),
        ("strength", None, "strength must be a number, not None"),
        ("strength", math.nan, "strength must be a number, not NaN"),
        ("strength", [0.1, 0.2], "strength must be a number, not [0.1, 0.2]"),
        ("epochs", 2.5, "epochs must be a whole number, not 2.5"),
        ("epochs", 0, "epochs must be at least 1, not 0"),
        ("epochs", "inf", "epochs must be a whole number, not 'inf'"),
        ("epochs", math.nan, "epochs must be a whole number, not nan"),
        ("lr", 10**400, "lr must be a number, not 1000"),
        ("anneal_lr", "maybe", "anneal_lr must be true or false, not 'maybe'"),
        ("anneal_lr", 1, "anneal_lr must be true or false, not 1"),
        ("hidden", "64,wide", "hidden must be a list such as 64,64, not '64,wide'"),
        ("hidden", [], "hidden must be a list such as 64,64, not []"),
        ("hidden", [64, 0], "hidden must be at least 1, not 0"),
        ("hidden", 64, "hidden must be a list such as 64,64, not 64"),
        ("activation", "gelu", "activation must be one of 'tanh', 'relu', not 'gelu'"),
        ("shape", 3, "shape must be a word, not 3"),
        ("gamma", 1.01, "gamma must be at most 1, not 1.01"),
    ],
)
def test_a_bad_value_is_refused_with_the_place_and_the_remedy(name: str, given: Any, complaint: str) -> None:
    with pytest.raises(RlbenchError) as caught:
        configure(Toy, {name: given}, "experiment 'x', arm 'y'")
    message = str(caught.value)
    assert message.startswith("experiment 'x', arm 'y': ")
    assert complaint in message
    assert "\n" not in message


def test_a_rollout_must_split_into_equal_minibatches() -> None:
    with pytest.raises(
        RlbenchError, match=r"horizon x num_envs = 100 samples .* 3 equal minibatches; .* divisor of 100"
    ):
        configure(Toy, {"horizon": 50, "num_envs": 2, "minibatches": 3}, "here")


@pytest.mark.parametrize(
    ("overrides", "refused"),
    [
        ({"horizon": 8, "num_envs": 2, "minibatches": 16}, True),
        ({"horizon": 8, "num_envs": 2, "minibatches": 8}, False),
        ({"horizon": 8, "num_envs": 2, "minibatches": 16, "normalize_advantage": "batch"}, False),
        ({"horizon": 8, "num_envs": 2, "minibatches": 16, "normalize_advantage": "none"}, False),
        ({"horizon": 1, "num_envs": 1, "minibatches": 1, "normalize_advantage": "batch"}, True),
        ({"horizon": 1, "num_envs": 1, "minibatches": 1, "normalize_advantage": "none"}, False),
    ],
)
def test_an_advantage_that_is_standardised_by_itself_is_refused(overrides: dict[str, Any], refused: bool) -> None:
    if not refused:
        configure(Toy, overrides, "here")
        return
    with pytest.raises(RlbenchError, match="the advantage of a single sample is 0 once it is standardised"):
        configure(Toy, overrides, "here")


def test_an_algorithms_own_rule_is_checked_after_the_ranges() -> None:
    with pytest.raises(RlbenchError, match=r"^here: a square shape needs an offset below 0\.$"):
        configure(Toy, {"shape": "square", "offset": 1}, "here")


def test_a_late_field_is_no_part_of_what_a_run_is_known_by_at_its_default() -> None:
    plain, squashed = (configure(Toy, changes, "here") for changes in ({"squash": False}, {"squash": True}))
    late = {name for name, field in fields_of(Toy).items() if field.late}
    assert late == {"squash", "optimizer", "mean_noise", "reestimate", "value_lr_factor"}
    assert identifying(plain) == {name: value for name, value in settings(plain).items() if name not in late}
    assert identifying(squashed) == identifying(plain) | {"squash": True}


def test_settings_are_all_fields_as_sorted_json() -> None:
    document = settings(configure(Toy, {"hidden": "8,8"}, "here"))
    assert list(document) == sorted(fields_of(Toy))
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert (document["hidden"], document["value_clip"], document["strength"]) == ([8, 8], "inf", 0.5)


def test_settings_give_the_same_algorithm_back() -> None:
    one = configure(Toy, {"strength": 0.1, "target_kl": 0.02, "shape": "square"}, "here")
    again = configure(Toy, settings(one), "here")
    assert settings(again) == settings(one)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("learning_rate", "It is called 'lr' here."),
        ("n_steps", "It is called 'horizon' here."),
        ("ent_coef", "It is called 'entropy_coef' here."),
        ("batch_size", "Set minibatches, the number of parts of a rollout: horizon x num_envs / batch size."),
        ("clip_range", "Known: "),  # this algorithm has no clip
    ],
)
def test_a_field_by_its_name_elsewhere_gets_its_name_here(name: str, hint: str) -> None:
    with pytest.raises(RlbenchError, match=re.escape(f"has no field {name!r}. {hint}")):
        configure(Toy, {name: 1}, "here")


def test_what_other_libraries_call_a_field_is_no_field_and_means_one() -> None:
    own = [cls for cls in map(registry.load, registry.names()) if not cls.foreign]
    known = {name for cls in own for name in fields_of(cls)}
    assert set(_CALLED.values()) <= known
    assert not known & _CALLED.keys()


def test_a_search_takes_the_step_size_and_the_algorithms_own_fields_by_default() -> None:
    usual = {name: (known.said, known.scale) for name, known in ranges(registry.load("ppo-clip"), (), "x").items()}
    assert usual == {"lr": ("1e-05..0.1", "log"), "clip": ("0.02..2", "log")}
    assert list(ranges(registry.load("reinforce"), (), "x")) == ["lr"]
    assert "learning_rate" in ranges(registry.load("sb3-ppo"), (), "x")


def test_ranges_are_even_on_the_scale_that_suits_the_field() -> None:
    given = ("lr=1e-4..1e-2", "entropy_coef=0..0.1", "gae_lambda=0.9..0.999", "epochs=1..20", "hidden=32,32/64,64")
    known = ranges(registry.load("ppo-clip"), given, "x")
    assert [known[name].at(0.5) for name in known] == [1e-3, 0.05, 0.99, 4, (64, 64)]
    assert [known[name].at(0.0) for name in known] == [1e-4, 0.0, 0.9, 1, (32, 32)]
    assert [known[name].at(1.0) for name in known] == [1e-2, 0.1, 0.999, 20, (64, 64)]
    assert [known[name].said for name in ("lr", "epochs", "hidden")] == ["0.0001..0.01", "1..20", "32,32/64,64"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lr=3..1", "lr=3..1 is no range; write two rising numbers, as in lr=1e-5..0.1, or list the values."),
        ("lr=1..1", "is no range"),
        ("epochs=1..many", "is no range"),
        ("orthogonal_init=0..1", "orthogonal_init must be true or false"),
        ("entropy_coef", "entropy_coef has no usual range; give one, as in entropy_coef=LOW..HIGH or VALUE,VALUE."),
        ("activation", "activation has no usual range"),
        ("lr=fast", "lr must be a number, not 'fast'"),
        ("gamma=0.5..2", "gamma must be at most 1, not 2.0"),
    ],
)
def test_a_range_that_cannot_be_searched_is_refused(text: str, said: str) -> None:
    with pytest.raises(RlbenchError) as caught:
        ranges(registry.load("ppo-clip"), [text], "--over")
    assert said in str(caught.value)


def test_a_design_begins_with_the_defaults_and_fills_its_space() -> None:
    space = ranges(registry.load("ppo-clip"), ("lr", "clip=0.1..0.4", "epochs=4,10"), "x")
    drawn = design(space, 33)
    assert len(drawn) == 33
    assert drawn[0] == {}
    assert all(one not in drawn[:place] for place, one in enumerate(drawn))
    shares = [math.log(one["lr"] / 1e-5) / math.log(1e4) for one in drawn[1:]]
    assert all(sum(low <= share < low + 0.25 for share in shares) in range(6, 11) for low in (0.0, 0.25, 0.5, 0.75))
    assert {one["epochs"] for one in drawn[1:]} == {4, 10}
    assert drawn == design(space, 33)
    assert design(space, 8) != design(space, 8, seed=1)
    few = ranges(registry.load("ppo-clip"), ("epochs=4,10", "clip=0.1,0.2"), "x")
    assert len(design(few, 32)) == 4  # there are no more, and (10, 0.2) is what the defaults have
