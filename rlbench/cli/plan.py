"""`rlbench plan`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from rlbench.cli.experiments import stored_results
from rlbench.cli.options import CHANGES, RunOptions, takes

if TYPE_CHECKING:
    from rlbench.results import Results


@click.command()
@click.argument("experiment", metavar="FILE|NAME")
@takes(*CHANGES, "seeds", "steps")
@click.option("--effect", type=float, default=0.05, show_default=True, help="The difference to detect.")
@click.option("--metric", default="auc_normalised", show_default=True, help="The score that differs by --effect.")
@click.option("--power", type=float, default=0.8, show_default=True, help="Probability of detecting it.")
def plan(experiment: str, effect: float, metric: str, power: float, options: RunOptions) -> None:
    """Say how many seeds it takes to detect an effect, with the stored runs as a pilot study.

    The brackets hold an 80 % range, since a pilot of a few runs estimates the spread of runs badly. Claims of the
    experiment are planned for the effect that the pilot shows.

    \b
    rlbench run experiments/ppo_vs_reinforce.py --seeds 5
    rlbench plan experiments/ppo_vs_reinforce.py --seeds 5 --effect 0.05
    """
    results = stored_results(experiment, options)
    if results.baseline or not results.claims:
        _show_comparisons(results, effect, metric, power)
    for verdict in results.verdicts:
        click.echo(f"\nClaim: {verdict.claim.statement} (now {verdict.verdict})")
        for part in verdict.parts:
            against = f" against {part.other}" if part.other else ""
            needed = _range(part.needed.n, part.needed.low, part.needed.high) if part.needed else "-"
            click.echo(f"  {part.arm}{against} on {part.environment}: {part.verdict}; seeds needed: {needed}")


def _show_comparisons(results: Results, effect: float, metric: str, power: float) -> None:
    """Print what every comparison with the baseline needs."""
    from rlbench.analysis.judge.planning import cost, seeds_for
    from rlbench.cli.output import print_table, shown

    wanted = seeds_for(results, effect, metric, power)
    click.echo(f"To find a difference in {metric} of {effect:g} with probability {power:g}, 5 % for all comparisons:")
    header = ["environment", "arm", "baseline", "runs", "spread of a run", "found with these", "seeds needed"]
    rows = [
        [
            row.environment,
            row.arm,
            row.baseline,
            f"{row.n_arm} vs {row.n_baseline}",
            shown(row.spread, ".3g"),
            shown(row.detectable, ".3g"),
            _range(row.needed.n, row.needed.low, row.needed.high),
        ]
        for row in wanted
    ]
    print_table([header, *rows], words=(0, 1, len(header) - 1))
    more, duration = cost(results, wanted)
    if math.isfinite(more):
        click.echo(f"For all of them: {more:.0f} more runs, about {duration / 60:.0f} minutes of one process.")


def _range(*values: float) -> str:
    if math.isnan(values[0]):
        return "-"
    n, low, high = (f"{value:.0f}" if math.isfinite(value) else "over 100000" for value in values)
    return f"{n} ({low} to {high})"
