"""TensorBoard: one event file per run, written by tensorboard's own record writer; TensorFlow is never imported.

    RESULTS/NAME/tensorboard/EXPERIMENT/ARM/ENVIRONMENT/SEED/events.out.tfevents.CELL.STATUS
    RESULTS/NAME/tensorboard/_live/PACK-.../      the mean return of a pack that trains; gone when its runs are there

NAME is that of the suite or of the experiment by itself. The file of a run is written under a name that TensorBoard
passes over, and renamed. Its own name says of which run it is and how that ended, so that it is written once and
replaced when something else trained there. TensorBoard keeps values as float32. An event's wall time is when it was
written: the records know steps, not times.
"""

from __future__ import annotations

import io
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from rlbench.files import file_name, fill, is_stale, refuse_links
from rlbench.records import Progress, RunRecord
from rlbench.study.plan import Cell
from rlbench.study.schedule import Pack
from rlbench.study.sinks.sink import LIVE, Place, Places, Sink, Warn, parameters, points, used

_FOLDER = "tensorboard"
_LIVE_FOLDER = "_live"  # no experiment's name begins so
_PREFIX = "events.out.tfevents"


class EventFiles(Sink):
    """The sink of `--tensorboard`; live curves go to `folder`, which lies in the results folder."""

    title = "TensorBoard"

    def __init__(self, places: Places, folder: Path, warn: Warn) -> None:
        self._live_folder = folder / _FOLDER / _LIVE_FOLDER
        refuse_links(self._live_folder, inside=folder.parent)
        for file in self._live_folder.glob(f"*/{_PREFIX}.live"):
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

    def _begin(self, pack: Pack) -> _EventCurve:
        return _EventCurve(self._live_folder / f"{file_name(pack.title)}-{secrets.token_hex(3)}")

    def _has(self, place: Place, cell: Cell, status: str) -> bool:
        return (_folder(place) / _name(cell, status)).is_file()

    def _write(self, place: Place, cell: Cell, record: RunRecord) -> None:
        """Make the run's file the only events of its folder, whole or not at all."""
        folder = _folder(place)
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{secrets.token_hex(4)}.tmp"  # not a name of events
        try:
            fill(temporary, _encoded(cell, record), durable=True)
            for old in folder.glob(f"{_PREFIX}.*"):
                old.unlink(missing_ok=True)
            os.replace(temporary, folder / _name(cell, record.status))
        finally:
            temporary.unlink(missing_ok=True)


class _EventCurve:
    """The event file of a pack that trains, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._file = open(folder / f"{_PREFIX}.live", "wb")  # noqa: SIM115  # open as long as the pack trains
        self._events = _Events(self._file)

    def add(self, progress: Progress) -> None:
        self._events.add_values(progress.step, {LIVE: progress.mean_return})
        self._file.flush()  # for TensorBoard to see at once

    def close(self) -> None:
        self._file.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class _Events:
    """Writes events to a file."""

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


def _folder(place: Place) -> Path:
    path = place.folder.joinpath(_FOLDER, *place.parts)
    refuse_links(path, inside=place.folder.parent)
    return path


def _name(cell: Cell, status: str) -> str:
    return f"{_PREFIX}.{cell.id}.{status}"
