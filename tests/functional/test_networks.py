"""The hand-written network against the same network in torch, differentiated by autograd."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from rlbench.functional.networks import ActorCritic

R, B, OBS = 3, 11, 5
CONFIGURATIONS = {
    "separate tanh": {"hidden": (16, 8)},
    "separate relu": {"hidden": (16, 8), "activation": "relu"},
    "shared tanh": {"hidden": (16, 8), "shared": True},
    "shared relu": {"hidden": (12,), "activation": "relu", "shared": True},
    "Gaussian": {"hidden": (16, 8), "log_std": 3},
    "Gaussian shared": {"hidden": (16, 8), "log_std": 3, "shared": True},
    "one layer": {"hidden": (7,)},
}


@pytest.fixture(params=CONFIGURATIONS, ids=str)
def network(request: pytest.FixtureRequest) -> ActorCritic:
    return ActorCritic(**({"observations": OBS, "outputs": 3, "log_std": 0} | CONFIGURATIONS[request.param]))  # type: ignore[arg-type]


def parameters(network: ActorCritic) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (0.5 * rng.standard_normal((R, network.size))).astype(np.float32)


def inputs() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((R, B, OBS)).astype(np.float32)


def reference(network: ActorCritic, flat: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (head, value) by plain torch operations on one replica's parameters `[P]`, in the buffer's order."""
    at = 0

    def stack(sizes: list[int], h: torch.Tensor) -> torch.Tensor:
        nonlocal at
        for k, (i, o) in enumerate(itertools.pairwise(sizes)):
            weight, bias = flat[at : at + i * o].reshape(i, o), flat[at + i * o : at + i * o + o]
            h = h @ weight + bias
            if k < len(sizes) - 2:
                h = torch.tanh(h) if network.activation == "tanh" else torch.relu(h)
            at += i * o + o
        return h

    head = stack([OBS, *network.hidden, 3 + network.shared], x)
    shared_value, head = head[:, -1], head[:, :3]
    if network.log_std:
        head = torch.cat([head, flat[at : at + network.log_std].expand(len(x), -1)], -1)
        at += network.log_std
    value = shared_value if network.shared else stack([OBS, *network.hidden, 1], x)[:, 0]
    assert at == network.size
    return head, value


def test_forward(network: ActorCritic) -> None:
    flat, x = parameters(network), inputs()
    output = network.forward(flat, x)
    for r in range(R):
        head, value = reference(network, torch.from_numpy(flat[r]), torch.from_numpy(x[r]))
        np.testing.assert_allclose(output.head[r], head.numpy(), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(output.value[r], value.numpy(), rtol=1e-5, atol=1e-5)


def test_what_is_not_asked_for_is_not_needed(network: ActorCritic) -> None:
    flat, x = parameters(network), inputs()
    both = network.forward(flat, x)
    np.testing.assert_array_equal(network.forward(flat, x, value=False).head, both.head)
    np.testing.assert_array_equal(network.forward(flat, x, policy=False).value, both.value)


@pytest.mark.parametrize("which", ["both", "head", "value"])
def test_backward(network: ActorCritic, which: str) -> None:
    flat, x = parameters(network), inputs()
    rng = np.random.default_rng(2)
    output = network.forward(flat, x)
    grad_head = rng.standard_normal(output.head.shape).astype(np.float32) if which != "value" else None
    grad_value = rng.standard_normal(output.value.shape).astype(np.float32) if which != "head" else None
    grad = network.backward(flat, output.tape, grad_head, grad_value)
    for r in range(R):
        leaf = torch.from_numpy(flat[r].copy()).requires_grad_()
        head, value = reference(network, leaf, torch.from_numpy(x[r]))
        loss = torch.zeros(())
        if grad_head is not None:
            loss = loss + (head * torch.from_numpy(grad_head[r])).sum()
        if grad_value is not None:
            loss = loss + (value * torch.from_numpy(grad_value[r])).sum()
        (expected,) = torch.autograd.grad(loss, leaf)
        np.testing.assert_allclose(grad[r], expected.numpy(), rtol=1e-4, atol=1e-4)


def test_jvp(network: ActorCritic) -> None:
    flat, x = parameters(network), inputs()
    tangent = np.random.default_rng(3).standard_normal(flat.shape).astype(np.float32)
    moved = network.jvp_head(flat, network.forward(flat, x, value=False).tape, tangent)
    for r in range(R):
        _, expected = torch.autograd.functional.jvp(
            lambda p, r=r: reference(network, p, torch.from_numpy(x[r]))[0],
            torch.from_numpy(flat[r]),
            torch.from_numpy(tangent[r]),
        )
        np.testing.assert_allclose(moved[r], expected.numpy(), rtol=1e-4, atol=1e-4)


def test_each_half_of_the_buffer_belongs_to_one_network(network: ActorCritic) -> None:
    flat, x = parameters(network), inputs()
    output = network.forward(flat, x)
    of_head = network.backward(flat, output.tape, np.ones_like(output.head), None)
    of_value = network.backward(flat, output.tape, None, np.ones_like(output.value))
    assert not of_head[:, network.policy_size :].any()
    if network.shared:
        assert network.policy_size == network.size
    else:
        assert not of_value[:, : network.policy_size].any()


@pytest.mark.parametrize("batch", [1, 50, 64])
def test_a_replica_computes_the_same_alone_and_in_company(network: ActorCritic, batch: int) -> None:
    rng = np.random.default_rng(4)
    flat = rng.standard_normal((20, network.size)).astype(np.float32)
    x = rng.standard_normal((20, batch, OBS)).astype(np.float32)
    output = network.forward(flat, x)
    grad = network.backward(flat, output.tape, output.head, output.value)
    moved = network.jvp_head(flat, output.tape, flat)
    for r in (0, 7, 19):
        part = slice(r, r + 1)
        alone = network.forward(flat[part], x[part])
        np.testing.assert_array_equal(alone.head, output.head[part])
        np.testing.assert_array_equal(alone.value, output.value[part])
        np.testing.assert_array_equal(network.backward(flat[part], alone.tape, alone.head, alone.value), grad[part])
        np.testing.assert_array_equal(network.jvp_head(flat[part], alone.tape, flat[part]), moved[part])


@pytest.mark.parametrize("shared", [False, True])
def test_orthogonal_initialisation(shared: bool) -> None:
    network = ActorCritic(observations=4, outputs=2, log_std=2, hidden=(64, 64), shared=shared)
    flat = network.init(np.random.default_rng(0), orthogonal=True, log_std=-0.5)[None]
    first, second, last = (weight[0].astype(np.float64) for weight, _ in network.policy.layers(flat))
    np.testing.assert_allclose(first @ first.T, 2 * np.eye(4), atol=1e-5)
    np.testing.assert_allclose(second.T @ second, 2 * np.eye(64), atol=1e-5)
    gains = [0.01, 0.01] + [1.0] * shared
    np.testing.assert_allclose(last.T @ last, np.diag(np.square(gains)), atol=1e-6)
    assert not any(bias.any() for _, bias in network.policy.layers(flat))
    np.testing.assert_array_equal(flat[0, network.policy.end : network.policy_size], np.float32([-0.5, -0.5]))
    if not shared:
        of_value = network.value.layers(flat)[-1][0][0].astype(np.float64)
        np.testing.assert_allclose(of_value.T @ of_value, [[1.0]], atol=1e-6)


def test_orthogonal_matrices_are_uniformly_distributed() -> None:
    # Without the sign correction the diagonal of Q has one sign only.
    network = ActorCritic(observations=2, outputs=2, log_std=0, hidden=(2,))
    corners = [
        network.policy.layers(network.init(np.random.default_rng(s), orthogonal=True, log_std=0)[None])[0][0][0, 0, 0]
        for s in range(200)
    ]
    assert 60 < np.sum(np.array(corners) > 0) < 140


def test_torchs_initialisation() -> None:
    network = ActorCritic(observations=9, outputs=2, log_std=0, hidden=(64,))
    flat = network.init(np.random.default_rng(0), orthogonal=False, log_std=0)[None]
    for (weight, bias), width in zip(network.policy.layers(flat), (9, 64), strict=True):
        bound = 1 / math.sqrt(width)
        for values in (weight, bias):
            assert np.abs(values).max() <= bound
        assert weight.std() == pytest.approx(bound / math.sqrt(3), rel=0.15)
