"""`rlbench run --until-decided`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rlbench.cli.training import options_of
from rlbench.errors import RlbenchError

if TYPE_CHECKING:
    from rlbench.study.cluster import Cluster
    from rlbench.study.launcher import Launcher
    from rlbench.study.plan import AnyPlan, Plan
    from rlbench.study.summary import Summary


def execute_in_stages(ctx: click.Context, plan: AnyPlan, launcher: Launcher | Cluster) -> bool:
    """Train a plan stage by stage, say what each look decides, and return whether every run finished."""
    from rlbench.cli.output import show_summary
    from rlbench.cli.watching import watched
    from rlbench.stages import planned_looks, run_until_decided
    from rlbench.study.plan import Plan

    if not isinstance(plan, Plan):
        raise RlbenchError(f"{plan.experiment.where} has no baseline, so there is nothing to decide in stages.")
    stage = ctx.params["stage"]
    looks = ", ".join(map(str, planned_looks(plan, stage)))
    click.echo(f"{plan.experiment.name}: looks after {looks} seeds per arm and environment")
    fine: list[bool] = []

    def ended(part: Plan, summary: Summary) -> None:
        show_summary(part, summary, debug=ctx.obj["debug"])
        fine.append(summary.fine)

    with watched([plan], ctx.params) as sinks:
        run_until_decided(
            plan,
            ctx.params["results"],
            stage=stage,
            say=click.echo,
            ended=ended,
            launcher=launcher,
            sinks=sinks,
            **options_of(ctx.params),
        )
    return all(fine)
