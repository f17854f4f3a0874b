"""`rlbench algorithms`, `check`, `new` and `lecture`: what comes with rlbench, and what is added to it."""

from __future__ import annotations

import inspect
import math
import os
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlbench.cli.options import option
from rlbench.errors import RlbenchError, explained

if TYPE_CHECKING:
    from rlbench.fields import Field

FAILED_CHECK = 1

_TEMPLATE = '''"""{name}: say here in one line what is new about it.

As it stands this is PPO's clipped surrogate. Change `surrogate`, then

    rlbench check {file}
    rlbench compare {name} ppo-clip --plugin {file} --env CartPole-v1 --seeds 10 --steps 100000

A float that may differ between runs is `hyper(default, low=, high=)`; what changes shapes or the flow of control is
`static(default)`. The last axis of every tensor is yours, leading axes are not: return one number per sample, and
reduce, where you must, with `rlbench.functional.mean`. More to override, weakest first: `adapt`, `advantages`,
`improve`; see `rlbench/algorithm.py`.
"""

import torch

from rlbench import Algorithm, Samples, hyper
from rlbench.functional import clip


class {cls}(Algorithm):
    """PPO's clipped surrogate (Schulman et al. 2017, equation 7), to be changed."""

    name = "{name}"
    clip: float = hyper(0.2, low=0.0, doc="half-width of the ratio band")

    def surrogate(self, x: Samples) -> torch.Tensor:
        """Return the objective per sample, to be maximised."""
        clipped = clip(x.ratio, 1 - self.clip, 1 + self.clip)
        return torch.minimum(x.ratio * x.advantage, clipped * x.advantage)
'''


@click.command()
@option("plugin")
@click.option("-v", "--verbose", is_flag=True, help="Also list the fields, with defaults and ranges.")
@click.pass_context
def algorithms(ctx: click.Context, plugin: tuple[str, ...], verbose: bool) -> None:
    """List the known algorithms with the files that define them, and plugins that are broken."""
    from rlbench import registry
    from rlbench.algorithm import Algorithm
    from rlbench.fields import fields_of

    for file in plugin:
        registry.add_file(file)
    classes = registry.listed()
    width = max(map(len, classes), default=0)
    shared = fields_of(Algorithm)
    for name, cls in sorted(classes.items()):
        summary, _, _ = (inspect.getdoc(cls) or "").partition("\n")
        click.echo(f"{name:{width}}  {summary}")
        click.echo(f"{'':{width}}  {_short(registry.origin(cls))}")
        if verbose:
            _show_fields(field for field in fields_of(cls).values() if cls.foreign or field != shared.get(field.name))
    if verbose:
        click.echo("Fields of every algorithm that rlbench trains itself, where it has no other default above:")
        _show_fields(shared.values())
    for origin, trace in registry.broken().items():
        reason = trace.strip().splitlines()[-1]
        click.echo(f"broken: {origin}: {reason}", err=True)
        if ctx.obj["debug"]:
            click.echo(trace, err=True)


def _show_fields(fields: Iterable[Field]) -> None:
    for field in fields:
        click.echo(f"    {field.name} = {_value(field.default)}  ({field.kind}{_range(field)})  {field.doc}")


@click.command()
@click.argument("algorithm", metavar="NAME|FILE")
@option("plugin")
@click.pass_context
def check(ctx: click.Context, algorithm: str, plugin: tuple[str, ...]) -> None:
    """Check that an algorithm keeps the contract; each failed check says what to change.

    \b
    rlbench check ppo-clip
    rlbench check my_variant.py
    """
    from rlbench import registry

    for file in (*plugin, *([algorithm] if algorithm.endswith(".py") else [])):
        if not os.path.isfile(file):
            raise RlbenchError(f"There is no plugin file {file!r}.")
    if not plugin and not algorithm.endswith(".py"):
        registry.sketch(algorithm)  # says that there is none, before torch is imported
    from rlbench.checks import check_algorithm

    for file in plugin:
        registry.add_file(file)
    fine = True
    for cls in registry.add_file(algorithm) if algorithm.endswith(".py") else [registry.load(algorithm)]:
        click.echo(cls.name)
        following: dict[str, list[str]] = {}
        for result in check_algorithm(cls, starts=_show_check):
            fine = fine and result.passed
            if result.follows:
                following.setdefault(result.follows, []).append(result.name)
            else:
                outcome = f"ok      {result.name}" if result.passed else f"FAILED  {result.name}: {result.message}"
                click.echo(f"  {outcome}")
        for cause, others in following.items():
            click.echo(f"  FAILED  for the same reason as {cause!r}: {', '.join(others)}")
    if not fine:
        ctx.exit(FAILED_CHECK)


def _show_check(name: str) -> None:
    if sys.stderr.isatty():  # the line of its result takes its place
        click.echo(f"  ...     {name}\r", nl=False, err=True)


@click.command()
@click.argument("name")
def new(name: str) -> None:
    """Write a plugin file that works and passes `rlbench check`, to be changed.

    \b
    rlbench new my-variant
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", name):
        raise RlbenchError(f"A name is lower-case words joined by '-', such as my-variant, not {name!r}.")
    from rlbench import registry

    known = registry.listed()
    if name in known:
        raise RlbenchError(f"There is an algorithm {name!r} already, in {_short(registry.origin(known[name]))}.")
    path = Path(f"{name.replace('-', '_')}.py")
    cls = "".join(part.capitalize() for part in re.split("[-_]", name))
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(_TEMPLATE.format(name=name, file=path, cls=cls))
    except FileExistsError:
        raise RlbenchError(f"{path} exists already; choose another name or move it away.") from None
    except OSError as problem:
        raise RlbenchError(f"Cannot write {path}: {problem.strerror or problem}.") from problem
    click.echo(f"Wrote {path}. Next: rlbench check {path}")


@click.command()
@click.option("--copy", "folder", required=True, metavar="DIR", help="The new folder.")
def lecture(folder: str) -> None:
    """Copy the experiments that come with rlbench into a new folder: the lecture's claims, and a first comparison.

    \b
    rlbench lecture --copy experiments
    rlbench run experiments/lecture --quick
    """
    import rlbench.experiments

    with explained(f"Cannot copy to {folder}"):
        (source,) = rlbench.experiments.__path__
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__*__*"))
    click.echo(f"Next: rlbench run {Path(folder) / 'ppo_vs_reinforce.py'}")


def _short(path: str) -> str:
    relative = os.path.relpath(path) if os.path.isabs(path) else path
    return path if relative.startswith("..") else relative


def _value(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _range(field: Field) -> str:
    # `, 0 to 1`, `, at least 0`, or the choices
    if field.choices:
        return f", one of {', '.join(map(str, field.choices))}"
    low, high = (None if bound is None or math.isinf(bound) else f"{bound:g}" for bound in (field.low, field.high))
    if low is not None and high is not None:
        return f", {low} to {high}"
    if low is not None:
        return f", at least {low}"
    return f", at most {high}" if high is not None else ""
