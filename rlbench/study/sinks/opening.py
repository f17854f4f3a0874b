"""From what the command line asks for to sinks that listen."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rlbench.errors import RlbenchError
from rlbench.study.plan import Plan, cells_of
from rlbench.study.sinks import tensorboard_files, wandb_runs
from rlbench.study.sinks.feed import Feed, Say, Sink, folder_of, places_of, switched_off


def say(sentence: str) -> None:
    """Print a warning on stderr; a progress bar moves out of its way."""
    print(f"warning: {sentence}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def open_sinks(
    plans: Sequence[Plan],
    results_dir: str | Path,
    *,
    tensorboard: bool = False,
    wandb: bool = False,
    say: Say = say,
) -> Iterator[list[Feed]]:
    """Give the sinks that are asked for; in the end they also show what is stored of the plans and not shown yet.

    Raises RlbenchError where a package is missing or nobody is logged in. On Ctrl-C what is stored by then is shown,
    without looking for more.
    """
    feeds = [Feed(sink, say) for sink in _sinks(plans, results_dir, tensorboard, wandb, say)]
    try:
        yield feeds
        for feed in feeds:
            feed.fill_in(cells_of(plans), results_dir)
    finally:
        for feed in feeds:
            feed.close()


def _sinks(plans: Sequence[Plan], results_dir: str | Path, tensorboard: bool, wandb: bool, say: Say) -> list[Sink]:
    for asked, package in ((tensorboard, "tensorboard"), (wandb, "wandb")):
        if asked:
            _check_installed(package)
    places = places_of(plans, results_dir) if tensorboard or wandb else {}
    sinks: list[Sink] = []
    if tensorboard:
        sinks.append(tensorboard_files.EventFiles(places, folder_of(plans[0], results_dir)))
    if wandb and os.environ.get("WANDB_MODE") != "disabled":
        try:
            sinks.append(wandb_runs.WandbRuns(places, live=wandb_runs.mode() == "online"))
        except RlbenchError:
            raise
        except Exception as problem:  # the server cannot be asked
            say(switched_off(wandb_runs.WandbRuns.title, problem))
    return sinks


def _check_installed(package: str) -> None:
    """Refuse a package that is not there; a folder of its name, such as wandb leaves, is not the package."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise RlbenchError(f"--{package} needs the package {package}: `pip install 'rlbench[{package}]'`.")
