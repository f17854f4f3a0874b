"""Pre-registration: which claims were made when, and how many of the runs were stored by then.

    RESULTS/NAME/claims.json    one entry per version of the claims, in the order of time; entries are only added

An entry is written before the runs start: the claims, their SHA-256, the time (UTC), and how many of the planned runs
were stored already; `each` says the same of the runs of each claim, which entries of before lack. It is a record for
honest people: who can write the folder can also forge it, unless the hash is published elsewhere.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlbench.claims import digest
from rlbench.errors import RlbenchError
from rlbench.files import read_json, write
from rlbench.shapes import ANY, COUNT, TEXT, Each, check

REGISTER = "claims.json"
_COUNTS = {"stored": COUNT, "planned": COUNT}
_ENTRIES = [{"sha256": TEXT, "time": TEXT, **_COUNTS, "claims": [Each(ANY)], "each?": [_COUNTS]}]
Counts = Mapping[str, int]
"""How many runs are `stored`, of how many that are `planned`."""


def register_claims(
    folder: Path,
    claims: Sequence[Mapping[str, Any]],
    runs: Counts,
    each: Sequence[Counts],
    inside: Path | None = None,
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
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    written = {"claims": [dict(one) for one in claims], "each": [dict(one) for one in each]}
    entry = {"sha256": sha, "time": now, **runs, **written}
    path = folder / REGISTER
    try:
        write(path, json.dumps([*entries, entry], indent=1) + "\n", inside=inside or folder)
    except OSError as problem:
        raise RlbenchError(f"Cannot write {path}: {problem.strerror or problem}.") from problem


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
