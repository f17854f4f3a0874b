"""Train R replicas in one program: rollout -> advantages -> improve -> adapt -> record; which engine does it."""

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from rlbench.algorithm import Algorithm, Peer
from rlbench.errors import RlbenchError
from rlbench.functional.torch_networks import ModuleError
from rlbench.records import Environment, Evaluation, Progress, RunRecord
from rlbench.training import BLOCK
from rlbench.training.checkpoints import AT_END, Checkpoints, Resumption
from rlbench.training.engines import Training, engine_of, resolve
from rlbench.training.peers import train_peer

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
                return [train_peer(peer, environment, steps, seed, on_progress) for peer, seed in runs]
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
