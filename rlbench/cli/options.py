"""The options of the commands that deal with runs, and the record of them that the commands work with."""

import functools
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from rlbench.errors import RlbenchError, explained
from rlbench.files import folder
from rlbench.training import EPISODES, INTERVAL, check_device

Command = Callable[..., None]
Option = Callable[[Command], Command]


def usable_folder(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Return the folder that an option names; BadParameter where it cannot be one."""
    try:
        for path in [Path(value), *Path(value).parents] if value is not None else []:
            if os.path.isfile(path):
                raise click.BadParameter(f"{path} is a file, not a folder.", ctx, parameter)
        if value is not None:
            os.stat(value)
    except (FileNotFoundError, NotADirectoryError):  # reported where the folder is needed
        pass
    except OSError as problem:
        raise click.BadParameter(f"{problem.strerror or problem}.", ctx, parameter) from problem
    except ValueError as problem:
        raise click.BadParameter("A folder's name cannot hold this.", ctx, parameter) from problem
    return value


def _known_device(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    try:
        check_device(value)
    except RlbenchError as problem:
        raise click.BadParameter(str(problem), ctx, parameter) from problem
    return value


def _known_limit(ctx: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not value >= 0:
        raise click.BadParameter(f"It must be a number of seconds, or 0 for none, not {value}.", ctx, parameter)
    return value


def make_folder(path: Path, results: str) -> Path:
    """Make a folder inside the results folder and return it; RlbenchError where a link would lead out of it."""
    with explained(f"Cannot write to {path}"):
        return folder(path, inside=results)


def _option(*flags: str, default: Any = None, **details: Any) -> Any:
    """Return a field with its command line option; what is declared here is the option's default and its help."""
    return field(default=default, metadata={"option": click.option(*flags, default=default, **details)})


def _flag(name: str, text: str) -> Any:
    return _option(name, is_flag=True, default=False, help=text)


@dataclass(frozen=True)
class RunOptions:
    """Which runs a command line means, how they are trained, and where else they are shown."""

    settings: tuple[str, ...] = _option(
        "--set",
        "settings",
        multiple=True,
        default=(),
        metavar="ARM.FIELD=VALUE",
        help="Set a field of an arm, such as ppo-clip.clip=0.1; repeatable. Several values (0.1,0.2) make an arm each.",
    )
    tuned: bool = _flag("--tuned", "Use the settings that `rlbench tune` found, of each algorithm on each environment.")
    plugin: tuple[str, ...] = _option(
        "--plugin", multiple=True, default=(), metavar="FILE", help="Python file with algorithms; repeatable."
    )
    results: str = _option(
        "--results", default="results", callback=usable_folder, show_default=True, help="Folder of the stored runs."
    )
    seeds: int | None = _option("--seeds", type=int, help="Number of seeds, instead of the file's.")
    first_seed: int | None = _option(
        "--first-seed", type=int, help="Use the seeds from this number on: --seeds of them, or as many as the file has."
    )
    steps: int | None = _option("--steps", type=int, help="Environment steps per run, instead of the file's.")
    evaluate_every: int | None = _option(
        "--evaluate-every",
        type=int,
        metavar="STEPS",
        help="Evaluate each policy every so many steps of its training, apart from it; 0: never.",
    )
    evaluation_episodes: int | None = _option(
        "--evaluation-episodes",
        type=int,
        help=f"Episodes of each kind in an evaluation, instead of the file's or {EPISODES}.",
    )
    env: tuple[str, ...] = _option(
        "--env", multiple=True, default=(), metavar="ID", help="Only this environment of the file's; repeatable."
    )
    quick: bool = _flag("--quick", "Of a DIR: only what its suite.py calls quick, with few seeds.")
    only: tuple[str, ...] = _option(
        "--only", multiple=True, default=(), metavar="NAME", help="Of a DIR: only this experiment; repeatable."
    )

    until_decided: bool = _flag("--until-decided", "Add seeds in stages, and stop each arm that is decided.")
    stage: int = _option("--stage", default=5, show_default=True, help="Seeds per stage of --until-decided.")
    workers: int | None = _option(
        "--workers", type=int, help="Number of worker processes; default: one per CPU. 0: train in this process."
    )
    executor: str = _option(
        "--executor",
        default="local",
        show_default=True,
        metavar="local|ray|NAME",
        help="Where the workers run: on this machine, on the nodes of a Ray cluster, or with an installed executor.",
    )
    address: str | None = _option(
        "--address", metavar="HOST:PORT", help="Address of the Ray cluster; default: the cluster that is running."
    )
    time_limit: float | None = _option(
        "--time-limit",
        type=float,
        callback=_known_limit,
        metavar="SECONDS",
        help="Maximum seconds for one step or reset of an environment; default: 60. A worker that reports nothing for "
        "ten times as long is ended and its runs are marked failed. 0: no limit.",
    )
    checkpoint_every: float = _option(
        "--checkpoint-every",
        type=click.FloatRange(min=0),
        default=INTERVAL,
        show_default=True,
        metavar="SECONDS",
        help="Seconds between two checkpoints of a run, from which it continues after an interruption. 0: none.",
    )
    device: str = _option(
        "--device",
        default="cpu",
        callback=_known_device,
        show_default=True,
        metavar="cpu|cuda|cuda:N",
        help="Device to train on; environments are stepped on the CPU.",
    )

    keep_policies: str | None = _option(
        "--keep-policies",
        type=click.Choice(["all", "every", "best", "none"]),
        help="Which trained policies to keep with their runs; default: all that take at most 1 MiB. every: also as "
        "they were at each evaluation. best: of the best seed only.",
    )

    tensorboard: bool = _flag("--tensorboard", "Also write the runs for TensorBoard, to RESULTS/NAME/tensorboard.")
    wandb: bool = _flag("--wandb", "Also write the runs for Weights & Biases; WANDB_MODE=offline needs no account.")
    debug: bool = False


CHANGES = ("settings", "tuned", "plugin", "results")
EVALUATION = ("evaluate_every", "evaluation_episodes")
CHOICE = ("seeds", "first_seed", "steps", *EVALUATION, "env", "quick", "only")
TRAINING = ("workers", "executor", "address", "time_limit", "checkpoint_every", "device", "keep_policies")


def option(name: str) -> Option:
    """Return what adds the option of a field of RunOptions to a command."""
    added: Option = RunOptions.__dataclass_fields__[name].metadata["option"]
    return added


figure_kinds: Option = click.option(
    "--format",
    "kinds",
    type=click.Choice(["pdf", "png"]),
    multiple=True,
    help="Also write the figures of the report in this format, beside SVG; repeatable.",
)


environment_arguments: Option = click.option(
    "--env-arg",
    "arguments",
    multiple=True,
    metavar="NAME=VALUE",
    help="Keyword argument of the environments, such as g=9.8; repeatable.",
)


def given(ctx: click.Context, *names: str) -> list[str]:
    """Return those of the named options that the command line gave, as it would be typed again."""
    words = []
    for parameter in ctx.command.params:
        if parameter.name in names and ctx.get_parameter_source(parameter.name) == ParameterSource.COMMANDLINE:
            value = ctx.params[parameter.name]
            for each in value if parameter.multiple else [value]:
                words += [parameter.opts[0]] if each is True else [parameter.opts[0], shlex.quote(str(each))]
    return words


def takes(*options: str | Option) -> Option:
    """Add options to a command, which gets them in one argument, `options: RunOptions`.

    A name stands for the option of that field; an option with the parameter's name may take its place.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def call(**given: Any) -> None:
            named = {field.name: given.pop(field.name) for field in fields(RunOptions) if field.name in given}
            command(options=RunOptions(**named, debug=click.get_current_context().obj["debug"]), **given)

        decorated: Command = call
        for each in reversed(options):
            decorated = (option(each) if isinstance(each, str) else each)(decorated)
        return decorated

    return decorate
