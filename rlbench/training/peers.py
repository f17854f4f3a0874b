"""Train what another library trains: its runs have the same environments, seeds, budgets and records as all others."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch

from rlbench.algorithm import Peer
from rlbench.errors import RlbenchError
from rlbench.records import Environment, Progress, RunRecord, Table
from rlbench.training.envs import copy_seeds
from rlbench.training.envs.gymnasium import make_one


class _SpentError(Exception):
    """The budget is spent; nothing but this module may catch it."""


class Log:
    """What all copies of a run's environment did: their steps, and the episodes that ended."""

    def __init__(self, peer: Peer, steps: int, on_progress: Callable[[Progress], None] | None) -> None:
        self.copies, self.steps, self.rollout = peer.copies, steps, peer.samples_per_update
        self.step, self.gradient_steps = 0, 0
        self.episodes: list[tuple[int, float, int]] = []
        self.rows: list[tuple[int, float, int]] = []
        self._on_progress = on_progress
        self._seen, self._latest = 0, float("nan")

    def count(self) -> None:
        """Take in a step of one copy; _SpentError where the budget has none left."""
        if self.step == self.steps:
            raise _SpentError
        if self.step and self.step % self.rollout == 0:
            self.note()
        self.step += 1

    def note(self) -> None:
        """Add the row of a rollout that was learnt from."""
        ended = [value for _, value, _ in self.episodes[self._seen :]]
        self._seen, self._latest = len(self.episodes), float(np.mean(ended)) if ended else self._latest
        self.rows.append((self.step, self._latest, self.gradient_steps))
        if self._on_progress:
            self._on_progress(Progress(self.step, self.steps, 1, self._latest))

    def end(self, total: float, length: int) -> None:
        """Note an episode; it ends with the step of all copies that it is a part of."""
        self.episodes.append((-(-self.step // self.copies) * self.copies, total, length))

    def record(self, seconds: float) -> RunRecord:
        """Return the run as it ended."""
        if self.step < self.steps:
            raise RlbenchError(f"it ended its training after {self.step} of {self.steps} steps")
        if len(self.rows) < self.steps // self.rollout:
            self.note()
        step, mean_return, gradient_steps = (np.array(column) for column in zip(*self.rows, strict=True))
        ends = np.array(self.episodes, np.float64).reshape(-1, 3)
        episodes: Table = {
            "step": ends[:, 0].astype(np.int64),
            "return": ends[:, 1],
            "length": ends[:, 2].astype(np.int64),
        }
        updates: Table = {"step": step, "progress": step / self.steps, "mean_return": mean_return}
        return RunRecord(
            "finished",
            "",
            self.steps,
            episodes,
            updates | {"gradient_steps": gradient_steps},
            gradient_steps=self.gradient_steps,
            seconds=seconds,
        )


class _Recorded(gymnasium.Wrapper[Any, Any, Any, Any]):
    """One copy: its first reset has the run's own seed, whatever it is asked for, and its steps are counted."""

    def __init__(self, env: gymnasium.Env[Any, Any], log: Log, seed: int) -> None:
        super().__init__(env)
        self._log, self._seed = log, [seed]
        self._total, self._length = 0.0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._total, self._length = 0.0, 0
        return self.env.reset(seed=self._seed.pop() if self._seed else None, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self._log.count()
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._total += float(reward)
        self._length += 1
        if terminated or truncated:
            self._log.end(self._total, self._length)
        return observation, reward, terminated, truncated, info


def train_peer(
    peer: Peer, environment: Environment, steps: int, seed: int, on_progress: Callable[[Progress], None] | None = None
) -> RunRecord:
    """Return the record of one run.

    Its updates have the columns step, progress, mean_return and gradient_steps, the steps of torch's optimisers so far.
    An episode counts as it was played, without what the library makes of observations, rewards and actions.

    Raises RlbenchError where the library is not installed, and whatever it raises.
    """
    from torch.optim.optimizer import register_optimizer_step_post_hook

    log = Log(peer, steps, on_progress)
    started = time.perf_counter()

    def stepped(*_: Any) -> None:
        log.gradient_steps += 1

    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(contextlib.closing(make_one(environment))) for _ in range(peer.copies)]
        copies = [_Recorded(env, log, own) for env, own in zip(made, copy_seeds(seed, peer.copies), strict=True)]
        stack.callback(register_optimizer_step_post_hook(stepped).remove)
        stack.enter_context(torch.random.fork_rng(devices=[]))
        try:
            peer.train(copies, steps, seed)
        except _SpentError:
            pass
        except ModuleNotFoundError as problem:
            raise RlbenchError(f"{peer.name} needs {peer.package}: pip install 'rlbench[peers]'.") from problem
        return log.record(time.perf_counter() - started)
