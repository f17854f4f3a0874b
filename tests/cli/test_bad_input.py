"""Whatever is typed: one or two lines, no traceback, a status that is not 0, and nothing computed is lost."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result

from rlbench.store import Store

Cli = Callable[..., Result]

WITHOUT_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU")
BROKEN = "import torch\nraise RuntimeError('half\\nwritten')\n"


def said(result: Result) -> str:
    """Return what stands on stderr after checking its form."""
    assert "Traceback" not in result.output
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert 1 <= len(lines) <= 2
    assert result.exit_code != 0
    return " ".join(lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run nowhere.py", "error: There is no experiment file 'nowhere.py'."),
        ("run empty.py", "error: empty.py has no EXPERIMENT"),
        ("run broken.py", "error: broken.py, line 2: RuntimeError: half"),
        ("run tiny.py --seeds 0", "seeds must be at least 1, not 0"),
        ("run tiny.py --seeds many", "'many' is not a valid integer"),
        ("run tiny.py --steps -1", "steps must be a whole number of at least 1, not -1"),
        ("run tiny.py --steps 8", "8 steps are less than one rollout of horizon 16"),
        ("run tiny.py --workers -1", "workers must be at least 0"),
        ("run tiny.py --time-limit -1", "It must be a number of seconds, or 0 for none, not -1.0"),
        ("run tiny.py --time-limit nan", "It must be a number of seconds, or 0 for none, not nan"),
        ("run tiny.py --device tpu", "There is no device 'tpu'; it is cpu, cuda or cuda:N"),
        pytest.param("run tiny.py --device cuda", "device=cuda needs a CUDA GPU, but", marks=WITHOUT_GPU),
        ("run tiny.py --set ppo-clip.clpi=0.1", "no field 'clpi'. Did you mean 'clip'"),
        ("run tiny.py --set ppo-clop.clip=0.1", "no arm 'ppo-clop'. Did you mean 'ppo-clip'"),
        ("run tiny.py --set ppo-clip.gamma=1.1", "gamma must be at most 1, not 1.1"),
        (
            "run tiny.py --set ppo-clip.num_envs=3",
            "64 steps are not a multiple of num_envs 3; the nearest are 63 and 66",
        ),
        ("run tiny.py --set ppo-clip.minibatches=5", "16 samples cannot be split into 5 equal minibatches"),
        ("run tiny.py --plugin nowhere.py", "There is no plugin file 'nowhere.py'"),
        ("run tiny.py --plugin broken.py", "RuntimeError: half"),
        ("run tiny.py --plugin empty.py", "defines no Algorithm subclass"),
        ("run tiny.py --worker 2", "No such option"),
        ("run static.py", "epochs must be at least 1, not 0"),
        ("run tiny.py --results a_file", "a_file is a file, not a folder."),
        ("run", "Missing argument"),
        ("rnu tiny.py", "No such command 'rnu'"),
        ("report tiny.py", "No run of 'tiny' is stored in results; `rlbench run` comes first"),
        ("report tiny", "There is no experiment file and no experiment that ran as 'tiny'"),
        ("report nowhere.py", "There is no experiment file 'nowhere.py'"),
        ("compare ppo-clop reinforce --env CartPole-v1", "Did you mean 'ppo-clip'"),
        ("compare ppo-clip reinforce --env CartPol-v1", "Did you mean 'CartPole-v1'"),
        ("compare ppo-clip reinforce --env CartPole-v1 --seeds 0", "seeds must be at least 1"),
        ("compare ppo-clip reinforce --env CartPole-v1 --steps 10", "less than one rollout"),
        ("compare ppo-clip reinforce --env CartPole-v1 --baseline reinforced", "Did you mean 'reinforce'"),
        ("compare ppo-clip reinforce", "Missing option '--env'"),
        ("compare --env CartPole-v1", "Missing argument 'ALGORITHM...'"),
        ("compare ppo-clip reinforce --env CartPole-v1 --reference a=0,1", "--reference goes with --from"),
        ("compare ppo-clip reinforce --env CartPole-v1 --show", "--show goes with --from"),
        ("compare --from runs.csv --name x", "--name takes a pattern of paths with"),
        ("compare --from nowhere.csv", "Cannot read nowhere.csv: No such file or directory"),
        ("compare --from runs.csv --seeds 3", "--seeds is for training, and --from trains nothing"),
        ("compare --from runs.csv --env E --env F", "With --from, --env is the one environment of runs"),
        ("compare --from runs.csv --executor ray", "--executor is for training"),
        ("run tiny.py --address host:6379", "An address goes with the executor ray"),
        ("run tiny.py --executor slurm", "There is no executor 'slurm'; it is local or ray"),
        ("run tiny.py --executor ray --workers 0", "workers must be at least 1, not 0"),
        ("compare --from runs.csv c", "There is no algorithm 'c' in runs.csv"),
        ("compare --from runs.csv a", "A comparison needs two algorithms, and runs.csv has only a"),
        ("compare --from runs.csv --reference E=1", "A reference is two different scores, as in Walker2d-v5=2,5000"),
        ("compare --from runs.csv --reference E=1,1", "A reference is two different scores"),
        ("compare --from a_file", "a_file has no column 'score'"),
        ("compare --from .", "apart.csv and empty.csv both have the run a on E with seed 0"),
        (
            "compare --from empty.csv",
            "empty.csv has nothing that can be compared with b. On E, 1 of 1 runs of b",
        ),
        (
            "compare --from apart.csv",
            "apart.csv has nothing that can be compared with b. No environment has runs",
        ),
        ("compare ppo-clip --env CartPole-v1", "A comparison needs two algorithms"),
        ("compare ppo-clip ppo-clip --env CartPole-v1", "two arms are called 'ppo-clip'"),
        ("check ppo-clop", "Did you mean 'ppo-clip'"),
        ("check nowhere.py", "There is no plugin file"),
        ("new Bad/Name", "A name is lower-case words"),
        ("new ppo-clip", "There is an algorithm 'ppo-clip' already"),
        ("new taken-name", "taken_name.py exists already"),
        ("algorithms --plugin broken.py", "RuntimeError: half"),
    ],
)
def test_bad_input_is_one_clear_line(cli: Cli, experiment: Path, arguments: str, message: str) -> None:
    folder = experiment.parent
    (folder / "empty.py").write_text("x = 1\n")
    (folder / "broken.py").write_text(BROKEN)
    (folder / "taken_name.py").write_text("mine\n")
    (folder / "a_file").write_text("mine\n")
    (folder / "empty.csv").write_text("algorithm,environment,seed,score\na,E,0,1\nb,E,0,\n")
    (folder / "apart.csv").write_text("algorithm,environment,seed,score\na,E,0,1\nb,F,0,2\n")
    (folder / "runs.csv").write_text("algorithm,environment,seed,score\na,E,0,1\na,E,1,2\nb,E,0,3\nb,E,1,5\n")
    (folder / "static.py").write_text(experiment.read_text().replace("epochs=1", "epochs=[1, 0]", 1))
    result = cli(*arguments.split())
    assert message in said(result)
    assert result.exit_code == 2
    assert (folder / "taken_name.py").read_text() == "mine\n"


def test_debug_shows_the_traceback(cli: Cli) -> None:
    result = cli("--debug", "run", "nowhere.py")
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1] == "error: There is no experiment file 'nowhere.py'."
    assert result.exit_code == 2


def test_what_nobody_foresaw_is_one_line_with_a_hint(
    cli: Cli, experiment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlbench.study import run

    def surprise(*_: object) -> None:
        raise LookupError("whatever\nelse")

    monkeypatch.setattr(run, "make_packs", surprise)
    result = cli("run", experiment)
    assert said(result) == "error: unexpected LookupError: whatever (`rlbench --debug ...` shows where)"
    assert result.exit_code == 1


RAISES_LATE = """
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv
from rlbench import Arm, Experiment

class Late(CartPoleEnv):
    steps = 0
    def step(self, action):
        self.steps += 1
        if self.steps == 7000 and self.first[0] > 0:
            raise OSError("the cable came off")
        return super().step(action)
    def reset(self, **options):
        answer = super().reset(**options)
        self.first = getattr(self, "first", answer[0])
        return answer

gymnasium.register("Late-v0", entry_point=Late)
EXPERIMENT = Experiment("late", [Arm("random", horizon=1000)], ["Late-v0"], seeds=4, steps=8000)
"""


def test_an_environment_that_raises_in_step_7000_fails_only_its_runs(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text(RAISES_LATE)
    result = cli("run", "late.py", "--workers", 1)  # the worker has never seen late.py
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    failed = [line for line in result.stderr.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 1
    found = re.fullmatch(
        r"failed: random on Late-v0, seeds? ([\d, ]+): the environment raised .*the cable came off", failed[0]
    )
    assert found
    stored = {one["identity"]["seed"]: one["status"] for one in Store("results").list().values()}
    expected = {int(seed) for seed in found[1].split(",")}
    assert 0 < len(expected) < 4
    assert {seed for seed, status in stored.items() if status == "failed"} == expected
    assert {seed for seed, status in stored.items() if status == "finished"} == set(range(4)) - expected


DIVERGES = """
import torch
from rlbench import Algorithm, hyper

class Blowup{n}(Algorithm):
    '''Not a number where `fuse` says so.'''
    name = "blowup-{n}"
    fuse: float = hyper(0.0)
    def surrogate(self, x):
        return x.ratio * x.advantage / (1 - torch.as_tensor(self.fuse)) ** 0.5
"""


def test_nan_in_one_replica_is_recorded_and_the_others_go_on(cli: Cli, reports: list[Any], tmp_path: Path) -> None:
    (tmp_path / "blowup.py").write_text(DIVERGES.format(n=1))
    fields = [f"--set=blowup-1.{setting}" for setting in ("fuse=0,2", "horizon=16", "epochs=1", "minibatches=1")]
    sizes = ["--env", "CartPole-v1", "--seeds", 2, "--steps", 64, "--workers", 0]
    result = cli("compare", "blowup-1", "--plugin", "blowup.py", *fields, *sizes, "--baseline", "blowup-1 fuse=0")
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    diverged = [line for line in result.stderr.splitlines() if line.startswith("diverged: ")]
    assert len(diverged) == 1
    assert diverged[0].startswith("diverged: blowup-1 fuse=2 on CartPole-v1, seeds 0, 1: ")
    statuses = sorted(one["status"] for one in Store("results").list().values())
    assert statuses == ["diverged", "diverged", "finished", "finished"]
    assert sorted(reports[0][0].runs["status"]) == statuses


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a small file system")
def test_a_disk_that_is_really_full(experiment: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this system does not let its root mount a file system")
    try:
        (disk / "ballast").write_bytes(bytes(4096 * 2))
        answer = subprocess.run(
            [sys.executable, "-m", "rlbench", "run", str(experiment), "--workers", "0", "--results", str(disk)],
            capture_output=True,
            text=True,
        )
        stored = Store(disk).list()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    lines = [line for line in answer.stderr.splitlines() if " runs, " not in line]
    assert answer.returncode == 2
    assert len(lines) == 1
    assert "No space left on device" in lines[0]
    assert "Traceback" not in answer.stderr
    assert all(one["status"] == "finished" for one in stored.values())


@pytest.mark.parametrize(
    "arguments",
    [
        "compare ppo reinforce --env CartPole-v1",
        "compare ppo-clip reinforce --env CartPole-v1 --set ppo-clip.learning_rate=0.1",
        "compare ppo-clip reinforce --env CartPole-v1 --steps 10",
        "compare ppo-clip reinforce --env CartPol-v1",
        "new ppo-clip",
    ],
)
def test_a_wrong_argument_is_answered_before_torch_is_imported(arguments: str, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom rlbench.cli import main\n"
        f"try: main({arguments.split()!r})\n"
        "except SystemExit as end: print(end.code, sorted({'torch', 'pandas', 'numba'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("2 []\n"), done.stderr
    assert done.stderr.startswith("error: ")
