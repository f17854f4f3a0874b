"""Names from files become file names safely, and nothing is written through a link."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from rlbench.errors import RlbenchError
from rlbench.files import LONGEST_NAME, file_name, folder, is_name, write
from rlbench.store import Store
from rlbench.store.leases import _machine
from rlbench.study.experiment import Experiment
from tests.fuzz.conftest import sandbox  # noqa: F401
from tests.fuzz.hostile import TEXTS
from tests.fuzz.sandbox import TINY, Sandbox

HOSTILE = [*TEXTS, "../" * 20 + "etc/passwd", "/" * 300, "." * 300, "a" * 300, "\0", "a\0b", "..\\..\\x", "con.\n"]


def lies_inside(name: str, root: Path) -> bool:
    return os.path.dirname(os.path.abspath(root / name)) == str(root)


@pytest.mark.parametrize("label", HOSTILE)
def test_any_label_gives_a_name_inside_the_folder(tmp_path: Path, label: str) -> None:
    name = file_name(label)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", name)
    assert len(name) <= LONGEST_NAME
    assert lies_inside(name, tmp_path)
    (tmp_path / f".{name}.01234567.tmp").write_text("")  # the file system takes it, endings included
    assert is_name(name)


def test_different_labels_give_different_names() -> None:
    taken: set[str] = set()
    names = [file_name(label, taken) for label in [*HOSTILE, "a" * 299 + "b", "A" * 300, "x/y", "x y", "X-Y"]]
    assert len({name.lower() for name in names}) == len(names)


@pytest.mark.parametrize("name", [one for one in HOSTILE if one not in ("0x10", "store")])
def test_a_name_that_is_used_as_it_is_must_be_safe(tmp_path: Path, name: str) -> None:
    safe = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) is not None
    assert is_name(name) == safe
    if safe:
        assert lies_inside(name, tmp_path)
    else:
        with pytest.raises(RlbenchError, match="An experiment's name is also its folder"):
            Experiment(name, ["ppo-clip"], ["CartPole-v1"])


def test_the_store_has_no_entry_outside() -> None:
    for name in HOSTILE:
        assert Store("/tmp").manifest(name) is None


@pytest.mark.parametrize("path", ["../x.txt", "a/../../x.txt", "/tmp/rlbench-x.txt"])
def test_nothing_is_written_outside_of_the_folder(tmp_path: Path, path: str) -> None:
    inside = tmp_path / "results"
    with pytest.raises(RlbenchError, match="is not inside"):
        write(inside / path, "x", inside=inside)
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    inside, victim = tmp_path / "results", tmp_path / "victim.txt"
    inside.mkdir()
    victim.write_text("mine")
    (inside / "claims.json").symlink_to(victim)
    write(inside / "claims.json", "new", inside=inside)
    assert victim.read_text() == "mine"
    assert not (inside / "claims.json").is_symlink()
    assert (inside / "claims.json").read_text() == "new"
    assert sorted(one.name for one in inside.iterdir()) == ["claims.json"]


def test_a_folder_behind_a_link_is_refused_but_the_results_may_be_one(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "results").symlink_to("elsewhere")
    write(tmp_path / "results" / "a" / "x.txt", "x", inside=tmp_path / "results")
    (tmp_path / "results" / "b").symlink_to(tmp_path)
    for path in ("b/x.txt", "b/c/x.txt"):
        with pytest.raises(RlbenchError, match="is a link, and rlbench writes into no folder that a link leads to"):
            write(tmp_path / "results" / path, "x", inside=tmp_path / "results")
    with pytest.raises(RlbenchError, match="is a link"):
        folder(tmp_path / "results" / "b", inside=tmp_path / "results")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["elsewhere", "results"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "x.txt", "old", inside=tmp_path)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "x.txt", "new", inside=tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["x.txt"]
    assert (tmp_path / "x.txt").read_text() == "old"


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Return a sandbox with a trained experiment and its report."""
    made = Sandbox(tmp_path)
    monkeypatch.chdir(made.work)
    monkeypatch.setattr("rlbench.analysis.report.experiment_page.pictures", lambda _: [])
    (made.work / "tiny.py").write_text(TINY)
    assert made.call("run", "tiny.py", "--workers", "0").exit_code == 0
    return made


@pytest.mark.parametrize("what", ["tiny", "tiny/figures", "tiny/tables", "store"])
@pytest.mark.parametrize("command", [["run", "tiny.py", "--workers", "0", "--seeds", "3"], ["report", "tiny.py"]])
def test_links_in_the_results_lead_no_write_outside(trained: Sandbox, what: str, command: list[str]) -> None:
    import shutil

    link, precious = trained.results / what, trained.root / "precious"
    if link.exists():
        shutil.copytree(link, precious, dirs_exist_ok=True)
        shutil.rmtree(link)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(precious)
    before = trained.outside()
    result = trained.call(*command)
    assert trained.outside() == before
    assert (precious / "figure.svg").read_text() == "mine\n"
    writes = what == "tiny" or (what == "store") == (command[0] == "run")
    assert result.exit_code == (2 if writes else 0)
    assert ("is a link" in result.stderr) == writes


def test_a_report_replaces_links_that_have_the_names_of_its_files(trained: Sandbox) -> None:
    victim = trained.root / "bystander.txt"
    for name in ("report.html", "experiment.json"):
        (trained.results / "tiny" / name).unlink(missing_ok=True)
        (trained.results / "tiny" / name).symlink_to(victim)
    assert trained.call("run", "tiny.py", "--workers", "0").exit_code == 0
    assert trained.call("report", "tiny.py").exit_code == 0
    assert victim.read_text() == "mine\n"
    assert "</html>" in (trained.results / "tiny" / "report.html").read_text(encoding="utf-8")


def test_a_specification_that_names_another_folder_is_not_believed(trained: Sandbox) -> None:
    file = trained.results / "tiny" / "experiment.json"
    for name in ("../../precious", "/tmp/rlbench-hostile", "other"):
        file.write_text(file.read_text().replace('"name": "tiny"', f'"name": "{name}"'))
        before = trained.outside()
        result = trained.call("report", "tiny")
        assert result.exit_code == 2
        assert "experiment.json is damaged" in result.stderr
        assert trained.outside() == before


@pytest.mark.parametrize("name", [".running", ".checkpoints", ".set-aside"])
@pytest.mark.parametrize("command", [["run", "tiny.py", "--workers", "0", "--seeds", "3"], ["status"]])
def test_links_inside_the_store_lead_nothing_outside(trained: Sandbox, name: str, command: list[str]) -> None:
    link, precious = trained.results / "store" / name, trained.root / "precious"
    if link.exists():
        link.rmdir()
    old = precious / ".old.0123.tmp"  # as old as what a killed process left, which would be swept
    old.touch()
    os.utime(old, (1, 1))
    cell = next(path.name for path in (trained.results / "store").iterdir() if len(path.name) == 32)
    (precious / f"{cell}.npz").write_text("a checkpoint of a stored run")
    link.symlink_to(precious)
    before = trained.outside()
    result = trained.call(*command)
    assert trained.outside() == before
    assert (result.exit_code, "is a link" in result.stderr) == ((2, True) if command[0] == "run" else (0, False))


def test_an_entry_is_not_set_aside_through_a_link(trained: Sandbox) -> None:
    store = trained.results / "store"
    entry = next(path for path in store.iterdir() if len(path.name) == 32)
    (entry / "manifest.json").write_text("damaged")
    (store / ".set-aside").symlink_to(trained.root / "precious")
    before = trained.outside()
    result = trained.call("run", "tiny.py", "--workers", "0")
    assert trained.outside() == before
    assert (result.exit_code, "is a link" in result.stderr) == (2, True)


def test_a_lock_is_not_made_through_a_link(trained: Sandbox) -> None:
    lock = trained.results / "store" / ".lock"
    lock.unlink(missing_ok=True)
    lock.symlink_to(trained.root / "made")
    assert trained.call("run", "tiny.py", "--workers", "0", "--seeds", "3").exit_code == 0
    assert not (trained.root / "made").exists()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        short = Path("/tmp") / path.name  # the path of a socket may not be long
        listening.bind(str(short))
        shutil.move(short, path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes in the file system")
@pytest.mark.parametrize("make", [_pipe, _socket, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize(
    "name",
    [
        *("store/.lock", "store/.index.json", "store/costs.json", "store/.vetted.json"),
        *("store/.running/x.lock", "store/.running/y.json", "store/.checkpoints/CELL.npz", "store/CELL/manifest.json"),
        *("store/CELL/updates.parquet", "tiny/experiment.json", "tiny/claims.json"),
    ],
)
def test_what_is_no_regular_file_holds_no_command(trained: Sandbox, name: str, make: Callable[[Path], None]) -> None:
    """The sandbox ends what takes too long."""
    store = trained.results / "store"
    cell = next(path.name for path in store.iterdir() if len(path.name) == 32)
    path = trained.results / name.replace("CELL", cell)
    if name.endswith("npz"):
        shutil.rmtree(store / cell)  # it is still to be trained
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    make(path)
    if name.endswith(".lock") and "running" in name:
        path.with_suffix(".json").write_text(json.dumps(LEASE))
    for command in (["status"], ["run", "tiny.py", "--workers", "0"], ["report", "tiny.py"]):
        assert trained.call(*command).exit_code in (0, 2)


LEASE = {
    "format": 1,
    "host": "here",
    "machine": _machine(),
    "pid": 17,
    "started": "2026-01-01T00:00:00+00:00",
    "claimed": [],
    "experiments": [],
}
