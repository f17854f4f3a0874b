"""Environments of R replicas x N copies: `make` gives the fastest batch that is exact."""

import contextlib

from rlbench.records import Environment
from rlbench.training.envs.base import ActionSpec, EnvBatch, Failure, Step, copy_seeds
from rlbench.training.envs.gymnasium import GymBatch, make_one

__all__ = ["ActionSpec", "EnvBatch", "Failure", "Step", "copy_seeds", "make", "observation_size"]


def make(environment: Environment, replicas: int, num_envs: int, *, remember: bool = False) -> EnvBatch:
    """Return `replicas` x `num_envs` copies of a Gymnasium environment, to be reset before the first step.

    Only with `remember` may they be asked for their state. Raises:
        RlbenchError: unknown id, rejected options, missing package or unsupported space.
    """
    # Imported where it is needed, since that loads the compiler: those who only look at an environment need none.
    from rlbench.training.envs.classic import classic_batch, supports

    template = make_one(environment)
    if supports(template):
        template.close()
        return classic_batch(template, replicas, num_envs)
    return GymBatch(environment, template, replicas, num_envs, remember=remember)


def observation_size(environment: Environment) -> int:
    """Return how many numbers an observation has, by making one copy as Gymnasium does.

    Raises RlbenchError where `make` does.
    """
    with contextlib.closing(GymBatch(environment, make_one(environment), 1, 1)) as batch:
        return batch.observation_size
