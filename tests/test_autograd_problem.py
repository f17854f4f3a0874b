"""The improvement step by autograd: the same numbers as with derivatives written out, for every kind of action."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rlbench import Samples, first_order, registry
from rlbench.algorithm import Algorithm, configure, stack
from rlbench.functional import weighted_mean
from rlbench.functional.distributions import family
from rlbench.functional.networks import ActorCritic
from rlbench.functional.optimizers import AdamState, TensorAdamState
from rlbench.functional.torch_networks import TensorActorCritic
from rlbench.improve.autograd import AutogradProblem
from rlbench.improve.compiled import CompiledProblem
from rlbench.improve.minibatches import Rollout
from rlbench.training.noise import Streams

SIZE, OBS, REPLICAS = 60, 3, 3
KINDS = {"categorical": (4,), "multicategorical": (2, 3), "bernoulli": (2,), "gaussian": (2,)}
NAMES = ["actor-critic", "ppo-clip", "ppo-penalty", "ppo-adaptive", "reinforce", "trpo"]
SOME = (torch.arange(SIZE) % 3 > 0).float().repeat(REPLICAS, 1)
SOME[1] = torch.arange(SIZE) == 7  # only one of several minibatches has a sample that counts


def make(name: str = "ppo-clip", **settings: Any) -> Algorithm:
    base = {"horizon": SIZE, "minibatches": 4, "epochs": 2, "hidden": (16, 8)}
    if name == "reinforce":
        base |= {"minibatches": 1, "epochs": 1, "value_minibatches": 4, "value_epochs": 2}
    if name == "trpo":  # in single precision conjugate gradients magnify rounding, a hundred thousand times in ten
        base |= {"cg_iterations": 5}
    return configure(registry.load(name), base | settings, "test")


def problems(
    algorithms: list[Algorithm], kind: str = "categorical", weight: torch.Tensor | None = None, one_by_one: bool = True
) -> tuple[CompiledProblem, AutogradProblem]:
    """Return one problem twice: with derivatives written out, and by autograd."""
    replicas, first = len(algorithms), algorithms[0]
    rng = np.random.default_rng(0)
    actions = family(kind, KINDS[kind])
    network = ActorCritic(
        observations=OBS,
        outputs=actions.head_size - actions.log_std_size,
        log_std=actions.log_std_size,
        hidden=first.hidden,
        activation=first.activation,
        shared=first.shared_trunk,
    )
    params = (0.5 * rng.standard_normal((replicas, network.size))).astype(np.float32)
    observation = rng.standard_normal((replicas, SIZE, OBS)).astype(np.float32)
    output = network.forward(params, observation)
    action = torch.from_numpy(actions.sample(output.head, actions.draw_noise(rng, (replicas, SIZE))))
    normal = [torch.from_numpy(rng.standard_normal((replicas, SIZE)).astype(np.float32)) for _ in range(2)]
    old_value = torch.from_numpy(output.value.copy())
    lr = np.array([[one.lr] for one in algorithms], np.float32)
    rollout = Rollout(torch.from_numpy(observation), action, *normal, old_value, weight)
    written_out = CompiledProblem(
        stack(algorithms), network, actions, params.copy(),
        AdamState.zeros(replicas, network.size, network.policy_size),
        rollout, lr=lr, alive=np.ones(replicas, bool), permute=Streams(range(replicas)).permute,
    )  # fmt: skip
    flat = torch.from_numpy(params)
    by_autograd = AutogradProblem(
        stack(algorithms), TensorActorCritic(network, one_by_one=one_by_one), actions, flat,
        TensorAdamState.zeros(flat, network.policy_size),
        rollout, lr=torch.from_numpy(lr), alive=torch.ones(replicas, dtype=torch.bool),
        permute=Streams(range(replicas)).permute,
    )  # fmt: skip
    return written_out, by_autograd


def objective(x: Samples) -> torch.Tensor:
    per_sample = x.ratio * x.advantage + 0.1 * x.entropy - 0.3 * x.kl - 0.5 * (x.value - x.target) ** 2
    return weighted_mean(per_sample, x.weight)


@pytest.mark.parametrize("one_by_one", [True, False])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_gradient_and_objective_are_those_written_out(kind: str, shared: bool, one_by_one: bool) -> None:
    pack = [make(shared_trunk=shared, entropy_coef=coef, value_clip=0.1 + coef) for coef in (0.0, 0.1, 0.5)]
    ours, theirs = problems(pack, kind, SOME, one_by_one)
    moved = 0.05 * torch.randn(ours.params.shape, generator=torch.Generator().manual_seed(0))
    for batch, other in zip(ours.minibatches(epochs=1, count=4), theirs.minibatches(epochs=1, count=4), strict=True):
        expected = ours.gradient(ours.params + moved, batch, objective, entropy=True, value=True)
        got = theirs.gradient(theirs.params + moved, other, objective, entropy=True, value=True)
        torch.testing.assert_close(got[0], expected[0], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(got[1], expected[1], rtol=1e-3, atol=2e-6)
    for name in ("clip_fraction", "clip_killed", "value_loss", "grad_norm", "samples"):
        np.testing.assert_allclose(theirs.meter.mean(name), ours.meter.mean(name), rtol=1e-4)
        assert theirs.meter.count(name).tolist() == [4, 4, 4]


@pytest.mark.parametrize("scale", [1.0, 1 / 128])
def test_shares_are_those_written_out(scale: float) -> None:
    ours, theirs = problems([make()] * REPLICAS, weight=scale * SOME)
    torch.testing.assert_close(theirs.full().shares, torch.from_numpy(ours.full().shares))


@pytest.mark.parametrize("kind", KINDS)
def test_the_fisher_product_is_that_written_out(kind: str) -> None:
    ours, theirs = problems([make()] * REPLICAS, kind, SOME)
    vector = torch.randn(ours.params.shape, generator=torch.Generator().manual_seed(0))
    expected = ours.fisher(ours.params, ours.full())(vector)
    product = theirs.fisher(theirs.params, theirs.full())
    for _ in range(2):  # a product may be asked for again
        torch.testing.assert_close(product(vector), expected, rtol=1e-3, atol=1e-5)
    assert not expected[:, ours.policy_size :].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("minibatches", [1, 4, 12])
def test_before_the_first_step_every_ratio_is_exactly_one(kind: str, minibatches: int) -> None:
    _, problem = problems([make(minibatches=minibatches)] * REPLICAS, kind)
    for batch in problem.minibatches(epochs=1, count=minibatches):
        _, _, x = problem.gradient(problem.params, batch, lambda x: x.ratio.mean(-1, keepdim=True))
        assert x.ratio.shape == (REPLICAS, SIZE // minibatches)
        assert bool((x.ratio == 1).all())
        assert not x.kl.any()
    measured = problem.measure(problem.params)
    assert not measured["kl"].any()
    assert (measured["ratio_max"] == 1).all()


@pytest.mark.parametrize("kind", ["categorical", "gaussian"])
@pytest.mark.parametrize("name", NAMES)
def test_a_whole_improvement_step_is_that_written_out(name: str, kind: str) -> None:
    weight = SOME if name == "reinforce" else None
    pack = [make(name, lr=lr, target_kl=target) for lr, target in ((1e-3, 0.01), (3e-3, 1e-4), (3e-3, float("inf")))]
    ours, theirs = problems(pack, kind, weight)
    expected, got = (problem.algorithm.improve(problem) for problem in (ours, theirs))
    change = (expected - ours.params).abs().max()
    assert change > 1e-3
    assert (got - expected).abs().max() < 1e-3 * change
    measured = theirs.measure(got)
    for key, value in ours.measure(expected).items():
        np.testing.assert_allclose(measured[key], value, rtol=5e-3, atol=1e-6, err_msg=key)
    np.testing.assert_array_equal(theirs.meter.count("samples"), ours.meter.count("samples"))


@pytest.mark.parametrize("name", NAMES)
def test_a_replica_does_not_depend_on_the_others(name: str) -> None:
    alone, packed = (problems([make(name)] * replicas)[1] for replicas in (1, 5))
    # The data of one replica, at another place among others.
    for name, samples in alone._whole.items():
        packed._whole[name][2] = samples[0]
    packed.params[2] = alone.params[0]
    alone._permute, packed._permute = Streams([7]).permute, Streams([5, 6, 7, 8, 9]).permute
    single, several = (problem.algorithm.improve(problem) for problem in (alone, packed))
    assert not torch.equal(single[0], alone.params[0])
    assert torch.equal(single[0], several[2])


def test_dead_replicas_and_the_network_that_takes_no_part_are_left_alone() -> None:
    _, problem = problems([make()] * REPLICAS)
    problem.alive = torch.tensor([True, False, True])
    after = first_order(problem, policy=False)
    changed = after != problem.params
    assert not changed[1].any()
    assert not changed[:, : problem.policy_size].any()
    assert bool(changed[[0, 2], problem.policy_size :].any())
    assert problem.meter.count("value_loss").tolist() == [8, 0, 8]
