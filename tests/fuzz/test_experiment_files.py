"""Experiment files: whatever one says, it is planned or refused in a sentence, and nothing is written elsewhere."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.hostile import PRELUDE, SOURCES
from tests.fuzz.sandbox import CASES, SMALL, TINY, Sandbox, untouched

ROOT = Path(__file__).parents[2]
REAL = sorted((ROOT / "experiments").glob("*.py"))
PARTS = {
    "name": "'tiny'",
    "arms": f"[Arm('ppo-clip', {SMALL}), Arm('actor-critic', {SMALL})]",
    "environments": "['CartPole-v1']",
    "seeds": "2",
    "steps": "64",
    "baseline": "''",
    "question": "'Which is better?'",
    "claims": "[]",
    "design": "''",
}
ARM = {"algorithm": "'ppo-clip'", "label": "None", "lr": "0.1", "hidden": "[4]", "horizon": "16", "clip": "0.2"}
ENVIRONMENT = {"id": "'CartPole-v1'", "options": "{}"}
CLAIM = {
    "statement": "'PPO is better'",
    "arms": "['ppo-clip', 'actor-critic']",
    "direction": "'greater'",
    "metric": "'auc'",
    "smallest_effect": "0.0",
    "environments": "()",
    "over": "'each'",
    "bound": "None",
    "event": "None",
    "best": "None",
    "paired": "False",
    "level": "0.95",
    "id": "''",
    "source": "''",
    "known": "''",
}
MEASURED = {
    "name": "'measured'",
    "measure": "measure",
    "arms": "['a', 'b']",
    "environments": "['CartPole-v1']",
    "seeds": "2",
    "claims": "[]",
    "question": "''",
    "design": "''",
}
KINDS = {"Experiment": PARTS, "Measurement": MEASURED, "Arm": ARM, "Environment": ENVIRONMENT, "Claim": CLAIM}


def called(kind: str, arguments: dict[str, str]) -> str:
    return f"{kind}({', '.join(f'{name}={value}' for name, value in arguments.items())})"


def source(kind: str, changes: dict[str, str]) -> str:
    """Return an experiment file with other arguments of one of its parts."""
    made = called(kind, {**KINDS[kind], **changes})
    whole = dict(PARTS)
    if kind == "Arm":
        whole["arms"] = f"[{made}, Arm('actor-critic', {SMALL})]"
    elif kind == "Environment":
        whole["environments"] = f"[{made}]"
    elif kind == "Claim":
        whole["claims"] = f"[{made}]"
    text = made if kind in ("Experiment", "Measurement") else called("Experiment", whole)
    return f"{PRELUDE}\ndef measure(environment, seed):\n    return {{}}\n\nEXPERIMENT = {text}\n"


@st.composite
def sources(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(sorted(KINDS)))
    names = draw(st.lists(st.sampled_from(sorted(KINDS[kind])), min_size=1, max_size=2, unique=True))
    return source(kind, {name: draw(st.sampled_from(SOURCES)) for name in names})


def test_wrong_arguments(sandbox: Sandbox, share: float) -> None:
    statuses: set[int] = set()

    @settings(settings.get_profile("fuzz"), max_examples=round(350 * share))
    @given(sources())
    def fuzz(text: str) -> None:
        file = sandbox.work / "experiment.py"
        file.write_bytes(text.encode(errors="surrogatepass"))
        with untouched(sandbox):
            statuses.add(sandbox.call("run", "experiment.py", "--workers", "0").exit_code)

    fuzz()
    assert sandbox.cases >= 350 * share
    assert statuses == {0, 2}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_argument_once(sandbox: Sandbox, kind: str) -> None:
    """With each of the names that look like paths, in each argument."""
    hostile = ["'../x'", "'/tmp/rlbench-hostile'", "'a\\0b'", "'x' * 5000", "deep(3000)", "Rude()", "10**400"]
    for name in KINDS[kind]:
        for value in hostile:
            (sandbox.work / "experiment.py").write_text(source(kind, {name: value}))
            with untouched(sandbox):
                sandbox.call("run", "experiment.py", "--workers", "0")
    assert sandbox.cases == len(KINDS[kind]) * len(hostile)


def test_real_files_that_were_damaged(sandbox: Sandbox, share: float) -> None:
    """Bytes of a real experiment file are cut, doubled, changed or swapped."""
    originals = [file.read_bytes() for file in REAL] + [TINY.encode()] * len(REAL)

    @settings(settings.get_profile("fuzz"), max_examples=round(150 * share))
    @given(st.sampled_from(originals), st.integers(0, 2**32))
    def fuzz(original: bytes, seed: int) -> None:
        (sandbox.work / "experiment.py").write_bytes(damaged(original, random.Random(seed)))
        with untouched(sandbox):
            sandbox.call("run", "experiment.py", "--workers", "0", "--seeds", "2")

    fuzz()
    assert sandbox.cases >= 150 * share


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Return bytes with a few changes."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at, size = chance.randrange(len(out) or 1), chance.randint(1, 40)
        kind = chance.randrange(5)
        if kind == 0:
            del out[at : at + size]
        elif kind == 1:
            out[at:at] = out[at : at + size]
        elif kind == 2 and out:
            out[at] ^= 1 << chance.randrange(8)
        elif kind == 3:
            out[at : at + size] = bytes(chance.randrange(256) for _ in range(size))
        else:
            del out[at:]
    return bytes(out)


STRANGE = {
    "empty.py": b"",
    "binary.py": bytes(range(256)) * 10,
    "nul.py": b"EXPERIMENT = 1\0",
    "latin.py": "# ä\nEXPERIMENT = 'ö'\n".encode("latin-1"),
    "bom.py": b"\xff\xfe" + "EXPERIMENT = 1".encode("utf-16-le"),
    "coding.py": b"# -*- coding: no-such -*-\nEXPERIMENT = 1\n",
    "raises.py": b"raise ValueError('no\\nlonger')\n",
    "stops.py": b"import sys\nsys.exit(0)\n",
    "quits.py": b"quit()\n",
    "base.py": b"class Odd(BaseException): pass\nraise Odd('x')\n",
    "closes.py": b"raise GeneratorExit\n",
    "recurses.py": b"def f(): return f()\nf()\n",
    "prints.py": b"print('x' * 100000)\n",
    "itself.py": b"import itself\n",
    "asserts.py": b"assert False, 'x' * 100000\n",
    "brackets.py": b"EXPERIMENT = " + b"(" * 5000 + b")" * 5000,
    "minus.py": b"EXPERIMENT = " + b"-" * 5000 + b"1",
    "many.py": b"EXPERIMENT = " + b"+".join([b"1"] * 20000),
    "dots.py": b"EXPERIMENT = x" + b".a" * 20000,
    "types.py": b"EXPERIMENT = 5\n",
    "class.py": b"from rlbench import Experiment as EXPERIMENT\n",
    "late.py": b"import rlbench\nclass E(rlbench.Experiment):\n    def __init__(self): pass\nEXPERIMENT = E()\n",
    "unicode\u202e.py": b"EXPERIMENT = 1\n",
    "space name.py": b"EXPERIMENT = 1\n",
    "notpython.txt": b"EXPERIMENT = 1\n",
    "warns.py": b"import warnings\nwarnings.warn('x')\n",
}


@pytest.mark.parametrize("command", ["run", "report", "plan", "figures"])
@pytest.mark.filterwarnings("ignore")
def test_strange_files(sandbox: Sandbox, command: str) -> None:
    for name, content in STRANGE.items():
        (sandbox.work / name).write_bytes(content)
    (sandbox.work / "folder.py").mkdir()
    (sandbox.work / "link.py").symlink_to("nowhere.py")
    (sandbox.work / "loop.py").symlink_to("loop.py")
    os.mkfifo(sandbox.work / "pipe.py")
    names = [*STRANGE, "folder.py", "link.py", "loop.py", "pipe.py", "missing.py", "x" * 300 + ".py", "a\0b.py", ""]
    with untouched(sandbox):
        for name in names:
            result = sandbox.call(command, name)
            assert result.exit_code == 2, (name, result.output)
    assert sandbox.cases == len(names)


SUITE = {
    "title": "'A suite'",
    "introduction": "''",
    "checks": "[Exact('x', lambda: (True, 'y'), id='1')]",
    "errata": "[]",
    "remarks": "{}",
    "figures": "[]",
    "quick": "['tiny']",
    "quick_seeds": "2",
}


def test_suites(sandbox: Sandbox, share: float) -> None:
    folder = sandbox.work / "suite"
    folder.mkdir()
    (folder / "tiny.py").write_text(TINY)
    more = ["[Showpiece('../x', 'curves')]", "[Showpiece('a\\0', 'curves', 'tiny')]", "[Exact('x', 5, id='../../y')]"]

    @settings(settings.get_profile("fuzz"), max_examples=round(80 * share))
    @given(st.sampled_from(sorted(SUITE)), st.sampled_from([*SOURCES, *more]))
    def fuzz(name: str, value: str) -> None:
        made = called("Suite", {**SUITE, name: value})
        text = f"{PRELUDE}\nfrom rlbench import Exact, Showpiece, Suite\nSUITE = {made}\n"
        (folder / "suite.py").write_bytes(text.encode(errors="surrogatepass"))
        with untouched(sandbox):
            sandbox.call("run", "suite", "--workers", "0", "--quick")
            sandbox.call("figures", "suite")

    fuzz()
    assert sandbox.cases >= 160 * share


def test_there_are_enough_cases() -> None:
    every = 7 * sum(map(len, KINDS.values())) + 4 * (len(STRANGE) + 8)
    assert 350 + 150 + 160 + every >= CASES["experiment files"]
    assert sum(CASES.values()) >= 2000
