"""`--tensorboard` and `--wandb`: the options, and what they open."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rlbench.study.plan import AnyPlan
    from rlbench.study.sinks import Feed


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
def watched(plans: Sequence[AnyPlan], given: Mapping[str, Any]) -> Iterator[Sequence[Feed]]:
    """Give the sinks that the options ask for, and say where to look."""
    asked = [name for name in ("tensorboard", "wandb") if given.get(name)]
    if not asked:
        yield ()
        return
    from rlbench.study.sinks import open_sinks
    from rlbench.study.sinks.places import folder_of

    with open_sinks(plans, given["results"], tensorboard="tensorboard" in asked, wandb="wandb" in asked) as sinks:
        folders = dict.fromkeys(str(folder_of(plan, given["results"])) for plan in plans)
        for name in asked:
            click.echo(f"{name}: {', '.join(f'{folder}/{name}' for folder in folders)}")
        yield sinks
