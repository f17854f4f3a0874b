"""What was planned and claimed, kept beside the report, so that a report needs neither the experiment file nor torch.

    RESULTS/NAME/experiment.json    the experiment, and the cell of every planned run
    RESULTS/NAME/claims.json        the register: one entry per version of the claims; entries are only added
    RESULTS/tuned/ALGORITHM.json    the settings that searches found, by environment, and how; rlbench brings some along

An entry of the register is written before the runs start: the claims, their SHA-256, the time (UTC), and how many of
the planned runs were stored already; `each`, which entries of before lack, says the same of the runs of each claim. It
is a record for honest people: who can write the folder can also forge it, unless the hash is published elsewhere.
"""

from __future__ import annotations

import datetime
import glob
import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rlbench.claims import digest, from_document
from rlbench.errors import RlbenchError, brief, explained, nearest
from rlbench.files import (
    ANY,
    COUNT,
    LABEL,
    LABEL_OR_NONE,
    NAME,
    TEXT,
    TEXT_OR_NONE,
    Each,
    check,
    file_name,
    folder,
    is_name,
    read_json,
    write,
)
from rlbench.store import Planned
from rlbench.store.entry import canonical
from rlbench.store.leases import Holder
from rlbench.store.runs import STORE, Store

FILE = "experiment.json"
REGISTER = "claims.json"
TUNED = "tuned"
MEMBERS = "experiments"  # the folder of a suite's experiments
Counts = Mapping[str, int]
"""How many runs are `stored`, of how many that are `planned`."""
_COUNTS = {"stored": COUNT, "planned": COUNT}
_ENTRIES = [{"sha256": TEXT, "time": TEXT, **_COUNTS, "claims": [Each(ANY)], "each?": [_COUNTS]}]
_CELL = {
    "cell": NAME,
    "arm": LABEL,
    "algorithm": LABEL,
    "environment": LABEL,
    "seed": COUNT,
    "steps": COUNT,
    "fingerprint?": TEXT,
}
_EXPERIMENT = {
    "name": NAME,
    "arms": [{"label": LABEL_OR_NONE, "algorithm": LABEL, "settings": Each(ANY), "fields?": Each(ANY)}],
    "environments": [{"id": LABEL, "options": Each(ANY), "specification?": Each(ANY), "wrappers?": [ANY]}],
    "seeds": [COUNT],
    "steps?": Each(COUNT),
    "baseline?": TEXT_OR_NONE,
    "question?": TEXT_OR_NONE,
    "design?": TEXT_OR_NONE,
    "claims?": [Each(ANY)],
    "published?": Each(ANY),
    "search?": NAME,
}


def home(results_dir: str | Path, name: str, suite: str = "") -> Path:
    """Return the folder of an experiment: RESULTS/NAME, as a part of a suite RESULTS/SUITE/experiments/NAME.

    Without a suite, that of the experiment by itself if it was ever run so, else of the suite where it was.
    """
    if suite:
        return Path(results_dir) / suite / MEMBERS / name
    alone = Path(results_dir) / name
    if not os.path.isfile(alone / FILE):
        for folder in sorted(Path(results_dir).glob(f"*/{MEMBERS}/{glob.escape(name)}")):
            return folder
    return alone


def write_specification(
    results_dir: str | Path,
    document: Mapping[str, Any],
    cells: Sequence[Planned],
    asked: Mapping[str, Any],
    suite: str = "",
) -> Path:
    """Write `experiment.json` in the experiment's folder (`home`): the experiment and the cell of every planned run.

    `asked` is the experiment as it was written, before names were looked up and sweeps expanded. Its claims are
    registered first (`registration`): this is called before the runs start.
    """
    folder = home(results_dir, str(document["name"]), suite)
    register(results_dir, folder, [(document.get("claims") or [], cells)])
    written = {"experiment": dict(document), "asked": _digest(asked), "cells": [cell._asdict() for cell in cells]}
    _write_json(folder / FILE, written, results_dir)
    return folder / FILE


def register(
    results_dir: str | Path, folder: Path, asked: Sequence[tuple[Sequence[Mapping[str, Any]], Sequence[Planned]]]
) -> None:
    """Register claims in `folder`, with how many of the runs that shall decide them are stored by now.

    `asked` holds the claims of one experiment or of several, each time with all runs of that experiment.
    """
    store = Store(results_dir)
    planned = {run.cell for _, runs in asked for run in runs}
    stored = {cell for cell in planned if (store.directory / cell).is_dir()}

    def counts(cells: set[str]) -> Counts:
        return {"stored": len(cells & stored), "planned": len(cells)}

    def concerns(claim: Mapping[str, Any], run: Planned) -> bool:
        return run.arm in claim["arms"] and run.environment in (claim.get("environments") or [run.environment])

    pairs = [(claim, runs) for claims, runs in asked for claim in claims]
    each = [counts({run.cell for run in runs if concerns(claim, run)}) for claim, runs in pairs]
    with store.locked():  # another process may register other claims at the same time, and no entry may be lost
        register_claims(folder, [claim for claim, _ in pairs], counts(planned), each, results_dir)


def read_specification(results_dir: str | Path, name: str) -> tuple[dict[str, Any], list[Planned]]:
    """Return (experiment, planned runs) of an experiment that was run; RlbenchError where there is none."""
    path = Path(results_dir) / FILE
    try:
        if not is_name(name):
            raise FileNotFoundError
        path = home(results_dir, name) / FILE
        document = read_json(path)
        check(document, {"experiment": _EXPERIMENT, "cells": [_CELL]}, "it")
        if document["experiment"]["name"] != name:
            raise ValueError("it is that of another experiment")
        for claim in document["experiment"].get("claims", []):
            from_document(claim)
        return document["experiment"], [Planned(**cell) for cell in document["cells"]]
    except OSError as problem:
        known = sorted({path.parent.name for path in _specifications(results_dir)})
        hint = nearest(name, known) if known else f" {results_dir} holds none."
        raise RlbenchError(f"There is no experiment file and no experiment that ran as {name!r}.{hint}") from problem
    except (ValueError, TypeError, RlbenchError) as problem:
        raise RlbenchError(f"{path} is damaged ({problem}); run the experiment file again.") from problem


def known_experiments(results_dir: str | Path) -> tuple[list[Known], list[str]]:
    """Return every experiment that was run in a results folder, and a message for each that cannot be read."""
    known: list[Known] = []
    messages: list[str] = []
    for path in _specifications(results_dir):
        try:
            document = read_json(path)
            check(document, {"experiment": {"name": NAME}, "cells": [{"cell": NAME}]}, "it")
            suite = path.parents[2].name if path.parents[1].name == MEMBERS else ""
            known.append(Known(document["experiment"]["name"], suite, [cell["cell"] for cell in document["cells"]]))
        except (OSError, ValueError):
            messages.append(f"Ignored {path}, which is damaged; run the experiment file again.")
    return known, messages


def _specifications(results_dir: str | Path) -> list[Path]:
    root = Path(results_dir)
    return sorted([*root.glob(f"*/{FILE}"), *root.glob(f"*/{MEMBERS}/*/{FILE}")])


def seems_stored(results_dir: str | Path, asked: Mapping[str, Any], suite: str = "") -> bool:
    """Return whether exactly this was asked for before and something is stored for each of its runs.

    A quick guess, for which no algorithm is looked up: entries may turn out damaged, failed or stale.
    """
    try:
        document = read_json(home(results_dir, str(asked["name"]), suite) / FILE)
        check(document, {"asked": TEXT, "cells": [{"cell": NAME}]}, "it")
    except (OSError, ValueError):
        return False
    cells = (Path(results_dir) / STORE / cell["cell"] for cell in document["cells"])
    return document["asked"] == _digest(asked) and all(cell.is_dir() for cell in cells)


def read_tuned(results_dir: str | Path, algorithm: str) -> dict[str, dict[str, Any]]:
    """Return what is known of good settings of an algorithm, by environment: that of a results folder, or rlbench's."""
    return {**_tuned_in(Path(__file__).parents[1], algorithm), **_tuned_in(results_dir, algorithm)}


def _tuned_in(place: str | Path, algorithm: str) -> dict[str, dict[str, Any]]:
    path = Path(place) / TUNED / f"{file_name(algorithm)}.json"
    try:
        known: dict[str, dict[str, Any]] = read_json(path)
        check(known, Each({"settings": Each(ANY), "steps": COUNT}), "it")
        return known
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as problem:
        raise RlbenchError(f"{path} cannot be read ({problem}); move it away, or search again.") from problem


def write_tuned(results_dir: str | Path, algorithm: str, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Keep good settings of an algorithm, by environment, beside those that are known of others."""
    with explained(f"Cannot write to {results_dir}"):
        path = folder(Path(results_dir) / TUNED, inside=results_dir) / f"{file_name(algorithm)}.json"
    with Store(results_dir).locked():  # another process may have found others
        _write_json(path, {**_tuned_in(results_dir, algorithm), **entries}, results_dir)


def _digest(document: Mapping[str, Any]) -> str:
    text = json.dumps(canonical(document), sort_keys=True, default=brief)
    return hashlib.sha256(text.encode()).hexdigest()


def _write_json(path: Path, document: Any, inside: str | Path) -> None:
    with explained(f"Cannot write {path}"):
        write(path, json.dumps(document, indent=1) + "\n", inside=inside)


def register_claims(
    folder: Path,
    claims: Sequence[Mapping[str, Any]],
    runs: Counts,
    each: Sequence[Counts],
    inside: str | Path,
) -> None:
    """Add an entry to the register in `folder`, unless these claims are the latest there, or there were never any.

    `runs` counts all runs, `each` those of every claim. `inside` is the results folder that `folder` lies in, or is,
    and out of which no link is followed.

    Raises:
        RlbenchError: the register cannot be read or written.
    """
    entries = read_register(folder)
    sha = digest(claims)
    if entries[-1]["sha256"] == sha if entries else not claims:
        return
    entry = {"sha256": sha, "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), **runs}
    entry |= {"claims": [dict(claim) for claim in claims], "each": [dict(counts) for counts in each]}
    _write_json(folder / REGISTER, [*entries, entry], inside)


def read_register(folder: Path) -> list[dict[str, Any]]:
    """Return the entries of the register in `folder`, the oldest first; none if there is no register.

    Raises:
        RlbenchError: the register is damaged, or an entry's claims do not give its hash.
    """
    path = folder / REGISTER
    try:
        entries: list[dict[str, Any]] = read_json(path)
        check(entries, _ENTRIES, str(path))
        hashes = [digest(entry["claims"]) for entry in entries]
        if any(len(entry.get("each", entry["claims"])) != len(entry["claims"]) for entry in entries):
            raise ValueError("it does not count the runs of every claim")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as problem:
        raise RlbenchError(f"Cannot read {path}: {problem.strerror or problem}.") from problem
    except (ValueError, TypeError, RlbenchError) as problem:
        raise RlbenchError(f"{path} is damaged; move it away to register the claims anew.") from problem
    if hashes != [entry["sha256"] for entry in entries]:
        raise RlbenchError(f"{path} was changed by hand: an entry's claims do not give its hash.")
    return entries


class Known(NamedTuple):
    """An experiment by its name, the suite that it ran in (or none), and its cells."""

    name: str
    suite: str
    cells: Collection[str]


class State(NamedTuple):
    """How many runs are planned, and how many of them are in which state; a run is in exactly one."""

    planned: int
    finished: int
    diverged: int
    failed: int
    running: int
    missing: int


def states(experiments: Sequence[Known], store: Store, holders: Iterable[Holder]) -> tuple[list[State], State]:
    """Return the state of each experiment, and that of all their different runs together.

    A run that a living process trains is running, even where an earlier attempt failed.
    """
    cells = {cell for experiment in experiments for cell in experiment.cells}
    status = {cell: manifest["status"] for cell, manifest in store.manifests(cells).items()}
    for cell in cells & {cell for holder in holders if holder.alive for cell in holder.claimed}:
        if status.get(cell) not in ("finished", "diverged"):
            status[cell] = "running"

    def state(cells: Collection[str]) -> State:
        counts = Counter(status.get(cell, "missing") for cell in set(cells))
        return State(counts.total(), *(counts[name] for name in State._fields[1:]))

    return [state(experiment.cells) for experiment in experiments], state(cells)
