"""Where runs can be watched beside the store: TensorBoard and Weights & Biases, written from the stored records.

A sink gets the progress of packs and the runs that were stored. It works in a thread, so that training never waits for
it, and a sink that fails is switched off. All that it writes can be written again from the store.

TensorBoard: one event file per run, by tensorboard's own record writer; TensorFlow is never imported.

    RESULTS/NAME/tensorboard/EXPERIMENT/ARM/ENVIRONMENT/SEED/events.out.tfevents.CELL.STATUS
    RESULTS/NAME/tensorboard/_live/PACK-.../      the mean return of a pack that trains; gone when its runs are there

NAME is that of the suite or of the experiment by itself. The file of a run is written under a name that TensorBoard
passes over, and renamed. Its own name says of which run it is and how that ended, so that it is written once and
replaced when something else trained there. TensorBoard keeps values as float32. An event's wall time is when it was
written: the records know steps, not times.

Weights & Biases: one run there per training run, under the id of its cell, so that none is there twice.

    RESULTS/NAME/wandb/                        what wandb writes: offline runs, logs
    RESULTS/NAME/wandb/complete/CELL.STATUS    the run was written to its end, as it ended

The project is NAME unless WANDB_PROJECT names another; experiments are groups, arms are job types. A run that several
experiments share belongs to the first of them. A run without its mark is written anew, and replaces on the server what
is there of it.
"""

import abc
import contextlib
import importlib.util
import io
import json
import logging
import math
import os
import queue
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple

import numpy as np

from rlbench.errors import RlbenchError
from rlbench.files import file_name, fill, folder, is_stale, refuse_links, write
from rlbench.records import EVALUATED, Progress, RunRecord
from rlbench.store import Store
from rlbench.store.folders import home
from rlbench.study.executors.worker import describe
from rlbench.study.plan import Cell, Plan, cells_of
from rlbench.study.schedule import Pack

_LOG = logging.getLogger(__name__)
_LIVE = "live/mean_return"
_GROUPS = {"episodes": "train", "updates": "update"}  # what precedes a column's name: `train/return`, `update/kl`
_SECONDS = 1.0  # between two points of a live curve
_TENSORBOARD, _WANDB = "tensorboard", "wandb"  # packages, and folders
_LIVE_FOLDER = "_live"  # no experiment's name begins so
_EVENTS = "events.out.tfevents"
_UPLOAD_SECONDS = 300.0  # for the end of a run to reach Weights & Biases
_LONGEST_NAME, _LONGEST_TAG = 128, 64  # characters that wandb takes

Places = Mapping[str, Sequence["Place"]]
"""Where every run is shown, by the id of its cell: once for each experiment that it belongs to."""


class Place(NamedTuple):
    """Where an experiment shows a run: in the results folder of its suite or its own, under parts safe as file names.

    `experiment` and `arm` are the names as they were given; two arms that are alike but for characters that a file
    name cannot hold have different `parts`.
    """

    folder: Path
    experiment: str
    arm: str
    parts: tuple[str, ...]


class LiveCurve(NamedTuple):
    """Shows one pack while it trains: `add` a point; `close` it where the runs of the pack are shown instead."""

    add: Callable[[Progress], None]
    close: Callable[[], Any]


class Sink(abc.ABC):
    """Shows runs, in a thread of its own and in the order of the calls; training never waits for it.

    The methods that a sink defines run in that thread and may raise what they like: the sink is then switched off,
    `warn` gets a sentence that says so, and the runs go on.
    """

    title: ClassVar[str]
    """The sink's name for people."""

    def __init__(self, places: Places, warn: Callable[[str], None], seconds: float = _SECONDS) -> None:
        self._places, self._warn, self._seconds = places, warn, seconds
        self._next: dict[Pack, float] = {}
        self._live: dict[Pack, tuple[LiveCurve, int]] = {}  # with the step of the last point
        self._stored: set[str] = set()
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=self.title, daemon=True)
        self._thread.start()

    def progress(self, pack: Pack, progress: Progress) -> None:
        """Show how far a pack is, about once a second; not at once, since a short pack needs no live curve."""
        now = time.monotonic()
        if now >= self._next.setdefault(pack, now + self._seconds) and math.isfinite(progress.mean_return):
            self._next[pack] = now + self._seconds
            self._calls.put(partial(self._add_point, pack, progress))

    def stored(self, cell: Cell, record: RunRecord) -> None:
        """Show a run that was stored, in place of what was shown of it before; end the curve of its pack."""
        self._calls.put(partial(self._show, cell, record))

    def fill_in(self, cells: Sequence[Cell], results_dir: str | Path) -> None:
        """Show those of the cells that are stored and not shown: from runs without this sink, or before it failed."""
        store = Store(results_dir)
        for cell in cells:
            self._calls.put(partial(self._fill_in, cell, store))

    def close(self) -> None:
        """Wait until everything is shown; Ctrl-C leaves that early, and the same command shows the rest."""
        self._calls.put(None)
        self._thread.join()

    def _work(self) -> None:
        calls = iter(self._calls.get, None)
        try:
            for call in calls:
                call()
            self._end()
        except Exception as problem:
            self._warn(_switched_off(self.title, problem))
            with contextlib.suppress(Exception):
                self._end()
            for _ in calls:  # keep nothing of what comes until `close`
                pass

    def _add_point(self, pack: Pack, progress: Progress) -> None:
        if pack in self._live and progress.step <= self._live[pack][1]:  # it is tried again, from its start
            self._live.pop(pack)[0].close()
        curve = self._live[pack][0] if pack in self._live else self._begin(pack)
        self._live[pack] = (curve, progress.step)
        curve.add(progress)

    def _show(self, cell: Cell, record: RunRecord) -> None:
        for place in self._places.get(cell.id, ()):
            self._write(place, cell, record)
        self._stored.add(cell.id)
        for pack in list(self._live):
            if self._stored.issuperset(each.id for each in pack.cells):  # maybe trained in several parts
                self._live.pop(pack)[0].close()

    def _fill_in(self, cell: Cell, store: Store) -> None:
        manifest, places = store.manifest(cell.id), self._places.get(cell.id, ())
        if manifest is None or all(self._has(place, cell, manifest["status"]) for place in places):
            return
        if stored := store.read(cell.id):
            outcome, (_, *tables) = manifest["outcome"], stored
            episodes, updates = (
                {name: np.asarray(table[name].to_numpy()) for name in table.column_names} for table in tables
            )
            kept = {name: outcome[name] for name in ("gradient_steps", "samples", "seconds") if name in outcome}
            record = RunRecord(manifest["status"], outcome["reason"], outcome["steps_done"], episodes, updates, **kept)
            self._show(cell, record)

    def _end(self) -> None:
        for pack in list(self._live):
            self._live.pop(pack)[0].close()

    @abc.abstractmethod
    def _begin(self, pack: Pack) -> LiveCurve: ...

    @abc.abstractmethod
    def _has(self, place: Place, cell: Cell, status: str) -> bool: ...

    @abc.abstractmethod
    def _write(self, place: Place, cell: Cell, record: RunRecord) -> None: ...


def _switched_off(title: str, problem: Exception) -> str:
    return (
        f"{title} was switched off: {describe(problem).rstrip('.')}. "
        "Runs are stored all the same, and the same command shows what is missing."
    )


@contextlib.contextmanager
def open_sinks(
    plans: Sequence[Plan],
    results_dir: str | Path,
    names: Collection[str],
    warn: Callable[[str], None] = _LOG.warning,
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
        if _TENSORBOARD in names:
            sinks.append(EventFiles(places, folder_of(plans[0], results_dir), warn))
        if _WANDB in names and os.environ.get("WANDB_MODE") != "disabled":
            try:
                sinks.append(WandbRuns(places, warn))
            except RlbenchError:
                raise
            except Exception as problem:  # the server cannot be asked
                warn(_switched_off(WandbRuns.title, problem))
        yield sinks
        for sink in sinks:
            sink.fill_in(cells_of(plans), results_dir)
    finally:
        for sink in sinks:
            sink.close()


def places_of(plans: Sequence[Plan], results_dir: str | Path) -> dict[str, list[Place]]:
    """Return the places of every run by the id of its cell: one for each experiment that it belongs to."""
    places: dict[str, list[Place]] = {}
    for plan in plans:
        folder, name = folder_of(plan, results_dir), plan.experiment.name
        arms = _file_names([cell.arm for cell in plan.cells])
        environments = _file_names([cell.environment.label for cell in plan.cells])
        for cell in plan.cells:
            parts = (name, arms[cell.arm], environments[cell.environment.label], str(cell.seed))
            places.setdefault(cell.id, []).append(Place(folder, name, cell.arm, parts))
    return places


def _file_names(labels: Sequence[str]) -> dict[str, str]:
    taken: set[str] = set()
    return {label: file_name(label, taken) for label in dict.fromkeys(labels)}


def folder_of(plan: Plan, results_dir: str | Path) -> Path:
    """Return the results folder of a plan's suite, or that of an experiment by itself."""
    return Path(results_dir) / plan.suite if plan.suite else home(results_dir, plan.experiment.name)


def parameters(cell: Cell, record: RunRecord) -> dict[str, bool | int | float | str]:
    """Return what a run was and how it ended, its hyper-parameters as `field.NAME`; what is no number is a text."""
    fields: Mapping[str, Any] = cell.identity.get("settings", {})
    plain = bool | int | float | str
    return {
        **{f"field.{name}": x if isinstance(x, plain) else json.dumps(x) for name, x in fields.items()},
        "algorithm": cell.planned.algorithm,
        "arm": cell.arm,
        "environment": cell.environment.label,
        "seed": cell.seed,
        "budget": cell.steps,
        "status": record.status,
        "reason": record.reason,
    }


def used(record: RunRecord) -> dict[str, float]:
    """Return how far a run came and what it took."""
    return {f"used/{name}": getattr(record, name) for name in ("steps", "gradient_steps", "samples", "seconds")}


def points(record: RunRecord) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield (environment steps, values by name) of every row of both tables, in the order of the steps.

    Evaluations have no values in the rows of updates after which there was none.
    """
    rows: list[tuple[int, dict[str, float]]] = []
    for table, group in _GROUPS.items():
        columns = {name: column.tolist() for name, column in getattr(record, table).items()}
        for step, *values in zip(columns.pop("step", []), *columns.values(), strict=True):
            known = [
                (name, x) for name, x in zip(columns, values, strict=True) if not (name in EVALUATED and math.isnan(x))
            ]
            rows.append((step, {f"{group}/{name}": value for name, value in known}))
    yield from sorted(rows, key=lambda row: row[0])


class EventFiles(Sink):
    """The sink of `--tensorboard`; live curves go to `folder`, which lies in the results folder."""

    title = "TensorBoard"

    def __init__(self, places: Places, folder: Path, warn: Callable[[str], None]) -> None:
        self._live_folder = folder / _TENSORBOARD / _LIVE_FOLDER
        refuse_links(self._live_folder, inside=folder.parent)
        for file in self._live_folder.glob(f"*/{_EVENTS}.live"):
            try:
                if is_stale(file.stat()):  # of a process that was killed
                    shutil.rmtree(file.parent, ignore_errors=True)
            except OSError:
                continue  # another process removed it first
        super().__init__(places, warn)

    def _end(self) -> None:
        super()._end()
        if self._live_folder.is_dir() and not any(self._live_folder.iterdir()):
            self._live_folder.rmdir()

    def _begin(self, pack: Pack) -> LiveCurve:
        folder = self._live_folder / f"{file_name(pack.title)}-{secrets.token_hex(3)}"
        folder.mkdir(parents=True)
        file = open(folder / f"{_EVENTS}.live", "wb")  # noqa: SIM115  # open as long as the pack trains
        events = _Events(file)

        def add(progress: Progress) -> None:
            events.add_values(progress.step, {_LIVE: progress.mean_return})
            file.flush()  # for TensorBoard to see at once

        def close() -> None:
            file.close()
            shutil.rmtree(folder, ignore_errors=True)

        return LiveCurve(add, close)

    def _has(self, place: Place, cell: Cell, status: str) -> bool:
        return (_event_folder(place) / _event_file(cell, status)).is_file()

    def _write(self, place: Place, cell: Cell, record: RunRecord) -> None:
        """Make the run's file the only events of its folder, whole or not at all."""
        folder = _event_folder(place)
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{secrets.token_hex(4)}.tmp"  # not a name of events
        try:
            fill(temporary, _encoded(cell, record), durable=True)
            for old in folder.glob(f"{_EVENTS}.*"):
                old.unlink(missing_ok=True)
            os.replace(temporary, folder / _event_file(cell, record.status))
        finally:
            temporary.unlink(missing_ok=True)


class _Events:
    def __init__(self, file: BinaryIO) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._writer = RecordWriter(file)
        self.add(file_version="brain.Event:2")

    def add(self, **event: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.write(Event(wall_time=time.time(), **event).SerializeToString())

    def add_values(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        summary = Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])
        self.add(step=step, summary=summary)


def _encoded(cell: Cell, record: RunRecord) -> bytes:
    """Return the event file of a run: hyper-parameters and outcome for the HParams page, and every number."""
    buffer = io.BytesIO()
    events = _Events(buffer)
    for summary in _session(cell, record):
        events.add(summary=summary)
    for step, values in points(record):
        events.add_values(step, values)
    events.add_values(record.steps, used(record))
    return buffer.getvalue()


def _session(cell: Cell, record: RunRecord) -> list[Any]:
    """Return the summaries from which the HParams page takes the run's row."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    now = time.time()
    status = api_pb2.STATUS_SUCCESS if record.status == "finished" else api_pb2.STATUS_FAILURE
    start = plugin_data_pb2.SessionStartInfo(start_time_secs=now - record.seconds)
    for name, value in parameters(cell, record).items():
        kind = "bool" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"
        setattr(start.hparams[name], f"{kind}_value", value)
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=now)
    contents = {
        metadata.SESSION_START_INFO_TAG: plugin_data_pb2.HParamsPluginData(session_start_info=start),
        metadata.SESSION_END_INFO_TAG: plugin_data_pb2.HParamsPluginData(session_end_info=end),
    }
    summaries = []
    for tag, content in contents.items():
        described = metadata.create_summary_metadata(content)
        summaries.append(Summary(value=[Summary.Value(tag=tag, metadata=described, tensor=metadata.NULL_TENSOR)]))
    return summaries


def _event_folder(place: Place) -> Path:
    path = place.folder.joinpath(_TENSORBOARD, *place.parts)
    refuse_links(path, inside=place.folder.parent)
    return path


def _event_file(cell: Cell, status: str) -> str:
    return f"{_EVENTS}.{cell.id}.{status}"


class WandbRuns(Sink):
    """The sink of `--wandb`; a pack that trains is a run of the job type "live", if there is a server to show it.

    Raises RlbenchError where nobody is logged in for whom runs could be uploaded.
    """

    title = "Weights & Biases"

    def __init__(self, places: Places, warn: Callable[[str], None]) -> None:
        online = (os.environ.get("WANDB_MODE") or "online") == "online"
        if online:
            import wandb

            wandb.setup(settings=wandb.Settings(silent=True))
            if not wandb.login(prompt=False):
                raise RlbenchError(
                    "--wandb: nobody is logged in to Weights & Biases; log in with `wandb login`, set WANDB_API_KEY, "
                    "or set WANDB_MODE=offline to write runs that `wandb sync` uploads later."
                )
        # Where there is no server nobody could look while a pack trains.
        seconds = _SECONDS if online else math.inf
        super().__init__({cell: shared[:1] for cell, shared in places.items()}, warn, seconds)

    def _end(self) -> None:
        super()._end()
        if wandb := sys.modules.get("wandb"):  # not imported where nothing was written
            wandb.teardown()

    def _begin(self, pack: Pack) -> LiveCurve:
        place = self._places[pack.cells[0].id][0]
        run = _begin_run(place, job_type="live", name=pack.title[:_LONGEST_NAME])
        return LiveCurve(lambda progress: run.log({"step": progress.step, _LIVE: progress.mean_return}), run.finish)

    def _has(self, place: Place, cell: Cell, status: str) -> bool:
        return _mark(place, cell, status).is_file()

    def _write(self, place: Place, cell: Cell, record: RunRecord) -> None:
        # What was begun of the run before goes first: `wandb sync` would upload both.
        home = folder(place.folder / _WANDB / "complete", inside=place.folder.parent).parent
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


def _begin_run(place: Place, **named: Any) -> Any:
    """Begin a run of wandb's, which prints nothing and looks at nothing but what it is given."""
    import wandb

    folder(place.folder / _WANDB, inside=place.folder.parent)
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
    return place.folder / _WANDB / "complete" / f"{cell.id}.{status}"
