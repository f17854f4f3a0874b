"""`rlbench compare --from FILE`: the same comparison for runs that were trained elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from rlbench.cli.folders import own_folder
from rlbench.cli.training import TRAINING
from rlbench.errors import RlbenchError
from rlbench.files import file_name

if TYPE_CHECKING:
    from rlbench.analysis.references import Reference

_TRAINING = ("seeds", "steps", "settings", "plugin", *TRAINING, "environments")


def from_file(command: Callable[..., None]) -> Callable[..., None]:
    """Options of the comparison of a file."""
    for option in (
        click.option(
            "--reference",
            multiple=True,
            metavar="ENV=RANDOM,TARGET",
            help="With --from: the scores that count as 0 and 1 on an environment, `*` for all; repeatable.",
        ),
        click.option(
            "--from", "file", metavar="FILE", help="Table of runs (CSV, Parquet) to compare; nothing is trained."
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
    from rlbench.analysis.external import read_results
    from rlbench.cli.output import show_comparisons

    for name in _TRAINING:
        if ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            option = {"settings": "--set", "environments": "--env"}.get(name, f"--{name.replace('_', '-')}")
            raise click.UsageError(f"{option} is for training, and --from trains nothing.")
    scales = dict(_reference(text) for text in reference)
    results = read_results(file, algorithms=names, baseline=baseline or None, references=scales)
    if results.baseline is None:
        raise RlbenchError(f"A comparison needs two algorithms, and {file} has only {results.arms[0]}.")
    given = ctx.get_parameter_source("out") == ParameterSource.COMMANDLINE
    name = file_name(str(results.experiment["name"]))
    where = results.report(out if given else own_folder(out / name, str(out)))
    show_comparisons(results.comparisons, results.baseline)
    click.echo(f"Report: {where}")


def _reference(text: str) -> tuple[str, Reference]:
    """Return the environment and its reference that an option `ENV=RANDOM,TARGET` gives."""
    from rlbench.analysis.references import Reference

    environment, separator, numbers = text.rpartition("=")
    parts = numbers.split(",")
    try:
        random, target = map(float, parts)
    except ValueError:
        random, target = 0.0, 0.0
    if not separator or not environment or random == target:
        raise RlbenchError(f"A reference is two different scores, as in Walker2d-v5=2,5000, and not {text!r}.")
    return environment, Reference(random, target, "given on the command line")
