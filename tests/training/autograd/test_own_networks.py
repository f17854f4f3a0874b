"""Algorithms with a network of their own: chosen without being asked, whatever the pack, and solving something."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rlbench import Algorithm, Environment, hyper, registry, static
from rlbench.checks import check_algorithm
from rlbench.errors import RlbenchError
from rlbench.training.engines import AutogradTraining, Training, engine_of, has_own_network

CLIP = registry.load("ppo-clip")


def perceptron(*sizes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, o in itertools.pairwise(sizes):
        layers += [nn.Linear(i, o), nn.Sigmoid()]
    return nn.Sequential(*layers[:-1])


class Pair(nn.Module):
    """Two perceptrons that share nothing."""

    def __init__(self, observations: int, outputs: int) -> None:
        super().__init__()
        self.actor, self.critic = perceptron(observations, 16, outputs), perceptron(observations, 16, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.actor(x), self.critic(x).squeeze(-1)


class Recurrent(nn.Module):
    """A gated unit over the numbers of an observation, and attention over its states: not what one would write out."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.unit, self.out = nn.GRUCell(1, 8), nn.Linear(8, outputs + 1)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = x.new_zeros(len(x), 8)
        states = []
        for k in range(x.shape[1]):
            state = self.unit(x[:, k : k + 1], state)
            states.append(state)
        seen = torch.stack(states, 1)
        out: torch.Tensor = self.out(self.attention(seen, seen, seen, need_weights=False)[0].mean(1))
        return out


class Joint(CLIP):  # type: ignore[misc,valid-type]
    """One tensor from one trunk; `own=False` is the built-in network."""

    name = "test-joint"
    own: bool = static(True)

    def network(self, observations: int, outputs: int) -> nn.Module | None:
        return perceptron(observations, *self.hidden, outputs + 1) if self.own else None


class Attentive(CLIP):  # type: ignore[misc,valid-type]
    name = "test-attentive"

    def network(self, observations: int, outputs: int) -> nn.Module:
        return Recurrent(outputs)


def separate(name: str) -> type[Algorithm]:
    """Return an algorithm by name with two networks of its own."""

    def network(self: Algorithm, observations: int, outputs: int) -> nn.Module:
        return Pair(observations, outputs)

    return type(f"Own{name}", (registry.load(name),), {"name": f"test-own-{name}", "network": network})


@pytest.mark.parametrize(
    "identifier", ["CartPole-v1", pytest.param("Pendulum-v1", marks=pytest.mark.slow), "rlbench-train/MultiDiscrete-v0"]
)
@pytest.mark.parametrize("cls", [Joint, Attentive, separate("trpo"), separate("reinforce"), separate("ppo-penalty")])
def test_alone_and_in_a_pack_of_5(
    cls: type[Algorithm], identifier: str, make: Any, train_on: Any, same_runs: Any
) -> None:
    algorithm = make(cls, normalize_observation=True, normalize_reward=True, hidden=(16,))
    options = {"max_episode_steps": 30}
    (alone,) = train_on([algorithm], identifier, 3, [3], **options)
    packed = train_on([algorithm] * 5, identifier, 3, [7, 3, 5, 8, 9], **options)
    assert alone.status == "finished"
    same_runs(alone, packed[1])
    assert not np.array_equal(packed[0].updates["entropy"], alone.updates["entropy"])


def test_the_engine_is_chosen_by_what_network_returns(make: Any) -> None:
    cartpole = Environment("CartPole-v1")
    for algorithm, expected in (
        (make("ppo-clip"), Training),
        (make(Joint, own=False), Training),
        (make(Joint), AutogradTraining),
        (make(Attentive), AutogradTraining),
    ):
        assert has_own_network(algorithm, cartpole) == (expected is AutogradTraining)
        assert engine_of(algorithm, cartpole, "cpu") is expected


def test_weights_follow_the_seed_and_not_the_global_generator(make: Any) -> None:
    def weights(seeds: list[int]) -> torch.Tensor:
        torch.rand(3)
        loop = AutogradTraining([make(Joint)] * len(seeds), Environment("CartPole-v1"), 100, seeds)
        loop.close()
        return loop.params

    first, second = weights([3, 4]), weights([4, 5, 3])
    assert torch.equal(first[0], second[2])
    assert torch.equal(first[1], second[0])
    assert not torch.equal(first[0], first[1])
    assert len(weights(list(range(60))).unique(dim=0)) == 60  # the range of the seeds is wide enough for no two alike


def test_a_module_of_the_built_in_shape_learns_alike(make: Any, train_tensor: Any, train_on: Any) -> None:
    """Given the built-in weights, a module of torch's own layers trains as the built-in network does."""

    def initial(module: Pair, built_in: torch.Tensor) -> None:
        at = 0
        for layer in [*module.actor, *module.critic]:
            if isinstance(layer, nn.Linear):
                i, o = layer.in_features, layer.out_features
                layer.weight.data = built_in[at : at + i * o].reshape(i, o).T.clone()
                layer.bias.data = built_in[at + i * o : at + i * o + o].clone()
                at += i * o + o

    class Tanh(CLIP):  # type: ignore[misc,valid-type]
        name = "test-tanh"

        def network(self, observations: int, outputs: int) -> nn.Module:
            module = Pair(observations, outputs)
            for part in (module.actor, module.critic):
                part[1] = nn.Tanh()
            initial(module, flat)
            return module

    algorithm = make("ppo-clip", hidden=(16,))
    loop = AutogradTraining([algorithm], Environment("CartPole-v1"), 100, [3])
    loop.close()
    flat = loop.params[0]
    (ours,), (theirs,) = train_on([make(Tanh)], "CartPole-v1", 2, [3]), train_on([algorithm], "CartPole-v1", 2, [3])
    for name in theirs.updates:
        np.testing.assert_allclose(ours.updates[name][0], theirs.updates[name][0], rtol=1e-4, atol=1e-5, err_msg=name)


class Quick(Joint):
    """In small rollouts."""

    name = "test-quick"
    lr: float = hyper(1e-2, low=0.0)
    horizon: int = static(16, low=1)
    num_envs: int = static(32, low=1)
    epochs: int = static(2, low=1)
    minibatches: int = static(4, low=1)
    hidden: tuple[int, ...] = static((16,), low=1)


def test_the_contract_is_kept_and_a_probe_solved() -> None:
    assert [result for result in check_algorithm(Quick) if not result.passed] == []


class Dropping(CLIP):  # type: ignore[misc,valid-type]
    name = "test-dropping"

    def network(self, observations: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(observations, outputs + 1), nn.Dropout())


class Joined(registry.load("trpo")):  # type: ignore[misc]
    name = "test-joined"

    def network(self, observations: int, outputs: int) -> nn.Module:
        return perceptron(observations, 8, outputs + 1)


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (Dropping, "test-dropping: the module of network.. draws random numbers or changes itself"),
        (Joined, "test-joined: policy and value are improved one after the other, but .* shares parameters"),
    ],
)
def test_a_network_that_cannot_be_trained_is_refused_in_one_sentence(
    cls: type[Algorithm], message: str, make: Any, train_on: Any
) -> None:
    with pytest.raises(RlbenchError, match=message):
        train_on([make(cls)], "CartPole-v1", 1, [0])
