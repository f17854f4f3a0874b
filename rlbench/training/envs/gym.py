"""Any Gymnasium environment: one synchronous vector environment per replica, with same-step autoreset."""

from __future__ import annotations

import contextlib
import importlib
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv

from rlbench.errors import RlbenchError, nearest
from rlbench.records import Environment
from rlbench.training.envs.batch import Failure, Flags, Observations, Step, copy_seeds
from rlbench.training.envs.episode import Episode
from rlbench.training.envs.spaces import ObservationEncoder, action_spec
from rlbench.training.shortage import shortage
from rlbench.training.state import State, UnusableError, from_document, joined, part, to_document
from rlbench.training.watch import Hanging, caller


def make_one(environment: Environment) -> gymnasium.Env[Any, Any]:
    """Return a single instance, from which spaces, limits and constants can be read.

    Gymnasium's passive checker is left out: it slows each step down and writes its remarks into the
    progress bar.

    Raises:
        RlbenchError: the id is unknown, the constructor rejects the options, or a package is missing.
    """
    _require_registered(environment.id)
    where = f"Environment {environment.id!r}"
    options = dict(environment.options)
    try:
        return gymnasium.make(environment.id, **{"disable_env_checker": True, **options})
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        raise RlbenchError(f"{where} needs a package that is not installed: {error}") from error
    except Exception as error:  # a constructor may raise anything; the user needs its message
        given = f" with the options {', '.join(sorted(options))}" if options else ""
        raise RlbenchError(f"{where} cannot be created{given}: {_message(error)}") from error


def _require_registered(identifier: str) -> None:
    module, _, name = identifier.rpartition(":")
    if module:
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


def _message(error: Exception) -> str:
    text = str(error).split(" was raised from the environment creator")[0].strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


class GymBatch:
    """R x N copies through `gymnasium.make_vec`; implements `EnvBatch`.

    One vector environment per replica, because an environment that raises takes the other copies of its
    vector environment down with it: what fails is a replica, never its neighbours.
    """

    def __init__(
        self, environment: Environment, template: gymnasium.Env[Any, Any], replicas: int, num_envs: int
    ) -> None:
        """Create all copies; `template` is an instance made of the same `environment`.

        Raises:
            RlbenchError: a space is not supported, or a copy cannot be created.
        """
        self._encode = ObservationEncoder(template.observation_space, environment.id)
        self.observation_size = self._encode.size
        self.action = action_spec(template.action_space, environment.id)
        self.replicas = replicas
        self.num_envs = num_envs
        self.failures: dict[int, Failure] = {}
        self._call = caller()
        self._batches = [_make_vector(environment, num_envs) for _ in range(replicas)]
        self._episodes: list[list[Episode]] = []

    def remember(self) -> None:
        """Note from the next reset on what `state` needs, which costs some microseconds a step."""
        for batch in self._batches:
            # A vector environment steps and resets its copies one by one, through this list.
            copies: Any = batch
            copies.envs = [Episode(env, self.action) for env in copies.envs]
            self._episodes.append(copies.envs)

    def reset(self, seeds: Sequence[int]) -> Observations:
        """Start all copies anew, from one seed per replica; return the observations [R, N, O]."""
        self.failures.clear()
        observation = np.zeros((self.replicas, self.num_envs, self.observation_size), np.float32)
        for replica, batch in enumerate(self._batches):
            # a sync vector environment takes one seed per copy, which its base class's signature does not say
            seed: Any = copy_seeds(seeds[replica], self.num_envs)
            try:
                raw, _ = self._call(batch.reset, seed=seed)
                observation[replica] = self._encode(raw, (self.num_envs,))
            except (Exception, Hanging) as error:
                self.failures[replica] = _failure(error)
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
        for replica in range(self.replicas):
            if replica in self.failures:
                continue
            try:
                parts: tuple[npt.NDArray[Any], ...] = self._step_replica(replica, sent[replica])
            except (Exception, Hanging) as error:
                self.failures[replica] = _failure(error)
                continue
            wholes: tuple[npt.NDArray[Any], ...] = outcome
            for whole, own in zip(wholes, parts, strict=True):
                whole[replica] = own
        return outcome

    def _step_replica(self, replica: int, action: npt.NDArray[Any]) -> Step:
        raw, reward, terminated, truncated, infos = self._call(self._batches[replica].step, action)
        observation = self._encode(raw, (self.num_envs,))
        following = observation
        ended: Flags = terminated | truncated
        if ended.any():
            following = observation.copy()
            for copy in np.flatnonzero(ended):
                following[copy] = self._encode(infos["final_obs"][copy], ())
        return Step(observation, following, reward, terminated, truncated)

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
        for batch in self._batches:
            with contextlib.suppress(Exception, Hanging):
                self._call(batch.close)


def _failure(error: BaseException) -> Failure:
    """Return how a call of an environment failed, said while the error is handled."""
    trace = traceback.format_exc()
    if isinstance(error, Hanging):
        return Failure(str(error), trace, again=True)
    if short := shortage(error):
        return Failure(short, trace, again=True)
    return Failure(f"raised {trace.strip().splitlines()[-1]}", trace)


def _make_vector(environment: Environment, num_envs: int) -> VectorEnv[Any, Any, Any]:
    options = {"disable_env_checker": True, **environment.options}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the template has already said it once
            return gymnasium.make_vec(
                environment.id,
                num_envs=num_envs,
                vectorization_mode="sync",
                vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
                **options,
            )
    except Exception as error:
        problem = f"Environment {environment.id!r} cannot be created {num_envs} times: {_message(error)}"
        raise RlbenchError(problem) from error
