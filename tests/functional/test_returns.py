"""Advantages against the sums of their definition, with ends of both kinds everywhere."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlbench.functional import gae, lambda_returns, reward_to_go, rollout_mean

PLAIN, TERMINATED, TRUNCATED = range(3)
Case = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def make_case(shape: tuple[int, ...], ends: np.ndarray | None = None, seed: int = 0) -> Case:
    """Return reward, value, next_value, terminated, ended of `shape`; `ends` holds the kinds of step."""
    rng = np.random.default_rng(seed)
    reward, value, next_value = (torch.from_numpy(rng.standard_normal(shape)) for _ in range(3))
    kinds = rng.choice(3, size=shape, p=[0.7, 0.15, 0.15]) if ends is None else ends.reshape(shape)
    return reward, value, next_value, torch.from_numpy(kinds == TERMINATED), torch.from_numpy(kinds != PLAIN)


def brute_force(case: Case, gamma: np.ndarray, lam: np.ndarray) -> np.ndarray:
    """Sum (gamma lambda)^k delta_{t+k} from every t to the end of its episode, `[T, R, N]`."""
    reward, value, following, terminated, ended = (x.numpy() for x in case)
    steps, replicas, copies = reward.shape
    advantage = np.zeros(reward.shape)
    for t, r, n in itertools.product(range(steps), range(replicas), range(copies)):
        for k in range(t, steps):
            bootstrap = 0.0 if terminated[k, r, n] else gamma[r] * following[k, r, n]
            delta = reward[k, r, n] + bootstrap - value[k, r, n]
            advantage[t, r, n] += (gamma[r] * lam[r]) ** (k - t) * delta
            if ended[k, r, n]:
                break
    return advantage


@pytest.mark.parametrize("last", [PLAIN, TERMINATED, TRUNCATED])
@pytest.mark.parametrize("first", [PLAIN, TERMINATED, TRUNCATED])
def test_gae_is_the_brute_force_sum_for_every_placing_of_ends(first: int, last: int) -> None:
    ends = np.array([(first, *middle, last) for middle in itertools.product(range(3), repeat=3)]).T  # [5, 27]
    case = make_case((5, 27), ends)
    advantage, target = gae(*case, gamma=0.9, lam=0.8)
    wide = tuple(x[:, None] for x in case)
    expected = brute_force(wide, np.array([0.9]), np.array([0.8]))[:, 0]
    np.testing.assert_allclose(advantage.numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(target.numpy(), expected + case[1].numpy(), atol=1e-12)


def test_gae_takes_coefficients_per_replica() -> None:
    case = make_case((12, 3, 4))
    gamma, lam = np.array([0.9, 1.0, 0.5]), np.array([0.0, 1.0, 0.95])
    columns = {"gamma": torch.from_numpy(gamma)[:, None], "lam": torch.from_numpy(lam)[:, None]}
    advantage, _ = gae(*case, **columns)
    np.testing.assert_allclose(advantage.numpy(), brute_force(case, gamma, lam), atol=1e-12)


def test_gae_of_a_replica_does_not_depend_on_the_others() -> None:
    case = tuple(x.float() if x.is_floating_point() else x for x in make_case((30, 5, 3)))
    gamma, lam = torch.linspace(0.9, 1, 5)[:, None], torch.linspace(0, 1, 5)[:, None]
    together, _ = gae(*case, gamma=gamma, lam=lam)
    for r in range(5):
        alone, _ = gae(*(x[:, r : r + 1] for x in case), gamma=gamma[r : r + 1], lam=lam[r : r + 1])
        assert torch.equal(together[:, r], alone[:, 0])


@given(seed=st.integers(0, 2**31), steps=st.integers(1, 15), gamma=st.floats(0, 1), lam=st.floats(0, 1))
@settings(max_examples=30)
def test_gae_is_the_brute_force_sum(seed: int, steps: int, gamma: float, lam: float) -> None:
    case = make_case((steps, 1, 2), seed=seed)
    advantage, _ = gae(*case, gamma=gamma, lam=lam)
    np.testing.assert_allclose(advantage.numpy(), brute_force(case, np.array([gamma]), np.array([lam])), atol=1e-10)


def test_lambda_zero_is_the_td_error() -> None:
    reward, value, following, terminated, _ended = case = make_case((20, 3))
    advantage, _ = gae(*case, gamma=0.95, lam=0.0)
    error = reward + 0.95 * torch.where(terminated, torch.zeros_like(following), following) - value
    assert torch.equal(advantage, error)


def test_lambda_one_is_monte_carlo_minus_value_where_episodes_terminate() -> None:
    ends = np.array([PLAIN, TERMINATED, PLAIN, PLAIN, TERMINATED])[:, None]
    reward, value, following, terminated, ended = make_case((5, 1), ends)
    r = reward[:, 0]
    returns = [r[0] + 0.9 * r[1], r[1], r[2] + 0.9 * r[3] + 0.81 * r[4], r[3] + 0.9 * r[4], r[4]]
    # The values in between cancel only along a chain: V(s_{t+1}) must be the next step's value.
    chained = following.clone()
    chained[:-1] = value[1:]
    advantage, target = gae(reward, value, chained, terminated, ended, gamma=0.9, lam=1.0)
    np.testing.assert_allclose(target[:, 0].numpy(), torch.stack(returns).numpy(), atol=1e-12)
    np.testing.assert_allclose(advantage.numpy(), (target - value).numpy(), atol=1e-12)


@pytest.mark.parametrize(("terminated", "expected"), [(True, 1.0), (False, 1.0 + 0.99 * 99.3)])
def test_an_end_at_the_last_step_bootstraps_only_if_it_was_a_time_limit(terminated: bool, expected: float) -> None:
    one = torch.ones(1, 1)
    _, target = gae(
        one, 10 * one, 99.3 * one, torch.tensor([[terminated]]), torch.tensor([[True]]), gamma=0.99, lam=0.95
    )
    assert target.item() == pytest.approx(expected, rel=1e-6)


def test_a_cut_trace_does_not_leak_into_the_episode_before() -> None:
    reward = torch.zeros(4, 1)
    reward[2] = 1000.0
    zero, no = torch.zeros(4, 1), torch.zeros(4, 1, dtype=torch.bool)
    ended = no.clone()
    ended[1] = True
    advantage, _ = gae(reward, zero, zero, no, ended, gamma=1.0, lam=1.0)
    assert advantage[:, 0].tolist() == [0, 0, 1000, 0]


def test_lambda_returns_are_the_targets_of_gae() -> None:
    case = make_case((7, 2, 3))
    assert torch.equal(lambda_returns(*case, gamma=0.9, lam=0.7), gae(*case, gamma=0.9, lam=0.7)[1])


def test_reward_to_go_by_hand() -> None:
    reward = torch.tensor([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0], [8.0, 8.0]])
    ended = torch.tensor([[False, False], [True, False], [False, False], [False, True]])
    returns, finished = reward_to_go(reward, ended, gamma=0.5)
    assert returns[:, 0].tolist() == [2.0, 2.0, 8.0, 8.0]
    assert returns[:, 1].tolist() == [4.0, 6.0, 8.0, 8.0]
    assert finished[:, 0].tolist() == [1, 1, 0, 0]
    assert finished[:, 1].tolist() == [1, 1, 1, 1]


def test_reward_to_go_takes_a_discount_per_replica() -> None:
    reward, ended = torch.ones(3, 2, 1), torch.zeros(3, 2, 1, dtype=torch.bool)
    ended[-1] = True
    returns, _ = reward_to_go(reward, ended, gamma=torch.tensor([[0.5], [1.0]]))
    assert returns[0, :, 0].tolist() == [1.75, 3.0]


def test_arguments_stay_as_they_are() -> None:
    case = make_case((6, 2))
    copies = [x.clone() for x in case]
    gae(*case, gamma=0.9, lam=0.9)
    reward_to_go(case[0], case[4], gamma=0.9)
    assert all(torch.equal(a, b) for a, b in zip(case, copies, strict=True))


def test_rollout_mean_is_over_time_and_copies_of_each_replica() -> None:
    x = torch.arange(24.0).reshape(4, 3, 2)
    weight = torch.zeros(4, 3, 2)
    weight[1, :, 0] = 1
    assert torch.equal(rollout_mean(x), x.mean((0, 2))[None, :, None])
    assert torch.equal(rollout_mean(x, weight), x[1:2, :, :1])
    assert torch.equal(rollout_mean(x[:, 0]), x[:, 0].mean().reshape(1, 1))


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_how_a_rollout_mean_rounds_does_not_depend_on_the_pack(copies: int, weighted: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1000, 7, copies, generator=generator)
    weight = (torch.rand(x.shape, generator=generator) < 0.9).float() if weighted else None
    together = rollout_mean(x, weight)
    for r in range(7):
        alone = rollout_mean(x[:, r : r + 1].clone(), None if weight is None else weight[:, r : r + 1].clone())
        assert torch.equal(alone[:, 0], together[:, r])
