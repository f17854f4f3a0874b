"""What is read back: whatever the files of a results folder hold, it is ignored with a message or said in a sentence.

And a number that is believed is the number that was written.
"""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from rlbench.cli import main
from rlbench.store import Store, load_table
from rlbench.store.entry import manifest_digest
from rlbench.store.folders import read_specification
from tests.fuzz.hostile import VALUES, deep
from tests.fuzz.sandbox import CASES, TINY, Sandbox, ending, untouched
from tests.fuzz.test_experiment_files import damaged

STAGED = TINY.replace('"tiny"', '"staged"').replace("seeds=2", "seeds=4")
MEASURED = """
from rlbench import Measurement

def measure(environment, seed):
    return {"a": {"x": [1.0 * seed, 2.0]}, "b": {"x": [3.0]}}

EXPERIMENT = Measurement("measured", measure, ["a", "b"], ["CartPole-v1"], seeds=3)
"""
FLIPS = 400
DOCUMENTS = ("manifest.json", "experiment.json", "claims.json", "stages.json", "costs.json", "verdicts.json")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a working folder with real results: an experiment, one in stages, a measurement, and a suite."""
    work = tmp_path_factory.mktemp("original")
    (work / "tiny.py").write_text(TINY)
    (work / "staged.py").write_text(STAGED)
    (work / "measured.py").write_text(MEASURED)
    (work / "suite").mkdir()
    (work / "suite" / "tiny.py").write_text(TINY)
    before = os.getcwd()
    os.chdir(work)
    try:
        for command in (
            "run tiny.py measured.py --workers 0",
            "run staged.py --until-decided --stage 2 --workers 0",
            "run suite --workers 0",
            "report suite",
        ):
            result = CliRunner().invoke(main, command.split(), catch_exceptions=False)
            assert result.exit_code == 0, result.output
        (work / "results" / "store" / "costs.json").write_text(json.dumps({"0" * 32: {"8": [1e-6, 10]}}))
    finally:
        os.chdir(before)
    return work


@pytest.fixture
def copied(sandbox: Sandbox, original: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Return a sandbox with a copy of the results, in which reports draw no figures, which takes seconds."""
    shutil.copytree(original, sandbox.work, dirs_exist_ok=True)
    monkeypatch.setattr("rlbench.analysis.report.experiment_page.pictures", lambda _: [])
    monkeypatch.setattr("rlbench.analysis.report.suite_page.render", lambda *_: [])
    return sandbox


def restore(sandbox: Sandbox, original: Path) -> None:
    shutil.rmtree(sandbox.results)
    shutil.copytree(original / "results", sandbox.results, symlinks=True)


def places(document: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value of a document."""
    yield at
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        yield from places(value, (*at, key))


def mutated(document: Any, chance: random.Random) -> Any:
    """Return a document with one value replaced, removed, doubled, or under another name."""
    document = copy.deepcopy(document)
    # Shallow places as often as deep ones: there are many more of these.
    found = list(places(document))
    depth = chance.choice(sorted({len(one) for one in found}))
    place = chance.choice([one for one in found if len(one) == depth])
    value = copy.deepcopy(chance.choice(VALUES))
    if not place:
        return value
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    key, kind = place[-1], chance.randrange(6)
    if kind == 0:
        del inner[key]
    elif kind == 1 and isinstance(inner, dict):
        inner[str(chance.choice(VALUES))] = inner.pop(key)
    elif kind == 2 and isinstance(inner, list):
        inner.insert(key, copy.deepcopy(inner[key]))
    elif kind == 3 and isinstance(inner[key], int | float) and not isinstance(inner[key], bool):
        inner[key] = inner[key] * chance.choice([-1, 10, 0.5, 1e300, 10**30])
    else:
        inner[key] = value
    return document


def files_called(results: Path, name: str) -> list[Path]:
    return sorted(results.rglob(name))


COMMANDS = {
    "manifest.json": ["report tiny", "report measured", "plan tiny", "run tiny.py --workers 0", "report suite"],
    "experiment.json": ["report tiny", "report measured", "plan tiny", "run tiny.py --workers 0", "report staged"],
    "claims.json": ["report tiny", "run tiny.py --workers 0", "report suite", "run suite --workers 0"],
    "stages.json": ["report staged", "run staged.py --until-decided --stage 2 --workers 0"],
    "costs.json": ["run tiny.py --workers 0"],
    "verdicts.json": ["agreement results/suite results/suite", "agreement results/suite other"],
}


@pytest.mark.parametrize(
    ("name", "cases"),
    [
        ("manifest.json", 60),
        ("experiment.json", 90),
        ("claims.json", 40),
        ("stages.json", 40),
        ("costs.json", 40),
        ("verdicts.json", 40),
    ],
)
def test_wrong_values(copied: Sandbox, original: Path, name: str, cases: int, share: float) -> None:
    shutil.copytree(original / "results" / "suite", copied.work / "other")

    @settings(settings.get_profile("fuzz"), max_examples=round(cases * share))
    @given(st.integers(0, 2**32), st.sampled_from(COMMANDS[name]))
    def fuzz(seed: int, command: str) -> None:
        chance = random.Random(seed)
        restore(copied, original)
        for file in files_called(copied.results, name):
            document = mutated(json.loads(file.read_bytes()), chance)
            if name == "manifest.json" and isinstance(document, dict) and chance.random() < 0.7:
                document["digest"] = manifest_digest(document)  # forged with care
            file.write_text(json.dumps(document))
        copied.call(*command.split())

    with untouched(copied):
        fuzz()
    assert copied.cases >= cases * share


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_that_are_none(copied: Sandbox, original: Path, name: str, share: float) -> None:
    contents = [b"", b"{", b"null", b"[]", b"1" * 5000, b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b"\0" * 10]
    contents += [json.dumps(deep(900)).encode(), b"NaN", b'"x"']
    with untouched(copied):
        for content in contents:
            for command in COMMANDS[name][:: round(1 / share)]:
                restore(copied, original)
                for file in files_called(copied.results, name):
                    file.write_bytes(content)
                copied.call(*command.split())


def test_damaged_bytes(copied: Sandbox, original: Path, share: float) -> None:
    names = [str(one.relative_to(original)) for one in sorted((original / "results").rglob("*")) if one.is_file()]

    @settings(settings.get_profile("fuzz"), max_examples=round(60 * share))
    @given(st.sampled_from(names), st.integers(0, 2**32), st.sampled_from(["report tiny", "report suite", "plan tiny"]))
    def fuzz(name: str, seed: int, command: str) -> None:
        restore(copied, original)
        file = copied.work / name
        file.write_bytes(damaged(file.read_bytes(), random.Random(seed)))
        copied.call(*command.split())

    with untouched(copied):
        fuzz()
    assert copied.cases >= 60 * share


def test_a_flipped_bit_is_never_a_wrong_number(copied: Sandbox, original: Path, share: float) -> None:
    """Of every entry, any bit of any file: what is then believed is what was written, or the run counts as missing."""
    _, planned = read_specification(original / "results", "tiny")
    cell = planned[0].cell
    expected = load_table(original / "results", planned[:1])
    folder = copied.results / "store" / cell
    chance, missing, flips = random.Random(1), 0, 0
    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        for place in sorted(chance.sample(range(len(data)), min(len(data), round(150 * share)))):
            changed = bytearray(data)
            changed[place] ^= 1 << chance.randrange(8)
            file.write_bytes(changed)
            flips += 1
            store = Store(copied.results)
            found = load_table(copied.results, planned[:1])
            if file.name == "policy.npz":
                missing += store.policy(cell) is None
                assert str(folder) in store.messages[0]
            elif found.runs["status"][0] == "missing":
                missing += 1
                assert store.read(cell) is None
                assert len(store.messages) == 1
                assert str(folder) in store.messages[0]
            else:
                for name in found._fields:
                    assert getattr(found, name).equals(getattr(expected, name))
        file.write_bytes(data)
    assert flips >= FLIPS * share
    assert missing > 0.9 * flips  # what is not: spaces between the words of a manifest


def test_other_things_in_place_of_files(copied: Sandbox, original: Path, share: float) -> None:
    names = [str(one.relative_to(original)) for one in sorted((original / "results").rglob("*"))]
    kinds = ["missing", "folder", "link outside", "link to nothing", "loop", "zero", "pipe", "another file"]

    @settings(settings.get_profile("fuzz"), max_examples=round(70 * share))
    @given(
        st.sampled_from(names),
        st.sampled_from(kinds),
        st.sampled_from(names),
        st.sampled_from(["report tiny", "report suite", "plan staged", "run tiny.py --workers 0", "figures missing"]),
    )
    def fuzz(name: str, kind: str, other: str, command: str) -> None:
        restore(copied, original)
        replace(copied, copied.work / name, kind, original / other)
        copied.call(*command.split())

    with untouched(copied):
        fuzz()
    assert copied.cases >= 70 * share


def replace(sandbox: Sandbox, path: Path, kind: str, other: Path) -> None:
    """Put something else where a file or folder was."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "link outside":
        path.symlink_to(sandbox.root / "precious" / ("figure.svg" if path.suffix else ""))
    elif kind == "link to nothing":
        path.symlink_to(sandbox.root / "precious" / "new")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "zero":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "another file" and other.is_file():
        shutil.copyfile(other, path)


def test_entries_under_each_others_names(copied: Sandbox) -> None:
    """Two entries changed places, or tables of one in the other: neither is believed."""
    _, planned = read_specification(copied.results, "tiny")
    store = copied.results / "store"
    first, second = (store / one.cell for one in planned[:2])
    os.rename(first, store / "between")
    os.rename(second, first)
    os.rename(store / "between", second)
    assert list(load_table(copied.results, planned).runs["status"][:2]) == ["missing", "missing"]
    third, fourth = (store / one.cell for one in planned[2:4])
    shutil.copyfile(third / "episodes.parquet", fourth / "episodes.parquet")
    assert load_table(copied.results, planned).runs["status"][3] == "missing"
    assert copied.call("run", "tiny.py", "--workers", "0").stderr.count("Set aside") == 3


def test_a_planned_cell_that_is_a_path_is_not_followed(copied: Sandbox) -> None:
    _, planned = read_specification(copied.results, "tiny")
    cell = planned[0].cell
    shutil.copytree(copied.results / "store" / cell, copied.root / "precious" / cell)
    for name in (f"../../../../precious/{cell}", str(copied.root / "precious" / cell)):
        assert load_table(copied.results, [planned[0]._replace(cell=name)]).runs["status"][0] == "missing"


def test_tables_of_other_columns_are_not_believed(copied: Sandbox) -> None:
    """Parquet that was forged with care: its checksum is right, its columns are not those of a run."""
    import hashlib

    import pyarrow as pa
    import pyarrow.parquet as pq

    _, planned = read_specification(copied.results, "tiny")
    folder = copied.results / "store" / planned[0].cell
    whole = {"step": np.arange(2), "return": np.ones(2), "length": np.arange(2)}
    tables = [
        pa.table({}),
        pa.table({**whole, "step": ["a", "b"]}),
        pa.table({**whole, "extra": [[1], [2]]}),
        pa.table({**whole, "cell": np.arange(2)}),
        pa.table({"return": np.ones(2)}),
    ]
    for table in tables:
        with ending(table.schema):
            pq.write_table(table, folder / "episodes.parquet")
            data = (folder / "episodes.parquet").read_bytes()
            manifest = json.loads((folder / "manifest.json").read_bytes())
            manifest["files"]["episodes"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            manifest["digest"] = manifest_digest(manifest)
            (folder / "manifest.json").write_text(json.dumps(manifest))
            assert load_table(copied.results, planned).runs["status"][0] == "missing"


def test_there_are_enough_cases() -> None:
    documents = 12 * sum(map(len, COMMANDS.values()))
    assert 60 + 90 + 40 + 40 + 40 + 40 + documents + 60 + 70 + FLIPS >= CASES["results"]
