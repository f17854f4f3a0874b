"""Everything the README shows works: its Python runs as it stands, its commands with a smaller budget."""

from __future__ import annotations

import csv
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib
import pytest

import rlbench
from rlbench import Environment, registry
from rlbench.checks import check_algorithm
from rlbench.claims import DIRECTIONS
from rlbench.study.plan import make_plan
from rlbench.suite import Showpiece
from rlbench.training.engines import has_own_network
from rlbench.training.trainer import train

README = Path(__file__).parents[1] / "README.md"
RESULTS = README.parent / "results"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(encoding="utf-8"), re.M | re.S)


def python_with(text: str) -> str:
    (block,) = (block for block in blocks("python") if text in block)
    return block


def test_the_make_targets_exist() -> None:
    makefile = README.with_name("Makefile").read_text(encoding="utf-8")
    shown = re.findall(r"make ([\w-]+)", README.read_text(encoding="utf-8"))
    assert shown[:2] == ["lecture", "test"]
    for target in shown:
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_the_plugin_keeps_the_contract(tmp_path: Path) -> None:
    file = tmp_path / "plugin.py"
    file.write_text(python_with("class AsymmetricClip"), encoding="utf-8")
    (cls,) = registry.add_file(file)
    assert [result for result in check_algorithm(cls) if not result.passed] == []


def test_the_network_trains(tmp_path: Path) -> None:
    file = tmp_path / "gated.py"
    file.write_text(python_with("def network("), encoding="utf-8")
    (cls,) = registry.add_file(file)
    cartpole = Environment("CartPole-v1")
    assert has_own_network(cls(), cartpole)
    (record,) = train([cls(horizon=64, minibatches=2)], cartpole, 128, [0])
    assert (record.status, record.gradient_steps) == ("finished", 40)


def test_the_experiment_can_be_planned() -> None:
    names: dict[str, Any] = {}
    exec(python_with('name="clip-range"'), names)
    plan = make_plan(names["EXPERIMENT"])
    assert [arm.label for arm in plan.arms] == [
        "ppo-clip clip=0.1",
        "ppo-clip clip=0.2",
        "ppo-clip clip=0.3",
        "reinforce",
    ]
    assert len(plan.cells) == 40


def test_the_claims_can_be_planned() -> None:
    names: dict[str, Any] = {}
    exec(python_with("Claim("), names)
    plan = make_plan(names["EXPERIMENT"])
    assert [claim.direction for claim in plan.experiment.claims] == ["not-less", "increasing", "above"]
    text = README.read_text(encoding="utf-8")
    assert all(f"`{direction}`" in text for direction in DIRECTIONS)


def test_the_showpieces_are_of_kinds_that_exist() -> None:
    from rlbench.analysis.draw.figures import KINDS, WITHOUT_RUNS

    names: dict[str, Any] = {}
    exec(python_with("Showpiece("), names)
    assert {one.kind for one in names["SUITE"].figures} <= {*KINDS, WITHOUT_RUNS}
    assert all(f" {kind} " in str(Showpiece.__doc__) for kind in (*KINDS, WITHOUT_RUNS))


def test_the_python_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    names: dict[str, Any] = {}
    exec(python_with("rlbench.run("), names)
    assert len(names["results"].scores) == 4
    assert names["ax"].lines
    assert names["same"].scores.equals(names["results"].scores)


def test_the_pole_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the loop says that it does, after the training that the page begins with."""
    monkeypatch.chdir(tmp_path)
    rlbench.compare(["ppo-clip", "reinforce"], ["CartPole-v1"], seeds=[0], steps=100_000, workers=0, progress=False)
    names: dict[str, Any] = {}
    exec(python_with("load_policy("), names)
    assert names["total"] == 500.0
    # No luck of one seed: so do 20 other episodes.
    results = rlbench.load_results("compare-ppo-clip-reinforce-on-CartPole-v1")
    episodes = results.evaluate("ppo-clip", episodes=20)
    assert (episodes[episodes["actions"] == "deterministic"]["return"] == 500).all()


def test_the_commands(tmp_path: Path) -> None:
    commands = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    assert len(commands) == 12
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    suite = tmp_path / "experiments" / "lecture"
    suite.mkdir(parents=True)
    for name in ("claim_21_shared_network.py", "lecture_arms.py"):
        text = (README.parent / "experiments" / "lecture" / name).read_text(encoding="utf-8")
        text = re.sub(r"^TASKS = .*$", "TASKS = CONTINUOUS[:1]", text, flags=re.M)  # figures of one are drawn sooner
        (suite / name).write_text(text, encoding="utf-8")
    small = {
        "compare": ["--seeds", "2", "--steps", "4096", "--workers", "1"],
        "run": ["--seeds", "2", "--steps", "4096", "--workers", "1"],
        "tune": ["--trials", "4", "--fresh", "2", "--steps", "4096", "--workers", "1"],
        "report": ["--seeds", "2", "--steps", "4096"],
        "figures": ["--seeds", "2", "--steps", "4096"],
        "evaluate": ["--episodes", "3"],
        "watch": ["--episodes", "1"],
    }
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        commands = [command for command in commands if " watch " not in command]
    for command in commands:
        words = shlex.split(re.sub(r"--seeds 10 --steps 100000|--steps 50000", "", command))
        words += small.get(words[1], [])
        ended = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, (command, ended.stdout, ended.stderr)


def test_the_verdicts_on_mujoco_are_those_published() -> None:
    small, large = (
        {row["id"]: row["verdict"] for row in csv.DictReader((RESULTS / name).read_text("utf-8").splitlines())}
        for name in ("lecture/verdicts.csv", "lecture_mujoco/verdicts.csv")
    )
    found, changed = Counter(large.values()), [name for name in large if large[name] != small[name]]
    assert not [name for name in changed if {small[name], large[name]} == {"supported", "refuted"}]
    said = (
        f"tries {len(large)} of the claims once more, on HalfCheetah and Hopper with 300,000 steps and ten seeds. "
        f"There {found['supported']} are supported, {found['refuted']} refuted and {found['inconclusive']} "
        f"inconclusive; {len(changed)} came out otherwise"
    )
    assert said in " ".join(README.read_text(encoding="utf-8").split())


def test_the_verdicts_shown_are_those_published() -> None:
    published = README.parent / "results" / "lecture" / "verdicts.csv"
    with published.open(encoding="utf-8", newline="") as file:
        verdicts = {row["id"]: row for row in csv.DictReader(file)}
    text = README.read_text(encoding="utf-8")
    counts = re.search(
        r"of (\d+) claims, (\d+) are supported, (\d+) refuted and (\d+) inconclusive;\s(\d+) cannot be decided", text
    )
    found = Counter(row["verdict"] for row in verdicts.values())
    names = ("supported", "refuted", "inconclusive", "undecidable")
    assert counts is not None
    assert [int(one) for one in counts.groups()] == [len(verdicts), *(found[name] for name in names)]
    shown = re.findall(r"^\| (\d+[a-z]?) \| (.+?) \| \*\*(\w+)\*\* \|", text, re.M)
    assert len(shown) == 10
    for number, statement, verdict in shown:
        assert (verdicts[number]["statement"], verdicts[number]["verdict"]) == (statement, verdict)
