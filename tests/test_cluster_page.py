"""What docs/cluster.md shows: scripts that a shell can read, and the one for Ray run with stand-ins for SLURM."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import HANGS

ROOT = Path(__file__).parents[1]
SCRIPTS = re.findall(r"^```bash\n(.*?)^```$", (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8"), re.M | re.S)
BASH = shutil.which("bash")
EXPERIMENT = """
from rlbench import Arm, Experiment
TINY = dict(horizon=16, minibatches=1, epochs=1, hidden=[4])
EXPERIMENT = Experiment("far", [Arm("ppo-clip", **TINY)], ["CartPole-v1"], seeds=4, steps=64)
"""
# What srun and scontrol do where all nodes are this machine: options are dropped, and the command is run.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
echo $$ >> "$STARTED"
exec "$@"
"""
SCONTROL = "#!/bin/bash\nprintf 'first\\nsecond\\n'\n"

pytestmark = pytest.mark.skipif(BASH is None, reason="needs bash")


@pytest.mark.parametrize("script", SCRIPTS, ids=["ray", "array"])
def test_a_shell_can_read_the_scripts(script: str) -> None:
    subprocess.run([str(BASH), "-n"], input=script, text=True, check=True)
    assert script.startswith("#!/bin/bash\n#SBATCH ")
    assert "rlbench run experiment.py" in script


@pytest.fixture
def job(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Give the environment of a job on two nodes, and end the processes that it started."""
    commands = tmp_path / "venv" / "bin"
    commands.mkdir(parents=True)
    rlbench = f'#!/bin/bash\nexec {sys.executable} -m rlbench "$@"\n'
    files = {"srun": SRUN, "scontrol": SCONTROL, "rlbench": rlbench, "activate": ""}
    for name, text in files.items():
        (commands / name).write_text(text, encoding="utf-8")
        (commands / name).chmod(0o755)
    started = tmp_path / "started"
    slurm = {
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "first,second",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_MEM_PER_CPU": "2048",
    }
    path = os.pathsep.join([str(commands), str(Path(sys.executable).parent), os.environ["PATH"]])
    yield os.environ | slurm | {"HOME": str(tmp_path), "PATH": path, "PYTHONPATH": str(ROOT), "STARTED": str(started)}
    for process in started.read_text(encoding="utf-8").split()[::-1]:
        try:
            os.kill(int(process), signal.SIGTERM)  # upon which `ray start --block` ends its node
        except ProcessLookupError:
            continue


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="`hostname -I` is for Linux")
def test_the_script_for_ray_trains_on_two_nodes(job: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("ray")
    (tmp_path / "experiment.py").write_text(EXPERIMENT, encoding="utf-8")
    script = [str(BASH), "-c", SCRIPTS[0]]
    output = tmp_path / "output.txt"  # not a pipe, which the nodes hold open until SLURM ends them
    with output.open("w", encoding="utf-8") as stream:
        done = subprocess.run(script, cwd=tmp_path, env=job, stdout=stream, stderr=stream, timeout=HANGS)
    said = output.read_text(encoding="utf-8")
    assert done.returncode == 0, said
    assert "4 trained" in said
    assert len(list((tmp_path / "results").rglob("manifest.json"))) == 4
