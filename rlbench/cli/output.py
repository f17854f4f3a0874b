"""What the commands print: what is trained, how the runs ended, and the answer of a comparison."""

from __future__ import annotations

import importlib.util
import math
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rlbench.analysis.judge.compare import Comparison
    from rlbench.results import Results
    from rlbench.study.plan import Plan
    from rlbench.study.progress import Summary


def show_plans(plans: Sequence[Plan]) -> None:
    """Print how many runs plans have: of a single file as arms x environments x seeds, and whether these can decide."""
    if _is_single(plans):
        experiment, cells = plans[0].experiment, plans[0].cells
        sizes = {"arm": plans[0].arms, "environment": experiment.environments, "seed": experiment.seeds}
        counts = " x ".join(f"{len(each)} {what}{'s' if len(each) > 1 else ''}" for what, each in sizes.items())
        click.echo(f"{experiment.name}: {counts} = {len(cells)} runs")
        if experiment.trains and len(plans[0].arms) > 1:
            from rlbench.analysis.stats.power import refusal
            from rlbench.analysis.stats.sequential import ALPHA

            seeds = len(experiment.seeds)
            if problem := refusal(seeds, seeds, ALPHA, tasks=len(experiment.environments)):
                click.echo(f"{problem} Ten are usual.")
        return
    planned = [cell.id for plan in plans for cell in plan.cells]
    different = len(set(planned))
    shared = f" ({len(planned) - different} more are shared between experiments)" if len(planned) > different else ""
    click.echo(f"{_title(plans)}: {len(plans)} experiment{'s' if len(plans) > 1 else ''}, {different} runs{shared}")


def show_summary(plans: Sequence[Plan], summary: Summary, *, debug: bool = False) -> None:
    """Print how the runs of plans ended; what failed or diverged goes to stderr, one line per place and cause.

    `debug` adds the traceback of the first run of each.
    """
    from rlbench.records import cause

    for message in summary.messages:
        click.echo(f"warning: {message}", err=True)
    minutes, seconds = divmod(round(summary.seconds), 60)
    trained = f"{summary.trained} trained in {minutes}:{seconds:02d}"
    diverged = f" ({summary.skipped_diverged} of them diverged)" if summary.skipped_diverged else ""
    elsewhere = f", {summary.elsewhere} by other processes meanwhile" if summary.elsewhere else ""
    click.echo(f"{_title(plans)}: {summary.skipped} runs were stored already{diverged}, {trained}{elsewhere}.")
    single = _is_single(plans)
    if not single and not summary.fine:
        click.echo(f"{len(summary.diverged)} runs diverged, {len(summary.failed)} failed.", err=True)
    experiments = {} if single else {cell.id: plan.experiment.name for plan in reversed(plans) for cell in plan.cells}
    for status, runs in (("diverged", summary.diverged), ("failed", summary.failed)):
        groups: dict[tuple[str, str], list[tuple[int, str, str]]] = {}
        for cell, reason, detail in runs:
            experiment = "" if single else f"{experiments[cell.id]}, "
            place = f"{experiment}{cell.arm} on {cell.environment.label}"
            groups.setdefault((place, cause(reason)), []).append((cell.seed, reason, detail))
        for (place, same), group in groups.items():
            reasons = {reason for _, reason, _ in group}
            # The same may have happened at different steps: then the cause, without the step, stands for all.
            reason = reasons.pop() if len(reasons) == 1 else same
            click.echo(f"{status}: {place}, {_seeds(sorted(seed for seed, *_ in group))}: {reason}", err=True)
            if debug and group[0][2]:
                click.echo(group[0][2].rstrip(), err=True)
    if summary.failed:
        click.echo("Failed runs are tried again by the same command; finished ones are kept.", err=True)


def _is_single(plans: Sequence[Plan]) -> bool:
    return len(plans) == 1 and not plans[0].suite


def _title(plans: Sequence[Plan]) -> str:
    return ", ".join(dict.fromkeys(plan.suite or plan.experiment.name for plan in plans))


def _seeds(seeds: list[int]) -> str:
    listed = ", ".join(map(str, seeds[:10]))
    more = f" and {len(seeds) - 10} more" if len(seeds) > 10 else ""
    return f"seed{'s' if len(seeds) > 1 else ''} {listed}{more}"


_MANY = 40  # comparisons: more are counted, and not listed one by one


def show_comparisons(results: Results) -> None:
    """Print the comparisons with the baseline as a table and as sentences; of many only how many came out how.

    Also the result over all environments, or why there is none.
    """
    from rlbench.analysis.report.sentences import sentence, unnormalised
    from rlbench.analysis.scores.scores import ALL

    comparisons = results.comparisons
    overall = [one for one in comparisons if one.environment == ALL]
    if len(comparisons) <= _MANY:
        _show_table(comparisons, results.baseline or "")
    else:
        _show_counts([one for one in comparisons if one.environment != ALL])
    for comparison in comparisons if len(comparisons) <= _MANY else overall:
        click.echo(f"\n{sentence(comparison)}")
    if not overall and len(results.environments) > 1:
        why = unnormalised(results)
        if why and results.experiment.source:
            why.append("Give them, as --reference '*=RANDOM,TARGET'.")
        why = why or ["No two arms have runs on the same two environments."]
        click.echo(f"\nThere is no answer over all environments. {' '.join(why)}")
    click.echo()


def show_next(results: Results, options: Sequence[str]) -> None:
    """Print the commands that follow a comparison whose policies are kept, to be typed as they stand."""
    name, first = shlex.quote(results.experiment.name), results.environments[0]
    named = f" --environment {shlex.quote(first)}"
    # Modules are imported for environments that are named, not for those that a folder of results names.
    own = named if ":" in first else ""
    where = named if len(results.environments) > 1 else own
    click.echo(f"Next: {' '.join([f'rlbench evaluate {name}{own}', *options])}")
    installed = all(importlib.util.find_spec(package) for package in ("imageio", "imageio_ffmpeg"))
    hint = "" if installed else "  # after pip install 'rlbench[video]'"
    click.echo(f"      {' '.join([f'rlbench watch {name}{where}', *options])}{hint}")


def _show_counts(comparisons: Sequence[Comparison]) -> None:
    outcomes = ("better", "worse", "identical", "inconclusive")
    rows = [["arm", "environments", *outcomes]]
    for arm in dict.fromkeys(one.arm for one in comparisons):
        verdicts = Counter[str](one.verdict for one in comparisons if one.arm == arm)
        rows.append([arm, str(verdicts.total()), *(str(verdicts[outcome]) for outcome in outcomes)])
    print_table(rows)


def _show_table(comparisons: Sequence[Comparison], baseline: str) -> None:
    from rlbench.analysis.report.sentences import form_of_comparison

    rows = [["environment", "arm", "runs", "mean", f"mean {baseline}", "difference", "95 % interval", "verdict"]]
    for comparison in comparisons:
        form, difference = f"z{form_of_comparison(comparison)}", comparison.difference
        rows.append(
            [
                comparison.environment,
                comparison.arm,
                f"{comparison.n_arm} vs {comparison.n_baseline}",
                shown(comparison.mean_arm.point, form),
                shown(comparison.mean_baseline.point, form),
                shown(difference.point, f"+{form}"),
                f"{shown(difference.low, f'+{form}')} to {shown(difference.high, f'+{form}')}",
                comparison.verdict,
            ]
        )
    print_table(rows, words=(0, 1, 7))


def shown(value: float, form: str) -> str:
    """Return a number in a format, or `-` for one that is unknown."""
    return "-" if math.isnan(value) else f"{value:{form}}"


def print_table(rows: list[list[str]], words: Sequence[int] = (0,)) -> None:
    """Print rows in columns as wide as their widest cell, numbers to the right; `words` are the other columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if index in words else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())


def show_progress(what: str, done: int, total: int) -> None:
    """Count in one line on a terminal; elsewhere print a line at the end."""
    if sys.stderr.isatty():
        click.echo(f"\r{what}: {done} of {total}", nl=done == total, err=True)
    elif done == total:
        click.echo(f"{what}: {total}", err=True)
