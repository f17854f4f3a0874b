"""`rlbench evaluate` and `rlbench watch`: what becomes of the policies that are kept with the runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rlbench.cli.experiments import stored_results
from rlbench.cli.options import CHANGES, EVALUATION, Option, RunOptions, environment_arguments, takes
from rlbench.cli.output import print_table, show_progress
from rlbench.cli.run import environments_of
from rlbench.errors import RlbenchError, explained

if TYPE_CHECKING:
    from rlbench.policies import Evaluated, Seed
    from rlbench.results import Results

_RUNS = (*CHANGES, "seeds", "first_seed", "steps", *EVALUATION)


def _opened(experiment: str, environment: str | None, options: RunOptions) -> Results:
    """Return the stored results of an experiment; what an environment needs that the user names is imported."""
    results = stored_results(experiment, options)
    if environment in results.environments:
        from rlbench.policies import environment_of

        environment_of(results, environment, imports=True)
    return results


def _known_seed(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Seed:
    if value is None or value in ("best", "median", "worst"):
        return value
    if not value.isdecimal():
        raise click.BadParameter(f"It is a seed, or best, median or worst, not {value}.", ctx, parameter)
    return int(value)


def _writable(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    path = Path(value or "unnamed")
    if path.is_dir() or not path.parent.is_dir():
        raise RlbenchError(f"Cannot write {value}: it is a folder, or in none.")
    return value


def _seed(text: str, default: str | None = None) -> Option:
    return click.option("--seed", callback=_known_seed, default=default, metavar="best|median|worst|N", help=text)


@click.command()
@click.argument("experiment", metavar="FILE|NAME")
@click.option("--arm", help="Only this arm.")
@click.option("--environment", "--env", help="Only the policies trained in this environment.")
@_seed("Only this seed, or the best, median or worst of an arm on an environment.")
@click.option("--episodes", type=click.IntRange(min=1), default=100, show_default=True, help="Per run and kind.")
@click.option(
    "--deterministic/--sampled", default=None, help="Only with the most likely actions, or only with sampled ones."
)
@click.option("--on", metavar="[FILE.py:|MODULE:]ID", help="Another environment, with the same spaces.")
@environment_arguments
@click.option(
    "--out",
    callback=_writable,
    metavar="FILE.csv",
    help="Also write every episode and what it was reset with.",
)
@takes(*_RUNS)
def evaluate(
    experiment: str,
    arm: str | None,
    environment: str | None,
    seed: Seed,
    episodes: int,
    deterministic: bool | None,
    on: str | None,
    arguments: tuple[str, ...],
    out: str | None,
    options: RunOptions,
) -> None:
    """Play fresh episodes with the policies that an experiment has learnt, apart from any training.

    All runs play the same episodes. The run is the unit: its episodes are averaged first, and intervals are over runs.
    For other runs than those of a FILE, repeat the options of `rlbench run`.

    \b
    rlbench evaluate ppo-vs-reinforce
    rlbench evaluate ppo-vs-reinforce --arm ppo-clip --seed best --episodes 1000
    rlbench evaluate pendulum --on Pendulum-v1 --env-arg g=5.0 --sampled
    """
    if arguments and not on:
        raise click.UsageError("--env-arg goes with --on.")
    results = _opened(experiment, environment, options)
    from rlbench.analysis.format import csv_text
    from rlbench.policies import KINDS, chosen, evaluate_runs, summarised

    kinds = KINDS if deterministic is None else (KINDS[0] if deterministic else KINDS[1],)
    (place,) = environments_of([on], arguments) if on else (None,)
    runs = chosen(results, arm, environment, seed)
    table = evaluate_runs(results, runs, episodes=episodes, kinds=kinds, on=place, progress=show_progress)
    _show(summarised(results, table), kinds, ranked=isinstance(seed, str))
    if out:
        with explained(f"Cannot write {out}"):
            Path(out).write_text(csv_text(table), encoding="utf-8")


def _show(found: list[Evaluated], kinds: tuple[str, ...], *, ranked: bool) -> None:
    """Print what evaluations came to: a row per arm and environment, and what is to be known to read it."""
    from rlbench.analysis.format import form_of, number, text
    from rlbench.analysis.stats.estimates import interval_name
    from rlbench.training.evaluation import LONGEST

    rows, words = [["environment", "arm", "runs", *kinds, "length"]], {"deterministic": "the most likely actions"}
    forms = {one.environment: form_of([o.mean for o in found if o.environment == one.environment]) for one in found}
    for place, arm in dict.fromkeys((one.environment, one.arm) for one in found):
        here = {one.actions: one for one in found if (one.environment, one.arm) == (place, arm)}
        means = [text(here[kind].mean, forms[place]) for kind in kinds]
        first = here[kinds[0]]
        runs = f"{first.runs} of {first.played}" if first.runs < first.played else str(first.runs)
        rows.append([place, arm, runs, *means, number(first.length)])
    print_table(rows, words=(0, 1))
    named = " and ".join(words.get(kind, "sampled actions") for kind in kinds)
    brackets = f"; in brackets the {interval_name([one.mean for one in found])} over runs"
    several = any(one.runs > 1 for one in found)
    episodes = f"{found[0].episodes} episode{'s' * (found[0].episodes > 1)}"
    click.echo(f"\nMean return of {episodes} per run with {named}, the same episodes for all runs{brackets * several}.")
    if any(one.runs < one.played for one in found):
        click.echo(f"Runs with an episode that did not end within {LONGEST:,} steps have no mean, and are not counted.")
    for one in found if not ranked else []:
        form = forms[one.environment]
        claimed, fair, mean = (number(value, form) for value in (one.claimed, one.fair, one.mean.point))
        if one.actions == kinds[0] and one.fair == one.fair and claimed != mean:
            click.echo(
                f"{one.arm} on {one.environment}: seed {one.best}, the best of {one.runs}, has {claimed}; a best one "
                f"that half of the episodes chose has {fair} in the other half. A further run is expected at the mean, "
                f"{mean}."
            )
    if ranked:
        click.echo("Chosen among several seeds: a further run is expected at the mean of all of them, not here.")


@click.command()
@click.argument("experiment", metavar="FILE|NAME")
@click.option("--arm", "arms", multiple=True, help="An arm; repeatable. Default: all, side by side.")
@click.option("--environment", "--env", help="Where to; default: the only one.")
@_seed("The run of each arm to watch: a seed, or the best, median or worst.", default="median")
@click.option("--episodes", type=click.IntRange(min=1), default=3, show_default=True, help="One after the other.")
@click.option("--sampled", is_flag=True, help="With sampled actions instead of the most likely ones.")
@click.option("--out", callback=_writable, metavar="FILE.mp4|FILE.gif", help="The film; default: NAME-ENVIRONMENT.mp4.")
@takes(*_RUNS)
def watch(
    experiment: str,
    arms: tuple[str, ...],
    environment: str | None,
    seed: Seed,
    episodes: int,
    sampled: bool,
    out: str | None,
    options: RunOptions,
) -> None:
    """Film what the policies of an experiment do: MP4 or GIF, several arms side by side, without a display.

    It needs rlbench[video]. All arms play the same episodes.

    \b
    rlbench watch ppo-vs-reinforce --environment CartPole-v1
    rlbench watch ppo-vs-reinforce --arm ppo-clip --environment CartPole-v1 --seed best --out pole.gif
    """
    from rlbench.files import file_name

    if out is not None and Path(out).suffix not in (".mp4", ".gif"):
        raise RlbenchError(f"A film is FILE.mp4 or FILE.gif, not {out!r}.")
    results = _opened(experiment, environment, options)
    from rlbench.films import film

    if environment is None and len(results.environments) > 1:
        raise RlbenchError(f"Say which environment, with --environment: {', '.join(results.environments)}.")
    place = environment or results.environments[0]
    path = Path(out or f"{file_name(f'{results.experiment.name}-{place}')}.mp4")
    said = film(results, arms or results.arms, place, seed, path, episodes, sampled=sampled, progress=show_progress)
    for line in said:
        click.echo(line)
    click.echo(f"Film: {path}")
