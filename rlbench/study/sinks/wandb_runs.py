"""Weights & Biases: one run there per training run, under the id of its cell, so that none is there twice.

    RESULTS/NAME/wandb/                        what wandb writes: offline runs, logs
    RESULTS/NAME/wandb/complete/CELL.STATUS    the run was written to its end, as it ended

The project is NAME, that of the suite or of the experiment by itself, unless WANDB_PROJECT names another; experiments
are groups, arms are job types. A run that several experiments share belongs to the first of them. A run without its
mark is written anew, and replaces on the server what is there of it.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

from rlbench.errors import RlbenchError
from rlbench.files import folder, write
from rlbench.records import Progress, RunRecord
from rlbench.study.plan import Cell
from rlbench.study.schedule import Pack
from rlbench.study.sinks.sink import LIVE, Place, Places, Sink, Warn, parameters, points, used

_FOLDER = "wandb"
_UPLOAD_SECONDS = 300.0  # for the end of a run to reach the server
_LONGEST_NAME, _LONGEST_TAG = 128, 64  # characters that wandb takes


class WandbRuns(Sink):
    """The sink of `--wandb`; a pack that trains is a run of the job type "live", if there is a server to show it.

    Raises RlbenchError where nobody is logged in for whom runs could be uploaded.
    """

    title = "Weights & Biases"

    def __init__(self, places: Places, warn: Warn) -> None:
        self._online = (os.environ.get("WANDB_MODE") or "online") == "online"
        if self._online:
            import wandb

            wandb.setup(settings=wandb.Settings(silent=True))
            if not wandb.login(prompt=False):
                raise RlbenchError(
                    "--wandb: nobody is logged in to Weights & Biases; log in with `wandb login`, set WANDB_API_KEY, "
                    "or set WANDB_MODE=offline to write runs that `wandb sync` uploads later."
                )
        super().__init__({cell: shared[:1] for cell, shared in places.items()}, warn)

    def progress(self, pack: Pack, progress: Progress) -> None:
        if self._online:  # else nobody could look
            super().progress(pack, progress)

    def _end(self) -> None:
        super()._end()
        if wandb := sys.modules.get("wandb"):  # not imported where nothing was written
            wandb.teardown()

    def _begin(self, pack: Pack) -> _LiveRun:
        place = self._places[pack.cells[0].id][0]
        return _LiveRun(_begin_run(place, job_type="live", name=pack.title[:_LONGEST_NAME]))

    def _has(self, place: Place, cell: Cell, status: str) -> bool:
        return _mark(place, cell, status).is_file()

    def _write(self, place: Place, cell: Cell, record: RunRecord) -> None:
        # What was begun of the run before goes first: `wandb sync` would upload both.
        home = folder(place.folder / _FOLDER / "complete", inside=place.folder.parent).parent
        for path in [*home.glob(f"*run-*-{cell.id}"), *home.glob(f"complete/{cell.id}.*")]:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        run = _begin_run(
            place,
            id=cell.id,
            job_type=place.arm[:_LONGEST_TAG],
            name=f"{place.arm}, {cell.environment.label}, {cell.seed}"[:_LONGEST_NAME],
            tags=[cell.environment.label[:_LONGEST_TAG], f"seed {cell.seed}"],
            config=parameters(cell, record),
        )
        for step, values in points(record):
            run.log({"step": step, **values})
        run.summary.update(used(record))
        run.finish(exit_code=int(record.status == "failed"))
        write(_mark(place, cell, record.status), b"", inside=place.folder.parent)


class _LiveRun(NamedTuple):
    run: Any

    def add(self, progress: Progress) -> None:
        self.run.log({"step": progress.step, LIVE: progress.mean_return})

    def close(self) -> None:
        self.run.finish()


def _begin_run(place: Place, **named: Any) -> Any:
    """Begin a run of wandb's, which prints nothing and looks at nothing but what it is given."""
    import wandb

    folder(place.folder / _FOLDER, inside=place.folder.parent)
    settings = wandb.Settings(
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        finish_timeout=_UPLOAD_SECONDS,
        finish_timeout_raises=True,
    )
    run = wandb.init(
        dir=place.folder,
        project=os.environ.get("WANDB_PROJECT") or place.folder.name,
        group=place.experiment[:_LONGEST_NAME],
        reinit="create_new",  # beside the live ones
        settings=settings,
        **named,
    )
    run.define_metric("step", hidden=True)
    run.define_metric("*", step_metric="step")
    return run


def _mark(place: Place, cell: Cell, status: str) -> Path:
    return place.folder / _FOLDER / "complete" / f"{cell.id}.{status}"
