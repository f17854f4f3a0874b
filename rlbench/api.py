"""The two calls for Python and notebooks: run an experiment, or compare algorithms without writing one.

And the experiments that commands make of algorithms: a comparison; a search for good settings and, of what it found,
the confirmation on fresh seeds.
"""

from __future__ import annotations

import contextlib
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlbench.claims import Claim
from rlbench.errors import RlbenchError, brief
from rlbench.fields import Range, design, fields_of, hint_at, ranges, rounds, written
from rlbench.files import LONGEST_NAME
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


def spaces(base: Experiment, over: Sequence[str], find: Callable[[Arm], type[Algorithm]]) -> list[dict[str, Range]]:
    """Return what a search tries of the fields of each arm, whose algorithm `find` gives.

    `over` are the ranges, `FIELD`, `FIELD=LOW..HIGH` or `FIELD=VALUE,VALUE`, with or without `ALGORITHM.` before them;
    those of a field go for all algorithms that have it.

    Raises:
        RlbenchError: a range is not understood, or no algorithm has the field.
    """
    made, unused = list[dict[str, Range]](), set(over)
    for arm in base.arms:
        own = [text.removeprefix(f"{arm.name}.") for text in over]
        known = fields_of(find(arm))
        unused -= {text for text, bare in zip(over, own, strict=True) if bare.partition("=")[0] in known}
        made.append(ranges(find(arm), own, f"--over, {arm.name}"))
        if not made[-1]:
            raise RlbenchError(f"{arm.name} has no field with a usual range; give one with --over FIELD=LOW..HIGH.")
    for text in unused:
        known = {name: field for arm in base.arms for name, field in fields_of(find(arm)).items()}
        name = text.partition("=")[0].rpartition(".")[2]
        raise RlbenchError(f"--over {text}: no algorithm here has a field {name!r}.{hint_at(name, known)}")
    return made


def searched(base: Experiment, over: Sequence[str], settings: int, seeds: int) -> Experiment:
    """Return the search for good settings of each arm: the arm as it is, and `settings` - 1 others (`fields.design`).

    `over` is as in `spaces`. Each setting gets `seeds` seeds in the first round.
    """
    from rlbench.study.plan import class_of

    arms, said = list[Arm](), list[str]()
    for arm, space in zip(base.arms, spaces(base, over, class_of), strict=True):
        said.append(f"{arm.name}: {', '.join(f'{field} {known.said}' for field, known in space.items())}")
        for drawn in design(space, settings):
            label = " ".join([arm.name, *(f"{name}={written(value)}" for name, value in drawn.items())])
            arms.append(Arm(arm.algorithm, label, **{**arm.settings, **drawn}))
    most = max(Counter(arm.name for arm in arms).values())
    return Experiment(
        f"{base.name[: LONGEST_NAME - 7]}-search",
        arms,
        base.environments,
        seeds * 2 ** (rounds(most) - 1),
        base.steps,
        question="Which settings are good ones?",
        design=f"At most {settings} settings of each algorithm: its own, and points of a Sobol sequence in the space "
        f"{'; '.join(said)}. After every round the better half gets twice as many seeds, {seeds} at first.",
    )


def confirmed(base: Experiment, search: Experiment, best: Mapping[tuple[str, str], str], fresh: int) -> Experiment:
    """Return the experiment that compares what a search found with the arms as they were, on fresh seeds.

    `best` is the label of the best arm by environment and algorithm. The baseline is the last arm with what was found.
    """
    from rlbench.study.plan import class_of

    found = {arm.label: arm for arm in search.arms}
    arms, claims, baseline = list[Arm](), list[Claim](), ""
    for arm in base.arms:
        picked = {place.label: found[best[place.label, arm.name]] for place in base.environments}
        elsewhere = [place for place, chosen in picked.items() if chosen.label != arm.name]
        tuned, fields = f"{arm.name}, tuned", {name: None for one in picked.values() for name in one.settings}
        baseline = tuned if elsewhere else arm.name
        arms.append(Arm(arm.algorithm, arm.name, **arm.settings))
        if elsewhere:
            usual = fields_of(class_of(arm))
            given = {
                name: {place: one.settings.get(name, usual[name].default) for place, one in picked.items()}
                for name in fields
            }
            arms.append(Arm(arm.algorithm, tuned, **given))
            statement = f"What was found for {arm.name} scores higher than its defaults"
            claims.append(Claim(statement, (tuned, arm.name), "greater", "auc", environments=tuple(elsewhere)))
    first = max(search.seeds) + 1
    return Experiment(
        base.name,
        arms,
        base.environments,
        range(first, first + fresh),
        base.steps,
        baseline,
        f"How good are {' and '.join(arm.name for arm in base.arms)} with settings that were searched for?",
        claims,
        search=search.name,
    )
