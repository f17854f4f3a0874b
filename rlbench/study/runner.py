"""Plan -> executor -> trainer -> store; skips what is done, survives what fails, stores packs as they end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlbench.errors import RlbenchError
from rlbench.store import Store
from rlbench.store.leases import Lease
from rlbench.store.runs import CHECKPOINTS
from rlbench.store.specification import write_specification
from rlbench.study.cluster import Cluster
from rlbench.study.costs import Costs
from rlbench.study.environments import registered
from rlbench.study.execution import Execution
from rlbench.study.executors import Train, default_workers
from rlbench.study.launcher import Launcher
from rlbench.study.limits import Limits
from rlbench.study.placement import place
from rlbench.study.plan import AnyPlan, Cell, cells_of, to_do
from rlbench.study.shards import Shard
from rlbench.study.sharing import Share
from rlbench.study.summary import Summary
from rlbench.training import INTERVAL
from rlbench.training.checkpoints import Checkpoints

if TYPE_CHECKING:
    from rlbench.study.sinks.feed import Feed


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run, with a sentence that says what is stored."""


def execute(plan: AnyPlan, results_dir: str | Path = "results", **options: Any) -> Summary:
    """Train every run of the plan that is not stored yet, and store it; `options` are those of `execute_all`."""
    return execute_all([plan], results_dir, **options)


def execute_all(
    plans: Sequence[AnyPlan],
    results_dir: str | Path = "results",
    *,
    workers: int | None = None,
    device: str = "cpu",
    progress: bool = True,
    train: Train | None = None,
    launcher: Launcher | Cluster | None = None,
    meanwhile: Callable[[], None] = lambda: None,
    checkpoint_every: float = INTERVAL,
    shard: Shard | None = None,
    sinks: Sequence[Feed] = (),
    time_limit: float | None = None,
) -> Summary:
    """Train every run of the plans that is not stored yet, and store it; runs that plans share are trained once.

    All that may train together does, whichever plan it belongs to. `workers` processes, one per CPU if None (on a GPU
    one); 0 trains in this process. `device` is "cpu", "cuda", "cuda:N" or "auto". `launcher` starts the processes, or
    is a Ray cluster, and stays open; `meanwhile` is called once while they train, to import what is needed afterwards.
    Packs in training write checkpoints every `checkpoint_every` seconds, never if 0, and go on from those there are.
    `shard` says which part of the runs is trained here, all if None. What other processes train meanwhile is waited
    for. `sinks` hear of progress and of what was stored. `time_limit`, seconds, is that of
    `rlbench.study.limits.Limits`. Raises RlbenchError for an environment that cannot be made, a device that is not
    there or a disk that refuses, and Interrupted on Ctrl-C; what is stored then stays.
    """
    started = time.perf_counter()
    if workers is not None and workers < 0:
        raise RlbenchError(f"workers must be at least 0, not {workers}.")
    if not checkpoint_every >= 0:
        raise RlbenchError(f"checkpoint_every must be at least 0 seconds, not {checkpoint_every}.")
    limits = Limits(time_limit)
    store = Store(results_dir)
    store.sweep()
    cells = [cell for cell in cells_of(plans) if shard is None or shard.holds(cell)]
    left, final = to_do(cells, store)
    store.set_aside()
    trained = [cell for cell in left if isinstance(cell, Cell)]
    observations = _check_environments(trained)
    placement = launcher.place(device) if isinstance(launcher, Cluster) and left else place(device, trained)
    workers = placement.workers(default_workers()) if workers is None else workers
    for plan in plans:
        write_specification(results_dir, plan.document(), plan.planned, plan.experiment.document(), plan.suite)
    summary = Summary(skipped=final.total(), skipped_diverged=final["diverged"], messages=store.messages)
    checkpoints = Checkpoints(store.directory.resolve() / CHECKPOINTS, (), checkpoint_every)
    checkpoints.sweep({cell.id for cell in cells} - {cell.id for cell in left})
    if left:
        costs = Costs(store.directory, observations, placement.label)
        kept = checkpoints if checkpoint_every else None
        lease = Lease(store, _about(plans, shard))
        try:
            share = Share(left, store, lease)
            with Launcher() if launcher is None else contextlib.nullcontext(launcher) as starting:
                execution = Execution(
                    store,
                    lease,
                    share,
                    summary,
                    costs,
                    placement,
                    workers,
                    train,
                    starting,
                    progress,
                    kept,
                    sinks,
                    limits,
                )
                execution.train_all(left, meanwhile)
        except KeyboardInterrupt:
            # Asked of the store: the interruption may have come between storing a run and counting it.
            stored = len(cells) - len(to_do(cells, store)[0])
            raise Interrupted(
                f"Interrupted: {stored} of {len(cells)} runs are stored; the same command continues from there."
            ) from None
        finally:
            lease.close()
    summary.messages += summary.idle
    summary.seconds = time.perf_counter() - started
    return summary


def _about(plans: Sequence[AnyPlan], shard: Shard | None) -> dict[str, Any]:
    """Return what other processes may know of a command before it trains."""
    experiments = [{"name": plan.experiment.name, "suite": plan.suite} for plan in plans]
    return {"experiments": experiments, "shard": str(shard) if shard else None}


def _check_environments(cells: Sequence[Cell]) -> dict[str, int]:
    """Make each environment once, so that a wrong id or an unsupported space is said before training.

    Return the size of an observation by the environment's label, the largest of those that share one.
    """
    from rlbench.study.process import left_as_found
    from rlbench.training import envs

    sizes: dict[str, int] = {}
    for environment in {cell.environment_key: cell.environment for cell in cells}.values():
        with left_as_found(), registered(environment):
            sizes[environment.label] = max(envs.observation_size(environment), sizes.get(environment.label, 0))
    return sizes
