"""Pendulum: swing up and hold a pendulum with a torque that is too weak to lift it at once."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from rlbench.functional.compiled import exact
from rlbench.training.envs.batch import Flags, Floats, Observations
from rlbench.training.envs.classic.dynamics import TWO, Dynamics


@exact
def _advance(
    state: Floats,
    action: Floats,
    constants: Floats,
    observation: Observations,
    reward: Floats,
    terminated: Flags,
) -> None:
    """Take one semi-implicit Euler step of `dt` seconds; the reward is minus the cost before it.

    Constants that meet the action are in its single precision.
    """
    fall, dt, max_speed, two = constants[:4]
    max_torque, lever, thousandth, single_two = constants[4:].astype(np.float32)
    for m in range(len(state)):
        theta, velocity = state[m]
        torque = min(max(np.float32(action[m, 0]), -max_torque), max_torque)
        angle = ((theta + math.pi) % (2 * math.pi)) - math.pi
        effort = thousandth * math.pow(torque, single_two)
        cost = math.pow(angle, two) + 0.1 * math.pow(velocity, two) + effort
        pull = fall * math.sin(theta) + lever * torque
        faster = min(max(velocity + pull * dt, -max_speed), max_speed)
        after = theta + faster * dt
        state[m, 0], state[m, 1] = after, faster
        terminated[m] = False
        reward[m] = -cost
        observation[m, 0], observation[m, 1], observation[m, 2] = math.cos(after), math.sin(after), faster


class Pendulum(Dynamics):
    """`gymnasium.envs.classic_control.PendulumEnv`; state: angle (0 is upright) and angular velocity."""

    options = frozenset({"g"})
    advance = staticmethod(_advance)

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        """Read the constants from `env`."""
        c: Any = env
        motion = (3 * c.g / (2 * c.l), c.dt, c.max_speed, TWO)
        engine = (c.max_torque, 3.0 / (c.m * c.l**2), 0.001, TWO)
        self.constants = np.array([*motion, *engine], np.float64)

    def draw(self, generator: np.random.Generator) -> npt.NDArray[Any]:
        """Draw the angle uniformly from [-pi, pi] and the velocity from [-1, 1]."""
        high = np.array([np.pi, 1.0])
        return generator.uniform(low=-high, high=high)

    def observe(self, state: npt.NDArray[Any]) -> Observations:
        """Return cosine and sine of the angle, and the velocity."""
        observation = np.empty((len(state), 3), np.float32)
        observation[:, 0] = np.cos(state[:, 0])
        observation[:, 1] = np.sin(state[:, 0])
        observation[:, 2] = state[:, 1]
        return observation
