"""Suites: folders of experiments, what of them must go together, and one training for all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from rlbench import registry
from rlbench.errors import RlbenchError
from rlbench.records import RunRecord, empty_episodes
from rlbench.store import Store
from rlbench.store.folders import home, read_register, read_specification
from rlbench.study.executors.launcher import Launcher
from rlbench.study.executors.local import Workers
from rlbench.study.plan import cells_of, make_plan
from rlbench.study.run import execute_all
from rlbench.study.schedule import make_packs
from rlbench.study.suites import load_suite, register_suite

TINY = "horizon=16, minibatches=1, epochs=1, hidden=[4]"
HELPER = f"""
import gymnasium
import numpy as np
from rlbench import Algorithm, Arm, hyper

TINY = dict({TINY})


class Scaled(Algorithm):
    name = "suite-scaled"
    strength: float = hyper(1.0)

    def surrogate(self, x):
        return self.strength * x.ratio * x.advantage


class Coin(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (1,))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {{}}

    def step(self, action):
        return np.zeros(1, np.float32), float(action), bool(self.np_random.random() < 0.5), False, {{}}


if "Suite/Coin-v0" not in gymnasium.registry:
    gymnasium.register("Suite/Coin-v0", entry_point=Coin, max_episode_steps=20)
"""
MEMBER = """
from rlbench import Arm, Claim, Experiment
{imports}

EXPERIMENT = Experiment(
    "{name}",
    [{arms}],
    ["CartPole-v1"],
    seeds=3,
    steps=32,
    claims=[Claim("{name} claims", ["actor-critic"], "above", "kl:mean", bound=0.0, id="{id}")],
)
"""
BASE = f"Arm('actor-critic', {TINY})"


def member(name: str, arms: str = BASE, number: str = "", imports: str = "") -> str:
    return MEMBER.format(name=name, arms=arms, id=number, imports=imports)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two experiments that share an arm, and a helper."""
    path = tmp_path / "text"
    path.mkdir()
    (path / "b_first.py").write_text(member("first", f"{BASE}, Arm('ppo-clip', lr=[1e-4, 1e-3], {TINY})", "1"))
    (path / "c_second.py").write_text(member("second", f"{BASE}, Arm('ppo-clip', lr=[1e-3, 1e-2], {TINY})", "2"))
    (path / "a_helper.py").write_text("X = 1\n")
    return path


def test_members_come_in_the_order_of_their_files(folder: Path) -> None:
    (folder / "suite.py").write_text("from rlbench import Suite\nSUITE = Suite(title='T', quick=['second'])\n")
    suite = load_suite(folder)
    assert (suite.name, suite.suite.title) == ("text", "T")
    assert [one.name for one in suite.experiments] == ["first", "second"]
    assert [one.name for one in suite.chosen(quick=True)] == ["second"]
    assert [one.name for one in suite.chosen(["first"])] == ["first"]
    with pytest.raises(RlbenchError, match=r"has no experiment 'frst'\. Did you mean 'first'"):
        suite.chosen(["frst"])
    with pytest.raises(RlbenchError, match="None of first belongs to what"):
        suite.chosen(["first"], quick=True)


def test_a_folder_without_a_suite_file_is_a_suite(folder: Path) -> None:
    suite = load_suite(folder)
    assert suite.suite.title == ""
    assert len(suite.chosen(quick=True)) == 2


SAY = "from rlbench import Erratum, Exact, Suite\ndef f():\n    return True, ''\n"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"d.py": member("first")}, r"Two experiments are called 'first': in .*b_first\.py and .*d\.py"),
        ({"d.py": member("third", number="1")}, r"Two claims have the id '1', in .*b_first\.py and .*d\.py"),
        ({"suite.py": SAY + "SUITE = Suite(checks=[Exact('x', f, id='2')])"}, "the id '2', in .*c_second.*suite"),
        ({"suite.py": SAY + "SUITE = Suite(remarks={'3': 'x'})"}, r"remarks name '3', which is no claim's id\."),
        ({"suite.py": SAY + "SUITE = Suite(quick=['fist'])"}, "quick names 'fist'.*Did you mean 'first'"),
        ({"suite.py": SAY + "SUITE = Suite(quick_seeds=0)"}, "quick_seeds must be at least 1"),
        ({"suite.py": SAY + "SUITE = Suite(checks=[f])"}, "checks must be of type Exact"),
        ({"suite.py": "X = 1\n"}, r"suite\.py has no SUITE; it must say SUITE = Suite"),
        ({"suite.py": "SUITE = 3\n"}, "has a SUITE of type int"),
        (
            {"d.py": "from e_broken import X\nEXPERIMENT = X\n", "e_broken.py": "\n1 / 0\n"},
            r"e_broken\.py, line 2: Zero",
        ),
        ({"d.py": "def f(:\n"}, r"d\.py, line 1: SyntaxError"),
        ({"d.py": "EXPERIMENT = 3\n"}, "has an EXPERIMENT of type int"),
    ],
)
def test_what_does_not_go_together_is_said(folder: Path, files: dict[str, str], said: str) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.raises(RlbenchError, match=said) as caught:
        load_suite(folder)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_suite(tmp_path: Path) -> None:
    with pytest.raises(RlbenchError, match="There is no folder"):
        load_suite(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RlbenchError, match="holds no file that says EXPERIMENT"):
        load_suite(tmp_path / "empty")
    (tmp_path / "two words").mkdir()
    with pytest.raises(RlbenchError, match="cannot be a suite"):
        load_suite(tmp_path / "two words")


def test_checks_may_import_their_neighbours_when_they_are_called(folder: Path) -> None:
    text = "def f():\n    import a_helper\n    return a_helper.X == 1, 'one'\n"
    text += "def g():\n    import a_helper\n    return 'said'\n"
    text += "SUITE = Suite(checks=[Exact('x', f)], errata=[Erratum('1', 't', 's', 'w', 'r', g)])\n"
    (folder / "suite.py").write_text(SAY + text)
    suite = load_suite(folder).suite
    assert suite.checks[0].check() == (True, "one")
    assert suite.errata[0].demonstrate is not None
    assert suite.errata[0].demonstrate() == "said"


class Fake:
    """A trainer that notes the runs of every pack."""

    def __init__(self) -> None:
        self.packs: list[list[tuple[float, int]]] = []

    def __call__(self, algorithms: Any, environment: Any, steps: int, seeds: Any, **_: Any) -> list[RunRecord]:
        self.packs.append([(one.lr, seed) for one, seed in zip(algorithms, seeds, strict=True)])
        return [RunRecord("finished", "", steps, empty_episodes(), {}) for _ in seeds]


def test_experiments_train_together_and_what_they_share_once(folder: Path, tmp_path: Path) -> None:
    plans = [make_plan(one) for one in load_suite(folder).experiments]
    fake = Fake()
    summary = execute_all(plans, tmp_path / "results", workers=0, progress=False, train=fake)
    assert summary.finished == 12  # of 18
    clip, critic = sorted(fake.packs, key=len, reverse=True)
    assert sorted(clip) == [(lr, seed) for lr in (1e-4, 1e-3, 1e-2) for seed in range(3)]
    assert len(critic) == 3
    again = execute_all(plans, tmp_path / "results", workers=0, progress=False, train=fake)
    assert (again.skipped, again.trained) == (12, 0)
    assert len(make_packs(cells_of(plans), 1)) == 2


def test_all_claims_are_registered_before_the_first_run(folder: Path, tmp_path: Path) -> None:
    suite, results = load_suite(folder), tmp_path / "results"
    planned = [(one, make_plan(one).planned) for one in suite.experiments]
    register_suite(results, suite, planned)
    (whole,) = read_register(results / "text")
    assert [claim["id"] for claim in whole["claims"]] == ["1", "2"]
    assert (whole["stored"], whole["planned"]) == (0, 12)
    assert whole["each"] == [{"stored": 0, "planned": 3}, {"stored": 0, "planned": 3}]  # of the claims' own arm
    (second,) = read_register(home(results, "second"))
    assert (second["stored"], second["planned"]) == (0, 9)
    assert home(results, "second") == home(results, "second", "text") == results / "text/experiments/second"
    register_suite(results, suite, planned)
    assert len(read_register(results / "text")) == 1


def test_an_experiment_of_a_suite_is_found_by_its_name(folder: Path, tmp_path: Path) -> None:
    plans = [replace(make_plan(one), suite="text") for one in load_suite(folder).experiments]
    execute_all(plans, tmp_path, workers=0, progress=False, train=Fake())
    assert read_specification(tmp_path, "second")[1] == plans[1].planned
    with pytest.raises(RlbenchError, match=re.escape("Did you mean 'second'?")):
        read_specification(tmp_path, "secnd")
    execute_all([replace(plans[1], suite="")], tmp_path, workers=0, progress=False, train=Fake())
    assert home(tmp_path, "second") == tmp_path / "text/experiments/second"  # not begun a second time
    (tmp_path / "second").mkdir()
    (tmp_path / "second/experiment.json").write_text("{}")
    assert home(tmp_path, "second") == tmp_path / "second"


@pytest.fixture
def coin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget afterwards what the helper makes known to the whole process."""
    registry.names()
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    yield
    gymnasium.registry.pop("Suite/Coin-v0", None)


def test_helpers_work_in_worker_processes(folder: Path, tmp_path: Path, launcher: Launcher, coin: None) -> None:
    for file in folder.glob("*.py"):
        file.unlink()
    (folder / "coin_helper.py").write_text(HELPER)
    arms, imports = "Arm(Scaled, strength=[0.5, 1.0], **TINY), Arm('actor-critic', **TINY)", "from coin_helper import *"
    (folder / "one.py").write_text(member("one", arms, imports=imports).replace("CartPole-v1", "Suite/Coin-v0"))
    measure = "import coin_helper\ndef measure(environment, seed):\n    import gymnasium\n"
    measure += "    assert isinstance(gymnasium.make(environment.id).unwrapped, coin_helper.Coin)\n"
    measure += "    from late_helper import X\n    return {'a': {'x': X}}\n"
    measure += "EXPERIMENT = Measurement('two', measure, ['a'], ['Suite/Coin-v0'], seeds=1)\n"
    (folder / "two.py").write_text("from rlbench import Measurement\n" + measure)
    (folder / "late_helper.py").write_text("X = 3\n")
    plans = [make_plan(one) for one in load_suite(folder).experiments]
    summary = execute_all(plans, tmp_path, progress=False, executor=Workers(1, launcher))
    assert (summary.finished, summary.failed) == (10, [])
    assert len(Store(tmp_path).list()) == 10


def test_an_environment_of_the_users_is_known_by_its_source(folder: Path, coin: None) -> None:
    def ids(text: str) -> list[str]:
        (folder / "coin_helper.py").write_text(text)
        member_text = member("one", imports="import coin_helper").replace("CartPole-v1", "Suite/Coin-v0")
        (folder / "one.py").write_text(member_text)
        (one,) = load_suite(folder).chosen(["one"])
        return [cell.id for cell in make_plan(one).cells]

    first = ids(HELPER)
    assert ids(HELPER) == first
    gymnasium.registry.pop("Suite/Coin-v0")
    assert ids(HELPER.replace("< 0.5", "< 0.4")) != first
