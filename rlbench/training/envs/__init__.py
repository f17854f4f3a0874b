"""Environments of R replicas x N copies: `make` gives the fastest batch that is exact."""

import contextlib
from typing import NamedTuple

import numpy as np

from rlbench.records import Environment
from rlbench.training.envs.base import ActionSpec, EnvBatch, Failure, Step, copy_seeds
from rlbench.training.envs.gymnasium import GymBatch, make_one, require_registered

__all__ = ["ActionSpec", "EnvBatch", "Failure", "Step", "copy_seeds", "look_at", "make", "require_registered"]

_FAR = 10.0  # times the bounds [-1, 1] that policies are made for


def make(
    environment: Environment, replicas: int, num_envs: int, *, remember: bool = False, once: bool = False
) -> EnvBatch:
    """Return `replicas` x `num_envs` copies of a Gymnasium environment, to be reset before the first step.

    Only with `remember` may they be asked for their state. With `once` only the first episode of each copy after a
    reset is of interest, and nothing need be done after it. Raises:
        RlbenchError: unknown id, rejected options, missing package or unsupported space.
    """
    # Imported where it is needed, since that loads the compiler: those who only look at an environment need none.
    from rlbench.training.envs.classic import classic_batch, supports

    template = make_one(environment)
    if supports(template):
        template.close()
        return classic_batch(template, replicas, num_envs)
    return GymBatch(environment, template, replicas, num_envs, remember=remember, once=once)


class Facts(NamedTuple):
    """What is known of an environment before anything trains in it.

    size    how many numbers an observation has
    shape   the observation's own shape where it is an image, else ()
    action  its actions
    remark  what is unusual about them where they are cut to their bounds, with what helps, or ""
    """

    size: int
    shape: tuple[int, ...]
    action: ActionSpec
    remark: str


def look_at(environment: Environment, copies: int = 1) -> Facts:
    """Return the facts about an environment, by making copies as Gymnasium does.

    Raises RlbenchError where `make` does.
    """
    with contextlib.closing(GymBatch(environment, template := make_one(environment), 1, copies)) as batch:
        space, action = template.observation_space, batch.action
        is_image = space.dtype == np.uint8 and len(space.shape or ()) >= 2
        remark = ""
        if action.low is not None and action.high is not None:
            far = np.maximum(np.abs(action.low), np.abs(action.high))
            if np.any(np.isfinite(far) & ((far > _FAR) | (far < 1 / _FAR))):
                remark = (
                    f"{environment.label}: its actions range from {action.low.min():g} to {action.high.max():g}, and a "
                    "policy begins with a standard deviation of 1 around 0; rescale them, by Environment(id, "
                    'wrappers=[("RescaleAction", {"min_action": -1, "max_action": 1})]).'
                )
        return Facts(batch.observation_size, tuple(space.shape or ()) if is_image else (), action, remark)
