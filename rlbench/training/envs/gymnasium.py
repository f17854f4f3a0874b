"""Environments of Gymnasium, stepped one by one, and how the episode under way is lived through again.

An environment cannot be saved in general. Those of Gymnasium itself can be brought back: reset as they were, with the
generator where it was then, and given the same actions; what they answer is compared. Others must have `get_state` and
`set_state`; a run in any other starts over.
"""

import contextlib
import hashlib
import importlib
import inspect
import re
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.envs.registration import load_env_creator
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from rlbench.errors import RlbenchError, brief, nearest
from rlbench.records import Environment
from rlbench.training.envs.base import (
    LARGEST,
    ActionSpec,
    Failure,
    ObservationEncoder,
    Observations,
    Step,
    UnusableValue,
    action_spec,
    copy_seeds,
)
from rlbench.training.limits import Call, Hanging, caller, plainly, shortage
from rlbench.training.state import State, UnusableError, from_document, joined, part, to_document


class Episode(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Notes how the episode under way began, its actions, and a running hash of what the environment answered."""

    def __init__(self, env: gymnasium.Env[Any, Any], action: ActionSpec) -> None:
        super().__init__(env)
        self._action = action
        self._before: Mapping[str, Any] | None = None  # the generator before the reset; None where a seed set it
        self._seeded = True
        self._actions = bytearray()
        self._answers = hashlib.sha256()
        self._old_world = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._seeded, self._before = seed is not None, _drawn(self.env) if seed is None else None
        self._actions.clear()
        world = getattr(self.env.unwrapped, "world", None)
        observation, info = self.env.reset(seed=seed, options=options)
        # What happens in a world of Box2D depends on all that ever did, and does not show.
        self._old_world = world is not None and not self._seeded and self.env.unwrapped.world is world  # type: ignore[attr-defined]
        self._answers = hashlib.sha256(np.asarray(observation).tobytes())
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self._actions += np.asarray(action, self._action.dtype).tobytes()
        outcome = self.env.step(action)
        self._answers.update(np.asarray(outcome[0]).tobytes())
        self._answers.update(np.float64(outcome[1]).tobytes())
        return outcome

    def state(self) -> State:
        """Return how to get to where the environment is; UnusableError if that cannot be told."""
        if self._old_world:
            raise UnusableError("its environment simulates every episode in one world, which may hide its state")
        return {
            "start": from_document({"seeded": self._seeded, "generator": self._before}),
            "actions": np.frombuffer(bytes(self._actions), np.uint8),
            "here": self._here(),
        }

    def restore(self, state: State, call: Call = plainly) -> None:
        """Live through the episode in `state`, after a reset from the seed of the run; UnusableError if it differs.

        `call` is what the environment is called with.
        """
        start = to_document(state["start"])
        actions = np.frombuffer(state["actions"].tobytes(), self._action.dtype).copy()
        with _repeating():
            if not start["seeded"]:
                _draw_from(self.env, start["generator"])
                call(self.reset)
            for action in actions.reshape(-1, *self._action.shape):
                call(self.step, action)
        if not np.array_equal(self._here(), state["here"]):
            raise UnusableError("its environment does not repeat itself")

    def _here(self) -> npt.NDArray[Any]:
        """Return a hash of what the environment answered so far, and of where its generator is."""
        seen = self._answers.copy()
        seen.update(from_document(_drawn(self.env)).tobytes())
        return np.frombuffer(seen.digest(), np.uint8)


class Snapshot:
    """Asks an environment for its own state, an array or what JSON can hold, and gives it back."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        self._env, self._inner = env, env.unwrapped
        self._limits = [layer for layer in _layers(env) if isinstance(layer, TimeLimit)]

    def state(self) -> State:
        """Return what the environment says, where its generator is, and the steps of the episode under way."""
        outside = {"generator": _drawn(self._env), "elapsed": [limit._elapsed_steps for limit in self._limits]}
        return {"outside": from_document(outside), **self._inside()}

    def restore(self, state: State, call: Call = plainly) -> None:
        """Put the environment, after a reset, where `state` found it; UnusableError if it does not get there."""
        outside = to_document(state["outside"])
        with _repeating():
            call(self._inner.set_state, state["array"] if "array" in state else to_document(state["document"]))  # type: ignore[attr-defined]
        _draw_from(self._env, outside["generator"])
        for limit, elapsed in zip(self._limits, outside["elapsed"], strict=True):
            limit._elapsed_steps = elapsed
        if any(not np.array_equal(array, state.get(name, ())) for name, array in self._inside().items()):
            raise UnusableError("its environment does not take back its state")

    def _inside(self) -> State:
        try:
            found = self._inner.get_state()  # type: ignore[attr-defined]
            return {"array": found.copy()} if isinstance(found, np.ndarray) else {"document": from_document(found)}
        except Exception as problem:  # an environment may raise anything
            raise UnusableError(f"its environment cannot be written down ({type(problem).__name__})") from problem


def keeper(env: gymnasium.Env[Any, Any], action: ActionSpec) -> Episode | Snapshot | None:
    """Return what brings an environment back into the midst of an episode; None where nothing does."""
    layers = list(_layers(env))
    if all(type(layer).__module__.split(".")[0] == "gymnasium" for layer in layers):
        return Episode(env, action)
    known = all(isinstance(layer, OrderEnforcing | PassiveEnvChecker | TimeLimit) for layer in layers[:-1])
    able = all(callable(getattr(layers[-1], name, None)) for name in ("get_state", "set_state"))
    return Snapshot(env) if known and able else None


def _layers(env: gymnasium.Env[Any, Any]) -> Iterator[gymnasium.Env[Any, Any]]:
    """Yield the wrappers of an environment, the outermost first, and what is inside."""
    while isinstance(env, gymnasium.Wrapper):
        yield env
        env = env.env
    yield env


def _drawn(env: gymnasium.Env[Any, Any]) -> Mapping[str, Any] | None:
    """Return where an environment's generator is, without making one where it has none."""
    generator = getattr(env.unwrapped, "_np_random", None)
    return generator.bit_generator.state if isinstance(generator, np.random.Generator) else None


def _draw_from(env: gymnasium.Env[Any, Any], drawn: Mapping[str, Any] | None) -> None:
    if drawn is not None:
        env.unwrapped.np_random.bit_generator.state = drawn


@contextlib.contextmanager
def _repeating() -> Iterator[None]:
    try:
        yield
    except (Exception, Hanging) as problem:  # an environment may raise anything
        raise UnusableError(f"its environment raised {type(problem).__name__} where it did not before") from problem


def make_one(environment: Environment) -> gymnasium.Env[Any, Any]:
    """Return a single instance, from which spaces, limits and constants can be read.

    Gymnasium's passive checker is left out: it slows each step down and writes its remarks into the
    progress bar.

    Raises:
        RlbenchError: the id is unknown, the constructor rejects the options, or a package is missing.
    """
    require_registered(environment)
    where = f"Environment {environment.id!r}"
    options = dict(environment.options)
    try:
        made = _made(environment)
        for space in ("observation_space", "action_space"):
            if getattr(made, space, None) is None:
                made.close()
                raise RlbenchError(f"{where} has no {space}; set self.{space} in its __init__.")
        return made
    except RlbenchError:
        raise
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        raise RlbenchError(f"{where} needs a package that is not installed: {error}") from error
    except (Exception, SystemExit) as error:  # a constructor may raise anything; the user needs its message
        given = f" with the options {', '.join(sorted(options))}" if options else ""
        hint = _takes(environment, str(error)) if isinstance(error, TypeError) else ""
        raise RlbenchError(f"{where} cannot be created{given}: {_message(error)}{hint}") from error


def _made(environment: Environment) -> gymnasium.Env[Any, Any]:
    name = environment.id.rpartition(":")[2]  # without its module, which may register once more as it is imported
    spec = gymnasium.registry.get(name)
    with unlogged(spec.entry_point if spec else None):
        made: gymnasium.Env[Any, Any] = gymnasium.make(name, **{"disable_env_checker": True, **environment.options})
    return made


@contextlib.contextmanager
def unlogged(maker: Any) -> Iterator[None]:
    """Keep MuJoCo from saying, for every copy of Gymnasium's tasks, that their models are written in an old way.

    It would say so over the progress, and in a file in the working folder. `maker` makes the environment, or names it.
    """
    if not str(getattr(maker, "__module__", maker)).startswith("gymnasium.envs.mujoco"):
        yield
        return
    try:
        import mujoco
    except ImportError:  # which is said where the environment is made
        yield
        return
    handler = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(handler or (lambda message: None))
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(handler)


def require_registered(environment: Environment) -> None:
    """Raise RlbenchError, which names the nearest one, where Gymnasium knows no environment of that id."""
    identifier = environment.id
    module, _, name = identifier.rpartition(":")
    if module and name not in (environment.registered or {}):
        try:
            importlib.import_module(module)
        except Exception as error:
            raise RlbenchError(
                f"The module of environment {identifier!r} cannot be imported: {_message(error)}"
            ) from error
    if name not in gymnasium.registry:
        versions = sorted(gymnasium.registry.values(), key=lambda spec: spec.version or 0)
        latest = {(spec.namespace, spec.name): spec.id for spec in versions}
        hint = nearest(name, list(latest.values()))
        if name.startswith("ALE/"):
            hint = f" Name its package, too: ale_py:{name}, after pip install 'rlbench[atari]'."
        elif "(" in name:
            hint = " Arguments are given as --env-arg g=9.8, or as Environment(id, {'g': 9.8}) in an experiment."
        elif not hint.startswith(" Did you mean"):  # dozens of ids are no help in a message
            hint = " gymnasium.pprint_registry() lists those it knows."
        raise RlbenchError(f"Gymnasium knows no environment {name!r}.{hint}")


def _takes(environment: Environment, message: str) -> str:
    """Return what the constructor of an environment or a wrapper would take for an argument that it does not know."""
    found = re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '([^']+)'", message)
    spec = gymnasium.registry.get(environment.id.rpartition(":")[2])
    if not found or spec is None or spec.entry_point is None:
        return ""
    for point in (spec.entry_point, *(wrapper.entry_point for wrapper in spec.additional_wrappers)):
        maker = point if callable(point) else load_env_creator(point)
        if getattr(maker, "__name__", "") == found[1]:
            known = [name for name in inspect.signature(maker).parameters if name not in ("self", "env", "kwargs")]
            return f".{nearest(found[2], known)}"
    return ""


def _message(error: BaseException) -> str:
    text = str(error).split(" was raised from the environment creator")[0].strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


class GymBatch:
    """R x N copies of an environment, stepped one by one and reset in the step in which they end; an `EnvBatch`.

    What fails is a replica, never its neighbours. An environment may return one buffer of its own at every step: what
    it returns is copied before it is called again. Of `info` nothing is read.
    """

    def __init__(
        self,
        environment: Environment,
        template: gymnasium.Env[Any, Any],
        replicas: int,
        num_envs: int,
        *,
        remember: bool = False,
        once: bool = False,
    ) -> None:
        """Create the copies; `template`, an instance made of the same `environment`, is the first of them.

        With `remember` they note what `state` needs, which costs some microseconds a step. With `once` a copy whose
        episode has ended is neither reset nor stepped any more; what it gives from then on means nothing.

        Raises:
            RlbenchError: a space is not supported, or a copy cannot be created.
        """
        made = [template]
        try:
            self.observation = ObservationEncoder.of(template.observation_space, environment.id)
            self.action = action_spec(template.action_space, environment.id)
            while len(made) < replicas * num_envs:
                made.append(_another(environment, replicas * num_envs))
        except RlbenchError:
            _close(made)  # or a simulator of which only one can live would go on
            raise
        self.observation_size = self.observation.size
        self.replicas = replicas
        self.num_envs = num_envs
        self._once, self._resting = once, np.zeros((replicas, num_envs), np.bool_)
        self.failures: dict[int, Failure] = {}
        self._call = caller()
        self._copies = [made[replica * num_envs :][:num_envs] for replica in range(replicas)]
        self._keepers = [[keeper(env, self.action) for env in row] for row in self._copies if remember]
        for row, keepers in zip(self._copies, self._keepers, strict=False):
            row[:] = [kept if isinstance(kept, Episode) else env for env, kept in zip(row, keepers, strict=True)]

    def reset(self, seeds: Sequence[int]) -> Observations:
        self.failures.clear()
        self._resting[:] = False
        observation = np.zeros((self.replicas, self.num_envs, self.observation_size), np.float32)
        for replica, row in enumerate(self._copies):
            try:
                for copy, seed in enumerate(copy_seeds(seeds[replica], self.num_envs)):
                    observation[replica, copy] = self.observation(_first(self._call(row[copy].reset, seed=seed)))
            except (Exception, Hanging, SystemExit) as error:
                self.failures[replica] = _failure(error)
                observation[replica] = 0
        return observation

    def step(self, action: npt.NDArray[Any]) -> Step:
        sent = self.action.to_environment(action)
        shape = (self.replicas, self.num_envs)
        observation = np.zeros((*shape, self.observation_size), np.float32)
        outcome = Step(
            observation,
            np.zeros_like(observation),
            np.zeros(shape),
            np.zeros(shape, np.bool_),
            np.zeros(shape, np.bool_),
        )
        for replica, row in enumerate(self._copies):
            if replica in self.failures:
                continue
            try:
                for copy, env in enumerate(row):
                    if not self._resting[replica, copy]:
                        self._step_copy(env, sent[replica, copy], outcome, (replica, copy))
            except (Exception, Hanging, SystemExit) as error:
                self.failures[replica] = _failure(error)
                wholes: tuple[npt.NDArray[Any], ...] = outcome
                for whole in wholes:
                    whole[replica] = 0
        return outcome

    def _step_copy(self, env: gymnasium.Env[Any, Any], action: Any, outcome: Step, at: tuple[int, int]) -> None:
        raw, reward, terminated, truncated, _ = self._call(env.step, action)
        observation = self.observation(raw)
        outcome.reward[at] = _number(reward)
        outcome.terminated[at], outcome.truncated[at] = terminated, truncated
        outcome.next_observation[at] = observation
        if outcome.terminated[at] or outcome.truncated[at]:
            if self._once:
                self._resting[at] = True
                return
            observation = self.observation(_first(self._call(env.reset)))
        outcome.observation[at] = observation

    def state(self, replica: int) -> State:
        failure = {"failure": from_document(self.failures.get(replica))}
        if replica in self.failures:
            return failure
        if not self._keepers:
            raise UnusableError("what happened to the environments was not noted")
        states = {}
        for n, kept in enumerate(self._keepers[replica]):
            if kept is None:
                raise UnusableError("its environment is not Gymnasium's own and has no get_state and set_state")
            states[str(n)] = kept.state()
        return failure | joined(**states)

    def restore(self, replica: int, state: State) -> None:
        failure = to_document(state["failure"])
        if failure is not None:
            self.failures[replica] = Failure(*failure)
            return
        for n, kept in enumerate(self._keepers[replica]):
            assert kept is not None  # or there were no state
            kept.restore(part(state, str(n)), self._call)

    def close(self) -> None:
        """Close all copies; an error while closing cannot undo what was computed, so it is passed over."""
        _close([env for row in self._copies for env in row], self._call)


def _close(envs: Sequence[gymnasium.Env[Any, Any]], call: Call = plainly) -> None:
    for env in envs:
        with contextlib.suppress(Exception, Hanging, SystemExit):
            call(env.close)


def _failure(error: BaseException) -> Failure:
    """Return how a call of an environment failed, said while the error is handled."""
    trace = traceback.format_exc()
    if isinstance(error, UnusableValue):
        return Failure(str(error), trace)
    if isinstance(error, Hanging):
        return Failure(str(error), trace, again=True)
    if short := shortage(error):
        return Failure(short, trace, again=True)
    raised = f"raised {trace.strip().splitlines()[-1]}"
    # Gymnasium's own wrappers pass on a seed, and take the five values apart.
    if "unexpected keyword argument 'seed'" in raised or "(expected 5, got 4)" in raised:
        return Failure(f"{_OLD} (it {raised})", trace)
    return Failure(raised, trace)


_OLD = (
    "has the interface of Gym before 0.26; in Gymnasium's reset takes a seed and returns an observation and an info, "
    "and step returns five values, the end apart from the time limit"
)


def _first(answer: Any) -> Any:
    """Return the observation in what a reset returned."""
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise UnusableValue(_OLD)
    return answer[0]


def _another(environment: Environment, wanted: int) -> gymnasium.Env[Any, Any]:
    """Return one more of `wanted` copies."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the first has already said it once
            return _made(environment)
    except (Exception, SystemExit) as error:
        problem = f"Environment {environment.id!r} cannot be created {wanted} times: {_message(error)}"
        raise RlbenchError(problem) from error


def _number(reward: Any) -> float:
    """Return a reward as the number that it is; UnusableValue where it is none that can be learnt from."""
    if isinstance(reward, float | int):  # np.float64 and bool included
        return _in_range(float(reward))
    value = np.asarray(reward)
    if value.size != 1 or value.dtype.kind not in "biufO" or reward is None:
        raise UnusableValue(f"returned the reward {brief(reward)}, which is not one real number")
    return _in_range(float(value.item()))


def _in_range(reward: float) -> float:
    """Return a reward that single precision can hold, or that is none; UnusableValue for any other."""
    if abs(reward) > LARGEST and np.isfinite(reward):
        raise UnusableValue(f"returned the reward {reward:g}, beyond the {LARGEST:.2g} of single precision")
    return reward
