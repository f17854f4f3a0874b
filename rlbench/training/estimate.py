"""From experience to samples: values, advantages and targets, flattened per replica."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rlbench.algorithm import Algorithm
from rlbench.data import Estimates, Trajectory
from rlbench.functional.networks import ActorCritic
from rlbench.functional.surrogates import standardise
from rlbench.improve.batches import Rollout
from rlbench.training.rollout import Experience

Array = npt.NDArray[Any]


def estimate(algorithm: Algorithm, network: ActorCritic, params: Array, experience: Experience) -> Rollout:
    """Return the samples of a rollout with the algorithm's advantages and value targets, n = T N per replica."""
    return samples(algorithm, experience, trajectory(network, params, experience))


def trajectory(network: ActorCritic, params: Array, experience: Experience) -> Trajectory:
    """Return rewards and ends of a rollout with the values that the networks `params` `[R, P]` give its states."""
    time_steps, replicas, copies = experience.reward.shape
    value = network.forward(params, _flat(experience.observation), policy=False).value  # [R, T N]
    values = value.reshape(replicas, time_steps, copies).transpose(1, 0, 2)  # [T, R, N]
    return Trajectory(
        reward=_tensor(experience.reward),
        value=_tensor(values),
        next_value=_tensor(_next_values(network, params, experience, values)),
        terminated=_tensor(experience.terminated),
        ended=_tensor(experience.ended),
    )


def samples(algorithm: Algorithm, experience: Experience, trajectory: Trajectory) -> Rollout:
    """Return the samples of a rollout whose `trajectory` is known, as `estimate` does."""
    with torch.no_grad():
        estimates = Estimates(*algorithm.advantages(trajectory))
        advantage, target, value = (
            _tensor(_flat(one.numpy())) for one in (estimates.advantage, estimates.target, trajectory.value)
        )
        weight = None if estimates.weight is None else _tensor(_flat(estimates.weight.numpy()))
        if algorithm.normalize_advantage == "batch":
            advantage = standardise(advantage, weight)
    observation, action = _flat(experience.observation), _tensor(_flat(experience.action))
    return Rollout(observation, action, advantage, target, value, weight)


def _next_values(network: ActorCritic, params: Array, experience: Experience, values: Array) -> Array:
    """Return V of every true successor `[T, R, N]`: the next state, or the final observation where an episode was cut.

    Where an episode terminated, the number is that of the next episode's first state; its weight is zero.
    """
    last = network.forward(params, experience.last_observation, policy=False).value  # [R, N]
    following = np.concatenate([values[1:], last[None]])
    for r, (times, copies, finals) in experience.cuts.items():
        # One replica at a time: how many cuts others have must not decide how this one's products round.
        following[times, r, copies] = network.forward(params[r : r + 1], finals[None], policy=False).value[0]
    return following


def _flat(array: Array) -> Array:
    """Return `[T, R, N, ...]` as `[R, T N, ...]`."""
    moved = np.moveaxis(array, 1, 0)
    return np.ascontiguousarray(moved).reshape(moved.shape[0], -1, *moved.shape[3:])


def _tensor(array: Array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
