"""What produced a run: code, packages, machine. It stands beside a result, never in its identity."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import rlbench
from rlbench.training.machine import processor

_PACKAGES = ("rlbench", "torch", "numpy", "numba", "gymnasium")


def provenance(workers: int) -> dict[str, Any]:
    """Return the part of a manifest that is equal for all runs of one command."""
    commit, dirty = _commit(Path(rlbench.__file__).parent)
    return {
        "commit": commit,
        "dirty": dirty,
        "versions": package_versions(),
        "threads": 1,
        "workers": workers,
        "machine": machine(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def package_versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages that decide a run's numbers; None: not installed."""
    return {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES}


def machine() -> dict[str, Any]:
    """Return what a manifest says of the machine that this process is on."""
    return {"system": platform.platform(), "processor": processor(), "cpus": os.cpu_count()}


def _commit(package: Path) -> tuple[str | None, bool]:
    """Return (commit, whether the package's files differ from it), or (None, False) outside a repository.

    An installed copy may lie inside somebody's repository without being part of it, hence `ls-files`.
    """
    if _git(package, "ls-files", "__init__.py") != "__init__.py":
        return None, False
    return _git(package, "rev-parse", "HEAD"), bool(_git(package, "status", "--porcelain", "--", "."))


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
