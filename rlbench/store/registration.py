"""Pre-registration: which claims were made when, and how many of the runs were stored by then.

    RESULTS/NAME/claims.json    one entry per version of the claims, in the order of time; entries are only added

An entry is written before the runs start: the claims, their SHA-256, the time (UTC), and how many of the planned runs
were stored already. It is a record for honest people: who can write the folder can also forge it, unless the hash is
published elsewhere.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlbench.claims import digest
from rlbench.errors import RlbenchError
from rlbench.store.files import write_atomically

REGISTER = "claims.json"


def register_claims(folder: Path, claims: Sequence[Mapping[str, Any]], stored: int, planned: int) -> None:
    """Add an entry to the register in `folder`, unless these claims are the latest there, or there were never any.

    Raises:
        RlbenchError: the register cannot be read or written.
    """
    entries = read_register(folder)
    sha = digest(claims)
    if entries[-1]["sha256"] == sha if entries else not claims:
        return
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    entry = {"sha256": sha, "time": now, "stored": stored, "planned": planned, "claims": [dict(one) for one in claims]}
    path = folder / REGISTER
    try:
        write_atomically(path, json.dumps([*entries, entry], indent=1).encode() + b"\n")
    except OSError as problem:
        raise RlbenchError(f"Cannot write {path}: {problem.strerror or problem}.") from problem


def read_register(folder: Path) -> list[dict[str, Any]]:
    """Return the entries of the register in `folder`, the oldest first; none if there is no register.

    Raises:
        RlbenchError: the register is damaged, or an entry's claims do not give its hash.
    """
    path = folder / REGISTER
    try:
        entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        for entry in entries:
            _ = entry["time"], int(entry["stored"]), int(entry["planned"])
            if digest(entry["claims"]) != entry["sha256"]:
                raise RlbenchError(f"{path} was changed by hand: an entry's claims do not give its hash.")
        return entries
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as problem:
        raise RlbenchError(f"Cannot read {path}: {problem.strerror or problem}.") from problem
    except (ValueError, TypeError, KeyError) as problem:
        raise RlbenchError(f"{path} is damaged; move it away to register the claims anew.") from problem
