"""The options that say how runs are trained, in one place for all commands that train."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from rlbench.training import INTERVAL

if TYPE_CHECKING:
    from rlbench.study.plan import Plan
    from rlbench.study.sinks import Feed


_OPTIONS = ("workers", "device", "checkpoint_every", "time_limit")
TRAINING = (*_OPTIONS, "executor", "address")
"""The names of all parameters that `training` adds."""


def training(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a command."""
    for option in (
        click.option(
            "--device",
            default="cpu",
            show_default=True,
            metavar="cpu|cuda|cuda:N",
            help="Where runs train; environments are stepped on the CPU.",
        ),
        click.option(
            "--checkpoint-every",
            type=click.FloatRange(min=0),
            default=INTERVAL,
            show_default=True,
            metavar="SECONDS",
            help="How often runs in training are saved, to go on from there when interrupted; 0: never.",
        ),
        click.option(
            "--time-limit",
            type=float,
            metavar="SECONDS",
            help="How long a step of an environment may take, default 60, and a tenth of how long a worker may give no "
            "sign of life: what takes longer is ended, and failed. 0: for ever.",
        ),
        click.option("--address", metavar="HOST:PORT", help="Ray cluster of --executor ray; default: the one running."),
        click.option(
            "--executor",
            default="local",
            show_default=True,
            metavar="local|ray|NAME",
            help="What trains: processes of this machine, the nodes of a Ray cluster, or an installed executor.",
        ),
        click.option("--workers", type=int, help="Worker processes; default: one per CPU. 0: train in this process."),
    ):
        command = option(command)
    return command


def options_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a command's parameters those that `rlbench.study.run.execute_all` takes."""
    return {name: given[name] for name in _OPTIONS}


def watching(command: Callable[..., None]) -> Callable[..., None]:
    """Options that say where else runs are shown."""
    for option in (
        click.option(
            "--wandb", is_flag=True, help="Also write runs for Weights & Biases; WANDB_MODE=offline without an account."
        ),
        click.option(
            "--tensorboard", is_flag=True, help="Also write events for TensorBoard: RESULTS/NAME/tensorboard."
        ),
    ):
        command = option(command)
    return command


@contextlib.contextmanager
def watched(plans: Sequence[Plan], given: Mapping[str, Any]) -> Iterator[Sequence[Feed]]:
    """Give the sinks that the options ask for, and say where to look."""
    asked = [name for name in ("tensorboard", "wandb") if given.get(name)]
    if not asked:
        yield ()
        return
    from rlbench.study.sinks import open_sinks
    from rlbench.study.sinks.feed import folder_of

    with open_sinks(plans, given["results"], tensorboard="tensorboard" in asked, wandb="wandb" in asked) as sinks:
        folders = dict.fromkeys(str(folder_of(plan, given["results"])) for plan in plans)
        for name in asked:
            click.echo(f"{name}: {', '.join(f'{folder}/{name}' for folder in folders)}")
        yield sinks
