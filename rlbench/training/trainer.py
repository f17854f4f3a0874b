"""Train R replicas in one program: rollout -> advantages -> improve -> adapt -> record; which engine does it.

What another library trains, a `Peer`, has the same environments, seeds, budgets and records as all others.
"""

import contextlib
import itertools
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch
from threadpoolctl import threadpool_limits

from rlbench.algorithm import Algorithm, Peer
from rlbench.errors import RlbenchError
from rlbench.functional.torch_networks import ModuleError
from rlbench.records import Environment, Evaluation, Progress, RunRecord, Table
from rlbench.training import BLOCK
from rlbench.training.checkpoints import AT_END, Checkpoints, Resumption
from rlbench.training.engines import Training, engine_of, resolve
from rlbench.training.envs import copy_seeds
from rlbench.training.envs.gymnasium import make_one

__all__ = ["Training", "blocks", "train"]


def train(
    algorithms: Sequence[Algorithm],
    environment: Environment,
    steps: int,
    seeds: Sequence[int],
    *,
    device: str = "cpu",
    on_progress: Callable[[Progress], None] | None = None,
    checkpoints: Checkpoints | None = None,
    evaluation: Evaluation | None = None,
    snapshots: bool = False,
) -> list[RunRecord]:
    """Train one replica per entry of `algorithms` and `seeds` for `steps` environment steps; return their records.

    The algorithms are instances of one class with equal static fields. A replica's record depends on its own
    algorithm, seed, environment and budget alone, to the bit (on a GPU: to rounding). A rollout that the budget cuts
    short is collected, so that budgets are exact, but not learnt from.

    The built-in network trains on the CPU with its derivatives written out and compiled; an algorithm with a `network`
    of its own, and everything on another `device` ("cpu", "cuda" or "cuda:1"), trains by autograd.

    A `Peer` trains in its own library, on the CPU, without checkpoints and evaluations, one run after the other.

    With an `evaluation` every policy is evaluated on its way (`rlbench.training.evaluation`), which changes nothing
    else of the records; with `snapshots` their policies are kept as they were at each evaluation, too.

    With `checkpoints` of as many cells, every run goes on from the latest checkpoint that can be used, and writes more
    on its way, to the same record bit for bit.

    Raises RlbenchError if the environment is unknown or has unsupported spaces, if `steps` is less than one rollout or
    no multiple of `num_envs`, if the device is not there, or if the algorithm's network cannot be trained.
    """
    first = algorithms[0]
    if steps % first.copies or steps < first.samples_per_update:
        raise RlbenchError(
            f"{first.name} on {environment.label}: steps={steps} must be a multiple of num_envs={first.copies} and "
            f"at least one rollout of {first.samples_per_update} steps."
        )
    device = resolve(device)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    resumption = Resumption(checkpoints, len(seeds))
    try:
        # A replica that diverges overflows on its way; it is detected and recorded, so numpy need not warn.
        with threadpool_limits(1), np.errstate(all="ignore"):
            peers = [algorithm for algorithm in algorithms if isinstance(algorithm, Peer)]
            if peers:
                runs = zip(peers, seeds, strict=True)
                return [_train_peer(peer, environment, steps, seed, on_progress) for peer, seed in runs]
            how = {"evaluation": evaluation, "snapshots": snapshots}
            return _train_in_blocks(algorithms, environment, steps, seeds, device, resumption, on_progress, how)
    except ModuleError as error:
        raise RlbenchError(f"{first.name}: {error}.") from error
    finally:
        torch.set_num_threads(threads)


def _train_in_blocks(
    algorithms: Sequence[Algorithm],
    environment: Environment,
    steps: int,
    seeds: Sequence[int],
    device: str,
    resumption: Resumption,
    on_progress: Callable[[Progress], None] | None,
    how: Mapping[str, Any],
) -> list[RunRecord]:
    """Return the record of every replica; what trains together goes in blocks, one after the other."""

    def grouped(replicas: Sequence[int]) -> list[list[int]]:
        """Return replicas in blocks that start, or go on, at the same step."""
        groups = resumption.groups(replicas)
        return [g[part] for g in groups for part in blocks(len(g), BLOCK if device == "cpu" else len(g))]

    records: dict[int, RunRecord] = {}
    waiting = deque(grouped(range(len(seeds))))
    while waiting:
        block = waiting.popleft()
        chosen, chosen_seeds = [algorithms[r] for r in block], [seeds[r] for r in block]
        engine = engine_of(chosen[0], environment, device)
        with contextlib.closing(
            engine(chosen, environment, steps, chosen_seeds, device, remember=resumption.wanted, **how)
        ) as training:
            if not resumption.restore(training, block):
                waiting.extendleft(reversed(grouped(block)))
                continue
            report = _of_all(on_progress, len(records), len(block), len(seeds))
            ended = training.run(report, partial(resumption.write, training, block))
            records |= zip(block, ended, strict=True)
            if waiting:  # what is done is not stored before the whole pack is
                resumption.write(training, block, share=AT_END)
    return [records[replica] for replica in range(len(seeds))]


def blocks(count: int, largest: int) -> list[slice]:
    """Return slices of `range(count)` of nearly equal length, at most `largest` each."""
    parts = -(-count // largest)
    edges = [count * part // parts for part in range(parts + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def _of_all(
    on_progress: Callable[[Progress], None] | None, before: int, block: int, replicas: int
) -> Callable[[Progress], None] | None:
    """Return what a block of replicas calls, to tell how far all of them are; those of `before` blocks are done."""
    if on_progress is None:
        return None

    def report(progress: Progress) -> None:
        begun, done = ((before * progress.total + block * step) // replicas for step in (progress.begun, progress.step))
        on_progress(Progress(done, progress.total, replicas, progress.mean_return, begun))

    return report


class _SpentError(Exception):
    """The budget is spent; nothing but this module may catch it."""


class _Log:
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

    def __init__(self, env: gymnasium.Env[Any, Any], log: _Log, seed: int) -> None:
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


def _train_peer(
    peer: Peer, environment: Environment, steps: int, seed: int, on_progress: Callable[[Progress], None] | None = None
) -> RunRecord:
    """Return the record of one run.

    Its updates have the columns step, progress, mean_return and gradient_steps, the steps of torch's optimisers so far.
    An episode counts as it was played, without what the library makes of observations, rewards and actions.

    Raises RlbenchError where the library is not installed, and whatever it raises.
    """
    from torch.optim.optimizer import register_optimizer_step_post_hook

    log = _Log(peer, steps, on_progress)
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
