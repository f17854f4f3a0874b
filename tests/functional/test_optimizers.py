"""Adam, RMSProp, plain steps and clipping against torch's own, one optimiser per replica."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlbench.functional.optimizers import AdamState, clip_by_norm_, descend, norms

R, P, STEPS = 4, 33, 25


def gradients(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scale = np.array([1e-4, 1.0, 50.0, 1e3])[:, None]
    return (rng.standard_normal((STEPS, R, P)) * scale).astype(np.float32)


LR = np.array([[1e-3], [3e-4], [1e-1], [0.0]], np.float32)
EPS = np.array([[1e-5], [1e-8], [1e-2], [1e-5]], np.float32)


def test_adam_is_torchs_per_replica() -> None:
    start = np.random.default_rng(1).standard_normal((R, P)).astype(np.float32)
    params, state = start.copy(), AdamState.zeros(R, P)
    for grad in gradients():
        descend(params, grad.copy(), state, lr=LR, eps=EPS)
    for r in range(R):
        leaf = torch.nn.Parameter(torch.from_numpy(start[r].copy()))
        optimizer = torch.optim.Adam([leaf], lr=float(LR[r, 0]), eps=float(EPS[r, 0]))
        for grad in gradients():
            leaf.grad = torch.from_numpy(grad[r].copy())
            optimizer.step()
        np.testing.assert_allclose(params[r], leaf.detach().numpy(), rtol=2e-5, atol=1e-6)
    np.testing.assert_array_equal(params[3], start[3])  # a step size of zero


def test_plain_steps_are_torchs_per_replica() -> None:
    start = np.random.default_rng(1).standard_normal((R, P)).astype(np.float32)
    params, state = start.copy(), AdamState.zeros(R, P, 20)
    for grad in gradients():
        descend(params, grad.copy(), state, rule="sgd", lr=LR, value_lr=2 * LR, eps=EPS)
    for r in range(R):
        leaf, other = (torch.nn.Parameter(torch.from_numpy(part.copy())) for part in (start[r, :20], start[r, 20:]))
        optimizer = torch.optim.SGD(
            [{"params": [leaf]}, {"params": [other], "lr": 2 * float(LR[r, 0])}], lr=float(LR[r, 0])
        )
        for grad in gradients():
            leaf.grad, other.grad = torch.from_numpy(grad[r, :20].copy()), torch.from_numpy(grad[r, 20:].copy())
            optimizer.step()
        np.testing.assert_allclose(params[r], torch.cat([leaf, other]).detach().numpy(), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("rule", ["rmsprop", "rmsprop-tf"])
def test_rmsprop_is_that_of_pytorch_or_tensorflow_per_replica(rule: str) -> None:
    """The reference of TensorFlow's is Stable-Baselines3's copy."""
    like: type[torch.optim.Optimizer] = torch.optim.RMSprop
    if rule == "rmsprop-tf":
        like = pytest.importorskip("stable_baselines3.common.sb2_compat.rmsprop_tf_like").RMSpropTFLike
    start = np.random.default_rng(1).standard_normal((R, P)).astype(np.float32)
    params, state = start.copy(), AdamState.zeros(R, P)
    for grad in gradients():
        descend(params, grad.copy(), state, rule=rule, lr=LR, eps=EPS)
    for r in range(R):
        leaf = torch.nn.Parameter(torch.from_numpy(start[r].copy()))
        optimizer = like([leaf], lr=float(LR[r, 0]), alpha=0.99, eps=float(EPS[r, 0]))  # type: ignore[call-arg]
        for grad in gradients():
            leaf.grad = torch.from_numpy(grad[r].copy())
            optimizer.step()
        np.testing.assert_allclose(params[r], leaf.detach().numpy(), rtol=2e-5, atol=1e-6)


def test_inactive_replicas_keep_everything_and_active_ones_do_not_notice() -> None:
    start = np.random.default_rng(1).standard_normal((R, P)).astype(np.float32)
    active = np.array([True, False, True, False])
    params, state = start.copy(), AdamState.zeros(R, P)
    everyone, everyones_state = start.copy(), AdamState.zeros(R, P)
    for grad in gradients():
        descend(params, grad.copy(), state, lr=LR, eps=EPS, active=active)
        descend(everyone, grad.copy(), everyones_state, lr=LR, eps=EPS)
    np.testing.assert_array_equal(params[~active], start[~active])
    assert not state.first[~active].any()
    assert not state.second[~active].any()
    assert state.steps[:, 0].tolist() == [STEPS, 0, STEPS, 0]
    np.testing.assert_array_equal(params[active], everyone[active])
    np.testing.assert_array_equal(state.second[active], everyones_state.second[active])


def test_a_norm_that_overflows_is_no_step_of_nothing() -> None:
    """Clipped to its bound, finite numbers whose norm is infinite would be 0: parameters must not look as if fine."""
    grad = np.ones((2, P), np.float32)
    grad[0] = 1e30
    params = np.ones((2, P), np.float32)
    descend(params, grad, AdamState.zeros(2, P), lr=LR[:2], eps=EPS[:2], max_norm=np.full((2, 1), 0.5, np.float32))
    assert np.isnan(params[0]).all()
    assert np.isfinite(params[1]).all()
    tensor = torch.from_numpy(np.where(np.arange(2)[:, None] == 0, 1e30, 1.0).astype(np.float32).repeat(P, axis=1))
    clip_by_norm_(tensor, torch.full((2, 1), 0.5))
    assert tensor[0].isnan().all()
    assert tensor[1].norm().item() == pytest.approx(0.5)


@pytest.mark.parametrize("bound", [0.5, 2.0, 1e9, np.inf, 0.0])
def test_clipping_is_torchs(bound: float) -> None:
    grad, params = gradients()[0], np.ones((R, P), np.float32)
    # Adam's first step hardly depends on the gradient's length; its second does, if the first was another one.
    state = AdamState.zeros(R, P)
    for factor in (1.0, 0.1):
        descend(params, (factor * grad).astype(np.float32), state, lr=LR, eps=EPS, max_norm=np.full((R, 1), bound, "f"))
    for r in range(R):
        leaf = torch.nn.Parameter(torch.ones(P))
        optimizer = torch.optim.Adam([leaf], lr=float(LR[r, 0]), eps=float(EPS[r, 0]))
        for factor in (1.0, 0.1):
            leaf.grad = torch.from_numpy((factor * grad[r]).astype(np.float32))
            torch.nn.utils.clip_grad_norm_([leaf], bound)
            optimizer.step()
        np.testing.assert_allclose(params[r], leaf.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_clipping_has_a_bound_per_replica_and_leaves_short_gradients_to_the_bit() -> None:
    grad = gradients()[0]
    bounds = np.array([[0.5], [np.inf], [1e9], [0.5]], np.float32)  # only the last gradient is longer than its bound
    clipped, free, clipped_state, free_state = *np.ones((2, R, P), np.float32), *(AdamState.zeros(R, P) for _ in "ab")
    descend(clipped, grad.copy(), clipped_state, lr=LR, eps=EPS, max_norm=bounds)
    descend(free, grad.copy(), free_state, lr=LR, eps=EPS)
    np.testing.assert_array_equal(clipped[:3], free[:3])
    assert norms(free_state.first)[3] > 1000
    np.testing.assert_allclose(norms(clipped_state.first)[3], 0.5, rtol=1e-5)


def test_nan_stays_in_its_replica_and_looks_the_same_in_every_pack() -> None:
    grad = gradients()[0]
    grad[1, 3] = np.nan
    together, alone, bound = np.ones((R, P), np.float32), np.ones((1, P), np.float32), np.full((R, 1), 0.5, np.float32)
    descend(together, grad.copy(), AdamState.zeros(R, P), lr=LR, eps=EPS, max_norm=bound)
    descend(alone, grad[1:2].copy(), AdamState.zeros(1, P), lr=LR[1:2], eps=EPS[1:2], max_norm=bound[:1])
    np.testing.assert_array_equal(together[1:2], alone)
    assert np.isnan(alone).all()
    assert np.isfinite(together[[0, 2, 3]]).all()


@pytest.mark.parametrize("size", [1, 7, 33, 9_000])
def test_norms_do_not_depend_on_the_pack(size: int) -> None:
    grad = np.random.default_rng(0).standard_normal((20, size)).astype(np.float32)
    together = norms(grad)
    assert all(norms(grad[r : r + 1])[0] == together[r] for r in range(20))
    np.testing.assert_allclose(together, np.linalg.norm(grad, axis=1), rtol=1e-5)
