"""Where runs can be watched beside the store: TensorBoard and Weights & Biases, written from the stored records.

A sink gets the progress of packs and the runs that were stored. It works in a thread, so that training never waits for
it, and a sink that fails is switched off. All that it writes can be written again from the store.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from rlbench.errors import RlbenchError
from rlbench.study.plan import Plan, cells_of
from rlbench.study.sinks.sink import Sink, Warn, folder_of, places_of, switched_off
from rlbench.study.sinks.tensorboard_files import EventFiles
from rlbench.study.sinks.wandb_runs import WandbRuns

__all__ = ["Sink", "folder_of", "open_sinks"]

_LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def open_sinks(
    plans: Sequence[Plan],
    results_dir: str | Path,
    names: Collection[str],
    warn: Warn = _LOG.warning,
) -> Iterator[list[Sink]]:
    """Give the sinks of these `names`, of "tensorboard" and "wandb"; `warn` gets a sentence on each that fails.

    In the end they also show what is stored of the plans and not shown yet; on Ctrl-C what is stored by then is shown,
    without looking for more.

    Raises:
        RlbenchError: a package is missing, or nobody is logged in to Weights & Biases.
    """
    for name in names:
        module = importlib.util.find_spec(name)
        if module is None or module.origin is None:  # a folder of its name, such as wandb leaves, is not the package
            raise RlbenchError(f"--{name} needs the package {name}: `pip install 'rlbench[{name}]'`.")
    places = places_of(plans, results_dir) if names else {}
    sinks: list[Sink] = []
    try:
        if "tensorboard" in names:
            sinks.append(EventFiles(places, folder_of(plans[0], results_dir), warn))
        if "wandb" in names and os.environ.get("WANDB_MODE") != "disabled":
            try:
                sinks.append(WandbRuns(places, warn))
            except RlbenchError:
                raise
            except Exception as problem:  # the server cannot be asked
                warn(switched_off(WandbRuns.title, problem))
        yield sinks
        for sink in sinks:
            sink.fill_in(cells_of(plans), results_dir)
    finally:
        for sink in sinks:
            sink.close()
