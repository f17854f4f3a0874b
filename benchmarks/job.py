"""Run a whole experiment through `rlbench.run`, from a fresh interpreter; run as a program.

Arguments: a JSON object with `fields` of ppo-clip, `environment`, `seeds`, `steps`, `workers` and `folder`.
"""

from __future__ import annotations

import json
import sys


def main() -> None:
    """Run, and fail where a run failed."""
    import rlbench

    asked = json.loads(sys.argv[1])
    arm = rlbench.Arm("ppo-clip", **asked["fields"])
    experiment = rlbench.Experiment("job", [arm], [asked["environment"]], asked["seeds"], asked["steps"])
    results = rlbench.run(experiment, asked["folder"], workers=asked["workers"], progress=False)
    assert (results.runs["status"] == "finished").all()


if __name__ == "__main__":
    main()
