"""The episode under way in an environment whose insides nobody knows: how to live through it again.

An environment cannot be saved in general, but most can be brought back: reset as it was, with its generator where it
was then, and given the same actions. Whether it really is where it was is checked and never assumed.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import traceback
import warnings
from collections.abc import Mapping, Sequence, Set
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from rlbench.errors import RlbenchError, brief, nearest
from rlbench.records import Environment
from rlbench.training.envs.base import Failure, Observations, Step, copy_seeds
from rlbench.training.envs.fingerprint import fingerprint, generators_of_spaces, worlds
from rlbench.training.envs.spaces import LARGEST, ActionSpec, ObservationEncoder, UnusableValue, action_spec
from rlbench.training.limits import Call, Hanging, caller, plainly, shortage
from rlbench.training.state import State, UnusableError, from_document, joined, part, to_document


class Episode(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Notes how the episode under way began, its actions, and a running hash of what the environment answered."""

    def __init__(self, env: gymnasium.Env[Any, Any], action: ActionSpec) -> None:
        super().__init__(env)
        self._action = action
        self._before: Mapping[str, Any] | None = None  # the generator before the reset; None where a seed set it
        self._actions = bytearray()
        self._answers = hashlib.sha256()
        self._worlds: list[Any] = []
        self._old_world = False  # whether a simulated world is older than the episode
        self._still: Set[str] = frozenset()  # where the generators of its spaces were after the reset with a seed

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        generator = self._generator() if seed is None else None
        self._before = None if generator is None else generator.bit_generator.state
        self._seeded = seed is not None
        self._actions.clear()
        self._answers = hashlib.sha256()
        before = self._worlds
        observation, info = self.env.reset(seed=seed, options=options)
        if self._seeded or before:  # most have none, and need not be asked after every episode
            self._worlds = worlds(self.env)
            self._old_world = not self._seeded and any(one is other for one in self._worlds for other in before)
        if self._seeded:
            self._still = generators_of_spaces(self.env)
        self._answers.update(np.asarray(observation).tobytes())
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step, and note it."""
        self._actions += np.asarray(action, self._action.dtype).tobytes()
        outcome = self.env.step(action)
        self._answers.update(np.asarray(outcome[0]).tobytes())
        self._answers.update(np.float64(outcome[1]).tobytes())
        return outcome

    def state(self) -> State:
        """Return how to get to where the environment is; UnusableError if that cannot be told."""
        if self._old_world:
            raise UnusableError("its environment simulates every episode in one world, which may hide its state")
        try:
            return {
                "start": from_document({"seeded": self._seeded, "generator": self._before}),
                "actions": np.frombuffer(bytes(self._actions), np.uint8),
                "here": np.frombuffer(self._where(), np.uint8),
            }
        except UnusableError:
            raise
        except Exception as problem:  # what an environment holds may raise anything when it is looked at
            raise UnusableError(f"its environment cannot be written down ({type(problem).__name__})") from problem

    def restore(self, state: State, call: Call = plainly) -> None:
        """Live through the episode in `state`, after a reset from the seed of the run; UnusableError if it differs.

        `call` is what the environment is called with.
        """
        start = to_document(state["start"])
        try:
            if not start["seeded"]:
                generator = self._generator()
                if generator is not None and start["generator"] is not None:
                    generator.bit_generator.state = start["generator"]
                call(self.reset)
            for action in self._sent(state["actions"]):
                call(self.step, action)
            here = self._where()
        except UnusableError:
            raise
        except (Exception, Hanging) as problem:  # an environment may raise anything
            raise UnusableError(f"its environment raised {type(problem).__name__} where it did not before") from problem
        if here != state["here"].tobytes():
            raise UnusableError("its environment does not repeat itself")

    def _generator(self) -> np.random.Generator | None:
        """Return the environment's generator, without making one where it has none."""
        generator = getattr(self.env.unwrapped, "_np_random", None)
        return generator if isinstance(generator, np.random.Generator) else None

    def _sent(self, actions: np.ndarray[Any, Any]) -> Any:
        """Return the actions as the environment receives them."""
        return np.frombuffer(actions.tobytes(), self._action.dtype).copy().reshape(-1, *self._action.shape)

    def _where(self) -> bytes:
        """Return a hash of what the environment answered so far, and of all that can be seen of its inside."""
        seen = self._answers.copy()
        seen.update(fingerprint(self.env, self._still).encode())
        return seen.digest()


def make_one(environment: Environment) -> gymnasium.Env[Any, Any]:
    """Return a single instance, from which spaces, limits and constants can be read.

    Gymnasium's passive checker is left out: it slows each step down and writes its remarks into the
    progress bar.

    Raises:
        RlbenchError: the id is unknown, the constructor rejects the options, or a package is missing.
    """
    _require_registered(environment)
    where = f"Environment {environment.id!r}"
    options = dict(environment.options)
    try:
        return _made(environment)
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        raise RlbenchError(f"{where} needs a package that is not installed: {error}") from error
    except (Exception, SystemExit) as error:  # a constructor may raise anything; the user needs its message
        given = f" with the options {', '.join(sorted(options))}" if options else ""
        raise RlbenchError(f"{where} cannot be created{given}: {_message(error)}") from error


def _made(environment: Environment) -> gymnasium.Env[Any, Any]:
    name = environment.id.rpartition(":")[2]  # without its module, which may register once more as it is imported
    made: gymnasium.Env[Any, Any] = gymnasium.make(name, **{"disable_env_checker": True, **environment.options})
    return made


def _require_registered(environment: Environment) -> None:
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
        hint = nearest(name, list(gymnasium.registry))
        if not hint.startswith(" Did you mean"):  # dozens of ids are no help in a message
            hint = " gymnasium.pprint_registry() lists those it knows."
        raise RlbenchError(f"Gymnasium knows no environment {name!r}.{hint}")


def _message(error: BaseException) -> str:
    text = str(error).split(" was raised from the environment creator")[0].strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


class GymBatch:
    """R x N copies of an environment, stepped one by one and reset in the step in which they end; an `EnvBatch`.

    What fails is a replica, never its neighbours. An environment may return one buffer of its own at every step: what
    it returns is copied before it is called again. Of `info` nothing is read.
    """

    def __init__(
        self, environment: Environment, template: gymnasium.Env[Any, Any], replicas: int, num_envs: int
    ) -> None:
        """Create the copies; `template`, an instance made of the same `environment`, is the first of them.

        Raises:
            RlbenchError: a space is not supported, or a copy cannot be created.
        """
        made = [template]
        try:
            self._encode = ObservationEncoder(template.observation_space, environment.id)
            self.action = action_spec(template.action_space, environment.id)
            while len(made) < replicas * num_envs:
                made.append(_another(environment, replicas * num_envs))
        except RlbenchError:
            _close(made)  # or a simulator of which only one can live would go on
            raise
        self.observation_size = self._encode.size
        self.replicas = replicas
        self.num_envs = num_envs
        self.failures: dict[int, Failure] = {}
        self._call = caller()
        self._copies = [made[replica * num_envs :][:num_envs] for replica in range(replicas)]
        self._episodes: list[list[Episode]] = []

    def remember(self) -> None:
        """Note from the next reset on what `state` needs, which costs some microseconds a step."""
        self._episodes = [[Episode(env, self.action) for env in row] for row in self._copies]
        self._copies = [[*row] for row in self._episodes]

    def reset(self, seeds: Sequence[int]) -> Observations:
        """Start all copies anew, from one seed per replica; return the observations [R, N, O]."""
        self.failures.clear()
        observation = np.zeros((self.replicas, self.num_envs, self.observation_size), np.float32)
        for replica, row in enumerate(self._copies):
            try:
                for copy, seed in enumerate(copy_seeds(seeds[replica], self.num_envs)):
                    observation[replica, copy] = self._encode(self._call(row[copy].reset, seed=seed)[0])
            except (Exception, Hanging, SystemExit) as error:
                self.failures[replica] = _failure(error)
                observation[replica] = 0
        return observation

    def step(self, action: npt.NDArray[Any]) -> Step:
        """Advance all copies by one step; `action` is as `ActionSpec` says, [R, N] or [R, N, K]."""
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
                    self._step_copy(env, sent[replica, copy], outcome, (replica, copy))
            except (Exception, Hanging, SystemExit) as error:
                self.failures[replica] = _failure(error)
                wholes: tuple[npt.NDArray[Any], ...] = outcome
                for whole in wholes:
                    whole[replica] = 0
        return outcome

    def _step_copy(self, env: gymnasium.Env[Any, Any], action: Any, outcome: Step, at: tuple[int, int]) -> None:
        raw, reward, terminated, truncated, _ = self._call(env.step, action)
        observation = self._encode(raw)
        outcome.reward[at] = _number(reward)
        outcome.terminated[at], outcome.truncated[at] = terminated, truncated
        outcome.next_observation[at] = observation
        if outcome.terminated[at] or outcome.truncated[at]:
            observation = self._encode(self._call(env.reset)[0])
        outcome.observation[at] = observation

    def state(self, replica: int) -> State:
        """Return where the copies of one replica are; UnusableError where they cannot be brought there again."""
        failure = {"failure": from_document(self.failures.get(replica))}
        if replica in self.failures:
            return failure
        if not self._episodes:
            raise UnusableError("what happened to the environments was not noted")
        return failure | joined(**{str(n): one.state() for n, one in enumerate(self._episodes[replica])})

    def restore(self, replica: int, state: State) -> None:
        """Bring the copies of one replica, after a reset from the same seed, to where `state` found them.

        UnusableError where they do not get there.
        """
        failure = to_document(state["failure"])
        if failure is not None:
            self.failures[replica] = Failure(*failure)
            return
        for n, episode in enumerate(self._episodes[replica]):
            episode.restore(part(state, str(n)), self._call)

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
    return Failure(f"raised {trace.strip().splitlines()[-1]}", trace)


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
