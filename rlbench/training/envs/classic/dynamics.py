"""What an environment supplies to the batched fast path, and the equations of classic control.

The compiled equations repeat Gymnasium's own in its order of operations and in its precision, so that they round
alike: the tests follow Gymnasium bit for bit over whole episodes. That also decides details that look odd here. A
square that Gymnasium writes as `x ** 2` of a numpy scalar is the C library's `pow(x, 2)`, which differs from `x * x` in
the last bit about once in a thousand, and Acrobot is chaotic. The kernels are handed the exponent: a constant one would
be compiled to a product.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar

import gymnasium
import numpy as np
import numpy.typing as npt

from rlbench.functional.compiled import exact, exact_inlined
from rlbench.training.envs.base import Flags, Floats, Observations

TWO = 2.0


class Dynamics(ABC):
    """The equations of one environment over M copies; a state is a row of S numbers in double precision.

    `advance(state [M, S], action [M, K], constants, observation [M, O], reward [M], terminated [M])` is compiled. It
    moves every copy by one step and fills the last three; actions are in double precision, too, an index as a whole
    number. Every copy is computed by itself, so its numbers do not depend on M.
    """

    options: ClassVar[frozenset[str]] = frozenset()  # the constructor's keyword arguments that are understood
    variables: ClassVar[tuple[str, ...]] = ()  # names of the S numbers, where they are for people
    spare: ClassVar[int] = 16  # start states that are drawn ahead for every copy
    advance: ClassVar[Callable[..., None]]
    constants: npt.NDArray[np.float64]

    @abstractmethod
    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        """Read the constants from `env`, an unwrapped instance made with the user's options."""

    @abstractmethod
    def draw(self, generator: np.random.Generator) -> npt.NDArray[Any]:
        """Draw one initial state [S] exactly as Gymnasium's `reset` does, in its dtype."""

    @abstractmethod
    def observe(self, state: npt.NDArray[Any]) -> Observations:
        """Return the observations [K, O] of initial states [K, S], computed in their dtype as Gymnasium does."""


@cache
def rounds_as_numpy() -> bool:
    """Say whether numpy's sines and cosines are the C library's, which the kernels call.

    Gymnasium computes them by numpy, which may have its own on some processors.
    """
    angles = np.linspace(-4.0, 4.0, 2001)
    return all(
        np.array_equal(vectorised(angles), [scalar(angle) for angle in angles.tolist()])
        for vectorised, scalar in ((np.cos, math.cos), (np.sin, math.sin))
    )


class CartPole(Dynamics):
    """`gymnasium.envs.classic_control.CartPoleEnv`; state: position, velocity, angle, angular velocity."""

    options = frozenset({"sutton_barto_reward"})
    variables = ("cart position", "cart velocity", "pole angle", "pole velocity")

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        names = (
            *("gravity", "masspole", "total_mass", "length", "polemass_length", "force_mag", "tau"),
            *("x_threshold", "theta_threshold_radians"),
        )
        kwargs = env.spec.kwargs if env.spec else {}
        rewards = (0.0, -1.0) if kwargs.get("sutton_barto_reward", False) else (1.0, 1.0)
        self.constants = np.array([*(getattr(env, name) for name in names), *rewards], np.float64)

    def draw(self, generator: np.random.Generator) -> npt.NDArray[Any]:
        return generator.uniform(low=-0.05, high=0.05, size=(4,))

    def observe(self, state: npt.NDArray[Any]) -> Observations:
        return state.astype(np.float32)

    @staticmethod
    @exact
    def advance(
        state: Floats, action: Floats, constants: Floats, observation: Observations, reward: Floats, terminated: Flags
    ) -> None:
        """Take one Euler step of `tau` seconds; every step that does not end the episode is worth the same."""
        gravity, masspole, total_mass, length, polemass_length, force_mag, tau, far, leaning, on_way, at_end = constants
        for m in range(len(state)):
            x, x_dot, theta, theta_dot = state[m]
            force = force_mag if action[m, 0] == 1 else -force_mag
            cos, sin = math.cos(theta), math.sin(theta)
            temp = (force + polemass_length * (theta_dot * theta_dot) * sin) / total_mass
            angular = (gravity * sin - cos * temp) / (length * (4.0 / 3.0 - masspole * (cos * cos) / total_mass))
            linear = temp - polemass_length * angular * cos / total_mass
            state[m, 0] = x + tau * x_dot
            state[m, 1] = x_dot + tau * linear
            state[m, 2] = theta + tau * theta_dot
            state[m, 3] = theta_dot + tau * angular
            terminated[m] = abs(state[m, 0]) > far or abs(state[m, 2]) > leaning
            reward[m] = at_end if terminated[m] else on_way
            for k in range(4):
                observation[m, k] = state[m, k]


Real = Any
"""A float or a `np.float32`; the arithmetic keeps its precision."""


@exact_inlined
def _move(position: Real, velocity: Real, bounds: npt.NDArray[Any]) -> tuple[Real, Real, bool]:
    """Bound the velocity, move the car and stop it at the left wall; say whether it has arrived."""
    max_speed, min_position, max_position, goal_position, goal_velocity = bounds
    velocity = min(max(velocity, -max_speed), max_speed)
    position = min(max(position + velocity, min_position), max_position)
    if position == min_position and velocity < 0:
        velocity = velocity * 0
    return position, velocity, position >= goal_position and velocity >= goal_velocity


class _MountainCar(Dynamics):
    options = frozenset({"goal_velocity"})
    _engine: ClassVar[tuple[str, ...]]

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        bounds = ("max_speed", "min_position", "max_position", "goal_position", "goal_velocity")
        self.constants = np.array([getattr(env, name) for name in (*bounds, *self._engine)], np.float64)

    def observe(self, state: npt.NDArray[Any]) -> Observations:
        return state[:, :2].astype(np.float32)


class MountainCar(_MountainCar):
    """`gymnasium.envs.classic_control.MountainCarEnv`; state: position and velocity."""

    variables = ("position", "velocity")
    _engine = ("force", "gravity")

    def draw(self, generator: np.random.Generator) -> npt.NDArray[Any]:
        return np.array([generator.uniform(low=-0.6, high=-0.4), 0.0])

    @staticmethod
    @exact
    def advance(
        state: Floats, action: Floats, constants: Floats, observation: Observations, reward: Floats, terminated: Flags
    ) -> None:
        """Push left, not at all or right; each step costs 1."""
        force, gravity = constants[5:]
        for m in range(len(state)):
            position, velocity = state[m]
            faster = velocity + ((action[m, 0] - 1) * force + math.cos(3 * position) * -gravity)
            state[m, 0], state[m, 1], terminated[m] = _move(position, faster, constants[:5])
            reward[m] = -1.0
            observation[m, 0], observation[m, 1] = state[m, 0], state[m, 1]


class MountainCarContinuous(_MountainCar):
    """`gymnasium.envs.classic_control.Continuous_MountainCarEnv`; state: position, velocity, whether just reset.

    Gymnasium keeps the state in single precision, save for the first step of an episode, which starts in
    double precision.
    """

    variables = ("position", "velocity", "just reset")
    _engine = ("min_action", "max_action", "power")

    def draw(self, generator: np.random.Generator) -> npt.NDArray[Any]:
        return np.array([generator.uniform(low=-0.6, high=-0.4), 0.0, 1.0])

    @staticmethod
    @exact
    def advance(
        state: Floats, action: Floats, constants: Floats, observation: Observations, reward: Floats, terminated: Flags
    ) -> None:
        """Push with a force in [-1, 1]; arriving pays 100, effort costs a tenth of the squared action.

        In single precision but for the first step of an episode, which `state[2]` tells.
        """
        single_constants = constants.astype(np.float32)
        min_action, max_action, power = single_constants[5:]
        for m in range(len(state)):
            push = np.float32(action[m, 0])
            force = min(max(push, min_action), max_action) * power
            if state[m, 2] == 1.0:
                position, velocity = state[m, 0], state[m, 1]
                slope = np.float32(0.0025 * math.cos(3.0 * position))
                after = _move(position, velocity + np.float64(force - slope), constants[:5])
                state[m, 0], state[m, 1], terminated[m] = np.float32(after[0]), np.float32(after[1]), after[2]
            else:
                single, speed = np.float32(state[m, 0]), np.float32(state[m, 1])
                slope = np.float32(0.0025 * math.cos(np.float64(np.float32(3) * single)))
                state[m, 0], state[m, 1], terminated[m] = _move(single, speed + (force - slope), single_constants[:5])
            state[m, 2] = 0.0
            # the square of a single-precision number is exact in double precision
            effort = np.float64(push) * np.float64(push) * 0.1
            reward[m] = (100.0 if terminated[m] else 0.0) - effort
            observation[m, 0], observation[m, 1] = state[m, 0], state[m, 1]


class Pendulum(Dynamics):
    """`gymnasium.envs.classic_control.PendulumEnv`; state: angle (0 is upright) and angular velocity."""

    options = frozenset({"g"})
    variables = ("angle", "velocity")

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        c: Any = env
        motion = (3 * c.g / (2 * c.l), c.dt, c.max_speed, TWO)
        engine = (c.max_torque, 3.0 / (c.m * c.l**2), 0.001, TWO)
        self.constants = np.array([*motion, *engine], np.float64)

    def draw(self, generator: np.random.Generator) -> npt.NDArray[Any]:
        high = np.array([np.pi, 1.0])
        return generator.uniform(low=-high, high=high)

    def observe(self, state: npt.NDArray[Any]) -> Observations:
        observation = np.empty((len(state), 3), np.float32)
        observation[:, 0] = np.cos(state[:, 0])
        observation[:, 1] = np.sin(state[:, 0])
        observation[:, 2] = state[:, 1]
        return observation

    @staticmethod
    @exact
    def advance(
        state: Floats, action: Floats, constants: Floats, observation: Observations, reward: Floats, terminated: Flags
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


class Acrobot(Dynamics):
    """`gymnasium.envs.classic_control.AcrobotEnv`; state: the two joint angles and their velocities.

    The equations are Gymnasium's default, those of "the book" (Sutton and Barto, Reinforcement Learning, 1998).
    """

    variables = ("first angle", "second angle", "first velocity", "second velocity")

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        c: Any = env
        m1, m2, l1 = c.LINK_MASS_1, c.LINK_MASS_2, c.LINK_LENGTH_1
        lc1, lc2, inertia = c.LINK_COM_POS_1, c.LINK_COM_POS_2, c.LINK_MOI
        masses = (m1 * lc1**2, m2, lc2**2, l1**2 + lc2**2, inertia, m2 * lc2**2 + inertia)
        factors = (2 * l1 * lc2, (m1 * lc1 + m2 * l1) * GRAVITY, m2 * lc2 * GRAVITY)
        spins = (m2 * l1 * lc2, -m2 * l1 * lc2, 2 * m2 * l1 * lc2)
        bounds = (c.dt, c.MAX_VEL_1, c.MAX_VEL_2)
        self.constants = np.array([*masses, *factors, *spins, TWO, *bounds, *c.AVAIL_TORQUE], np.float64)

    def draw(self, generator: np.random.Generator) -> npt.NDArray[Any]:
        return generator.uniform(low=-0.1, high=0.1, size=(4,)).astype(np.float32)

    def observe(self, state: npt.NDArray[Any]) -> Observations:
        observation = np.empty((len(state), 6), np.float32)
        observation[:, 0:4:2] = np.cos(state[:, :2])
        observation[:, 1:4:2] = np.sin(state[:, :2])
        observation[:, 4:] = state[:, 2:]
        return observation

    @staticmethod
    @exact
    def advance(
        state: Floats, action: Floats, constants: Floats, observation: Observations, reward: Floats, terminated: Flags
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
