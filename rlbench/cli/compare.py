"""`rlbench compare`: of algorithms that it trains, and with `--from FILE` of runs that were trained elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from rlbench.cli.experiments import changed, make_plans, prepare
from rlbench.cli.options import CHANGES, TRAINING, RunOptions, make_folder, takes, usable_folder
from rlbench.cli.run import FAILED_RUNS, open_executor, train
from rlbench.errors import RlbenchError
from rlbench.files import file_name

if TYPE_CHECKING:
    from rlbench.analysis.scores.references import Reference
    from rlbench.results import Results

_OF_FILES = ("names", "baseline", "results", "out", "file", "reference")
"""The parameters that go with `--from`; all others are for training."""


@click.command()
@click.argument("names", nargs=-1, metavar="ALGORITHM...")
@click.option("--env", "environments", multiple=True, metavar="ID", help="Gymnasium id of an environment; repeatable.")
@takes(
    click.option("--seeds", type=int, default=10, show_default=True, help="Independent runs per algorithm."),
    click.option("--steps", type=int, default=100_000, show_default=True, help="Environment steps per run."),
    click.option("--baseline", default="", help="The arm that the others are compared with; default: the last."),
    *CHANGES,
    *TRAINING,
)
@click.option("--out", callback=usable_folder, help="Folder of the report; default: RESULTS/NAME.")
@click.option(
    "--from",
    "file",
    metavar="FILE",
    help="Compare the runs in this table (CSV or Parquet, at most 1 GiB); nothing is trained.",
)
@click.option(
    "--reference",
    multiple=True,
    metavar="ENV=RANDOM,TARGET",
    help="With --from: the scores that count as 0 and 1 on an environment, `*` for all; `builtin` where scores are the "
    "returns of environments that rlbench knows. Repeatable.",
)
@click.pass_context
def compare(
    ctx: click.Context,
    names: tuple[str, ...],
    environments: tuple[str, ...],
    baseline: str,
    out: str | None,
    file: str | None,
    reference: tuple[str, ...],
    options: RunOptions,
) -> None:
    """Train ALGORITHMs on environments, say which is better and how sure that is, and write a report.

    An ALGORITHM is a name or a plugin file. With --from nothing is trained: the runs are read from a table with the
    columns algorithm, environment, seed and score (and step, for learning curves).

    \b
    rlbench compare ppo-clip reinforce --env CartPole-v1 --seeds 10 --steps 100000
    rlbench compare my-variant ppo-clip --plugin my_variant.py --env CartPole-v1
    rlbench compare ppo-clip --set ppo-clip.clip=0.1,0.2,0.4 --env Acrobot-v1 --baseline "ppo-clip clip=0.2"
    rlbench compare --from runs.csv --baseline sac --reference Walker2d-v5=2,5000
    """
    from rlbench.cli.output import show_comparisons
    from rlbench.store.folders import home

    if file is not None:
        results, fine = _read(ctx, file, names, baseline, reference), True
        folder = Path(options.results) / file_name(results.experiment.name)
    else:
        if reference:
            raise click.UsageError("--reference goes with --from.")
        for given, what in ((names, "argument 'ALGORITHM...'"), (environments, "option '--env'")):
            if not given:
                raise click.UsageError(f"Missing {what}.")
        results, fine = _train(names, environments, baseline, options)
        folder = home(options.results, results.experiment.name)
    page = results.report(Path(out) if out else make_folder(folder, options.results))
    for note in results.experiment.notes:
        click.echo(f"warning: {note}", err=True)
    show_comparisons(results.comparisons, results.baseline or "")
    click.echo(f"Report: {page}")
    if not fine:
        ctx.exit(FAILED_RUNS)


def _train(
    names: Sequence[str], environments: Sequence[str], baseline: str, options: RunOptions
) -> tuple[Results, bool]:
    """Train what is left of a comparison; return its results, and whether every run finished."""
    from rlbench.api import comparison

    with open_executor(options) as executor:
        chosen = [(changed(comparison(names, environments, baseline=baseline), options), "")]
        prepare(executor, chosen, options)
        from rlbench import registry

        arms = [arm for name in names for arm in (registry.add_file(name) if name.endswith(".py") else [name])]
        chosen = [(changed(comparison(arms, environments, baseline=baseline), options), "")]
        (plan,) = make_plans(chosen, options)
        if len(plan.arms) < 2:
            raise RlbenchError("A comparison needs two algorithms, or one with --set ARM.FIELD=VALUE,VALUE.")
        fine = train([plan], options, executor, _import_report)
    from rlbench.results import open_results

    return open_results(plan.document(), plan.planned, options.results), fine


def _import_report() -> None:
    from rlbench.study.startup import uncollected

    with uncollected():
        import rlbench.analysis.draw
        import rlbench.analysis.report.experiment_page  # noqa: F401


def _read(ctx: click.Context, file: str, names: Sequence[str], baseline: str, reference: Sequence[str]) -> Results:
    """Return the results in a table of runs; RlbenchError where nothing in it can be compared."""
    from rlbench.results import read_results

    for parameter in ctx.command.params:
        given = ctx.get_parameter_source(parameter.name or "") == ParameterSource.COMMANDLINE
        if given and parameter.name not in _OF_FILES:
            raise click.UsageError(f"{parameter.opts[0]} is for training, and --from trains nothing.")
    scales = {name: scale for text in reference for name, scale in _references(text).items()}
    results = read_results(file, algorithms=names, baseline=baseline or None, references=scales)
    if results.baseline is None:
        raise RlbenchError(f"A comparison needs two algorithms, and {file} has only {results.arms[0]}.")
    if not any(min(comparison.n_arm, comparison.n_baseline) for comparison in results.comparisons):
        why = results.experiment.notes or ["No environment has runs of both."]
        raise RlbenchError(f"{file} has nothing that can be compared with {results.baseline}. {' '.join(why)}")
    return results


def _references(text: str) -> Mapping[str, Reference]:
    """Return the references that an option gives, `ENV=RANDOM,TARGET` or `builtin`, by environment."""
    from rlbench.analysis.scores.references import REFERENCES, Reference

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
