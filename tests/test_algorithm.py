"""The contract: what a subclass becomes, and how replicas are stacked."""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
from typing import Any

import pytest
import torch

from rlbench import Algorithm, Samples, Trajectory, hyper, static
from rlbench.algorithm import pack_key, stack
from rlbench.fields import fields_of
from rlbench.functional import gae


class Plain(Algorithm):
    name = "plain"

    strength: float = hyper(0.5)
    mode: str = static("a", choices=("a", "b"))

    def surrogate(self, x: Samples) -> torch.Tensor:
        return self.strength * x.ratio * x.advantage


def test_a_subclass_is_a_frozen_keyword_only_dataclass() -> None:
    one = Plain(strength=0.1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.strength = 0.2  # type: ignore[misc]
    with pytest.raises(TypeError):
        Plain(0.1)  # type: ignore[misc]
    assert one.replace(strength=0.3).strength == 0.3
    assert one.strength == 0.1


def test_the_defaults_are_the_papers_and_cleanrls() -> None:
    base = {name: field.default for name, field in fields_of(Algorithm).items()}
    assert (base["lr"], base["gamma"], base["gae_lambda"]) == (3e-4, 0.99, 0.95)
    assert (base["horizon"], base["epochs"], base["horizon"] // base["minibatches"]) == (2048, 10, 64)
    assert (base["hidden"], base["activation"], base["adam_eps"], base["max_grad_norm"]) == (
        (64, 64),
        "tanh",
        1e-5,
        0.5,
    )
    assert base["normalize_advantage"] == "minibatch"
    assert base["orthogonal_init"]
    assert base["anneal_lr"]
    assert not base["shared_trunk"]


def test_a_field_of_the_other_kind_is_refused_where_it_is_written() -> None:
    with pytest.raises(TypeError, match=r"Odd.lr is a hyper field: declare it by lr: TYPE = hyper\(\.\.\.\)"):
        type("Odd", (Plain,), {"lr": static(0.1), "__annotations__": {"lr": "float"}})


def test_a_field_without_annotation_is_refused_where_it_is_written() -> None:
    with pytest.raises(TypeError, match="strength is a field: declare it by strength: TYPE = hyper"):
        type("Bare", (Plain,), {"strength": 0.1})


def test_a_number_that_nobody_can_set_is_refused_where_it_is_written() -> None:
    with pytest.raises(TypeError, match=r"Stuck.eps is no field: declare it by eps: float = hyper\(0.2\) or static"):
        type("Stuck", (Plain,), {"eps": 0.2})
    assert type("Constants", (Plain,), {"LIMIT": 3, "_limit": 3}).LIMIT == 3


def test_a_field_with_a_bare_default_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Undeclared\.strength is a field"):

        class Undeclared(Plain):
            strength: float = 0.1

    with pytest.raises(TypeError, match=r"Other\.extra is a field"):

        class Other(Plain):
            extra: float = 0.1


def test_surrogate_is_required() -> None:
    class Nothing(Algorithm):
        name = "nothing"

    with pytest.raises(NotImplementedError, match="Nothing must define surrogate"):
        Nothing().surrogate(None)  # type: ignore[arg-type]


def test_stacking_makes_columns_of_hyper_fields_only() -> None:
    stacked: Any = stack([Plain(strength=0.1), Plain(strength=0.2, lr=1.0)])
    assert type(stacked) is Plain
    torch.testing.assert_close(stacked.strength, torch.tensor([[0.1], [0.2]]))
    torch.testing.assert_close(stacked.lr, torch.tensor([[3e-4], [1.0]]))
    assert (stacked.mode, stacked.hidden) == ("a", (64, 64))
    assert all(getattr(stacked, name).shape == (2, 1) for name, field in fields_of(Plain).items() if field.is_hyper)


def test_what_separates_packs() -> None:
    class Other(Plain):
        name = "other"

    assert pack_key(Plain(strength=0.1)) == pack_key(Plain(strength=0.9, lr=1.0))
    assert hash(pack_key(Plain())) == hash(pack_key(Plain(gamma=0.5)))
    assert pack_key(Plain()) != pack_key(Plain(mode="b"))
    assert pack_key(Plain()) != pack_key(Other())
    with pytest.raises(ValueError, match="share the class"):
        stack([Plain(), Other()])


def test_every_static_field_separates_packs() -> None:
    for name, field in fields_of(Plain).items():
        if not field.is_hyper:
            changed = Plain().replace(**{name: ("other",)})
            assert pack_key(changed) != pack_key(Plain()), name


def test_default_advantages_are_gae() -> None:
    generator = torch.Generator().manual_seed(0)
    reward, value, following = (torch.randn(9, 2, 3, generator=generator) for _ in range(3))
    ended = torch.rand(9, 2, 3, generator=generator) < 0.3
    terminated = ended & (torch.rand(9, 2, 3, generator=generator) < 0.5)
    one = Plain(gamma=0.9, gae_lambda=0.8)
    mine = one.advantages(Trajectory(reward, value, following, terminated, ended))
    expected = gae(reward, value, following, terminated, ended, gamma=0.9, lam=0.8)
    assert all(torch.equal(a, b) for a, b in zip(mine, expected, strict=True))


def test_the_band_is_the_clip_range_or_a_fifth() -> None:
    class Clipped(Plain):
        name = "clipped"
        clip: float = hyper(0.3)

    assert (Plain().band, Clipped().band, Clipped(clip=0.1).band) == (0.2, 0.3, 0.1)


def test_the_class_in_the_docstring_is_the_built_in_one() -> None:
    """The example that authors read first: run it."""
    from rlbench.algorithms.ppo_clip import PPOClip

    import rlbench.algorithm
    from rlbench.functional.distributions import Categorical

    lines = inspect.cleandoc(rlbench.algorithm.__doc__ or "").splitlines()
    start = lines.index("    class PPOClip(Algorithm):")
    end = next(k for k in range(start + 1, len(lines)) if lines[k] and not lines[k].startswith("    "))
    names: dict[str, Any] = {"Algorithm": Algorithm, "hyper": hyper, "torch": torch}
    exec(textwrap.dedent("\n".join(lines[start:end])), names)
    generator = torch.Generator().manual_seed(0)
    head, old = torch.randn(2, 40, 3, generator=generator)
    x = Samples.from_heads(
        Categorical, head, old, torch.randint(3, (40,), generator=generator), torch.randn(40, generator=generator)
    )
    assert torch.equal(names["PPOClip"]().surrogate(x), PPOClip().surrogate(x))
