"""`rlbench plan`."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import click

from rlbench.cli.run import changes, plan_of, results_of

if TYPE_CHECKING:
    from rlbench.results import Results


@click.command()
@click.argument("experiment", metavar="FILE|NAME")
@changes
@click.option("--seeds", type=int, help="As given to `rlbench run`.")
@click.option("--steps", type=int, help="As given to `rlbench run`.")
@click.option("--effect", type=float, default=0.05, show_default=True, help="The difference that is to be found.")
@click.option("--metric", default="auc_normalised", show_default=True, help="The score that it is a difference of.")
@click.option("--power", type=float, default=0.8, show_default=True, help="How probably it is to be found.")
def plan(
    experiment: str,
    settings: tuple[str, ...],
    plugin: tuple[str, ...],
    results: str,
    seeds: int | None,
    steps: int | None,
    effect: float,
    metric: str,
    power: float,
) -> None:
    """Say from the stored runs, as a pilot, how many seeds it takes to find an effect.

    The brackets are an 80 % range: a pilot of a few runs knows its own spread badly. Claims of the experiment are
    planned for the effect that the pilot shows.

    \b
    rlbench run experiments/ppo_vs_reinforce.py --seeds 5
    rlbench plan experiments/ppo_vs_reinforce.py --seeds 5 --effect 0.05
    """
    from rlbench.store.folders import read_specification

    if experiment.endswith(".py") or os.path.isfile(experiment):
        made = plan_of(experiment, plugin, settings, seeds, steps)
        document, cells = made.document(), made.planned
    else:
        document, cells = read_specification(results, experiment)
    stored = results_of(document, cells, results)
    if stored.baseline or not stored.claims:
        _show_comparisons(stored, effect, metric, power)
    for verdict in stored.verdicts:
        click.echo(f"\nClaim: {verdict.claim.statement} (now {verdict.verdict})")
        for part in verdict.parts:
            against = f" against {part.other}" if part.other else ""
            needed = _range(part.needed.n, part.needed.low, part.needed.high) if part.needed else "-"
            click.echo(f"  {part.arm}{against} on {part.environment}: {part.verdict}; seeds needed: {needed}")


def _show_comparisons(stored: Results, effect: float, metric: str, power: float) -> None:
    """Say what every comparison with the baseline needs."""
    from rlbench.analysis.judge.planning import cost, seeds_for
    from rlbench.cli.output import print_table

    wanted = seeds_for(stored, effect, metric, power)
    click.echo(f"To find a difference in {metric} of {effect:g} with probability {power:g}, 5 % for all comparisons:")
    header = ["environment", "arm", "baseline", "runs", "spread of a run", "found with these", "seeds needed"]
    rows = [
        [
            one.environment,
            one.arm,
            one.baseline,
            f"{one.n_arm} vs {one.n_baseline}",
            _short(one.spread),
            _short(one.detectable),
            _range(one.needed.n, one.needed.low, one.needed.high),
        ]
        for one in wanted
    ]
    print_table([header, *rows], words=(0, 1, len(header) - 1))
    more, duration = cost(stored, wanted)
    if math.isfinite(more):
        click.echo(f"For all of them: {more:.0f} more runs, about {duration / 60:.0f} minutes of one process.")


def _short(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3g}"


def _range(*values: float) -> str:
    if math.isnan(values[0]):
        return "-"
    n, low, high = (f"{value:.0f}" if math.isfinite(value) else "over 100000" for value in values)
    return f"{n} ({low} to {high})"
