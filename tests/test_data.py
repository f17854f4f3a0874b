"""The samples of a minibatch: what is lazy, what carries gradient, and which way the divergence goes."""

from __future__ import annotations

import pytest
import torch

from rlbench import Samples
from rlbench.functional.distributions import Categorical


def samples(*lead: int) -> tuple[Samples, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    head = torch.randn(*lead, 4, generator=generator).requires_grad_()
    old = torch.randn(*lead, 4, generator=generator)
    action = torch.randint(4, lead, generator=generator)
    return Samples.from_heads(Categorical, head, old, action, torch.ones(lead)), head, old, action


@pytest.mark.parametrize("lead", [(7,), (3, 7)])
def test_everything_is_one_number_per_sample(lead: tuple[int, ...]) -> None:
    x, *_ = samples(*lead)
    for name in (
        "advantage",
        "old_log_prob",
        "old_value",
        "target",
        "value",
        "log_prob",
        "log_ratio",
        "ratio",
        "entropy",
        "kl",
    ):
        assert getattr(x, name).shape == lead, name


def test_what_carries_gradient() -> None:
    x, *_ = samples(7)
    for name in ("log_prob", "log_ratio", "ratio", "entropy", "kl"):
        assert getattr(x, name).requires_grad, name
    for name in ("advantage", "old_log_prob", "old_value", "target"):
        assert not getattr(x, name).requires_grad, name


def test_what_is_lazy_is_computed_once() -> None:
    x, *_ = samples(7)
    assert "ratio" not in x.__dict__
    assert x.ratio is x.ratio
    assert x.ratio.grad_fn is not None


def test_the_ratio_is_new_to_old_and_the_divergence_from_old_to_new() -> None:
    x, head, old, action = samples(7)
    p, q = torch.distributions.Categorical(logits=old), torch.distributions.Categorical(logits=head)
    torch.testing.assert_close(x.kl, torch.distributions.kl_divergence(p, q))
    torch.testing.assert_close(x.ratio, (q.log_prob(action) - p.log_prob(action)).exp())
    torch.testing.assert_close(x.log_ratio.exp(), x.ratio)
