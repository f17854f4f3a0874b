"""Any torch module as a network: what becomes of its tensors, how it is evaluated, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from rlbench.functional.torch_networks import ModuleError, ModuleNetwork, build_modules, seeded

OBS, OUT, BATCH = 3, 2, 7


class Separate(nn.Module):
    """A value first and then a policy, so that the order of the tensors is not that of the flat parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.critic = nn.Sequential(nn.Linear(OBS, 4), nn.GELU(), nn.Linear(4, 1))
        self.actor = nn.Sequential(nn.Linear(OBS, 5), nn.LayerNorm(5), nn.SiLU(), nn.Linear(5, OUT))

    def forward(self, x: torch.Tensor) -> Any:
        return self.actor(x), self.critic(x)


class Shared(nn.Module):
    """One tensor from one trunk, behind fixed random features of each replica's own and a frozen scale."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("features", torch.randn(OBS, 6))
        self.register_buffer("order", torch.tensor([1, 0, 2]))
        self.scale = nn.Parameter(torch.rand(1), requires_grad=False)
        self.out = nn.Linear(6, OUT + 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.out(torch.cos(x[:, self.order] @ self.features) * self.scale)
        return out


def network(make: Callable[[], nn.Module], replicas: int = 3, log_std: int = 0, one_by_one: bool = True) -> Any:
    modules = build_modules([make] * replicas, list(range(replicas)))
    built = ModuleNetwork(modules, OBS, OUT, log_std, one_by_one=one_by_one)
    return built, built.initial(modules, [0.5 * r for r in range(replicas)]), modules


def inputs(replicas: int = 3) -> torch.Tensor:
    return torch.randn(replicas, BATCH, OBS, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("one_by_one", [True, False])
@pytest.mark.parametrize("make", [Separate, Shared])
def test_the_stack_evaluates_as_the_modules_do(make: Any, one_by_one: bool) -> None:
    built, params, modules = network(make, log_std=OUT, one_by_one=one_by_one)
    x = inputs()
    head, value = built.heads(params, x), torch.from_numpy(built.values(params, x.numpy()))
    passed = built.forward(params, x)
    assert torch.equal(passed.head, head)
    assert torch.equal(passed.value, value)
    for r, module in enumerate(modules):
        out = module(x[r])
        expected = out if isinstance(out, tuple) else (out[:, :-1], out[:, -1:])
        torch.testing.assert_close(head[r, :, :OUT], expected[0])
        torch.testing.assert_close(value[r], expected[1][:, 0])
    assert torch.equal(head[..., OUT:], (0.5 * torch.arange(3.0))[:, None, None].expand(3, BATCH, OUT))


@pytest.mark.parametrize("one_by_one", [True, False])
def test_the_gradient_is_that_of_each_module(one_by_one: bool) -> None:
    built, params, modules = network(Separate, one_by_one=one_by_one)
    x, generator = inputs(), torch.Generator().manual_seed(2)
    at_head, at_value = torch.randn(3, BATCH, OUT, generator=generator), torch.randn(3, BATCH, generator=generator)
    grad = built.forward(params, x).backward(at_head, at_value)
    for r, module in enumerate(modules):
        head, value = module(x[r])
        ((head * at_head[r]).sum() + (value[:, 0] * at_value[r]).sum()).backward()
        expected = [one.grad.reshape(-1) for part in (module.actor, module.critic) for one in part.parameters()]
        torch.testing.assert_close(grad[r], torch.cat(expected), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("one_by_one", [True, False])
@pytest.mark.parametrize("make", [Separate, Shared])
def test_the_derivative_along_a_direction_is_a_difference_quotient(make: Any, one_by_one: bool) -> None:
    built, params, _ = network(make, log_std=1, one_by_one=one_by_one)
    learnt = built.forward(params, inputs()).backward(torch.ones(3, BATCH, OUT + 1), torch.ones(3, BATCH)) != 0
    direction = torch.randn(params.shape, generator=torch.Generator().manual_seed(3)) * learnt
    got = built.forward(params, inputs()).jvp_head(direction)
    step = 1e-3
    quotient = (built.heads(params + step * direction, inputs()) - built.heads(params - step * direction, inputs())) / (
        2 * step
    )
    torch.testing.assert_close(got, quotient, rtol=1e-2, atol=1e-3)


def test_the_policys_parameters_come_first_and_separate_networks_are_known() -> None:
    built, params, modules = network(Separate, log_std=OUT)
    of_actor = sum(one.numel() for one in modules[0].actor.parameters())
    assert (built.shared, built.policy_size) == (False, of_actor + OUT)
    flat = torch.cat([one.detach().reshape(-1) for one in modules[1].actor.parameters()])
    assert torch.equal(params[1, :of_actor], flat)
    passed = built.forward(params, inputs())
    assert not passed.backward(torch.ones(3, BATCH, 2 * OUT), None)[:, built.policy_size :].any()
    assert not passed.backward(None, torch.ones(3, BATCH))[:, : built.policy_size].any()
    assert built.parts(policy=True, value=False) == (True, False)


def test_buffers_and_frozen_parameters_are_each_replicas_own_and_do_not_learn() -> None:
    built, params, modules = network(Shared)
    assert (built.shared, built.policy_size) == (True, built.size)
    assert not torch.equal(modules[0].features, modules[1].features)
    fixed = modules[0].features.numel() + 1
    grad = built.forward(params, inputs()).backward(torch.ones(3, BATCH, OUT), torch.ones(3, BATCH))
    assert (grad == 0).sum(-1).tolist() == [fixed] * 3
    with pytest.raises(ModuleError, match="shares parameters between them"):
        built.parts(policy=False, value=True)


@pytest.mark.parametrize("make", [Separate, Shared])
def test_one_by_one_a_replica_does_not_depend_on_the_others(make: Any) -> None:
    built, params, _ = network(make, replicas=5)
    x = inputs(5)
    seeds = torch.randn(5, BATCH, OUT), torch.randn(5, BATCH)
    together, alone = built.forward(params, x), built.forward(params[3:4], x[3:4])
    assert torch.equal(together.head[3], alone.head[0])
    grads = together.backward(*seeds)[3], alone.backward(*(seed[3:4] for seed in seeds))[0]
    assert torch.equal(*grads)
    assert torch.equal(together.jvp_head(params)[3], alone.jvp_head(params[3:4])[0])


def test_weights_are_a_function_of_the_seed_and_global_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    first, second = (build_modules([Separate] * 2, seeds) for seeds in ([3, 4], [5, 3]))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    assert torch.equal(first[0].actor[0].weight, second[1].actor[0].weight)  # type: ignore[index,union-attr]
    assert not torch.equal(first[0].actor[0].weight, first[1].actor[0].weight)  # type: ignore[index,union-attr]
    assert seeded(1, lambda: torch.rand(1)) == seeded(1, lambda: torch.rand(1))


class Renamed(nn.Module):
    """Returns whatever a test wants to see refused."""

    def __init__(self, returns: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.out, self.returns = nn.Linear(OBS, OUT + 1), returns

    def forward(self, x: torch.Tensor) -> Any:
        return self.returns(self.out(x))


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "dropout": (lambda: nn.Sequential(nn.Linear(OBS, OUT + 1), nn.Dropout()), "draws random numbers or changes itself"),
    "batch": (lambda: nn.Sequential(nn.Linear(OBS, OUT + 1), nn.BatchNorm1d(OUT + 1)), "changes itself"),
    "width": (lambda: nn.Linear(OBS, OUT), r"must return a head \[3, 2\] and a value \[3\], .* not \[3, 2\]"),
    "one": (lambda: Renamed(lambda y: (y,)), "not tuple"),
    "shapes": (lambda: Renamed(lambda y: (y[:, :-1], y)), r"not \[3, 2\] and \[3, 3\]"),
    "no policy": (lambda: Renamed(lambda y: (y.detach()[:, :-1], y[:, -1])), "depends on none of its parameters"),
    "double": (lambda: nn.Linear(OBS, OUT + 1).double(), "weight of network.* is torch.float64"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trained_is_refused(case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(ModuleError, match=message):
        network(make, replicas=1)


def test_modules_of_different_structure_are_refused() -> None:
    modules = [nn.Linear(OBS, OUT + 1), nn.Linear(OBS, OUT + 1, bias=False)]
    with pytest.raises(ModuleError, match="different structure"):
        ModuleNetwork(modules, OBS, OUT, 0, one_by_one=True)


def test_weights_from_elsewhere_and_a_module_given_twice_are_refused() -> None:
    count = iter(range(10))

    def drifting() -> nn.Module:
        module = nn.Linear(OBS, OUT + 1)
        nn.init.constant_(module.bias, next(count))
        return module

    kept = nn.Linear(OBS, OUT + 1)
    for make in (drifting, lambda: kept):
        with pytest.raises(ModuleError, match="a new module from each call"):
            build_modules([make], [0])
