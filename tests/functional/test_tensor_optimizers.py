"""What descends in torch takes the steps of what does in numpy, and of torch's own, for every replica by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlbench.functional.optimizers import RULES, AdamState, TensorAdamState, clip_by_norm_, descend, descend_

REPLICAS, SIZE, SPLIT = 3, 10, 6


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values)[:, None]


@pytest.mark.parametrize("rule", RULES)
def test_steps_are_those_of_numpys_version_whatever_takes_part(rule: str) -> None:
    rng = np.random.default_rng(0)
    ours = torch.from_numpy(rng.standard_normal((REPLICAS, SIZE)).astype(np.float32))
    theirs = ours.numpy().copy()
    state, other = TensorAdamState.zeros(ours, SPLIT), AdamState.zeros(REPLICAS, SIZE, SPLIT)
    lr, eps = column(1e-2, 1e-3, 0.1), column(1e-5, 1e-8, 1e-3)
    for step in range(20):
        grad = rng.standard_normal((REPLICAS, SIZE)).astype(np.float32)
        active = rng.random(REPLICAS) < 0.7
        parts = [(True, True), (True, False), (False, True)][step % 3]
        before = ours.clone()
        taking = torch.from_numpy(active)
        descend_(
            ours, torch.from_numpy(grad), state,
            rule=rule, lr=lr, value_lr=3 * lr, eps=eps, active=taking, parts=parts,
        )  # fmt: skip
        descend(
            theirs, grad.copy(), other,
            rule=rule, lr=lr.numpy(), value_lr=3 * lr.numpy(), eps=eps.numpy(), active=active, parts=parts,
        )  # fmt: skip
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
        assert torch.equal(ours[~torch.from_numpy(active)], before[~torch.from_numpy(active)])
        for k, part in enumerate((slice(0, SPLIT), slice(SPLIT, None))):
            if not parts[k]:
                assert torch.equal(ours[:, part], before[:, part])


def test_steps_are_torchs_own() -> None:
    generator = torch.Generator().manual_seed(0)
    leaf = torch.nn.Parameter(torch.randn(SIZE, generator=generator))
    params = leaf.detach()[None].clone()
    state = TensorAdamState.zeros(params, SIZE)
    optimizer = torch.optim.Adam([leaf], lr=1e-2, eps=1e-5)
    for _ in range(10):
        leaf.grad = torch.randn(SIZE, generator=generator)
        everyone = torch.ones(1, dtype=torch.bool)
        descend_(params, leaf.grad[None].clone(), state, lr=column(1e-2), eps=column(1e-5), active=everyone)
        optimizer.step()
        torch.testing.assert_close(params[0], leaf.detach(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_norms_are_clipped_per_replica_as_torch_does_and_what_is_not_finite_stays_where_it_is(broken: float) -> None:
    grad = torch.randn(4, SIZE, generator=torch.Generator().manual_seed(0))
    grad[3, 0] = broken
    before, bounds = grad.clone(), (0.5, float("inf"), 100.0, 0.5)
    clip_by_norm_(grad, column(*bounds))
    for r, bound in enumerate(bounds[:3]):
        leaf = torch.nn.Parameter(torch.zeros(SIZE))
        leaf.grad = before[r].clone()
        torch.nn.utils.clip_grad_norm_([leaf], bound)
        torch.testing.assert_close(grad[r], leaf.grad)
    assert grad[0].norm().item() == pytest.approx(0.5)
    assert torch.equal(grad[1:3], before[1:3])
    assert bool(grad[3].isnan().all())
