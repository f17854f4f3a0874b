"""Acrobot: swing a two-link pendulum up by its middle joint (Sutton, 1996).

The equations are Gymnasium's default, those of "the book" (Sutton and Barto, Reinforcement Learning, 1998).
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from rlbench.functional.compiled import exact, exact_inlined
from rlbench.training.envs.batch import Flags, Floats, Observations
from rlbench.training.envs.classic.dynamics import TWO, Dynamics

GRAVITY = 9.8


@exact_inlined
def _derivative(
    theta1: float, theta2: float, velocity1: float, velocity2: float, torque: float, constants: Floats
) -> tuple[float, float]:
    """Return the accelerations of the two joints."""
    m1_lc1, m2, lc2, links, inertia, d_const, turn, fall1, fall2, spin1, spin2, spin12, two = constants[:13]
    cos2 = turn * math.cos(theta2)
    gravity1 = fall1 * math.cos(theta1 - math.pi / 2)
    phi2 = fall2 * math.cos(theta1 + theta2 - math.pi / 2)
    sin2 = math.sin(theta2)
    d1 = m1_lc1 + m2 * (links + cos2) + inertia + inertia
    d2 = m2 * (lc2 + 0.5 * cos2) + inertia
    own1 = math.pow(velocity1, two) * spin1 * sin2
    own2 = math.pow(velocity2, two) * spin2 * sin2
    both = velocity2 * spin12 * velocity1 * sin2
    phi1 = own2 - both + gravity1 + phi2
    acceleration2 = (torque + d2 / d1 * phi1 - own1 - phi2) / (d_const - math.pow(d2, two) / d1)
    return -(d2 * acceleration2 + phi1) / d1, acceleration2


@exact_inlined
def _wrap(angle: float) -> float:
    while angle > math.pi:
        angle -= 2 * math.pi
    while angle < -math.pi:
        angle += 2 * math.pi
    return angle


@exact
def _advance(
    state: Floats,
    action: Floats,
    constants: Floats,
    observation: Observations,
    reward: Floats,
    terminated: Flags,
) -> None:
    """Take one Runge-Kutta step of `dt` seconds, wrap the angles to [-pi, pi], bound the velocities."""
    dt, fastest1, fastest2 = constants[13:16]
    torques = constants[16:]
    half, sixth = dt / 2.0, dt / 6.0
    for m in range(len(state)):
        torque = torques[min(max(int(action[m, 0]), 0), len(torques) - 1)]
        a, b, v, w = state[m]
        k1v, k1w = _derivative(a, b, v, w, torque, constants)
        v2, w2 = v + half * k1v, w + half * k1w
        k2v, k2w = _derivative(a + half * v, b + half * w, v2, w2, torque, constants)
        v3, w3 = v + half * k2v, w + half * k2w
        k3v, k3w = _derivative(a + half * v2, b + half * w2, v3, w3, torque, constants)
        v4, w4 = v + dt * k3v, w + dt * k3w
        k4v, k4w = _derivative(a + dt * v3, b + dt * w3, v4, w4, torque, constants)
        theta1 = _wrap(a + sixth * (v + 2 * v2 + 2 * v3 + v4))
        theta2 = _wrap(b + sixth * (w + 2 * w2 + 2 * w3 + w4))
        velocity1 = min(max(v + sixth * (k1v + 2 * k2v + 2 * k3v + k4v), -fastest1), fastest1)
        velocity2 = min(max(w + sixth * (k1w + 2 * k2w + 2 * k3w + k4w), -fastest2), fastest2)
        state[m, 0], state[m, 1], state[m, 2], state[m, 3] = theta1, theta2, velocity1, velocity2
        terminated[m] = -math.cos(theta1) - math.cos(theta2 + theta1) > 1.0
        reward[m] = 0.0 if terminated[m] else -1.0
        observation[m, 0], observation[m, 1] = math.cos(theta1), math.sin(theta1)
        observation[m, 2], observation[m, 3] = math.cos(theta2), math.sin(theta2)
        observation[m, 4], observation[m, 5] = velocity1, velocity2


class Acrobot(Dynamics):
    """`gymnasium.envs.classic_control.AcrobotEnv`; state: the two joint angles and their velocities."""

    advance = staticmethod(_advance)

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        """Read the constants from `env` and fold those that Gymnasium multiplies first."""
        c: Any = env
        m1, m2, l1 = c.LINK_MASS_1, c.LINK_MASS_2, c.LINK_LENGTH_1
        lc1, lc2, inertia = c.LINK_COM_POS_1, c.LINK_COM_POS_2, c.LINK_MOI
        masses = (m1 * lc1**2, m2, lc2**2, l1**2 + lc2**2, inertia, m2 * lc2**2 + inertia)
        factors = (2 * l1 * lc2, (m1 * lc1 + m2 * l1) * GRAVITY, m2 * lc2 * GRAVITY)
        spins = (m2 * l1 * lc2, -m2 * l1 * lc2, 2 * m2 * l1 * lc2)
        bounds = (c.dt, c.MAX_VEL_1, c.MAX_VEL_2)
        self.constants = np.array([*masses, *factors, *spins, TWO, *bounds, *c.AVAIL_TORQUE], np.float64)

    def draw(self, generator: np.random.Generator) -> npt.NDArray[Any]:
        """Draw the four variables uniformly from [-0.1, 0.1], in single precision."""
        return generator.uniform(low=-0.1, high=0.1, size=(4,)).astype(np.float32)

    def observe(self, state: npt.NDArray[Any]) -> Observations:
        """Return cosine and sine of each angle and the velocities; computed in the dtype of `state`."""
        observation = np.empty((len(state), 6), np.float32)
        observation[:, 0:4:2] = np.cos(state[:, :2])
        observation[:, 1:4:2] = np.sin(state[:, :2])
        observation[:, 4:] = state[:, 2:]
        return observation
