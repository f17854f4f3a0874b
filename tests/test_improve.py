"""The default step: a batched update of R replicas is R separate updates, written out in plain torch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rlbench import Environment, first_order, registry
from rlbench.algorithm import Algorithm, configure
from rlbench.improve.compiled import CompiledProblem
from rlbench.training import trainer


def make(name: str = "ppo-clip", **settings: Any) -> Algorithm:
    base = {"horizon": 60, "minibatches": 4, "epochs": 3, "hidden": (16, 8), "anneal_lr": False}
    return configure(registry.load(name), base | settings, "test")


def capture(
    algorithms: list[Algorithm], seeds: list[int], monkeypatch: pytest.MonkeyPatch
) -> tuple[CompiledProblem, Any]:
    """Return the first problem of a real training, and the parameters after its step."""
    caught: list[Any] = []

    def watched(self: Any, problem: CompiledProblem) -> torch.Tensor:
        after = first_order(problem)
        caught.append((problem, after.clone()))
        return after

    monkeypatch.setattr(registry.load("ppo-clip"), "improve", watched)
    trainer.train(algorithms, Environment("CartPole-v1"), algorithms[0].samples_per_update, seeds)
    return caught[0]


def plain_ppo(problem: CompiledProblem, r: int, algorithm: Any, seed: int) -> np.ndarray:
    """Return one replica's parameters after the update, by torch.nn-style code for a single run."""
    net = problem._network
    rollout = SimpleNamespace(**{name: torch.from_numpy(samples) for name, samples in problem._whole.items()})
    leaf = torch.nn.Parameter(problem.params[r].clone())
    optimizer = torch.optim.Adam([leaf], lr=algorithm.lr, eps=algorithm.adam_eps)

    def mlp(h: torch.Tensor, stack: Any) -> torch.Tensor:
        at = stack.offset
        for k, (i, o) in enumerate(stack.shapes):
            h = h @ leaf[at : at + i * o].reshape(i, o) + leaf[at + i * o : at + i * o + o]
            h = torch.tanh(h) if k < len(stack.shapes) - 1 else h
            at += i * o + o
        return h

    observation = rollout.observation[r]
    with torch.no_grad():
        old = torch.distributions.Categorical(logits=mlp(observation, net.policy)).log_prob(rollout.action[r])
    permutations = np.random.default_rng(np.random.SeedSequence([seed, 3]))
    for _ in range(algorithm.epochs):
        for index in permutations.permutation(60).reshape(4, -1):
            new = torch.distributions.Categorical(logits=mlp(observation[index], net.policy))
            ratio = (new.log_prob(rollout.action[r][index]) - old[index]).exp()
            advantage = rollout.advantage[r][index]
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
            clipped = ratio.clamp(1 - algorithm.clip, 1 + algorithm.clip)
            surrogate = torch.minimum(ratio * advantage, clipped * advantage).mean()
            value = mlp(observation[index], net.value)[:, 0]
            value_loss = 0.5 * ((value - rollout.target[r][index]) ** 2).mean()
            loss = -surrogate + algorithm.value_coef * value_loss - algorithm.entropy_coef * new.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_([leaf], algorithm.max_grad_norm)
            optimizer.step()
    return leaf.detach().numpy()


def test_the_update_of_a_pack_is_plain_ppo_for_every_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    pack = [make(lr=3e-3), make(lr=1e-3, clip=0.05, entropy_coef=0.1), make(lr=1e-2, max_grad_norm=0.1, value_coef=2.0)]
    problem, after = capture(pack, [5, 6, 7], monkeypatch)
    for r, (algorithm, seed) in enumerate(zip(pack, (5, 6, 7), strict=True)):
        expected = plain_ppo(problem, r, algorithm, seed)
        assert np.abs(expected - problem.params[r].numpy()).max() > 5 * algorithm.lr
        np.testing.assert_allclose(after[r], expected, atol=0.02 * algorithm.lr)


def test_the_parameters_before_the_step_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    before: list[torch.Tensor] = []
    real = first_order

    def watched(self: Any, problem: CompiledProblem) -> torch.Tensor:
        before.append(problem.params.clone())
        after = real(problem)
        assert torch.equal(problem.params, before[-1])
        assert not torch.equal(after, before[-1])
        return after

    monkeypatch.setattr(registry.load("ppo-clip"), "improve", watched)
    trainer.train([make()], Environment("CartPole-v1"), 120, [0])
    assert len(before) == 2


def test_a_replica_stops_before_the_step_that_would_pass_its_target(monkeypatch: pytest.MonkeyPatch) -> None:
    pack = [make(lr=1e-2, target_kl=target) for target in (1e-9, 1e-3, float("inf"))]
    problem, after = capture(pack, [5, 5, 5], monkeypatch)
    counts = problem.meter.count("value_loss")
    # The first gradient is taken at KL 0, the second sees the KL of the first step.
    assert counts[0] == 2
    assert 2 < counts[1] < counts[2] == 12
    moved = (after - problem.params).norm(dim=-1)
    assert 0 < moved[0] < moved[1] < moved[2]


def test_the_divergence_that_stops_is_one_and_a_half_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {"minibatches": 1, "lr": 1e-2}  # one batch: the second step sees the divergence of all samples
    problem, one_step = capture([make(epochs=1, **whole)], [5], monkeypatch)
    observation, action = (torch.from_numpy(problem._whole[name]) for name in ("observation", "action"))
    old, new = (
        torch.distributions.Categorical(
            logits=torch.from_numpy(problem._network.forward(params.numpy(), observation.numpy()).head)
        ).log_prob(action)
        for params in (problem.params, one_step)
    )
    kl = ((new - old).exp() - 1 - (new - old)).mean().item()
    pack = [make(epochs=2, target_kl=kl / 1.5 * factor, **whole) for factor in (0.99, 1.01)]
    _, after = capture(pack, [5, 5], monkeypatch)
    assert torch.equal(after[0], one_step[0])
    assert not torch.equal(after[1], one_step[0])


@pytest.mark.parametrize("part", ["policy", "value"])
def test_one_of_the_networks_may_be_improved_alone(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, _ = capture([make()], [5], monkeypatch)
    after = first_order(problem, policy=part == "policy", value=part == "value")
    changed = (after != problem.params)[0]
    assert bool(changed[: problem.policy_size].any()) == (part == "policy")
    assert bool(changed[problem.policy_size :].any()) == (part == "value")


def test_dead_replicas_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, _ = capture([make()] * 2, [5, 6], monkeypatch)
    problem.alive = np.array([True, False])
    after = first_order(problem)
    assert not torch.equal(after[0], problem.params[0])
    assert torch.equal(after[1], problem.params[1])
