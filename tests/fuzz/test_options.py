"""Options of the command line: any text in any of them is taken or refused in a sentence."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.hostile import TEXTS
from tests.fuzz.sandbox import CASES, TINY, Sandbox, untouched

NUMBERS = ["0", "-1", "1", "3", "2147483648", "9223372036854775807", "9223372036854775808", "1" + "0" * 400, "1e3", ""]
SETTINGS = [
    "",
    "=",
    ".",
    "ppo-clip",
    "ppo-clip.",
    "ppo-clip.=1",
    ".lr=1",
    "ppo-clip.lr",
    "ppo-clip.lr=",
    "ppo-clip.lr=,",
    "ppo-clip.lr=0.1,",
    "ppo-clip.lr=0.1,0.1",
    "ppo-clip.lr=0.1,nan",
    "ppo-clip.lr=inf",
    "ppo-clip.lr=-inf",
    "ppo-clip.lr=1e999",
    "ppo-clip.lr=0x10",
    "ppo-clip.lr=1_0",
    "ppo-clip.lr=" + ",".join(f"{value}e-5" for value in range(1, 60)),
    "ppo-clip.hidden=",
    "ppo-clip.hidden=,",
    "ppo-clip.hidden=-1",
    "ppo-clip.hidden=0",
    "ppo-clip.hidden=1.5",
    "ppo-clip.hidden=[4]",
    "ppo-clip.hidden=4,4",
    "ppo-clip.hidden=" + "9" * 50,
    "ppo-clip.horizon=1e3",
    "ppo-clip.horizon=" + "9" * 30,
    "ppo-clip.horizon=0",
    "ppo-clip.num_envs=-2",
    "ppo-clip.num_envs=" + "9" * 25,
    "ppo-clip.epochs=1,2",
    "ppo-clip.minibatches=0",
    "ppo-clip.name=x",
    "ppo-clip.surrogate=x",
    "ppo-clip.__class__=x",
    "ppo-clip.clip=../x",
    "actor-critic.gamma=2",
    "ppo-clip.normalize_observations=maybe",
    "ppo-clip.lr=lr=0.1",
]
FREE = st.text(st.characters(exclude_categories=()), max_size=40)
TEXT = st.one_of(st.sampled_from(TEXTS), FREE)
SETTING = st.one_of(
    st.sampled_from(SETTINGS),
    TEXT,
    st.builds("ppo-clip.{}={}".format, TEXT, TEXT),
    st.builds("ppo-clip.{}={}".format, st.sampled_from(["lr", "hidden", "horizon", "clip", "epochs"]), TEXT),
    st.builds("{}={}".format, TEXT, TEXT),
)
NUMBER = st.one_of(st.sampled_from(NUMBERS), TEXT, st.integers().map(str), st.floats().map(str))
OF_RUN = {
    "--set": SETTING,
    "--seeds": NUMBER,
    "--first-seed": NUMBER,
    "--steps": NUMBER,
    "--only": TEXT,
    "--plugin": TEXT,
    "--device": st.one_of(st.sampled_from(["cuda:99", "cuda:-1", "cuda:x", "cpu:0", "meta", "AUTO"]), TEXT),
}
OF_PLAN = {
    "--set": SETTING,
    "--seeds": NUMBER,
    "--steps": NUMBER,
    "--effect": NUMBER,
    "--metric": TEXT,
    "--power": NUMBER,
    "--plugin": TEXT,
}
OF_COMPARE = {
    "--env": st.one_of(
        TEXT, st.sampled_from(["CartPole-v0", "nowhere:CartPole-v1", "a:b:c", "os:x-v0", "CartPole-v99"])
    ),
    "--seeds": NUMBER,
    "--steps": NUMBER,
    "--baseline": TEXT,
    "--set": SETTING,
    "--plugin": TEXT,
    "--reference": TEXT,
}
OF_FIGURES = {"--style": TEXT, "--only": TEXT}


def options(known: dict[str, st.SearchStrategy[str]]) -> st.SearchStrategy[list[str]]:
    one = st.sampled_from(sorted(known)).flatmap(lambda name: known[name].map(lambda value: [name, value]))
    return st.lists(one, min_size=1, max_size=3).map(lambda pairs: [text for pair in pairs for text in pair])


@pytest.mark.parametrize(
    ("command", "known", "cases"),
    [
        (["run", "tiny.py", "--workers", "0"], OF_RUN, 200),
        (["run", "suite", "--workers", "0"], OF_RUN, 80),
        (["plan", "tiny.py"], OF_PLAN, 80),
        (["report", "tiny.py"], OF_RUN, 40),
        (["compare", "ppo-clip", "actor-critic", "--workers", "0"], OF_COMPARE, 120),
        (["figures", "tiny.py"], OF_FIGURES, 30),
    ],
    ids=["run", "run-a-suite", "plan", "report", "compare", "figures"],
)
def test_options(
    sandbox: Sandbox, command: list[str], known: dict[str, st.SearchStrategy[str]], cases: int, share: float
) -> None:
    (sandbox.work / "tiny.py").write_text(TINY)
    (sandbox.work / "suite").mkdir()
    (sandbox.work / "suite" / "tiny.py").write_text(TINY)

    @settings(settings.get_profile("fuzz"), max_examples=round(cases * share))
    @given(options(known))
    def fuzz(given_options: list[str]) -> None:
        sandbox.call(*command, *given_options)

    with untouched(sandbox):
        fuzz()
    assert sandbox.cases >= cases * share


def test_names_of_what_was_never_run(sandbox: Sandbox) -> None:
    with untouched(sandbox):
        for command in ("report", "plan", "figures", "run", "check", "agreement"):
            for text in TEXTS:
                if not (command == "check" and text == "ppo-clip"):
                    arguments = [command, "--", text, *([text] if command == "agreement" else [])]
                    assert sandbox.call(*arguments).exit_code == 2
    assert sandbox.cases >= 6 * len(TEXTS) - 1


def test_folders_for_results(sandbox: Sandbox) -> None:
    """Any folder that the system takes; absolute ones and those above are the user's own affair."""
    (sandbox.work / "tiny.py").write_text(TINY)
    (sandbox.work / "file").write_text("mine\n")
    for text in [*TEXTS, "file", "file/below", "x" * 200 + "/" + "y" * 300]:
        if text.startswith(("/", "..")):
            continue
        sandbox.call("run", "tiny.py", "--workers", "0", f"--results={text}")
        sandbox.call("report", "tiny.py", f"--results={text}")
        sandbox.call("report", "tiny", f"--results={text}")
        sandbox.call("plan", "tiny", f"--results={text}")
        sandbox.call("figures", "tiny", f"--results={text}")
    assert (sandbox.work / "file").read_text() == "mine\n"


def test_there_are_enough_cases() -> None:
    assert CASES["options"] <= 200 + 80 + 80 + 40 + 120 + 30
