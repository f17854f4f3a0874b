"""Mistakes that are often made: each is one sentence that helps, without training anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli

COMPARE = ("compare", "ppo-clip", "reinforce", "--env", "CartPole-v1", "--seeds", 2, "--steps", 4096)
PLUGIN = """
from rlbench import Algorithm, hyper

class Mine(Algorithm):
    name = "{name}"
    eps: float = hyper(0.1)

    def surrogate(self, x):
        {body}
"""
EXPERIMENT = """
from rlbench import Claim, Environment, Experiment

EXPERIMENT = Experiment("e", ["ppo-clip", "reinforce"], {environments}, seeds=2, steps=4096{more})
"""
WALK = """
import gymnasium

class Walk(gymnasium.Env):
    {space}
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        return 0, {{}}

    def step(self, action):
        return 0, 0.0, False, False, {{}}

{register}
"""
SPACE, REGISTER = "observation_space = gymnasium.spaces.Discrete(2)", 'gymnasium.register("Walk-v0", Walk)'
PAIR = ("compare", "ppo-clip", "trpo")
FROM = ("compare", "--from")


def plugin(folder: Path, body: str) -> tuple[str, str]:
    """Write a plugin file with this surrogate, and return its content and the algorithm's name, found nowhere else."""
    name = folder.name.lower().replace("_", "-")
    text = PLUGIN.format(body=body, name=name)
    (folder / "mine.py").write_text(text)
    return text, name


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("compare", "ppo-clip", "--env", "CartPole-v1"), "A comparison needs two algorithms"),
        (
            ("compare", "PPO", "A2C", "--env", "CartPole-v1"),
            "Did you mean 'ppo-adaptive', 'ppo-clip', 'ppo-clip-higher' or 'ppo-dual-clip'?",
        ),
        (("compare", "A3C", "ppo-clip", "--env", "CartPole-v1"), "That is a2c"),
        ((*COMPARE, "--env-arg", "g=1", "--env-arg", "g=2"), "--env-arg gives g twice."),
        ((*COMPARE, "--env-arg", "gravity=5.0"), "unexpected keyword argument 'gravity'. Known: "),
        ((*COMPARE, "--device", "mps"), "There is no device 'mps'; it is cpu, cuda or cuda:N."),
        ((*COMPARE, "--time-limit", -1), "It must be a number of seconds, or 0 for none, not -1.0."),
        ((*COMPARE, "--out", "a.csv"), "a.csv is a file, not a folder."),
        ((*COMPARE, "--results", "a.csv/results"), "a.csv is a file, not a folder."),
        ((*COMPARE, "--set", "ppo-clip.total_timesteps=9"), "It is no field, but an option of the command: --steps."),
        ((*COMPARE, "--set", "ppo-clip.seed=9"), "It is no field, but an option of the command: --seeds."),
        ((*COMPARE, "--set", "ppo-clip:clip=0.1"), "write ppo-clip.clip=0.1."),
        (
            (*PAIR, "--env", "walk.py"),
            "names no environment; add its id, as in walk.py:Walk-v0.",
        ),
        (
            (*PAIR, "--env", "walk.py:"),
            "names no environment; add its id, as in walk.py:Walk-v0.",
        ),
        ((*PAIR, "--env", "./walk:Walk-v0"), "Did you mean --env ./walk.py:Walk-v0?"),
        ((*PAIR, "--env", "none.py:Nowhere-v0"), "none.py registers no environment; let it call"),
        (
            (*PAIR, "--env", "walk.py:Mistoken-v0"),
            "registers no environment 'Mistoken-v0'. Did you mean",
        ),
        (
            (*PAIR, "--env", "blind.py:Blind-v0"),
            "has no observation_space; set self.observation",
        ),
        (
            (*FROM, "a.csv", "--reference", "X=0,1"),
            "gives one of X, and not of an environment of a.csv: W.",
        ),
        ((*FROM, "a.csv", "--reference", "builtin"), "knows no reference of an environment of a.csv: W."),
        ((*FROM, "a.csv", "--columns", "score"), "--columns takes NAME=COLUMN"),
        ((*FROM, "pipe.csv"), "Its columns seem to be separated by '|'"),
        ((*FROM, "wide.csv"), "It seems to have a column for each algorithm."),
        ((*FROM, "headless.csv"), "Its first line seems to be a run; it must be a header"),
        ((*FROM, "book.xlsx"), "is an Excel workbook or an archive, not a table"),
        (("check", "nofile.py"), "There is no plugin file 'nofile.py'."),
        (("run", "stage.py", "--stage", 2), "--stage goes with --until-decided."),
        (("run", "wrapped.py"), "wrappers must be a list such as ['TimeAwareObservation']"),
        (("run", "named.py"), "got an unexpected keyword argument 'envs'. Did you mean 'environments'?"),
        (("run", "stack.py"), "unexpected keyword argument 'stack'. Did you mean 'stack_size'?"),
        (("run", "metric0.py"), "there is no metric 'retrun:mean'. Did you mean 'return'?"),
        (
            ("run", "metric1.py"),
            "there is no metric 'kl'. It is recorded many times in a run: say which",
        ),
        (("run", "metric2.py"), "there is no metric 'auc:mean'. It is one number per run: auc alone."),
        (("run", "metric3.py"), "there is no metric 'aux'. Did you mean 'auc'?"),
        (("run", "module.py"), "cannot be imported: ModuleNotFoundError"),
        (("agreement", ".", "."), "`rlbench report DIR` writes it, for a folder of experiments with claims."),
    ],
)
def test_a_mistake_is_one_sentence_that_helps(cli: Cli, tmp_path: Path, words: tuple[object, ...], said: str) -> None:
    files = {
        "a.csv": "algorithm,environment,seed,score\na,W,0,1\na,W,1,2\nb,W,0,3\nb,W,1,4\n",
        "pipe.csv": "algorithm|environment|seed|score\na|W|0|1\n",
        "wide.csv": "seed,sac,td3\n0,1,2\n",
        "headless.csv": "sac,W,0,1\nsac,W,1,2\n",
        "book.xlsx": "PK\x03\x04 and so on",
        "walk.py": WALK.format(space=SPACE, register=REGISTER.replace("Walk-v0", "Mistaken-v0")),
        "none.py": WALK.format(space=SPACE, register=""),
        "blind.py": WALK.format(space="pass", register=REGISTER.replace("Walk-v0", "Blind-v0")),
        "stage.py": EXPERIMENT.format(environments="['CartPole-v1']", more=""),
        "wrapped.py": EXPERIMENT.format(
            environments='[Environment("CartPole-v1", wrappers="TimeAwareObservation")]', more=""
        ),
        "named.py": EXPERIMENT.format(environments="['CartPole-v1']", more=", envs=[]"),
        "stack.py": EXPERIMENT.format(
            environments='[Environment("CartPole-v1", wrappers=[("FrameStackObservation", {"stack": 4})])]', more=""
        ),
        **{
            f"metric{place}.py": EXPERIMENT.format(
                environments="['CartPole-v1']",
                more=f', claims=[Claim("x", ["ppo-clip"], "above", {metric!r}, bound=0.0)]',
            )
            for place, metric in enumerate(("retrun:mean", "kl", "auc:mean", "aux"))
        },
        "module.py": EXPERIMENT.format(environments='[Environment("CartPole-v1", wrappers=["mine:Foo"])]', more=""),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    result = cli(*words, *(["--workers", 0] if words[0] in ("run", "compare") and "--from" not in words else []))
    assert result.exit_code == 2, result.output
    (last,) = [line for line in result.output.splitlines() if line.startswith(("error:", "Error:"))]
    assert said in last
    assert "trained in" not in result.output


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return (x.ratio * x.advantage).mean()", "surrogate must return one number per sample, (3, 50), not ()"),
        ("x.ratio * x.advantage", "surrogate returned None; return one number per sample, (3, 50)."),
        ("return 1.0", "surrogate must return a tensor, one number per sample, not 1.0."),
        ("return x.ratio * advantage", "surrogate raised NameError: name 'advantage' is not defined."),
        ("return x.ratio * x.adv", "has no attribute 'adv'. Did you mean 'advantage'?"),
    ],
)
def test_a_surrogate_that_cannot_be_used_is_refused_before_training(
    cli: Cli, tmp_path: Path, body: str, said: str
) -> None:
    _, name = plugin(tmp_path, body)
    result = cli("compare", "mine.py", *COMPARE[1:2], *COMPARE[3:], "--workers", 0)
    assert result.exit_code == 2, result.output
    assert f"{name} is not trained: " in result.output
    assert said in result.output
    assert "trained in" not in result.output


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ("return x.ratio if self.eps > 0 else x.advantage", "Decide per replica by torch.where"),
        ("return sum(x.ratio for _ in range(self.eps))", "Declare a whole number as static."),
        ("self.count = 1; return x.ratio", "improve keeps tensors in problem.memory."),
        ("return x.adv", "Did you mean 'advantage'?"),
    ],
)
def test_a_check_that_raises_says_what_helps(cli: Cli, tmp_path: Path, body: str, hint: str) -> None:
    plugin(tmp_path, body)
    result = cli("check", "mine.py")
    assert result.exit_code == 1
    assert hint in next(line for line in result.output.splitlines() if "FAILED" in line)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("eps: float = hyper([0.1, 0.2])", "hyper(...) takes one number, not [0.1, 0.2]"),
        ("k: int = hyper(2)", "Mine.k is no float: declare it by static(...)"),
        ("def __init__(self): self.q = 1", "Mine has an __init__: declare its values by hyper(...) or static(...)"),
    ],
)
def test_a_plugin_that_is_declared_wrongly_says_what_would_be_right(
    cli: Cli, tmp_path: Path, line: str, said: str
) -> None:
    text, _ = plugin(tmp_path, "return x.ratio * x.advantage")
    (tmp_path / "mine.py").write_text(text.replace("eps: float = hyper(0.1)", line))
    result = cli("check", "mine.py")
    assert result.exit_code == 2
    assert said in result.output
