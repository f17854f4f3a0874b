"""What the commands print: how the runs ended, and the answer of a comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from rlbench.records import cause

if TYPE_CHECKING:
    from rlbench.analysis.judge.compare import Comparison
    from rlbench.study.plan import Cell, Plan
    from rlbench.study.progress import Summary


def show_summary(plan: Plan, summary: Summary, *, debug: bool = False) -> None:
    """Print how the runs of a plan ended; what failed or diverged goes to stderr, by arm and cause."""
    _show_counts(plan.experiment.name, summary)
    for what, ended in (("diverged", summary.diverged), ("failed", summary.failed)):
        _show_causes(
            what, [(_where(cell), cell.seed, reason, detail if debug else "") for cell, reason, detail in ended]
        )
    _show_what_next(summary)


def show_together(title: str, plans: Sequence[Plan], summary: Summary, *, debug: bool = False) -> None:
    """Print how the runs of several plans ended; what failed or diverged goes to stderr, by experiment, arm and cause.

    `debug` shows where each came from.
    """
    _show_counts(title, summary)
    if not summary.fine:
        click.echo(f"{len(summary.diverged)} runs diverged, {len(summary.failed)} failed.", err=True)
    asked = {cell.id: plan.experiment.name for plan in reversed(plans) for cell in plan.cells}
    for what, ended in (("diverged", summary.diverged), ("failed", summary.failed)):
        named = [(f"{asked[cell.id]}, {_where(cell)}", cell, reason, detail) for cell, reason, detail in ended]
        _show_causes(what, [(where, cell.seed, why, detail if debug else "") for where, cell, why, detail in named])
    _show_what_next(summary)


def _show_causes(what: str, ended: Sequence[tuple[str, int, str, str]]) -> None:
    """Print (where, seed, reason, detail) of what ended early, one line per place and cause.

    Where the same happened at different steps, the first run's detail stands for all.
    """
    grouped: dict[tuple[str, str], list[tuple[int, str, str]]] = {}
    for where, seed, reason, detail in ended:
        grouped.setdefault((where, cause(reason)), []).append((seed, reason, detail))
    for (where, why), group in grouped.items():
        reasons = {reason for _, reason, _ in group}
        said = reasons.pop() if len(reasons) == 1 else why
        click.echo(f"{what}: {where}, {_seeds(sorted(seed for seed, *_ in group))}: {said}", err=True)
        if group[0][2]:
            click.echo(group[0][2].rstrip(), err=True)


def _show_counts(title: str, summary: Summary) -> None:
    for message in summary.messages:
        click.echo(f"warning: {message}", err=True)
    minutes, seconds = divmod(round(summary.seconds), 60)
    trained = f"{summary.trained} trained in {minutes}:{seconds:02d}"
    diverged = f" ({summary.skipped_diverged} of them diverged)" if summary.skipped_diverged else ""
    elsewhere = f", {summary.elsewhere} by other processes meanwhile" if summary.elsewhere else ""
    click.echo(f"{title}: {summary.skipped} runs were stored already{diverged}, {trained}{elsewhere}.")


def _show_what_next(summary: Summary) -> None:
    if summary.failed:
        click.echo("Failed runs are tried again by the same command; finished ones are kept.", err=True)


def _where(cell: Cell) -> str:
    return f"{cell.arm} on {cell.environment.label}"


def _seeds(seeds: list[int]) -> str:
    shown = ", ".join(map(str, seeds[:10]))
    more = f" and {len(seeds) - 10} more" if len(seeds) > 10 else ""
    return f"seed{'s' if len(seeds) > 1 else ''} {shown}{more}"


def show_comparisons(comparisons: Sequence[Comparison], baseline: str) -> None:
    """Print one table of all comparisons with the baseline, and each of them as a sentence."""
    from rlbench.analysis.report.sentences import sentence

    header = ["environment", "arm", "runs", "mean", f"mean {baseline}", "difference", "95 % interval", "verdict"]
    print_table([header, *(_cells(one) for one in comparisons)], words=(0, 1, len(header) - 1))
    for one in comparisons:
        click.echo(f"\n{sentence(one)}")
    click.echo()


def _cells(one: Comparison) -> list[str]:
    from rlbench.analysis.report.sentences import form_of_comparison

    form = form_of_comparison(one)
    difference = one.difference

    def cell(value: float, sign: str = "") -> str:
        return "-" if math.isnan(value) else f"{value:{sign}z{form}}"

    return [
        one.environment,
        one.arm,
        f"{one.n_arm} vs {one.n_baseline}",
        cell(one.mean_arm.point),
        cell(one.mean_baseline.point),
        cell(difference.point, "+"),
        f"{cell(difference.low, '+')} to {cell(difference.high, '+')}",
        one.verdict,
    ]


def print_table(rows: list[list[str]], words: Sequence[int] = (0,)) -> None:
    """Print rows in columns as wide as their widest cell, numbers to the right; `words` are the other columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if index in words else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())
