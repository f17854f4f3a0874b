"""`rlbench run`, and the training that `rlbench compare` shares with it."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from rlbench.cli.experiments import changed, check_options, load, make_plans, prepare, register
from rlbench.cli.options import (
    CHANGES,
    CHOICE,
    EVALUATION,
    TRAINING,
    RunOptions,
    environment_arguments,
    figure_kinds,
    given,
    make_folder,
    takes,
    usable_folder,
)
from rlbench.errors import RlbenchError, nearest
from rlbench.files import file_name

if TYPE_CHECKING:
    from rlbench.analysis.scores.scores import Reference
    from rlbench.records import Environment
    from rlbench.results import Results
    from rlbench.study.executors import Executor
    from rlbench.study.experiment import Experiment
    from rlbench.study.plan import Plan
    from rlbench.study.progress import Summary


FAILED_RUNS = 1


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="FILE|DIR...")
@takes(*CHANGES, *CHOICE, "until_decided", "stage", *TRAINING, "tensorboard", "wandb")
@click.pass_context
def run(ctx: click.Context, paths: tuple[str, ...], options: RunOptions) -> None:
    """Train the runs of experiment FILEs that are not stored yet. A DIR stands for all experiments in it.

    Interrupt it at any time: the same command continues. It exits with status 1 if a run failed or diverged. Several
    experiments are trained together: a run that they share is trained once, and runs that fit together train in one
    pack. Several processes, on one machine or on several, may work in one results folder: each trains what no other
    process trains, and waits for the rest.

    With --until-decided the experiment's seeds are the most that an arm gets. After every stage its claims are judged
    or, where it makes none, its arms compared with the baseline, by tests that account for the repeated looks. Arms
    that nothing open is about get no more seeds.

    \b
    rlbench run experiments/ppo_vs_reinforce.py
    rlbench run experiments/ppo_vs_reinforce.py --until-decided --seeds 30
    rlbench run my_experiment.py --set ppo-clip.lr=0.001 --seeds 3
    rlbench run experiments/lecture --quick
    rlbench run my_experiment.py --tensorboard
    """
    check_options(paths, options)
    if ctx.get_parameter_source("stage") == ParameterSource.COMMANDLINE and not options.until_decided:
        raise click.UsageError("--stage goes with --until-decided.")
    with open_executor(options) as executor:
        chosen, suites = load(paths, options)
        prepare(executor, chosen, options)
        plans = make_plans(chosen, options)
        for suite in suites:
            register(suite, plans, options)
        if options.until_decided:
            ended = [_train_in_stages(plan, options, executor) for plan in plans]
            fine = all(ended)
        else:
            fine = train(plans, options, executor)
    for path in paths:
        click.echo(f"Next: {' '.join(['rlbench report', shlex.quote(path), *given(ctx, *CHANGES, *CHOICE)])}")
    if not fine:
        ctx.exit(FAILED_RUNS)


def open_executor(options: RunOptions) -> contextlib.closing[Executor]:
    """Return the executor that the options name, to be closed by `with`."""
    from rlbench.study.executors import executor_for

    return contextlib.closing(executor_for(options.executor, options.address, options.workers))


def train(
    plans: Sequence[Plan],
    options: RunOptions,
    executor: Executor,
    meanwhile: Callable[[], None] = lambda: None,
) -> bool:
    """Train what is left of plans, say what happened, and return whether every run finished."""
    from rlbench.cli.output import show_plans, show_summary
    from rlbench.study.run import execute_all

    show_plans(plans)
    with _how_to_train(plans, options, executor) as how:
        summary = execute_all(plans, options.results, meanwhile=meanwhile, **how)
    show_summary(plans, summary, debug=options.debug)
    return summary.fine


def _train_in_stages(plan: Plan, options: RunOptions, executor: Executor) -> bool:
    """Train a plan stage by stage, say what each look decides, and return whether every run finished."""
    from rlbench.cli.output import show_summary
    from rlbench.stages import planned_looks, run_until_decided

    if not plan.experiment.trains:
        raise RlbenchError(f"{plan.experiment.where} has no baseline, so there is nothing to decide in stages.")
    looks = ", ".join(map(str, planned_looks(plan, options.stage)))
    click.echo(f"{plan.experiment.name}: looks after {looks} seeds per arm and environment")
    fine: list[bool] = []

    def ended(part: Plan, summary: Summary) -> None:
        show_summary([part], summary, debug=options.debug)
        fine.append(summary.fine)

    with _how_to_train([plan], options, executor) as how:
        run_until_decided(plan, options.results, stage=options.stage, say=click.echo, ended=ended, **how)
    return all(fine)


@contextlib.contextmanager
def _how_to_train(plans: Sequence[Plan], options: RunOptions, executor: Executor) -> Iterator[dict[str, Any]]:
    """Give the options of `execute_all`, with the sinks that are asked for; say where those write."""
    from rlbench.study.sinks import folder_of, open_sinks

    names = [name for name in ("tensorboard", "wandb") if getattr(options, name)]
    with open_sinks(plans, options.results, names, _warn) as sinks:
        folders = dict.fromkeys(folder_of(plan, options.results) for plan in plans)
        for name in names:
            click.echo(f"{name}: {', '.join(str(folder / name) for folder in folders)}")
        yield {
            "executor": executor,
            "sinks": sinks,
            "device": options.device,
            "checkpoint_every": options.checkpoint_every,
            "time_limit": options.time_limit,
            "keep_policies": options.keep_policies,
        }


def _warn(sentence: str) -> None:
    click.echo(f"warning: {sentence}", err=True)


_OF_FILES = (
    *("names", "environments", "baseline", "results", "out", "files", "reference", "columns", "pattern", "show"),
    "kinds",
)
"""The parameters that go with `--from`; all others are for training."""


class _FromPaths(click.Command):
    """A command whose `--from` takes all files and folders that follow it, as a shell writes them for `*`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words: list[str] = []
        following = False  # what is next follows a path of --from
        for before, word in zip(["", *args], args, strict=False):
            following = before == "--from" or word.startswith("--from=") or (following and os.path.exists(word))
            words += ["--from", word] if following and before != "--from" and "--from=" not in word else [word]
        return super().parse_args(ctx, words)


@click.command(cls=_FromPaths)
@click.argument("names", nargs=-1, metavar="ALGORITHM...")
@click.option(
    "--env",
    "environments",
    multiple=True,
    metavar="[FILE.py:|MODULE:]ID",
    help="Gymnasium id of an environment, and what registers it if Gymnasium does not; repeatable. With --from: the "
    "environment of runs of which nothing else says it.",
)
@environment_arguments
@takes(
    click.option("--seeds", type=int, default=10, show_default=True, help="Independent runs per algorithm."),
    click.option("--steps", type=int, default=100_000, show_default=True, help="Environment steps per run."),
    click.option("--baseline", default="", help="The arm that the others are compared with; default: the last."),
    *EVALUATION,
    *CHANGES,
    *TRAINING,
)
@click.option("--out", callback=usable_folder, help="Folder of the report; default: RESULTS/NAME.")
@click.option(
    "--from",
    "files",
    multiple=True,
    metavar="PATH...",
    help="Compare the runs in these files and folders; nothing is trained. docs/formats.md says what is read.",
)
@click.option(
    "--name",
    "pattern",
    metavar="PATTERN",
    default="",
    help="With --from: where a path names its run, as '{algorithm}/{environment}_{seed}'; * is anything.",
)
@click.option(
    "--columns",
    metavar="NAME=COLUMN,...",
    default="",
    help="With --from: columns or tags that have other names in the files, as score=eval/return,step=global_step.",
)
@click.option("--show", is_flag=True, help="With --from: print what is understood of the files, and stop.")
@click.option(
    "--reference",
    multiple=True,
    metavar="ENV=RANDOM,TARGET",
    help="With --from: the scores that count as 0 and 1 on an environment, `*` for all; `builtin` where scores are the "
    "returns of environments that rlbench knows. Repeatable.",
)
@figure_kinds
@click.pass_context
def compare(
    ctx: click.Context,
    names: tuple[str, ...],
    environments: tuple[str, ...],
    arguments: tuple[str, ...],
    baseline: str,
    out: str | None,
    files: tuple[str, ...],
    pattern: str,
    columns: str,
    show: bool,
    reference: tuple[str, ...],
    kinds: tuple[str, ...],
    options: RunOptions,
) -> None:
    """Train ALGORITHMs on environments, say which is better and how sure that is, and write a report.

    An ALGORITHM is a name or a plugin file. With --from nothing is trained: the runs are read from files, of a table
    with the columns algorithm, environment, seed and score (and step, for learning curves), or of what
    Stable-Baselines3, RLlib, CleanRL, TensorBoard, Weights & Biases and others write.

    \b
    rlbench compare ppo-clip reinforce --env CartPole-v1 --seeds 10 --steps 100000
    rlbench compare my-variant ppo-clip --plugin my_variant.py --env CartPole-v1
    rlbench compare ppo-clip --set ppo-clip.clip=0.1,0.2,0.4 --env Acrobot-v1 --baseline "ppo-clip clip=0.2"
    rlbench compare --from runs.csv --baseline sac --reference Walker2d-v5=2,5000
    rlbench compare --from logs/ppo logs/a2c --name '{algorithm}/{environment}_{seed}' --show
    """
    from rlbench.store.folders import home

    if files:
        told = _check_from(ctx, columns, environments)
        if show:
            _show(files, told, pattern, "".join(environments))
            return
        how = {"columns": told, "name": pattern, "environment": "".join(environments)}
        results, fine = _read(files, names, baseline, reference, how), True
        folder = Path(options.results) / file_name(results.experiment.name)
    else:
        for option, given_ in {
            "--reference": reference,
            "--columns": columns,
            "--name": pattern,
            "--show": show,
        }.items():
            if given_:
                raise click.UsageError(f"{option} goes with --from.")
        for values, what in ((names, "argument 'ALGORITHM...'"), (environments, "option '--env'")):
            if not values:
                raise click.UsageError(f"Missing {what}.")
        results, fine = _train(names, environments_of(environments, arguments), baseline, options)
        folder = home(options.results, results.experiment.name)
    _answer(
        ctx, results, Path(out) if out else make_folder(folder, options.results), kinds, environments, fine, options
    )


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="ALGORITHM...")
@click.option(
    "--env", "environments", multiple=True, required=True, metavar="ID", help="Gymnasium id, as in compare; repeatable."
)
@environment_arguments
@click.option(
    "--over",
    multiple=True,
    metavar="[ALGORITHM.]FIELD[=LOW..HIGH]",
    help="A field to search, with its range or its values, such as epochs=1,4,10; repeatable. Default: the step size "
    "and the fields of the algorithm's own.",
)
@click.option(
    "--trials", type=click.IntRange(min=2), default=32, show_default=True, help="Settings that are tried per algorithm."
)
@takes(
    click.option(
        "--seeds",
        type=click.IntRange(min=2),
        default=2,
        show_default=True,
        help="Runs per setting in the first round.",
    ),
    click.option("--steps", type=int, default=100_000, show_default=True, help="Environment steps per run."),
    "settings",
    "plugin",
    "results",
    *TRAINING,
)
@click.option(
    "--fresh", type=click.IntRange(min=2), default=10, show_default=True, help="Fresh seeds for what was found."
)
@click.option("--name", default="", help="Name of the experiment and its folder; default: after what is tuned.")
@figure_kinds
@click.pass_context
def tune(
    ctx: click.Context,
    names: tuple[str, ...],
    environments: tuple[str, ...],
    arguments: tuple[str, ...],
    over: tuple[str, ...],
    trials: int,
    fresh: int,
    name: str,
    kinds: tuple[str, ...],
    options: RunOptions,
) -> None:
    """Search for good settings of ALGORITHMs, with the same budget for each, and try them on fresh seeds.

    Many settings train at once, beginning with the defaults. The better half gets twice as many seeds, until a few are
    left; the best goes on, against the defaults, with seeds that took no part in the search. The report shows how much
    better it is there, how sensitive each algorithm is, and how much search it needs. `--tuned` uses what was found.

    \b
    rlbench tune ppo-clip reinforce --env CartPole-v1 --steps 50000
    rlbench tune ppo-clip --env Acrobot-v1 --over lr=1e-5..0.1 --over clip=0.05,0.1,0.2 --trials 64
    rlbench compare ppo-clip reinforce --env CartPole-v1 --tuned
    """
    from rlbench.api import comparison, confirmed, searched, spaces
    from rlbench.store.folders import home
    from rlbench.study.experiment import Experiment, as_name
    from rlbench.study.plan import make_plan, sketched

    places = environments_of(environments, arguments)
    name = as_name(name) if name else ""
    if not any(each.endswith(".py") for each in names):
        with contextlib.suppress(LookupError):  # what is wrong with the arguments is said before anything is imported
            spaces(comparison(names, places), over, sketched(options.plugin))
    with open_executor(options) as executor:
        asked = _plan_comparison(names, places, "", options, executor)
        base = asked.experiment
        assert isinstance(base, Experiment)
        if len(asked.arms) > len(base.arms):
            raise RlbenchError(
                "--set gives a field one value here; --over ALGORITHM.FIELD=VALUE,VALUE searches among several."
            )
        name = name or f"tune{base.name.removeprefix('compare')}"
        search = searched(base.changed(name=name), over, trials, options.seeds or 2)
        best = _search(search, options, executor)
        plan = make_plan(confirmed(base.changed(name=name), search, best, fresh))
        fine = train([plan], options, executor, _import_report)
    from rlbench.results import open_results
    from rlbench.stages import keep_found

    results = open_results(plan.document(), plan.planned, options.results)
    keep_found(results, plan, search, options.results)
    _answer(ctx, results, make_folder(home(options.results, name), options.results), kinds, environments, fine, options)


def _answer(
    ctx: click.Context,
    results: Results,
    folder: Path,
    kinds: Sequence[str],
    environments: Sequence[str],
    fine: bool,
    options: RunOptions,
) -> None:
    """Write the report into a folder and print what it says; leave with a status other than 0 if runs failed."""
    from rlbench.cli.output import show_comparisons, show_next, show_progress

    page = results.report(folder, kinds, show_progress)
    for note in results.experiment.notes:
        click.echo(f"warning: {note}", err=True)
    show_comparisons(results)
    click.echo(f"Report: {page}")
    if results.keeps_policies:
        own = [*options.plugin, *(text.rpartition(":")[0] for text in environments if ".py:" in text)]
        plugins = [f"--plugin {shlex.quote(file)}" for file in dict.fromkeys(own)]
        show_next(results, [*plugins, *given(ctx, "results")])
    if not fine:
        ctx.exit(FAILED_RUNS)


def environments_of(texts: Sequence[str], arguments: Sequence[str]) -> list[Environment]:
    """Return environments with the same arguments; what registers them is run here, or in the working folder."""
    from rlbench.records import Environment
    from rlbench.study.environments import bound

    options = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals or not name.isidentifier():
            raise RlbenchError(f"--env-arg takes NAME=VALUE, such as g=9.8, not {argument!r}.")
        if name in options:
            raise RlbenchError(f"--env-arg gives {name} twice.")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    environments = []
    for text in texts:
        source, _, name = text.rpartition(":")
        if not name or name.endswith(".py"):
            raise RlbenchError(f"--env {text} names no environment; add its id, as in {text.rstrip(':')}:Walk-v0.")
        if source and "/" in source and Path(f"{source}.py").is_file():
            raise RlbenchError(f"There is no module {source!r}. Did you mean --env {source}.py:{name}?")
        if source.endswith(".py"):
            _register(source, name)
            environments.append(bound(Environment(name, options), Path(source).resolve().parent))
        elif source:
            environments.append(bound(Environment(text, options)))
        else:  # it may be registered by a plugin, which has not run yet
            environments.append(Environment(text, options))
    return environments


def _register(file: str, name: str) -> None:
    """Run a file that registers an environment; RlbenchError where that name is not among those it registers."""
    import gymnasium

    from rlbench.userfiles import import_file

    before = {*gymnasium.registry}
    import_file(file, "environment")
    if name not in gymnasium.registry:
        own = sorted({*gymnasium.registry} - before)
        how = f"let it call gymnasium.register(id={name!r}, entry_point=...)"
        problem = f"no environment {name!r}.{nearest(name, own)}" if own else f"no environment; {how}."
        raise RlbenchError(f"{file} registers {problem}")


_SHOWN = 100  # runs that --show lists
_TOO_FEW = "A comparison needs two algorithms, or one with --set ARM.FIELD=VALUE,VALUE."


def _train(
    names: Sequence[str], environments: Sequence[Environment], baseline: str, options: RunOptions
) -> tuple[Results, bool]:
    """Train what is left of a comparison; return its results, and whether every run finished."""
    if len(names) == 1 and not names[0].endswith(".py") and not any("," in text for text in options.settings):
        raise RlbenchError(_TOO_FEW)
    with open_executor(options) as executor:
        plan = _plan_comparison(names, environments, baseline, options, executor)
        if len(plan.arms) < 2:
            raise RlbenchError(_TOO_FEW)
        fine = train([plan], options, executor, _import_report)
    from rlbench.results import open_results

    return open_results(plan.document(), plan.planned, options.results), fine


def _plan_comparison(
    names: Sequence[str], environments: Sequence[Environment], baseline: str, options: RunOptions, executor: Executor
) -> Plan:
    """Return the plan of a comparison of algorithms, by their names or plugin files; the executor begins meanwhile."""
    from rlbench.api import comparison

    if any(name.endswith(".py") for name in names):  # of which nothing is known yet
        executor.prepare()
    else:
        prepare(executor, [(changed(comparison(names, environments, baseline=baseline), options), "")], options)
    from rlbench import registry

    arms = [arm for name in names for arm in (registry.add_file(name) if name.endswith(".py") else [name])]
    (plan,) = make_plans([(changed(comparison(arms, environments, baseline=baseline), options), "")], options)
    return plan


def _search(search: Experiment, options: RunOptions, executor: Executor) -> dict[tuple[str, str], str]:
    """Train a search for good settings, say how it goes, and return what was found."""
    from rlbench import stages
    from rlbench.study.plan import make_plan

    plan = make_plan(search)
    places = len(search.environments)
    click.echo(f"{search.name}: {len(plan.arms)} settings on {places} environment{'s' * (places > 1)}")

    def ended(_: Plan, summary: Summary) -> None:
        for message in summary.messages:
            click.echo(f"warning: {message}", err=True)
        if summary.failed:
            click.echo(f"{len(summary.failed)} runs failed: {summary.failed[0][1]}", err=True)

    with _how_to_train([plan], options, executor) as how:
        return stages.search(plan, options.results, say=click.echo, ended=ended, **how)


def _import_report() -> None:
    from rlbench.study.process import uncollected

    with uncollected():
        import rlbench.analysis.draw
        import rlbench.analysis.report.experiment_page  # noqa: F401


def _check_from(ctx: click.Context, columns: str, environments: Sequence[str]) -> dict[str, str]:
    """Return the columns that an option names; RlbenchError for one that is not understood or is for training."""
    for parameter in ctx.command.params:
        typed = ctx.get_parameter_source(parameter.name or "") == ParameterSource.COMMANDLINE
        if typed and parameter.name not in _OF_FILES:
            raise click.UsageError(f"{parameter.opts[0]} is for training, and --from trains nothing.")
    if len(environments) > 1:
        raise click.UsageError("With --from, --env is the one environment of runs of which nothing else says it.")
    pairs = [pair.partition("=") for pair in columns.split(",") if pair]
    if wrong := [needed for needed, equals, column in pairs if not (equals and column.strip())]:
        raise RlbenchError(f"--columns takes NAME=COLUMN, such as score=episodic_return, not {wrong[0]!r}.")
    return {needed.strip(): column.strip() for needed, _, column in pairs}


def _show(files: Sequence[str], columns: Mapping[str, str], pattern: str, environment: str) -> None:
    """Print what is understood of files of runs."""
    from rlbench.analysis.scores.sources import described, overview, read_sources
    from rlbench.cli.output import print_table

    sources, left = read_sources(files, columns=columns, name=pattern, environment=environment)
    runs = overview(sources)
    print_table([["path", "algorithm", "environment", "seed", "rows", "steps", "scores"], *runs[:_SHOWN]], range(4))
    if len(runs) > _SHOWN:
        click.echo(f"... and {len(runs) - _SHOWN:,} more runs")
    for sentence in [*described(sources), *left]:
        click.echo(sentence)


def _read(
    files: Sequence[str], names: Sequence[str], baseline: str, reference: Sequence[str], how: Mapping[str, Any]
) -> Results:
    """Return the results of the runs in files; RlbenchError where nothing in them can be compared."""
    from rlbench.results import read_results

    file = " ".join(files)
    scales = {name: scale for text in reference for name, scale in _references(text).items()}
    results = read_results(files, algorithms=names, baseline=baseline or None, references=scales, **how)
    for text in reference:
        if not {"*", *results.environments} & {*_references(text)}:
            name, known = text.rpartition("=")[0] or text, ", ".join(results.environments)
            what = "knows no reference of" if text == "builtin" else f"gives one of {name}, and not of"
            raise RlbenchError(f"--reference {text} {what} an environment of {file}: {known}.")
    if results.baseline is None:
        raise RlbenchError(f"A comparison needs two algorithms, and {file} has only {results.arms[0]}.")
    if not any(min(comparison.n_arm, comparison.n_baseline) for comparison in results.comparisons):
        why = results.experiment.notes or ["No environment has runs of both."]
        raise RlbenchError(f"{file} has nothing that can be compared with {results.baseline}. {' '.join(why)}")
    return results


def _references(text: str) -> Mapping[str, Reference]:
    """Return the references that an option gives, `ENV=RANDOM,TARGET` or `builtin`, by environment."""
    from rlbench.analysis.scores.scores import REFERENCES, Reference

    if text == "builtin":
        return REFERENCES
    environment, _, numbers = text.rpartition("=")
    try:
        random, target = map(float, numbers.split(","))
    except ValueError:
        random = target = 0.0
    if not environment or random == target:
        raise RlbenchError(f"A reference is two different scores, as in Walker2d-v5=2,5000, or builtin; not {text!r}.")
    return {environment: Reference(random, target, "given on the command line")}
