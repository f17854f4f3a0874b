"""`rlbench compare --from FILE`: the same comparison for runs that were trained elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from rlbench.cli.folders import own_folder
from rlbench.cli.options import TRAINING
from rlbench.errors import RlbenchError
from rlbench.files import file_name

if TYPE_CHECKING:
    from rlbench.analysis.scores.references import Reference

_TRAINING = ("seeds", "steps", "settings", "plugin", *TRAINING, "environments")


def from_file(command: Callable[..., None]) -> Callable[..., None]:
    """Options of the comparison of a file."""
    for option in (
        click.option(
            "--reference",
            multiple=True,
            metavar="ENV=RANDOM,TARGET",
            help="With --from: the scores that count as 0 and 1 on an environment, `*` for all; `builtin` where scores "
            "are the returns of environments that rlbench knows. Repeatable.",
        ),
        click.option(
            "--from",
            "file",
            metavar="FILE",
            help="Table of runs (CSV, Parquet, at most 1 GiB) to compare; nothing is trained.",
        ),
    ):
        command = option(command)
    return command


def compare_file(
    ctx: click.Context,
    file: str,
    names: tuple[str, ...],
    baseline: str,
    reference: tuple[str, ...],
    out: Path,
) -> None:
    """Compare the runs in a file, print the answer, and write the report to a folder.

    `out` is that folder if it was given, otherwise the one in which a folder named after the file is made.
    """
    from rlbench.cli.output import show_comparisons
    from rlbench.results import read_results

    for name in _TRAINING:
        if ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            option = {"settings": "--set", "environments": "--env"}.get(name, f"--{name.replace('_', '-')}")
            raise click.UsageError(f"{option} is for training, and --from trains nothing.")
    scales = {name: scale for text in reference for name, scale in _references(text).items()}
    results = read_results(file, algorithms=names, baseline=baseline or None, references=scales)
    if results.baseline is None:
        raise RlbenchError(f"A comparison needs two algorithms, and {file} has only {results.arms[0]}.")
    comparisons = results.comparisons
    if not any(min(one.n_arm, one.n_baseline) for one in comparisons):
        why = results.experiment.notes or ["No environment has runs of both."]
        raise RlbenchError(f"{file} has nothing that can be compared with {results.baseline}. {' '.join(why)}")
    given = ctx.get_parameter_source("out") == ParameterSource.COMMANDLINE
    name = file_name(results.experiment.name)
    where = results.report(out if given else own_folder(out / name, str(out)))
    for note in results.experiment.notes:
        click.echo(f"warning: {note}", err=True)
    show_comparisons(comparisons, results.baseline)
    click.echo(f"Report: {where}")


def _references(text: str) -> Mapping[str, Reference]:
    """Return the references that an option gives, `ENV=RANDOM,TARGET` or `builtin`, by environment."""
    from rlbench.analysis.scores.references import REFERENCES, Reference

    if text == "builtin":
        return REFERENCES
    environment, separator, numbers = text.rpartition("=")
    parts = numbers.split(",")
    try:
        random, target = map(float, parts)
    except ValueError:
        random, target = 0.0, 0.0
    if not separator or not environment or random == target:
        raise RlbenchError(f"A reference is two different scores, as in Walker2d-v5=2,5000, or builtin; not {text!r}.")
    return {environment: Reference(random, target, "given on the command line")}
