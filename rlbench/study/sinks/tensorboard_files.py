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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from rlbench.files import file_name, fill, is_stale, refuse_links
from rlbench.records import Progress, RunRecord
from rlbench.study.plan import Cell
from rlbench.study.schedule import Pack
from rlbench.study.sinks.feed import Place, parameters, points, used

FOLDER = "tensorboard"
LIVE = "_live"  # no experiment's name begins so
_PREFIX = "events.out.tfevents"


class EventFiles:
    """The sink of `--tensorboard`; `places` are those of the runs by cell, `folder` is where live curves go."""

    title = "TensorBoard"

    def __init__(self, places: Mapping[str, Sequence[Place]], folder: Path) -> None:
        self._places, self._live = places, folder / FOLDER / LIVE
        refuse_links(self._live, inside=folder.parent)
        self._curves: dict[Pack, _Curve] = {}
        _sweep(self._live)

    def progress(self, pack: Pack, progress: Progress) -> None:
        """Add a point to the pack's curve; one that starts again gets a new curve."""
        curve = self._curves.get(pack)
        if curve is not None and progress.step <= curve.step:
            self.ended(pack)
            curve = None
        if curve is None:
            name = f"{file_name(pack.title)}-{secrets.token_hex(3)}"
            curve = self._curves[pack] = _Curve(self._live / name)
        curve.add(progress)

    def ended(self, pack: Pack) -> None:
        """Remove the pack's curve: its runs show it, one by one."""
        if pack in self._curves:
            self._curves.pop(pack).remove()

    def has(self, cell: Cell, status: str) -> bool:
        """Return whether the run's file is there, in every experiment that it belongs to."""
        return all((_folder(place) / _name(cell, status)).is_file() for place in self._places.get(cell.id, ()))

    def stored(self, cell: Cell, record: RunRecord) -> None:
        """Write the run's file, in every experiment that it belongs to."""
        data = encoded(cell, record)
        for place in self._places.get(cell.id, ()):
            _replace(_folder(place), _name(cell, record.status), data)

    def close(self) -> None:
        """Remove the curves of packs that did not end."""
        for pack in list(self._curves):
            self.ended(pack)
        if self._live.is_dir() and not any(self._live.iterdir()):
            self._live.rmdir()


def encoded(cell: Cell, record: RunRecord) -> bytes:
    """Return the event file of a run: hyper-parameters and outcome for the HParams page, and every number."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    now, buffer = time.time(), io.BytesIO()
    writer = RecordWriter(buffer)
    writer.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
    for summary in _session(cell, record, now):
        writer.write(Event(wall_time=now, summary=summary).SerializeToString())
    for step, values in [*points(record), (record.steps, used(record))]:
        writer.write(_scalars(now, step, values))
    return buffer.getvalue()


def _scalars(now: float, step: int, values: Mapping[str, float]) -> bytes:
    """Return one event with the values of a step."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    summary = Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])
    data: bytes = Event(wall_time=now, step=step, summary=summary).SerializeToString()
    return data


def _session(cell: Cell, record: RunRecord, now: float) -> list[Any]:
    """Return the summaries from which the HParams page takes the run's row."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

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
    return [
        Summary(
            value=[
                Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(content), tensor=metadata.NULL_TENSOR)
            ]
        )
        for tag, content in contents.items()
    ]


class _Curve:
    """The event file of a pack that trains, which grows."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.step = -1
        self._folder = folder
        folder.mkdir(parents=True)
        self._file: BinaryIO = open(folder / f"{_PREFIX}.live", "wb")  # noqa: SIM115  # open as long as the pack trains
        self._writer = RecordWriter(self._file)
        self._writer.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())

    def add(self, progress: Progress) -> None:
        """Add a point, for TensorBoard to see at once."""
        self.step = progress.step
        self._writer.write(_scalars(time.time(), progress.step, {"live/mean_return": progress.mean_return}))
        self._file.flush()

    def remove(self) -> None:
        """Close and delete the file."""
        self._file.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _folder(place: Place) -> Path:
    path = place.folder.joinpath(FOLDER, *place.parts)
    refuse_links(path, inside=place.folder.parent)
    return path


def _name(cell: Cell, status: str) -> str:
    return f"{_PREFIX}.{cell.id}.{status}"


def _replace(folder: Path, name: str, data: bytes) -> None:
    """Make `data` the only events of a folder, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{secrets.token_hex(4)}.tmp"  # not a name of events
    try:
        fill(temporary, data, durable=True)
        for old in folder.glob(f"{_PREFIX}.*"):
            old.unlink(missing_ok=True)
        os.replace(temporary, folder / name)
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(live: Path) -> None:
    """Remove the curves that killed processes left behind."""
    for file in live.glob(f"*/{_PREFIX}.live"):
        try:
            if is_stale(file.stat()):
                shutil.rmtree(file.parent, ignore_errors=True)
        except OSError:
            continue  # another process was faster
