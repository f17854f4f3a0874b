"""What produced a run: code, packages, machine. It stands beside a result, never in its identity."""

import datetime
import os
import platform
import socket
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any

import rlbench
from rlbench.study.executors.worker import ONE_THREAD
from rlbench.training import processor
from rlbench.training.checkpoints import PACKAGES, source, version_of

_PEERS = ("stable-baselines3", "sb3-contrib")  # whose runs others are compared with


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
    peers = {name: version for name in _PEERS if (version := version_of(name))}
    return {"python": platform.python_version()} | {name: version_of(name) for name in ("rlbench", *PACKAGES)} | peers


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


@cache
def installed() -> dict[str, str]:
    """Return what decides a run's numbers on equal machines: the versions of packages, and rlbench's own source."""
    versions = {name: str(version) for name, version in package_versions().items()}
    return versions | {"rlbench": f"{versions['rlbench']} (source {source()[:8]})"}


def differences(expected: dict[str, str]) -> str:
    """Return in one sentence in what this machine's packages differ from those of the process that asks, or ""."""
    here = installed()
    other = [
        f"{name} {here.get(name)} instead of {version}"
        for name, version in expected.items()
        if here.get(name) != version
    ]
    if not other:
        return ""
    return f"Node {socket.gethostname()} has {', '.join(other)}; install the same versions on every node."


def worker_environment() -> dict[str, str]:
    """Return the environment variables of tasks: one thread, and this process's path for imports, as it is here.

    Not the interpreter's own folders, which are the node's business.
    """
    interpreter = {os.path.realpath(path) for path in sysconfig.get_paths().values()}
    paths = [os.path.realpath(path) for path in sys.path if path != "" and Path(path).is_dir()]
    here = [os.getcwd()] if "" in sys.path else []
    outside = [
        path for path in paths if not any(path == home or path.startswith(home + os.sep) for home in interpreter)
    ]
    return ONE_THREAD | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(here + outside))}
