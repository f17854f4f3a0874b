"""The two calls for Python and notebooks: run an experiment, or compare algorithms without writing one."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlbench.errors import RlbenchError, brief
from rlbench.study.executors import executor_for
from rlbench.study.experiment import Arm, Experiment, Measurement, as_list
from rlbench.study.process import leave_quickly, uncollected
from rlbench.training import EPISODES, INTERVAL

if TYPE_CHECKING:
    from rlbench.algorithm import Algorithm
    from rlbench.records import Environment
    from rlbench.results import Results


def run(
    experiment: Experiment | Measurement,
    results_dir: str | Path = "results",
    *,
    workers: int | None = None,
    device: str = "cpu",
    progress: bool = True,
    checkpoint_every: float = INTERVAL,
    time_limit: float | None = None,
    executor: str = "local",
    address: str | None = None,
    keep_policies: str | None = None,
) -> Results:
    """Train what is not stored yet and return everything that is, failed and diverged runs included.

    `workers` is the number of processes: one per CPU if None, 0 to train in this one. `device` is "cpu", "cuda" or
    "cuda:N". Runs are stored in `results_dir` as they end, and those in training saved every `checkpoint_every`
    seconds, never if 0; the same call continues after an interruption. `time_limit`, seconds, is what a step of an
    environment may take (60 if None, 0: for ever); a worker that gives no sign of life for ten times as long is
    ended. `executor` is "local", or "ray" to train on the Ray cluster at `address` (None: RAY_ADDRESS, the one that
    runs on this machine, or one started for the call). `keep_policies` is "all", "every" (also as they were at each
    evaluation), "best" (of the best seed of an arm on an environment), "none" or, if None, all that take at most 1 MiB.
    """
    from rlbench.store.folders import seems_stored

    if not isinstance(experiment, Experiment | Measurement):
        raise RlbenchError(f"rlbench.run takes an Experiment or a Measurement, not {brief(experiment)}.")
    with contextlib.closing(executor_for(executor, address, workers)) as trains:
        if workers != 0 and not seems_stored(results_dir, experiment.document()):
            trains.prepare()  # before this process imports anything heavy itself
        leave_quickly()
        with uncollected():
            from rlbench.study.plan import make_plan
            from rlbench.study.run import execute

        plan = make_plan(experiment)
        summary = execute(
            plan,
            results_dir,
            device=device,
            progress=progress,
            checkpoint_every=checkpoint_every,
            time_limit=time_limit,
            executor=trains,
            keep_policies=keep_policies,
            meanwhile=import_analysis,
        )
    for message in summary.messages:
        warnings.warn(message, stacklevel=2)
    from rlbench.results import open_results

    return open_results(plan.document(), plan.planned, results_dir)


def import_analysis() -> None:
    """Import what reading and comparing results needs."""
    with uncollected():
        import rlbench.results  # noqa: F401


def compare(
    arms: Sequence[Arm | str | type[Algorithm]],
    environments: Sequence[Environment | str],
    seeds: int | Sequence[int] = 10,
    steps: int | Mapping[str, int] = 100_000,
    baseline: str = "",
    evaluate_every: int = 0,
    evaluation_episodes: int = EPISODES,
    **options: Any,
) -> Results:
    """Train algorithms on environments and return the results; the baseline is the last arm if not given.

    `evaluate_every` and `evaluation_episodes` are as in `Experiment`, `options` are those of `run`.
    """
    asked = comparison(arms, environments, seeds, steps, baseline, evaluate_every, evaluation_episodes)
    return run(asked, **options)


def comparison(
    arms: Sequence[Arm | str | type[Algorithm]],
    environments: Sequence[Environment | str],
    seeds: int | Sequence[int] = 10,
    steps: int | Mapping[str, int] = 100_000,
    baseline: str = "",
    evaluate_every: int = 0,
    evaluation_episodes: int = EPISODES,
) -> Experiment:
    """Return the experiment of `rlbench compare`, named after what it compares.

    The baseline is the last arm if not given; of a single one that is swept, its first value.
    """
    listed = [one if isinstance(one, Arm) else Arm(one) for one in as_list("A comparison", "arms", arms)]
    labels = [one.label or one.name for one in listed]
    places = as_list("A comparison", "environments", environments)
    ids = [one if isinstance(one, str) else one.label for one in places]
    name = "".join(
        character if character.isalnum() or character in "-_." else "_"
        for character in f"compare-{'-'.join(labels)}-on-{'-'.join(ids)}"
    )
    question = f"How do {' and '.join(labels)} compare on {' and '.join(ids)}?"
    baseline = baseline or (labels[-1] if len(labels) > 1 else "")
    return Experiment(
        name[:120],
        listed,
        environments,
        seeds,
        steps,
        baseline,
        question,
        evaluate_every=evaluate_every,
        evaluation_episodes=evaluation_episodes,
    )
