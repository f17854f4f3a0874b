"""What must be equal on all machines that train the runs of one command, and what their tasks are given."""

from __future__ import annotations

import os
import socket
import sys
import sysconfig
from functools import cache
from pathlib import Path

from rlbench.study.provenance import package_versions
from rlbench.study.worker import ONE_THREAD
from rlbench.training.code import source


@cache
def installed() -> dict[str, str]:
    """Return what decides a run's numbers on equal machines: the versions of packages, and rlbench's own source."""
    versions = {name: str(version) for name, version in package_versions().items()}
    return versions | {"rlbench": f"{versions['rlbench']} (source {source()[:8]})"}


def differences(expected: dict[str, str]) -> str:
    """Return in one sentence in what this machine's packages differ from those of the process that asks, or ""."""
    here = installed()
    other = [f"{name} {here[name]} instead of {version}" for name, version in expected.items() if here[name] != version]
    if not other:
        return ""
    return f"Node {socket.gethostname()} has {', '.join(other)}; install the same versions on every node."


def worker_environment() -> dict[str, str]:
    """Return the environment variables of tasks: one thread, and this process's path for imports, as it is here.

    Not the interpreter's own folders, which are the node's business.
    """
    own = {os.path.realpath(path) for path in sysconfig.get_paths().values()}
    paths = [os.path.realpath(path) for path in sys.path if path != "" and Path(path).is_dir()]
    here = [os.getcwd()] if "" in sys.path else []
    inside = [path for path in paths if path not in own and not any(path.startswith(one + os.sep) for one in own)]
    return ONE_THREAD | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(here + inside))}
