"""Adam and clipping against torch's own, one optimiser per replica."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlbench.functional.optimizers import AdamState, adam, norm_factors, norms

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
        adam(params, grad.copy(), state, lr=LR, eps=EPS)
    for r in range(R):
        leaf = torch.nn.Parameter(torch.from_numpy(start[r].copy()))
        optimizer = torch.optim.Adam([leaf], lr=float(LR[r, 0]), eps=float(EPS[r, 0]))
        for grad in gradients():
            leaf.grad = torch.from_numpy(grad[r].copy())
            optimizer.step()
        np.testing.assert_allclose(params[r], leaf.detach().numpy(), rtol=2e-5, atol=1e-6)
    np.testing.assert_array_equal(params[3], start[3])  # a step size of zero


def test_inactive_replicas_keep_everything_and_active_ones_do_not_notice() -> None:
    start = np.random.default_rng(1).standard_normal((R, P)).astype(np.float32)
    active = np.array([True, False, True, False])
    params, state = start.copy(), AdamState.zeros(R, P)
    everyone, everyones_state = start.copy(), AdamState.zeros(R, P)
    for grad in gradients():
        adam(params, grad.copy(), state, lr=LR, eps=EPS, active=active)
        adam(everyone, grad.copy(), everyones_state, lr=LR, eps=EPS)
    np.testing.assert_array_equal(params[~active], start[~active])
    assert not state.first[~active].any()
    assert not state.second[~active].any()
    assert state.steps[:, 0].tolist() == [STEPS, 0, STEPS, 0]
    np.testing.assert_array_equal(params[active], everyone[active])
    np.testing.assert_array_equal(state.second[active], everyones_state.second[active])


def test_adam_works_on_columns_of_a_buffer() -> None:
    params = np.random.default_rng(1).standard_normal((R, P)).astype(np.float32)
    alone, state, part = params[:, 5:20].copy(), AdamState.zeros(R, 15), AdamState.zeros(R, 15)
    before = params.copy()
    for grad in gradients():
        adam(alone, grad[:, 5:20].copy(), state, lr=LR, eps=EPS)
        adam(params[:, 5:20], grad[:, 5:20], part, lr=LR, eps=EPS, active=np.array([True, True, True, False]))
    np.testing.assert_array_equal(params[:, 5:20], alone)
    np.testing.assert_array_equal(params[:, :5], before[:, :5])
    np.testing.assert_array_equal(params[:, 20:], before[:, 20:])


@pytest.mark.parametrize("bound", [0.5, 1e9, np.inf, 0.0])
def test_clipping_is_torchs(bound: float) -> None:
    grad = gradients()[0]
    clipped = grad * norm_factors(grad, np.full((R, 1), bound, np.float32))[:, None]
    for r in range(R):
        leaf = torch.nn.Parameter(torch.zeros(P))
        leaf.grad = torch.from_numpy(grad[r].copy())
        torch.nn.utils.clip_grad_norm_([leaf], bound)
        np.testing.assert_allclose(clipped[r], leaf.grad.numpy(), rtol=1e-5)


def test_clipping_has_a_bound_per_replica_and_leaves_short_gradients_to_the_bit() -> None:
    grad = gradients()[0]
    clipped = grad * norm_factors(grad, np.array([[0.5], [np.inf], [2.0], [0.5]], np.float32))[:, None]
    np.testing.assert_array_equal(clipped[:2], grad[:2])
    np.testing.assert_allclose(norms(clipped)[2:], [2.0, 0.5], rtol=1e-5)


def test_nan_stays_in_its_replica_and_looks_the_same_in_every_pack() -> None:
    grad = gradients()[0]
    grad[1, 3] = np.nan
    together = norm_factors(grad, np.full((R, 1), 0.5, np.float32))
    alone = norm_factors(grad[1:2], np.full((1, 1), 0.5, np.float32))
    np.testing.assert_array_equal(together[1:2], alone)
    assert np.isnan(together[1])
    assert np.isfinite(together[[0, 2, 3]]).all()


def test_a_factor_scales_the_gradient_of_its_replica() -> None:
    params, grad = np.ones((R, P), np.float32), gradients()[0]
    factor = np.array([1.0, 0.5, 0.25, 2.0], np.float32)
    scaled = params.copy()
    adam(scaled, grad * factor[:, None], AdamState.zeros(R, P), lr=LR, eps=EPS)
    adam(params, grad, AdamState.zeros(R, P), lr=LR, eps=EPS, factor=factor)
    np.testing.assert_array_equal(params, scaled)


@pytest.mark.parametrize("size", [1, 7, 33, 9_000])
def test_norms_do_not_depend_on_the_pack(size: int) -> None:
    grad = np.random.default_rng(0).standard_normal((20, size)).astype(np.float32)
    together = norms(grad)
    assert all(norms(grad[r : r + 1])[0] == together[r] for r in range(20))
    np.testing.assert_allclose(together, np.linalg.norm(grad, axis=1), rtol=1e-5)
