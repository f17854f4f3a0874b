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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlbench.errors import RlbenchError
from rlbench.files import folder, write
from rlbench.records import Progress, RunRecord
from rlbench.study.plan import Cell
from rlbench.study.schedule import Pack
from rlbench.study.sinks.feed import Place, parameters, points, used

FOLDER = "wandb"
_UPLOAD_SECONDS = 300.0  # for the end of a run to reach the server
_LONGEST_NAME, _LONGEST_TAG = 128, 64  # characters that wandb takes


class WandbRuns:
    """The sink of `--wandb`; `places` are those of the runs by cell.

    `live` also shows packs that train, each as a run of the job type "live"; without a server nobody could look.
    """

    title = "Weights & Biases"

    def __init__(self, places: Mapping[str, Sequence[Place]], *, live: bool) -> None:
        self._places, self._shows_live = places, live
        self._live: dict[Pack, Any] = {}

    def progress(self, pack: Pack, progress: Progress) -> None:
        """Add a point to the pack's run."""
        if not self._shows_live:
            return
        if pack not in self._live:
            place = self._places[pack.cells[0].id][0]
            self._live[pack] = _begin(place, job_type="live", name=pack.title[:_LONGEST_NAME])
        self._live[pack].log({"step": progress.step, "live/mean_return": progress.mean_return})

    def ended(self, pack: Pack) -> None:
        """End the pack's run."""
        if pack in self._live:
            self._live.pop(pack).finish()

    def has(self, cell: Cell, status: str) -> bool:
        """Return whether the run was written to its end."""
        return all(_mark(place, cell, status).is_file() for place in self._places.get(cell.id, ())[:1])

    def stored(self, cell: Cell, record: RunRecord) -> None:
        """Write a run, in place of what was begun of it before."""
        for place in self._places.get(cell.id, ())[:1]:
            _forget(place, cell)
            self._write(place, cell, record)
            write(_mark(place, cell, record.status), b"", inside=place.folder.parent)

    def close(self) -> None:
        """End the runs of packs that did not end, and wandb's own process."""
        for pack in list(self._live):
            self.ended(pack)
        if wandb := sys.modules.get("wandb"):  # not imported where nothing was written
            wandb.teardown()

    def _write(self, place: Place, cell: Cell, record: RunRecord) -> None:
        run = _begin(
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


def mode() -> str:
    """Return the mode that WANDB_MODE asks for, "online" without it.

    Raises RlbenchError where nobody is logged in whom runs could be uploaded for.
    """
    asked = os.environ.get("WANDB_MODE") or "online"
    if asked == "online":
        import wandb

        wandb.setup(settings=wandb.Settings(silent=True))
        if not wandb.login(prompt=False):
            raise RlbenchError(
                "--wandb: nobody is logged in to Weights & Biases; log in with `wandb login`, set WANDB_API_KEY, or "
                "set WANDB_MODE=offline to write runs that `wandb sync` uploads later."
            )
    return asked


def _begin(place: Place, **named: Any) -> Any:
    """Begin a run of wandb's, which says nothing and looks at nothing but what it is given."""
    import wandb

    folder(place.folder / FOLDER, inside=place.folder.parent)
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


def _forget(place: Place, cell: Cell) -> None:
    """Remove what was written of a run that is written anew: `wandb sync` would upload both."""
    ours = folder(place.folder / FOLDER / "complete", inside=place.folder.parent).parent
    for path in [*ours.glob(f"*run-*-{cell.id}"), *ours.glob(f"complete/{cell.id}.*")]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _mark(place: Place, cell: Cell, status: str) -> Path:
    return place.folder / FOLDER / "complete" / f"{cell.id}.{status}"
