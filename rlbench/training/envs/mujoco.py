"""The batched fast path of Gymnasium's MuJoCo tasks, version 5: compiled loops that call the simulator's own library.

The kernels call `mj_step` by its address, and repeat what Gymnasium computes around it in Gymnasium's order of
operations and precision, so that they round alike: the tests follow Gymnasium bit for bit over whole episodes. All
copies share one `mjData`. A copy is the row of numbers that decides how its motion goes on, which is written into the
simulator before each step and read from it afterwards; so copies cannot influence each other.

Start states are drawn, and observed, by Gymnasium's own methods. A position of a body or a site is by one simulator
step older than the joints', in Gymnasium as here, since MuJoCo computes it before it moves the joints; where a reward
is the difference of two such positions, the older one belongs to the state.
"""

import copy
import math
import re
from collections.abc import Callable
from ctypes import CDLL, c_void_p, cast
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from rlbench.functional.compiled import Array, exact, exact_inlined, summed
from rlbench.training.envs.base import Flags, Floats, Observations
from rlbench.training.envs.classic.dynamics import TWO, Dynamics

_DOUBLE, _INT = ir.DoubleType(), ir.IntType(64)


def _built(function: Callable[..., Any]) -> Any:
    """Return what kernels call without the first argument, and which writes itself into their code."""
    return intrinsic(function)


@_built
def _load(typing_context: Any, address: Any, index: Any) -> Any:
    """Return the double-precision number at `index` from an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], _DOUBLE.as_pointer())
        return builder.load(builder.gep(pointer, [arguments[1]]))

    return types.float64(types.int64, types.int64), generate


@_built
def _store(typing_context: Any, address: Any, index: Any, value: Any) -> Any:
    """Put a double-precision number at `index` from an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], _DOUBLE.as_pointer())
        builder.store(arguments[2], builder.gep(pointer, [arguments[1]]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.float64), generate


@_built
def _call(typing_context: Any, function: Any, model: Any, data: Any, state: Any, which: Any) -> Any:
    """Call a function of the library at an address; one of two arguments does not look at the others."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_INT] * 4)
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), generate


# Where the whole numbers of a kernel's constants stand: addresses, and what belongs to the model.
_STEP, _SET, _GET, _FORCES, _MODEL, _DATA, _CONTROL, _SKIP, _WHICH, _POSITIONS, _SPEEDS, _UNSEEN = range(12)
_OWN = 12  # of the task: addresses, each with how many numbers are there
_WHOLE = 26  # after them come the numbers in double precision


@exact_inlined
def _simulate(state: Floats, action: Floats, link: Array) -> None:
    """Move one copy under an action that is held; what the simulator computed last can then be read at addresses."""
    model, data = link[_MODEL], link[_DATA]
    _call(link[_SET], model, data, np.int64(state.ctypes.data), link[_WHICH])
    for k in range(len(action)):
        _store(link[_CONTROL], k, action[k])
    for _ in range(link[_SKIP]):
        _call(link[_STEP], model, data, 0, 0)
    _call(link[_GET], model, data, np.int64(state.ctypes.data), link[_WHICH])


@exact_inlined
def _see_joints(state: Floats, link: Array, fastest: float, observation: Observations) -> int:
    """Observe positions and velocities, these within a bound; return how many numbers that are."""
    seen = 0
    for k in range(link[_UNSEEN], link[_POSITIONS]):
        observation[seen] = state[1 + k]
        seen += 1
    for k in range(link[_SPEEDS]):
        observation[seen] = np.minimum(np.maximum(state[1 + link[_POSITIONS] + k], -fastest), fastest)
        seen += 1
    return seen


@exact_inlined
def _effort(action: Floats) -> np.float32:
    """Return the sum of the squared action, in the action's own single precision."""
    squares = np.empty(len(action), np.float32)
    for k in range(len(action)):
        push = np.float32(action[k])
        squares[k] = push * push
    total: np.float32 = summed(squares)
    return total


@exact_inlined
def _see(address: int, count: int, bounds: tuple[float, float], observation: Observations, seen: int) -> int:
    """Observe `count` numbers of the simulator's, within bounds; return how many were observed with them."""
    for k in range(count):
        observation[seen + k] = np.minimum(np.maximum(_load(address, k), bounds[0]), bounds[1])
    return seen + count


@exact_inlined
def _contact(link: Array, bounds: tuple[float, float]) -> float:
    """Return the sum of the squared contact forces, each within bounds; they must be computed already."""
    squares = np.empty(link[_OWN + 1])
    for k in range(len(squares)):
        force = np.minimum(np.maximum(_load(link[_OWN], k), bounds[0]), bounds[1])
        squares[k] = force * force
    total: float = summed(squares)
    return total


class MujocoTask(Dynamics):
    """A task of `gymnasium.envs.mujoco`; a state is what `mj_getState` says, and `_carried` numbers more.

    What the simulator needs in order to go on: time, joint positions, joint velocities, activations and the
    accelerations that its solver starts from.
    """

    spare = 4  # a start state takes as long as a few steps
    _numbers: ClassVar[tuple[str, ...]]
    _carried: ClassVar[int] = 0

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        import mujoco

        self._env = _twin(env)
        model, data = self._env.model, self._env.data
        which = mujoco.mjtState
        self._which = int(which.mjSTATE_FULLPHYSICS | which.mjSTATE_WARMSTART)
        self._size = mujoco.mj_stateSize(model, self._which)
        link = np.zeros(_WHOLE, np.int64)
        functions = ("mj_step", "mj_setState", "mj_getState", "mj_rnePostConstraint")
        link[:_MODEL] = [_address(name) for name in functions]
        link[_MODEL:_OWN] = (
            *(model._address, data._address, data.ctrl.ctypes.data, self._env.frame_skip, self._which),
            *(model.nq, model.nv, getattr(env, "observation_structure", {}).get("skipped_qpos", 0)),
        )
        own = self._watched(data)
        link[_OWN : _OWN + 2 * len(own)] = [number for array in own for number in (array.ctypes.data, array.size)]
        numbers = [np.ravel(np.asarray(getattr(env, name), np.float64)) for name in self._numbers]
        self.constants = np.concatenate([link.view(np.float64), *numbers])

    def _watched(self, data: Any) -> list[npt.NDArray[np.float64]]:
        """Return what of the simulator's data the kernel reads, in its order."""
        return []

    def _carry(self) -> list[float]:
        """Return what the state holds beside what `mj_getState` says, after a reset."""
        return []

    def draw(self, generator: np.random.Generator) -> npt.NDArray[Any]:
        import mujoco

        self._env.np_random = generator
        mujoco.mj_resetData(self._env.model, self._env.data)
        self._env.reset_model()
        state = np.empty(self._size + self._carried)
        mujoco.mj_getState(self._env.model, self._env.data, state[: self._size], self._which)
        state[self._size :] = self._carry()
        return state

    def observe(self, state: npt.NDArray[Any]) -> Observations:
        import mujoco

        seen, joints = [], self._env.model.nq
        for row in state:
            mujoco.mj_resetData(self._env.model, self._env.data)
            self._env.set_state(row[1 : 1 + joints], row[1 + joints : 1 + joints + self._env.model.nv])
            seen.append(self._env._get_obs())
        return np.array(seen, np.float32)


def _twin(env: Any) -> Any:
    """Return the equal of an environment, with a simulation of its own."""
    import mujoco

    twin = object.__new__(type(env))
    vars(twin).update(vars(env) | {"model": copy.copy(env.model)})
    twin.data = mujoco.MjData(twin.model)
    return twin


@cache
def _address(name: str) -> int:
    """Return the address of a function of the library that the package `mujoco` has loaded; OSError: not found."""
    import mujoco

    found = [
        file
        for file in Path(mujoco.__file__).parent.iterdir()
        if re.match(r"(lib)?mujoco\.(so|dll|\d|dylib)", file.name)
    ]
    if len(found) != 1:
        raise OSError("the package mujoco holds no library, or several")
    address = cast(getattr(CDLL(str(found[0])), name), c_void_p).value
    assert address
    return address


def is_calling_back() -> bool:
    """Return whether somebody has set a function that the simulator calls: it would be called without Python's lock."""
    import mujoco

    return any(getattr(mujoco, name)() is not None for name in dir(mujoco) if name.startswith("get_mjcb_"))


# A model of one's own is stepped by Gymnasium: it may hold what the state does not (sleeping bodies), or make the
# library end the process where its binding raises.
_ANY = frozenset({"frame_skip", "reset_noise_scale", "exclude_current_positions_from_observation"})
_RUN = _ANY | {"forward_reward_weight", "ctrl_cost_weight"}
_STAND = _RUN | {"healthy_reward", "terminate_when_unhealthy", "healthy_z_range"}


class HalfCheetah(MujocoTask):
    """`gymnasium.envs.mujoco.half_cheetah_v5`; forward motion pays, effort costs."""

    options = _RUN
    _numbers = ("dt", "_forward_reward_weight", "_ctrl_cost_weight")

    @staticmethod
    @exact
    def advance(
        state: Floats, action: Floats, constants: Floats, observation: Observations, reward: Floats, terminated: Flags
    ) -> None:
        """Run; an episode never ends by itself."""
        link = constants[:_WHOLE].view(np.int64)
        dt, forward, effort = constants[_WHOLE:]
        for m in range(len(state)):
            before = state[m, 1]
            _simulate(state[m], action[m], link)
            _see_joints(state[m], link, np.inf, observation[m])
            reward[m] = forward * ((state[m, 1] - before) / dt) - np.float32(effort) * _effort(action[m])
            terminated[m] = False


class Swimmer(HalfCheetah):
    """`gymnasium.envs.mujoco.swimmer_v5`, whose reward is that of the cheetah."""


class Hopper(MujocoTask):
    """`gymnasium.envs.mujoco.hopper_v5`; forward motion and being healthy pay, effort costs."""

    options = _STAND | {"healthy_state_range", "healthy_angle_range"}
    _numbers: ClassVar[tuple[str, ...]] = (
        *("dt", "_forward_reward_weight", "_ctrl_cost_weight", "_healthy_reward", "_terminate_when_unhealthy"),
        *("_healthy_z_range", "_healthy_angle_range", "_healthy_state_range"),
    )

    @staticmethod
    @exact
    def advance(
        state: Floats, action: Floats, constants: Floats, observation: Observations, reward: Floats, terminated: Flags
    ) -> None:
        """Hop; an episode ends when height, angle or anything else of the body leaves its healthy range."""
        link = constants[:_WHOLE].view(np.int64)
        dt, forward, effort, alive, ends, lowest, highest, left, right, least, most = constants[_WHOLE:]
        for m in range(len(state)):
            before = state[m, 1]
            _simulate(state[m], action[m], link)
            _see_joints(state[m], link, 10.0, observation[m])
            healthy = lowest < state[m, 2] < highest and left < state[m, 3] < right
            if not np.isnan(least):
                for k in range(3, 1 + link[_POSITIONS] + link[_SPEEDS]):
                    healthy = healthy and least < state[m, k] < most
            moved = forward * ((state[m, 1] - before) / dt)
            reward[m] = (moved + (alive if healthy else 0.0)) - np.float32(effort) * _effort(action[m])
            terminated[m] = not healthy and ends != 0.0


class Walker2d(Hopper):
    """`gymnasium.envs.mujoco.walker2d_v5`, for whose health only height and angle matter."""

    options = _STAND | {"healthy_angle_range"}
    _numbers = Hopper._numbers[:-1]

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.constants = np.append(self.constants, [np.nan, np.nan])


class InvertedPendulum(MujocoTask):
    """`gymnasium.envs.mujoco.inverted_pendulum_v5`; every step pays 1 while the pole is up."""

    options = _ANY - {"exclude_current_positions_from_observation"}
    _numbers = ()

    @staticmethod
    @exact
    def advance(
        state: Floats, action: Floats, constants: Floats, observation: Observations, reward: Floats, terminated: Flags
    ) -> None:
        """Move the cart; an episode ends when the pole leans by more than 0.2."""
        link = constants[:_WHOLE].view(np.int64)
        for m in range(len(state)):
            _simulate(state[m], action[m], link)
            seen = _see_joints(state[m], link, np.inf, observation[m])
            terminated[m] = not (np.isfinite(state[m, 1 : 1 + seen]).all() and abs(state[m, 2]) <= 0.2)
            reward[m] = 0.0 if terminated[m] else 1.0


class InvertedDoublePendulum(MujocoTask):
    """`gymnasium.envs.mujoco.inverted_double_pendulum_v5`; the tip must stay up, slowly."""

    options = InvertedPendulum.options | {"healthy_reward"}
    _numbers = ("_healthy_reward",)

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.constants = np.append(self.constants, TWO)

    def _watched(self, data: Any) -> list[npt.NDArray[np.float64]]:
        return [data.site_xpos[0], data.qfrc_constraint]

    @staticmethod
    @exact
    def advance(
        state: Floats, action: Floats, constants: Floats, observation: Observations, reward: Floats, terminated: Flags
    ) -> None:
        """Move the cart; an episode ends when the tip is not above 1."""
        link = constants[:_WHOLE].view(np.int64)
        alive, two = constants[_WHOLE:]
        for m in range(len(state)):
            _simulate(state[m], action[m], link)
            joints, speeds, see = link[_POSITIONS], link[_SPEEDS], observation[m]
            x, y = _load(link[_OWN], 0), _load(link[_OWN], 2)
            see[0] = state[m, 1]
            for k in range(1, joints):
                see[k] = math.sin(state[m, 1 + k])
                see[joints - 1 + k] = math.cos(state[m, 1 + k])
            for k in range(speeds):
                see[2 * joints - 1 + k] = np.minimum(np.maximum(state[m, 1 + joints + k], -10.0), 10.0)
            _see(link[_OWN + 2], 1, (-10.0, 10.0), see, 2 * joints - 1 + speeds)
            terminated[m] = y <= 1
            away = 0.01 * math.pow(x, two) + math.pow(y - 2, two)
            fast = 1e-3 * math.pow(state[m, 2 + joints], two) + 5e-3 * math.pow(state[m, 3 + joints], two)
            reward[m] = (0.0 if terminated[m] else alive) - away - fast


class Reacher(MujocoTask):
    """`gymnasium.envs.mujoco.reacher_v5`; the distance from the target and effort cost."""

    options = frozenset({"frame_skip", "reward_dist_weight", "reward_control_weight"})
    _numbers = ("_reward_dist_weight", "_reward_control_weight")

    def _watched(self, data: Any) -> list[npt.NDArray[np.float64]]:
        return [data.body("fingertip").xpos, data.body("target").xpos]

    @staticmethod
    @exact
    def advance(
        state: Floats, action: Floats, constants: Floats, observation: Observations, reward: Floats, terminated: Flags
    ) -> None:
        """Reach; an episode never ends by itself."""
        link = constants[:_WHOLE].view(np.int64)
        distance, effort = constants[_WHOLE:]
        away = np.empty(3)
        for m in range(len(state)):
            _simulate(state[m], action[m], link)
            joints, see = link[_POSITIONS], observation[m]
            for k in range(3):
                away[k] = _load(link[_OWN], k) - _load(link[_OWN + 2], k)
            for k in range(2):
                see[k], see[2 + k] = math.cos(state[m, 1 + k]), math.sin(state[m, 1 + k])
                see[2 + joints + k] = state[m, 1 + joints + k]
                see[4 + joints + k] = away[k]
            for k in range(2, joints):
                see[2 + k] = state[m, 1 + k]
            far = math.sqrt(np.dot(away, away))  # as numpy's norm, whose sum BLAS rounds as suits the processor
            reward[m] = -far * distance + -_effort(action[m]) * np.float32(effort)
            terminated[m] = False


class Ant(MujocoTask):
    """`gymnasium.envs.mujoco.ant_v5`; forward motion and being healthy pay, effort and contact forces cost."""

    options = _STAND | {"contact_cost_weight", "main_body", "contact_force_range", "include_cfrc_ext_in_observation"}
    _numbers = (
        *("dt", "_forward_reward_weight", "_ctrl_cost_weight", "_contact_cost_weight", "_healthy_reward"),
        *("_terminate_when_unhealthy", "_healthy_z_range", "_contact_force_range"),
    )
    _carried = 1  # where the body was, as of the simulator step before the last

    def _watched(self, data: Any) -> list[npt.NDArray[np.float64]]:
        seen = data.cfrc_ext[1:] if self._env._include_cfrc_ext_in_observation else data.cfrc_ext[:0]
        return [data.cfrc_ext, data.body(self._env._main_body).xpos, seen]

    def _carry(self) -> list[float]:
        return [self._env.data.body(self._env._main_body).xpos[0]]

    @staticmethod
    @exact
    def advance(
        state: Floats, action: Floats, constants: Floats, observation: Observations, reward: Floats, terminated: Flags
    ) -> None:
        """Walk; an episode ends when the height leaves its healthy range."""
        link = constants[:_WHOLE].view(np.int64)
        dt, forward, effort, touch, alive, ends, lowest, highest, least, most = constants[_WHOLE:]
        for m in range(len(state)):
            before = state[m, -1]
            _simulate(state[m], action[m], link)
            _call(link[_FORCES], link[_MODEL], link[_DATA], 0, 0)
            state[m, -1] = _load(link[_OWN + 2], 0)
            seen = _see_joints(state[m], link, np.inf, observation[m])
            _see(link[_OWN + 4], link[_OWN + 5], (least, most), observation[m], seen)
            joints = state[m, 1 : 1 + link[_POSITIONS] + link[_SPEEDS]]
            healthy = np.isfinite(joints).all() and lowest <= state[m, 3] <= highest
            moved = ((state[m, -1] - before) / dt) * forward
            cost = np.float32(effort) * _effort(action[m]) + touch * _contact(link, (least, most))
            reward[m] = (moved + (alive if healthy else 0.0)) - cost
            terminated[m] = not healthy and ends != 0.0


class Humanoid(MujocoTask):
    """`gymnasium.envs.mujoco.humanoid_v5`; forward motion and being healthy pay, effort and contact forces cost."""

    options = _STAND | {
        *("contact_cost_weight", "contact_cost_range", "include_cinert_in_observation", "include_cvel_in_observation"),
        *("include_qfrc_actuator_in_observation", "include_cfrc_ext_in_observation"),
    }
    _numbers = (
        *("dt", "_forward_reward_weight", "_ctrl_cost_weight", "_contact_cost_weight", "_healthy_reward"),
        *("_terminate_when_unhealthy", "_healthy_z_range", "_contact_cost_range"),
    )
    _carried = 1  # where the centre of mass was, as of the simulator step before the last

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.constants = np.append(self.constants, np.sum(self._env.model.body_mass[:, None]))

    def _watched(self, data: Any) -> list[npt.NDArray[np.float64]]:
        env = self._env
        pieces = (
            data.cinert[1:] if env._include_cinert_in_observation is True else data.cinert[:0],
            data.cvel[1:] if env._include_cvel_in_observation is True else data.cvel[:0],
            data.qfrc_actuator[6:] if env._include_qfrc_actuator_in_observation is True else data.qfrc_actuator[:0],
            data.cfrc_ext[1:] if env._include_cfrc_ext_in_observation is True else data.cfrc_ext[:0],
        )
        return [data.cfrc_ext, data.xipos, env.model.body_mass, *pieces]

    def _carry(self) -> list[float]:
        from gymnasium.envs.mujoco.humanoid_v5 import mass_center

        return [mass_center(self._env.model, self._env.data)[0]]  # type: ignore[no-untyped-call]

    @staticmethod
    @exact
    def advance(
        state: Floats, action: Floats, constants: Floats, observation: Observations, reward: Floats, terminated: Flags
    ) -> None:
        """Walk; an episode ends when the height leaves its healthy range."""
        link = constants[:_WHOLE].view(np.int64)
        dt, forward, effort, touch, alive, ends, lowest, highest, cheapest, dearest, mass = constants[_WHOLE:]
        for m in range(len(state)):
            before = state[m, -1]
            _simulate(state[m], action[m], link)
            _call(link[_FORCES], link[_MODEL], link[_DATA], 0, 0)
            centre = _load(link[_OWN + 4], 0) * _load(link[_OWN + 2], 0)
            for body in range(1, link[_OWN + 5]):
                centre += _load(link[_OWN + 4], body) * _load(link[_OWN + 2], 3 * body)
            state[m, -1] = centre / mass
            seen = _see_joints(state[m], link, np.inf, observation[m])
            for piece in range(_OWN + 6, _OWN + 14, 2):
                seen = _see(link[piece], link[piece + 1], (-np.inf, np.inf), observation[m], seen)
            squares = np.empty(action.shape[1])
            for k in range(len(squares)):  # of what acted last: nothing, where the simulator had to begin anew
                squares[k] = _load(link[_CONTROL], k) * _load(link[_CONTROL], k)
            healthy = lowest < state[m, 3] < highest
            moved = forward * ((state[m, -1] - before) / dt)
            contact = np.minimum(np.maximum(touch * _contact(link, (-np.inf, np.inf)), cheapest), dearest)
            reward[m] = (moved + (alive if healthy else 0.0)) - (effort * summed(squares) + contact)
            terminated[m] = not healthy and ends != 0.0


TASKS: dict[str, type[MujocoTask]] = {
    f"gymnasium.envs.mujoco.{module}_v5": task
    for module, task in {
        "half_cheetah": HalfCheetah,
        "hopper": Hopper,
        "walker2d": Walker2d,
        "swimmer": Swimmer,
        "reacher": Reacher,
        "inverted_pendulum": InvertedPendulum,
        "inverted_double_pendulum": InvertedDoublePendulum,
        "ant": Ant,
        "humanoid": Humanoid,
    }.items()
}
"""The tasks that are known, by the module of their class."""
