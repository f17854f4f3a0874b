"""Distributions against torch.distributions, double differentiation and the frequencies of their samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import distributions as oracle

from rlbench.functional.distributions import Family, family

B = 6
CASES: dict[str, tuple[str, tuple[int, ...]]] = {
    "Discrete(5)": ("categorical", (5,)),
    "MultiDiscrete(2, 4, 3)": ("multicategorical", (2, 4, 3)),
    "MultiBinary(3)": ("bernoulli", (3,)),
    "Box(2)": ("gaussian", (2,)),
    "Box(2), squashed": ("squashed", (2,)),
}


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make(case: str) -> Family:
    return family(*CASES[case])


def heads(case: str, *lead: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.standard_normal((*lead, make(case).head_size)))


def torchs(case: str, head: torch.Tensor) -> list[Any]:
    """Return torch's independent distributions of a head, one per part of the action."""
    kind, sizes = CASES[case]
    if kind in ("gaussian", "squashed"):  # of which this is what the tangent is taken of
        mean, log_std = head.chunk(2, -1)
        return [oracle.Normal(mean[..., k], log_std[..., k].exp()) for k in range(sizes[0])]
    widths = [2] * sizes[0] if kind == "bernoulli" else list(sizes)
    return [oracle.Categorical(logits=part) for part in torch.split(head, widths, -1)]


def draw(case: str, head: torch.Tensor, seed: int = 0) -> torch.Tensor:
    chosen = make(case)
    noise = chosen.draw_noise(np.random.default_rng(seed), tuple(head.shape[:-1]))
    return torch.from_numpy(np.asarray(chosen.sample(head.numpy(), noise)))


def parts_of(action: torch.Tensor, case: str) -> list[torch.Tensor]:
    return [action] if CASES[case][0] == "categorical" else list(action.unbind(-1))


@pytest.mark.parametrize("lead", [(B,), (3, B)])
def test_log_prob_and_entropy_are_torchs(case: str, lead: tuple[int, ...]) -> None:
    head = heads(case, *lead)
    if CASES[case][0] == "squashed":
        head[..., 2:].clamp_(max=math.log(2))  # up to which its entropy is promised
    action = draw(case, head)
    mine, theirs = make(case).build(head), torchs(case, head)
    log_prob = sum(part.log_prob(a) for part, a in zip(theirs, parts_of(action, case), strict=True))
    entropy = sum(part.entropy() for part in theirs)
    if CASES[case][0] == "squashed":
        tangent = action.double().tanh()
        log_prob = log_prob - oracle.TanhTransform().log_abs_det_jacobian(action.double(), tangent).sum(-1)
        squashed = [oracle.TransformedDistribution(part, [oracle.TanhTransform()]) for part in theirs]
        by_value = sum(part.log_prob(a) for part, a in zip(squashed, tangent.unbind(-1), strict=True))
        torch.testing.assert_close(log_prob, by_value)
        parts = head.numpy().reshape(-1, 2, 2).transpose(0, 2, 1).reshape(-1, 2)
        entropy = torch.tensor([entropy_by_integration(*part) for part in parts]).double().reshape(*lead, 2).sum(-1)
    assert mine.log_prob(action).shape == lead
    torch.testing.assert_close(mine.log_prob(action), log_prob)
    torch.testing.assert_close(mine.entropy(), entropy, rtol=0, atol=1e-2 if CASES[case][0] == "squashed" else 1e-9)


def entropy_by_integration(mean: float, log_std: float) -> float:
    """Return the entropy of tanh(u), integrated over u, of which |tanh(u)| is 1 in double precision beyond 19."""
    spread = math.exp(log_std)

    def summand(u: float) -> float:
        log_density = stats.norm.logpdf(u, mean, spread) - 2 * (
            math.log(2) - abs(u) - math.log1p(math.exp(-2 * abs(u)))
        )
        return float(-stats.norm.pdf(u, mean, spread) * log_density)

    return float(integrate.quad(summand, mean - 12 * spread, mean + 12 * spread, points=[mean], limit=200)[0])


@pytest.mark.parametrize(("log_std", "error"), [(-2.0, 1e-9), (0.0, 2e-5), (math.log(2), 4e-3)])
def test_the_entropy_of_squashed_actions_is_as_exact_as_is_said(log_std: float, error: float) -> None:
    for mean in (-3.0, 0.0, 0.7, 2.0):
        found = family("squashed", (1,)).build(torch.tensor([mean, log_std], dtype=torch.float64)).entropy().item()
        assert abs(found - entropy_by_integration(mean, log_std)) < error


def test_kl_goes_from_the_old_policy_to_the_new(case: str) -> None:
    old, new = heads(case, B, seed=1), heads(case, B, seed=2)
    pairs = zip(torchs(case, old), torchs(case, new), strict=True)
    expected = sum(oracle.kl_divergence(p, q) for p, q in pairs)
    mine = make(case).build(new).kl_from(make(case).build(old))
    torch.testing.assert_close(mine, expected)
    other_way = make(case).build(old).kl_from(make(case).build(new))
    assert not torch.allclose(mine, other_way)


def test_kl_is_never_negative_and_zero_for_equals(case: str) -> None:
    head = heads(case, 200)
    near = head + 1e-3 * heads(case, 200, seed=5)
    assert (make(case).build(near).kl_from(make(case).build(head)) > 0).all()
    assert not make(case).build(head).kl_from(make(case).build(head)).any()


def fisher(case: str, head: torch.Tensor, tangent: torch.Tensor) -> np.ndarray:
    return make(case).likelihood(head.numpy()).fisher(tangent.numpy())


def test_a_likelihood_is_the_distribution_with_its_derivatives(case: str) -> None:
    head, old, slope = heads(case, 3, B, seed=1).requires_grad_(), heads(case, 3, B, seed=2), heads(case, 3, B)[..., 0]
    action = draw(case, old, seed=3)
    mine, mine_old = make(case).likelihood(head.detach().numpy()), make(case).likelihood(old.numpy())
    theirs, theirs_old = make(case).build(head), make(case).build(old)
    a, s = action.numpy(), slope.numpy()
    for value, pulled, expected in (
        (mine.log_prob(a), mine.vjp_log_prob(a, s), theirs.log_prob(action)),
        (mine.entropy(), mine.vjp_entropy(s), theirs.entropy()),
        (mine.kl_from(mine_old), mine.vjp_kl(mine_old, s), theirs.kl_from(theirs_old)),
    ):
        np.testing.assert_allclose(value, expected.detach().numpy(), rtol=1e-9, atol=1e-12)
        (gradient,) = torch.autograd.grad((expected * slope).sum(), head, retain_graph=True)
        np.testing.assert_allclose(pulled, gradient.numpy(), rtol=1e-9, atol=1e-12)


def test_many_choices_are_summed_as_few_are() -> None:
    head = np.random.default_rng(0).standard_normal((3, B, 40))
    likelihood = family("categorical", (40,)).likelihood(head)
    np.testing.assert_allclose(likelihood.state[1].sum(-1), 1)
    np.testing.assert_allclose(
        likelihood.entropy(), family("categorical", (40,)).build(torch.from_numpy(head)).entropy()
    )


def test_fisher_is_the_hessian_of_the_kl(case: str) -> None:
    head, tangent = heads(case, seed=3), heads(case, seed=4)
    build = make(case).build
    hessian = torch.autograd.functional.hessian(lambda new: build(new).kl_from(build(head)), head)
    np.testing.assert_allclose(fisher(case, head, tangent), (hessian @ tangent).numpy(), rtol=1e-6, atol=1e-9)


def test_fisher_is_the_covariance_of_the_score(case: str) -> None:
    # Positive semidefinite, and along lead axes each state on its own.
    head, tangent = heads(case, 3, B), heads(case, 3, B, seed=4)
    product = fisher(case, head, tangent)
    assert (product * tangent.numpy()).sum(-1).min() >= 0
    np.testing.assert_allclose(product[1, 2], fisher(case, head[1, 2], tangent[1, 2]), rtol=1e-12)


def test_samples_have_the_heads_frequencies(case: str) -> None:
    count = 20_000
    head = heads(case, seed=6)
    action = draw(case, head.expand(count, -1))
    for part, values in zip(torchs(case, head), parts_of(action, case), strict=True):
        if isinstance(part, oracle.Normal):
            result = stats.kstest(values.numpy(), "norm", args=(part.loc.item(), part.scale.item()))
        else:
            observed = np.bincount(values.numpy(), minlength=len(part.probs))
            result = stats.chisquare(observed, part.probs.numpy() * count)
        # Ten such tests with a fixed seed: 1e-4 is met by a right sampler for nearly any seed.
        assert result.pvalue > 1e-4


def test_parts_of_an_action_are_drawn_independently() -> None:
    action = draw("MultiBinary(3)", torch.zeros(20_000, 6)).double()
    correlation = torch.corrcoef(action.T) - torch.eye(3)
    assert correlation.abs().max() < 4 / math.sqrt(20_000)


def test_a_sample_is_a_function_of_its_own_head_and_noise(case: str) -> None:
    chosen = make(case)
    head = heads(case, 7, 3).numpy().astype(np.float32)
    noise = chosen.draw_noise(np.random.default_rng(0), (7, 3))
    together = chosen.sample(head, noise)
    for r in range(7):
        np.testing.assert_array_equal(chosen.sample(head[r : r + 1], noise[r : r + 1])[0], together[r])


def test_kinds_and_sizes() -> None:
    assert family("bernoulli", (4,)).head_size == 8
    assert family("multicategorical", (2, 3)).head_size == 5
    assert (family("gaussian", (3,)).head_size, family("gaussian", (3,)).log_std_size) == (6, 3)
    with pytest.raises(ValueError, match="kind 'beta'"):
        family("beta", (1,))


def test_extreme_logits_stay_finite() -> None:
    head = torch.tensor([[1e4, -1e4, 0.0]])
    mine = family("categorical", (3,)).build(head)
    assert mine.entropy().item() == 0
    assert torch.isfinite(mine.log_prob(torch.tensor([1])))
