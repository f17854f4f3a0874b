"""Experiment files and what the command line changes in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlbench.errors import RlbenchError
from rlbench.study.experiment import Arm, Experiment
from rlbench.study.suites import load_experiment, override

GOOD = "from rlbench import Experiment\nEXPERIMENT = Experiment('x', ['ppo-clip'], ['CartPole-v1'])\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n", "file.py has no EXPERIMENT; it must say EXPERIMENT = Experiment(...)"),
        ("EXPERIMENT = 3\n", "file.py has an EXPERIMENT of type int"),
        ("\n\n1 / 0\n", "file.py, line 3: ZeroDivisionError: division by zero"),
        ("def f(:\n", "file.py, line 1: SyntaxError"),
        ("import nothing_like_this\n", "file.py, line 1: ModuleNotFoundError"),
        (GOOD.replace("'x', ", "'x', seeds=0, arms="), "file.py, line 2: SyntaxError"),
        (GOOD.replace("'])\n", "'], seeds=0)\n"), "file.py, line 2: Experiment 'x': seeds must be at least 1, not 0"),
    ],
)
def test_files_that_cannot_be_loaded(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "file.py"
    path.write_text(text)
    with pytest.raises(RlbenchError) as caught:
        load_experiment(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_said() -> None:
    with pytest.raises(RlbenchError, match=r"There is no experiment file 'nowhere\.py'"):
        load_experiment("nowhere.py")


def test_a_good_file_gives_its_experiment(tmp_path: Path) -> None:
    path = tmp_path / "file.py"
    path.write_text(GOOD)
    assert load_experiment(path) == Experiment("x", ["ppo-clip"], ["CartPole-v1"])


EXPERIMENT = Experiment("x", ["trpo", Arm("ppo-clip", "mine", lr=0.1), "ppo-clip"], ["CartPole-v1"])


def test_settings_reach_the_arms_they_name() -> None:
    changed = override(EXPERIMENT, ["mine.clip=0.3", "trpo.hidden=32,16", "trpo.anneal_lr=false"])
    assert changed.arms[1] == Arm("ppo-clip", "mine", lr=0.1, clip=0.3)
    assert changed.arms[0] == Arm("trpo", hidden=(32, 16), anneal_lr=False)
    assert changed.arms[2] == Arm("ppo-clip")


def test_an_algorithms_name_means_all_its_arms() -> None:
    changed = override(EXPERIMENT, ["ppo-clip.lr=1e-3"])
    assert [arm.settings for arm in changed.arms] == [{}, {"lr": 1e-3}, {"lr": 1e-3}]


def test_several_values_are_a_sweep() -> None:
    changed = override(EXPERIMENT, ["trpo.delta=0.01,0.02", "trpo.epochs=4,10", "trpo.hidden=64,64/32"])
    assert changed.arms[0].settings == {"delta": [0.01, 0.02], "epochs": [4, 10], "hidden": [(64, 64), (32,)]}


def test_an_arm_that_alone_has_a_field_need_not_be_named() -> None:
    changed = override(EXPERIMENT, ["delta=0.02"])
    assert [dict(arm.settings) for arm in changed.arms] == [{"delta": 0.02}, {"lr": 0.1}, {}]


def test_seeds_and_steps_are_replaced() -> None:
    changed = override(EXPERIMENT, seeds=2, steps=500)
    assert (changed.seeds, changed.steps) == ((0, 1), 500)
    assert override(EXPERIMENT) == EXPERIMENT


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ppo-clip.clpi=0.1", "ppo-clip has no field 'clpi'. Did you mean 'clip'"),
        ("ppo-clp.clip=0.1", "has no arm 'ppo-clp'. Did you mean 'ppo-clip'"),
        ("ppo-clip.clip=wide", "clip must be a number, not 'wide'"),
        ("ppo-clip.gamma=2", "gamma must be at most 1, not 2.0"),
        ("ppo-clip.epochs=1.5", "epochs must be a whole number"),
        ("clip=0.1", "2 arms have clip; say of which: mine.clip, ppo-clip.clip"),
        ("learning_rate=0.1", "no arm has a field 'learning_rate'. It is called 'lr' here."),
        ("mine.n_steps=1", "ppo-clip has no field 'n_steps'. It is called 'horizon' here."),
        ("=0.1", "--set takes ARM.FIELD=VALUE"),
        ("ppo-clip.clip", "--set takes ARM.FIELD=VALUE"),
        ("", "--set takes ARM.FIELD=VALUE"),
    ],
)
def test_settings_that_cannot_be_meant(text: str, said: str) -> None:
    with pytest.raises(RlbenchError) as caught:
        override(EXPERIMENT, [text])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
