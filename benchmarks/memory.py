"""Train one pack of ppo-clip and print the process's peak memory, before and after; run as a program.

Arguments: a JSON object with `fields`, `environment`, `replicas` and `steps`.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path


def peak() -> float:
    """Return the largest resident size of this process so far, MiB."""
    try:  # Linux counts the process that started this one into ru_maxrss
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 2**10
    except (OSError, StopIteration):
        pass
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(size) / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    """Train and print."""
    from rlbench import registry
    from rlbench.algorithm import configure
    from rlbench.records import Environment
    from rlbench.training.trainer import train

    asked = json.loads(sys.argv[1])
    one = configure(registry.load("ppo-clip"), asked["fields"], "benchmark")
    imported = peak()
    train([one] * asked["replicas"], Environment(asked["environment"]), asked["steps"], range(asked["replicas"]))
    print(json.dumps({"imported": imported, "peak": peak()}))


if __name__ == "__main__":
    main()
