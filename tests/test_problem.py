"""One improvement step: ratios before it, gradients and Fisher products, what is measured, by one definition each."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rlbench import Samples, first_order, registry
from rlbench.algorithm import Algorithm, configure, stack
from rlbench.functional import weighted_mean
from rlbench.functional.distributions import Family, family
from rlbench.functional.networks import ActorCritic
from rlbench.functional.optimizers import AdamState
from rlbench.functional.returns import standardise
from rlbench.improve.compiled import CompiledProblem
from rlbench.improve.diagnostics import Meter, TensorMeter, explained_variance
from rlbench.improve.minibatches import Rollout
from rlbench.training.noise import Streams

SIZE, OBS, REPLICAS = 60, 3, 3
KINDS = {"categorical": (4,), "multicategorical": (2, 3), "bernoulli": (2,), "gaussian": (2,)}


def make(name: str = "ppo-clip", **settings: Any) -> Algorithm:
    base = {"horizon": SIZE, "minibatches": 4, "epochs": 2, "hidden": (16, 8)}
    return configure(registry.load(name), base | settings, "test")


class Setting:
    """A problem and what it was made of."""

    def __init__(
        self,
        algorithms: list[Algorithm],
        kind: str = "categorical",
        weight: torch.Tensor | None = None,
        spread: float = 0.5,
    ) -> None:
        replicas = len(algorithms)
        rng = np.random.default_rng(0)
        first = algorithms[0]
        self.family: Family = family(kind, KINDS[kind])
        self.network = ActorCritic(
            observations=OBS,
            outputs=self.family.head_size - self.family.log_std_size,
            log_std=self.family.log_std_size,
            hidden=first.hidden,
            shared=first.shared_trunk,
        )
        self.params = (spread * rng.standard_normal((replicas, self.network.size))).astype(np.float32)
        observation = rng.standard_normal((replicas, SIZE, OBS)).astype(np.float32)
        output = self.network.forward(self.params, observation)
        noise = self.family.draw_noise(rng, (replicas, SIZE))
        normal = [torch.from_numpy(rng.standard_normal((replicas, SIZE)).astype(np.float32)) for _ in range(2)]
        self.rollout = Rollout(
            observation=torch.from_numpy(observation),
            action=torch.from_numpy(self.family.sample(output.head, noise)),
            advantage=normal[0],
            target=normal[1],
            old_value=torch.from_numpy(output.value.copy()),
            weight=weight,
        )
        self.optimizer = AdamState.zeros(replicas, self.network.size, self.network.policy_size)
        self.problem = CompiledProblem(
            stack(algorithms),
            self.network,
            self.family,
            self.params,
            self.optimizer,
            self.rollout,
            lr=np.array([[one.lr] for one in algorithms], np.float32),
            alive=np.ones(replicas, bool),
            permute=Streams(range(replicas)).permute,
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("minibatches", [1, 4, 12, 60])
def test_before_the_first_step_every_ratio_is_exactly_one(kind: str, minibatches: int) -> None:
    alone = {"normalize_advantage": "none"} if minibatches == SIZE else {}  # of one sample nothing would be left
    setting = Setting([make(minibatches=minibatches, **alone)] * REPLICAS, kind)
    problem, seen = setting.problem, 0
    for batch in problem.minibatches(epochs=1, count=minibatches):
        _, _, x = problem.gradient(problem.params, batch, lambda x: x.ratio.mean(-1, keepdim=True))
        seen += x.ratio.shape[-1]
        assert x.ratio.shape == x.advantage.shape == (REPLICAS, SIZE // minibatches)
        assert (x.ratio == 1).all()
        assert not x.kl.any()
    assert seen == SIZE
    assert not problem.meter.mean("clip_fraction").any()
    measured = problem.measure(problem.params)
    assert not measured["outside_band"].any()
    assert not measured["kl"].any()
    assert (measured["ratio_max"] == 1).all()


def test_every_epoch_visits_every_sample_once_in_an_order_of_its_own() -> None:
    setting = Setting([make(normalize_advantage="none")] * REPLICAS)
    batches = list(setting.problem.minibatches(epochs=2, count=4))
    assert len(batches) == 8
    orders = []
    for epoch in (batches[:4], batches[4:]):
        advantage = np.concatenate([batch.advantage for batch in epoch], -1)
        observation = np.concatenate([batch.observation for batch in epoch], 1)
        for r in range(REPLICAS):
            order = [int(np.flatnonzero(setting.rollout.advantage[r].numpy() == a)[0]) for a in advantage[r]]
            assert sorted(order) == list(range(SIZE))
            np.testing.assert_array_equal(observation[r], setting.rollout.observation[r, order])
            orders.append(order)
    assert len({tuple(order) for order in orders}) == 2 * REPLICAS


def test_a_single_batch_keeps_the_rollouts_order() -> None:
    setting = Setting([make(normalize_advantage="none")] * REPLICAS)
    batch = setting.problem.full()
    np.testing.assert_array_equal(batch.observation, setting.rollout.observation)
    np.testing.assert_array_equal(batch.advantage, setting.rollout.advantage)


def test_advantages_are_standardised_over_what_the_algorithm_says() -> None:
    for minibatches in (1, 4):
        problem = Setting([make(normalize_advantage="minibatch", minibatches=minibatches)] * REPLICAS).problem
        for batch in problem.minibatches(epochs=1, count=minibatches):
            np.testing.assert_allclose(batch.advantage.mean(-1), np.zeros(REPLICAS), atol=1e-6)
            np.testing.assert_allclose(batch.advantage.std(-1, ddof=1), np.ones(REPLICAS), rtol=1e-5)


def test_batches_are_standardised_as_everything_else_is_also_with_weights() -> None:
    weight = (torch.arange(REPLICAS * SIZE).reshape(REPLICAS, SIZE) % 3 > 0).float()
    setting = Setting([make(normalize_advantage="minibatch", minibatches=4)] * REPLICAS, weight=weight)
    plain = Setting([make(normalize_advantage="none", minibatches=4)] * REPLICAS, weight=weight)
    pairs = zip(*(one.problem.minibatches(epochs=1, count=4) for one in (setting, plain)), strict=True)
    for batch, raw in pairs:
        assert raw.weight is not None
        expected = standardise(torch.from_numpy(raw.advantage), torch.from_numpy(raw.weight))
        np.testing.assert_allclose(batch.advantage, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 1 / 128])
def test_shares_are_those_of_the_weights_whatever_their_size(scale: float) -> None:
    weight = torch.tensor([1.0, 0.0, 2.0, 1.0]).repeat(REPLICAS, SIZE // 4) * scale
    problem = Setting([make(minibatches=1)] * REPLICAS, weight=weight).problem
    np.testing.assert_allclose(problem.full().shares, weight / weight.sum(-1, keepdim=True), rtol=1e-6)


def autograd_gradient(setting: Setting, r: int, objective: Any) -> np.ndarray:
    """Return the gradient of one replica by differentiating a torch network through the distribution."""
    net, rollout = setting.network, setting.rollout
    leaf = torch.from_numpy(setting.params[r].astype(np.float64)).requires_grad_()

    def mlp(h: torch.Tensor, stack: Any) -> torch.Tensor:
        at = stack.offset
        for k, (i, o) in enumerate(stack.shapes):
            h = h @ leaf[at : at + i * o].reshape(i, o) + leaf[at + i * o : at + i * o + o]
            h = torch.tanh(h) if k < len(stack.shapes) - 1 else h
            at += i * o + o
        return h

    x = rollout.observation[r].double()
    head = mlp(x, net.policy)
    value = head[:, -1] if net.shared else mlp(x, net.value)[:, 0]
    head = head[:, : net.outputs]
    if net.log_std:
        head = torch.cat([head, leaf[net.policy.end : net.policy_size].expand(len(x), -1)], -1)
    distribution = setting.family.build(head)
    (gradient,) = torch.autograd.grad(objective(distribution, value, r), leaf)
    return gradient.numpy()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shared", [False, True])
def test_the_gradient_is_autograds(kind: str, shared: bool) -> None:
    setting = Setting([make(normalize_advantage="none", shared_trunk=shared)] * REPLICAS, kind)
    problem, rollout = setting.problem, setting.rollout

    def objective(x: Samples) -> torch.Tensor:
        per_sample = x.ratio * x.advantage + 0.1 * x.entropy - 0.5 * (x.value - x.target) ** 2
        return weighted_mean(per_sample, None)

    _, gradient, _ = problem.gradient(problem.params, problem.full(), objective)

    def written_out(distribution: Any, value: torch.Tensor, r: int) -> torch.Tensor:
        log_prob = distribution.log_prob(rollout.action[r])
        ratio = (log_prob - log_prob.detach()).exp()
        loss = 0.5 * (value - rollout.target[r]) ** 2
        return (ratio * rollout.advantage[r] + 0.1 * distribution.entropy() - loss).mean()

    for r in range(REPLICAS):
        np.testing.assert_allclose(gradient[r], autograd_gradient(setting, r, written_out), rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_fisher_product_is_the_hessian_of_the_mean_divergence(kind: str) -> None:
    weight = (torch.arange(SIZE) < 40).float().expand(REPLICAS, -1).contiguous()
    setting = Setting([make(hidden=(4,))] * REPLICAS, kind, weight)
    problem = setting.problem
    vector = torch.from_numpy(np.random.default_rng(1).standard_normal(setting.params.shape).astype(np.float32))
    product = problem.fisher(problem.params, problem.full())(vector)
    net = setting.network
    for r in range(REPLICAS):
        expected = divergence_hessian(setting, r, 40) @ vector[r, : net.policy_size].double().numpy()
        np.testing.assert_allclose(product[r, : net.policy_size], expected, rtol=2e-3, atol=2e-4)
        assert not product[r, net.policy_size :].any()


def divergence_hessian(setting: Setting, r: int, samples: int) -> np.ndarray:
    """Return the Hessian at the policy's parameters of the mean KL(old || new) over the first samples."""
    net, build = setting.network, setting.family.build
    observation = setting.rollout.observation[r, :samples].double()
    here = torch.from_numpy(setting.params[r, : net.policy_size].astype(np.float64))

    def head(flat: torch.Tensor) -> torch.Tensor:
        x, at = observation, 0
        for k, (i, o) in enumerate(net.policy.shapes):
            x = x @ flat[at : at + i * o].reshape(i, o) + flat[at + i * o : at + i * o + o]
            x = torch.tanh(x) if k == 0 else x
            at += i * o + o
        return torch.cat([x, flat[at:].expand(len(x), -1)], -1) if net.log_std else x

    def divergence(flat: torch.Tensor) -> torch.Tensor:
        return build(head(flat)).kl_from(build(head(here))).mean()

    hessian: np.ndarray = torch.autograd.functional.hessian(divergence, here).numpy()
    return hessian


def test_the_norm_is_clipped_per_replica() -> None:
    setting = Setting([make(max_grad_norm=bound, lr=1.0) for bound in (0.5, float("inf"), 1e-9)])
    problem = setting.problem
    grad = torch.ones_like(problem.params)
    problem.ascend(problem.params.clone(), grad, np.ones(3, bool))
    first = setting.optimizer.first  # after one step the scaled moment is the gradient
    length = np.sqrt(setting.network.size)
    np.testing.assert_allclose(first[:, 0], [0.5 / length, 1, 1e-9 / length], rtol=1e-4)


@pytest.mark.parametrize(("policy", "value"), [(True, False), (False, True), (True, True)])
def test_a_network_that_takes_no_part_keeps_parameters_and_momentum(policy: bool, value: bool) -> None:
    setting = Setting([make(lr=0.1)] * REPLICAS)
    problem, split = setting.problem, setting.network.policy_size
    everyone = np.ones(REPLICAS, bool)
    params = problem.ascend(problem.params.clone(), torch.ones_like(problem.params), everyone)
    moments = setting.optimizer.first.copy()
    before = params.clone()
    problem.ascend(params, torch.zeros_like(params), everyone, policy=policy, value=value)
    changed = params != before
    assert bool(changed[:, :split].all()) == bool(changed[:, :split].any()) == policy
    assert bool(changed[:, split:].all()) == bool(changed[:, split:].any()) == value
    kept = setting.optimizer.first == moments
    assert bool(kept[:, :split].all()) == bool(kept[:, :split].any()) == (not policy)
    assert bool(kept[:, split:].all()) == bool(kept[:, split:].any()) == (not value)


def test_a_batch_of_samples_that_do_not_count_moves_nothing() -> None:
    first = Streams(range(REPLICAS)).permute(SIZE)[:, : SIZE // 4]
    weight = torch.ones(REPLICAS, SIZE)
    weight[1] = torch.zeros(SIZE)
    weight[1, first[1]] = 1  # of replica 1 only the samples of the first minibatch count
    setting, other = (Setting([make(lr=0.1)] * REPLICAS, weight=weight) for _ in range(2))
    batches = list(setting.problem.minibatches(epochs=1, count=4))
    assert [setting.problem.usable(batch).tolist() for batch in batches] == [[True] * 3, *[[True, False, True]] * 3]
    _, grad, _ = setting.problem.gradient(setting.problem.params, batches[0], entropy=True, value=True)
    expected = setting.problem.ascend(setting.problem.params.clone(), grad, np.ones(REPLICAS, bool))
    after = first_order(other.problem, epochs=1)
    assert torch.equal(after[1], expected[1])
    assert not torch.equal(after[0], expected[0])


def test_a_shared_trunk_steps_as_a_whole() -> None:
    setting = Setting([make(shared_trunk=True, lr=0.1)] * REPLICAS)
    problem = setting.problem
    params = problem.ascend(
        problem.params.clone(), torch.ones_like(problem.params), np.ones(REPLICAS, bool), policy=False
    )
    assert (params != problem.params).all()


def test_clip_fractions_by_hand() -> None:
    """Ratios .7, 1, 1.5 with advantages of both signs: four lie outside the band, two of them without gradient."""
    ratio = torch.tensor([[0.7, 1.0, 1.5, 0.7, 1.0, 1.5, 1.5, 1.5]])
    advantage = torch.tensor([[1.0, 1.0, 1.0, -1.0, -1.0, -1.0, 0.0, 9.0]])
    weight = torch.tensor([[1.0] * 7 + [0.0]])
    log_prob = ratio.log().requires_grad_()

    class Fixed:
        pass

    x: Any = Fixed()
    x.__dict__.update(ratio=log_prob.exp(), advantage=advantage)
    registry.load("ppo-clip")(clip=0.2).surrogate(x).sum().backward()  # type: ignore[attr-defined]
    assert log_prob.grad is not None
    band, norm, alive = torch.tensor([0.2]), torch.tensor([3.0]), torch.tensor([True])
    batch = {"old_log_prob": torch.zeros(1, 8), "advantage": advantage, "weight": weight}
    step = (log_prob.detach(), log_prob.grad, band, norm, alive)
    arrays, tensors = Meter(1), TensorMeter(1, torch.device("cpu"))
    as_arrays = SimpleNamespace(**{name: x.numpy() for name, x in batch.items()})
    arrays.add_policy_step(as_arrays, *(x.numpy() for x in step))
    tensors.add_policy_step(SimpleNamespace(**batch), *step)
    for meter in (arrays, tensors):
        assert meter.mean("grad_norm")[0] == 3
        assert meter.mean("clip_fraction")[0] == pytest.approx(5 / 7)
        assert meter.mean("clip_killed")[0] == pytest.approx(2 / 7)


def test_a_single_sample_may_be_clipped() -> None:
    zero, one = np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32)
    for grad, killed in ((zero, 1), (one, 0), (None, np.nan)):
        meter = Meter(1)
        batch = SimpleNamespace(old_log_prob=zero, advantage=one, weight=None)
        meter.add_policy_step(batch, one, grad, np.float32([0.2]), np.array([3.0]), np.array([True]))
        np.testing.assert_array_equal([meter.mean("clip_fraction")[0], meter.mean("clip_killed")[0]], [1, killed])


def test_the_meter_counts_active_replicas_only() -> None:
    meter = Meter(3)
    meter.add("value_loss", np.array([1.0, 2.0, 3.0]), np.array([True, False, True]))
    meter.add("value_loss", np.array([3.0, 4.0, 5.0]), np.array([True, False, False]))
    np.testing.assert_array_equal(meter.mean("value_loss"), [2.0, np.nan, 3.0])
    assert meter.count("value_loss").tolist() == [2, 0, 1]
    assert np.isnan(meter.mean("grad_norm")).all()


def test_explained_variance_by_hand() -> None:
    target = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert explained_variance(target, target)[0] == 1
    assert explained_variance(target + 7, target)[0] == 1  # a constant error explains the variance all the same
    assert explained_variance(torch.zeros(1, 4), target)[0] == 0
    assert explained_variance(-target, target)[0] == -3
    assert np.isnan(explained_variance(target, torch.ones(1, 4))[0])
    weight = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    assert explained_variance(torch.tensor([[1.0, 2.0, 3.0, -99.0]]), target, weight)[0] == 1
    assert np.isnan(explained_variance(target, target, torch.zeros(1, 4))[0])


def test_measures_after_the_update_by_hand() -> None:
    setting = Setting([make(clip=0.1), make(clip=0.3), make(clip=0.5)])
    problem = setting.problem
    moved = problem.params + 0.05 * torch.randn(problem.params.shape, generator=torch.Generator().manual_seed(0))
    list(problem.minibatches(epochs=1, count=4))
    measured = problem.measure(moved)
    for r, clip in enumerate((0.1, 0.3, 0.5)):
        old, new = (
            torch.distributions.Categorical(
                logits=torch.from_numpy(
                    setting.network.forward(p[r : r + 1], setting.rollout.observation[r : r + 1].numpy()).head[0]
                )
            )
            for p in (setting.params, moved.numpy())
        )
        ratio = (new.log_prob(setting.rollout.action[r]) - old.log_prob(setting.rollout.action[r])).exp()
        kl = torch.distributions.kl_divergence(old, new)
        assert measured["kl"][r] == pytest.approx(kl.mean().item(), rel=1e-3)
        assert measured["kl_max"][r] == pytest.approx(kl.max().item(), rel=1e-3)
        assert measured["entropy"][r] == pytest.approx(new.entropy().mean().item(), rel=1e-5)
        assert measured["ratio_max"][r] == pytest.approx(ratio.max().item(), rel=1e-4)
        assert measured["outside_band"][r] == pytest.approx(((ratio - 1).abs() > clip).float().mean().item())


def test_the_measured_surrogate_leaves_out_samples_without_weight() -> None:
    weight = (torch.arange(SIZE) < 10).float()[None]
    setting = Setting([make("actor-critic", normalize_advantage="none", minibatches=1)], weight=weight)
    measured = setting.problem.measure(setting.problem.params)
    assert measured["surrogate"][0] == pytest.approx(setting.rollout.advantage[0, :10].mean().item(), rel=1e-5)
