"""Conjugate gradient, line search and replica-wise algebra."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlbench.functional import backtracking_line_search, conjugate_gradient, dot, norm, where

R, P = 4, 12


@pytest.fixture
def system() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((R, P, P))
    matrix = root @ root.transpose(0, 2, 1) + np.eye(P)
    return torch.from_numpy(matrix), torch.from_numpy(rng.standard_normal((R, P)))


def product(matrix: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return torch.einsum("rij,rj->ri", matrix, x)


def test_conjugate_gradient_solves_each_replicas_system(system: tuple[torch.Tensor, torch.Tensor]) -> None:
    matrix, b = system
    x = conjugate_gradient(lambda v: product(matrix, v), b, iterations=3 * P, tolerance=1e-24)
    expected = np.linalg.solve(matrix.numpy(), b.numpy()[..., None])[..., 0]
    np.testing.assert_allclose(x.numpy(), expected, rtol=1e-6, atol=1e-9)


def test_a_solved_replica_waits_for_the_others(system: tuple[torch.Tensor, torch.Tensor]) -> None:
    matrix, b = system
    matrix = matrix.clone()
    matrix[1] = torch.eye(P)  # solved in one iteration
    b = b.clone()
    b[2] = 0  # solved before the first
    x = conjugate_gradient(lambda v: product(matrix, v), b, iterations=P, tolerance=1e-20)
    torch.testing.assert_close(x[1], b[1])
    assert not x[2].any()
    assert torch.isfinite(x).all()
    alone = conjugate_gradient(lambda v: product(matrix[:1], v), b[:1], iterations=P, tolerance=1e-20)
    torch.testing.assert_close(alone[0], x[0])


def test_few_iterations_minimise_the_quadratic_stepwise(system: tuple[torch.Tensor, torch.Tensor]) -> None:
    matrix, b = system
    energies = []
    for iterations in range(1, P):
        x = conjugate_gradient(lambda v: product(matrix, v), b, iterations=iterations)
        energies.append(0.5 * dot(x, product(matrix, x)) - dot(b, x))
    assert (torch.stack(energies).diff(dim=0) <= 1e-12).all()


def test_line_search_takes_the_first_accepted_point_of_each_replica() -> None:
    start, step = torch.zeros(3, 2), torch.ones(3, 2)
    limits = torch.tensor([[1.0], [0.3], [0.01]])  # accepted at once, after two halvings, never
    asked = []

    def accept(points: torch.Tensor) -> torch.Tensor:
        asked.append(points.clone())
        return points[:, :1] <= limits

    point, fraction = backtracking_line_search(accept, start, step, shrink=0.5, tries=4)
    assert fraction.tolist() == [[1.0], [0.25], [0.0]]
    assert torch.equal(point, fraction.expand(3, 2))
    assert [points[0, 0].item() for points in asked] == [1.0, 0.5, 0.25, 0.125]


def test_line_search_stops_asking_once_all_have_an_answer() -> None:
    calls = []

    def accept(points: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return torch.ones(len(points), 1, dtype=torch.bool)

    backtracking_line_search(accept, torch.zeros(2, 3), torch.ones(2, 3), shrink=0.5, tries=9)
    assert len(calls) == 1


def test_line_search_refuses_nan() -> None:
    def accept(points: torch.Tensor) -> torch.Tensor:
        return points.sum(-1, keepdim=True) < 100

    start = torch.ones(2, 3)
    step = torch.tensor([[1.0] * 3, [torch.nan] * 3])
    point, fraction = backtracking_line_search(accept, start, step, shrink=0.5, tries=3)
    assert fraction.tolist() == [[1.0], [0.0]]
    assert point[1].tolist() == [1.0] * 3


def test_algebra_is_per_replica() -> None:
    a, b = torch.arange(6.0).reshape(2, 3), torch.ones(2, 3)
    assert dot(a, b).tolist() == [[3.0], [12.0]]
    torch.testing.assert_close(norm(a), torch.tensor([[5.0**0.5], [50.0**0.5]]))
    assert torch.equal(where(torch.tensor([[True], [False]]), a, b), torch.stack([a[0], b[1]]))
