"""Discovery: entry points, files, classes; whatever is broken or doubled is named and breaks nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlbench import Algorithm, registry, userfiles
from rlbench.errors import RlbenchError

PLUGIN = """
import torch
from rlbench import Algorithm, hyper

class Mine(Algorithm):
    name = "{name}"
    strength: float = hyper(0.5)

    def surrogate(self, x):
        return self.strength * x.ratio * x.advantage
"""
BUILT_IN = ["actor-critic", "ppo-adaptive", "ppo-clip", "ppo-penalty", "random", "reinforce", "trpo"]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each test a registry of its own, and forget the modules it has imported."""
    registry.names()
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    monkeypatch.setattr(registry, "_broken", dict(registry._broken))
    monkeypatch.setattr(registry, "_discovered", True)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith((userfiles.PREFIX, "third_party")):
            del sys.modules[name]


def write(folder: Path, text: str, name: str = "plugin.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_built_ins_come_through_the_entry_point() -> None:
    assert set(BUILT_IN) <= set(registry.names())
    assert registry.names() == sorted(registry.names())
    assert registry.load("trpo").__module__ == "rlbench.algorithms.trpo"
    assert registry.broken() == {}
    assert registry.origin(registry.load("trpo")).endswith("/algorithms/trpo.py")


def test_an_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(RlbenchError, match=r"There is no algorithm 'ppo-clp'\. Did you mean 'ppo-clip'\?"):
        registry.load("ppo-clp")
    with pytest.raises(RlbenchError, match=r"Known: a2c, actor-critic, .* needs --plugin FILE"):
        registry.load("zzzzzz")


def test_of_a_file_without_an_algorithm_only_importing_can_tell(tmp_path: Path) -> None:
    file = tmp_path / "empty.py"
    file.write_text("from rlbench import Algorithm\n\nclass Nameless(Algorithm):\n    pass\n")
    assert registry.sketch("nameless", [file]) is None
    with pytest.raises(RlbenchError, match="defines no Algorithm subclass with a name"):
        registry.add_file(file)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ppo", "Did you mean 'ppo-adaptive', 'ppo-clip', 'ppo-clip-higher' or 'ppo-dual-clip'?"),
        ("a3c", "That is a2c"),
        ("vpg", "That is reinforce"),
        ("pg", "That is reinforce"),
        ("ppo2", "That is ppo-clip"),
    ],
)
def test_a_name_from_elsewhere_gets_what_it_is_called_here(name: str, hint: str) -> None:
    for find in (registry.load, registry.sketch):
        with pytest.raises(RlbenchError, match=re.escape(f"There is no algorithm {name!r}. {hint}")):
            find(name)


def test_a_sketch_has_the_name_and_the_fields_and_needs_no_torch(tmp_path: Path) -> None:
    text = "from rlbench.algorithms.ppo_clip import PPOClip\nimport nothing_like_it\nfrom rlbench import hyper\n"
    text += "class Mine(PPOClip):\n    name = 'mine'\n    tau: float = hyper(0.5, low=0.1)\n    x = print('ran')\n"
    file = write(tmp_path, text)
    program = (
        "import sys\nfrom rlbench import registry\nfrom rlbench.fields import fields_of\n"
        f"known = registry.sketches([{str(file)!r}])\nassert 'torch' not in sys.modules\n"
        "mine = known.pop('mine')\nassert fields_of(mine)['tau'].low == 0.1 and 'clip' in fields_of(mine)\n"
        "for name in registry.names():\n"
        "    assert fields_of(known[name]) == fields_of(registry.load(name)), name\n"
        "    assert known[name].__doc__ == registry.load(name).__doc__\n"
        "    assert registry.origin(known[name]) == registry.origin(registry.load(name))\n"
        "assert sorted(known) == registry.names()"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == ""


def test_what_a_sketch_cannot_tell_is_left_to_the_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, text in enumerate(("class Mine(Somebodys):\n    name = 'mine'\n", "class :\n")):
        assert registry.sketch("mine", [write(tmp_path, text, f"plugin{number}.py")]) is None
    points = [
        EntryPoint("other", "third_party", registry.GROUP),
        EntryPoint("own", "rlbench.algorithms", registry.GROUP),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: EntryPoints(points))
    assert registry.sketch("ppo-clip") is None


def test_a_plugin_file(tmp_path: Path) -> None:
    (cls,) = registry.add_file(write(tmp_path, PLUGIN.format(name="mine")))
    assert registry.load("mine") is cls
    assert registry.origin(cls) == str(tmp_path / "plugin.py")
    assert registry.add_file(tmp_path / "plugin.py") == [cls]  # a second time is the first time's answer
    assert cls().strength == 0.5  # type: ignore[attr-defined]


def test_only_what_a_file_defines_itself_is_its_algorithm(tmp_path: Path) -> None:
    text = "from rlbench.algorithms.ppo_clip import PPOClip\nfrom rlbench import hyper\n"
    text += "class Base(PPOClip):\n    pass\nclass Mine(PPOClip):\n    name = 'mine'\n"
    assert [cls.name for cls in registry.add_file(write(tmp_path, text))] == ["mine"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("def f(:\n    pass\n", r"plugin.py, line 1: SyntaxError"),
        ("import rlbench\n\nx = 1 / 0\n", r"plugin.py, line 3: ZeroDivisionError: division by zero"),
        ("import not_installed_anywhere\n", r"plugin.py, line 1: ModuleNotFoundError: No module named"),
        ("x = 1\n", r"defines no Algorithm subclass with a name, such as name = 'my-variant'"),
        ("from rlbench import Algorithm\nclass A(Algorithm):\n    pass\n", "defines no Algorithm subclass with a name"),
        (
            "from rlbench import Algorithm\nclass A(Algorithm):\n    name = 'a'\n    lr = 0.1\n",
            r"line 2: TypeError: A\.lr is a field: declare it by lr: TYPE = hyper",
        ),
    ],
)
def test_a_file_that_cannot_be_used_says_why_each_time(tmp_path: Path, text: str, complaint: str) -> None:
    path = write(tmp_path, text)
    known = registry.names()
    for _ in range(2):
        with pytest.raises(RlbenchError, match=complaint) as caught:
            registry.add_file(path)
        assert "plugin.py" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert registry.names() == known


def test_a_missing_file() -> None:
    with pytest.raises(RlbenchError, match=r"There is no plugin file 'nowhere/x\.py'"):
        registry.add_file("nowhere/x.py")


def test_a_name_that_is_taken_names_both_files_each_time(tmp_path: Path) -> None:
    path = write(tmp_path, PLUGIN.format(name="ppo-clip"))
    for _ in range(2):
        with pytest.raises(RlbenchError, match=r"Two algorithms are called 'ppo-clip'") as caught:
            registry.add_file(path)
        assert "algorithms/ppo_clip.py" in str(caught.value)
        assert str(path) in str(caught.value)
    assert registry.load("ppo-clip").__module__ == "rlbench.algorithms.ppo_clip"


def test_a_class_from_python() -> None:
    class Mine(Algorithm):
        name = "from-python"

    registry.add_class(Mine)
    registry.add_class(Mine)
    assert registry.load("from-python") is Mine

    class Other(Algorithm):
        name = "from-python"

    with pytest.raises(RlbenchError, match="Two algorithms are called 'from-python'"):
        registry.add_class(Other)


def third_party(folder: Path, monkeypatch: pytest.MonkeyPatch, modules: dict[str, str]) -> None:
    """Install modules as if by pip, each named by an entry point, besides the built-ins."""
    for name, text in modules.items():
        write(folder, text, f"{name}.py")
    monkeypatch.syspath_prepend(folder)
    points = [EntryPoint(name, name, registry.GROUP) for name in modules]
    points.append(EntryPoint("builtin", "rlbench.algorithms", registry.GROUP))
    monkeypatch.setattr(registry, "entry_points", lambda group: EntryPoints(points))
    monkeypatch.setattr(registry, "_classes", {})
    monkeypatch.setattr(registry, "_broken", {})
    monkeypatch.setattr(registry, "_discovered", False)


def test_a_broken_installed_plugin_is_reported_and_breaks_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = {"third_party_bad": "raise OSError('no licence')", "third_party_good": PLUGIN.format(name="good")}
    modules["third_party_empty"] = "from rlbench.algorithms.trpo import TRPO"
    third_party(tmp_path, monkeypatch, modules)
    assert {"good", *BUILT_IN} <= set(registry.names())
    assert list(registry.broken()) == ["third_party_bad", "third_party_empty"]
    assert "OSError: no licence" in registry.broken()["third_party_bad"]
    assert registry.broken()["third_party_empty"] == "It defines no Algorithm subclass with a name."
    with pytest.raises(RlbenchError, match="Broken plugins: third_party_bad"):
        registry.load("bad")


def test_two_installed_plugins_of_one_name_are_an_error_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    third_party(tmp_path, monkeypatch, {"third_party_twin": PLUGIN.format(name="trpo")})
    for _ in range(2):
        with pytest.raises(RlbenchError, match="Two algorithms are called 'trpo'") as caught:
            registry.names()
        assert "third_party_twin.py" in str(caught.value)


def fingerprint_of(path: Path) -> str:
    registry._classes.pop("mine", None)
    for name in [name for name in sys.modules if name.startswith(userfiles.PREFIX)]:
        del sys.modules[name]
    (cls,) = registry.add_file(path)
    return registry.fingerprint(cls)


def test_the_fingerprint_follows_the_source(tmp_path: Path) -> None:
    path = write(tmp_path, PLUGIN.format(name="mine"))
    first = fingerprint_of(path)
    assert fingerprint_of(path) == first
    path.write_bytes(PLUGIN.format(name="mine").replace("\n", "\r\n").encode())
    assert fingerprint_of(path) == first  # other line ends are no other code
    write(tmp_path, PLUGIN.format(name="mine").replace("x.ratio", "2 * x.ratio"))
    assert fingerprint_of(path) != first
    elsewhere = tmp_path / "sub"
    elsewhere.mkdir()
    assert fingerprint_of(write(elsewhere, PLUGIN.format(name="mine"))) == first  # nor is another folder


def test_the_fingerprint_follows_the_source_of_the_bases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rlbench.algorithms.ppo_adaptive import PPOAdaptive

    real = userfiles.inspect.getsource
    first, unrelated = registry.fingerprint(PPOAdaptive), registry.fingerprint(registry.load("trpo"))

    def edited(thing: Any) -> str:
        return real(thing) + ("\n# edited" if getattr(thing, "__name__", "") == "rlbench.algorithms.ppo_clip" else "")

    monkeypatch.setattr(userfiles, "inspect", SimpleNamespace(getsource=edited))
    monkeypatch.setattr(registry, "_fingerprints", {})  # as a new process begins
    assert registry.fingerprint(PPOAdaptive) != first
    assert registry.fingerprint(registry.load("trpo")) == unrelated


WITHOUT_FILE = """
from rlbench import Algorithm, registry
source = '''
class Mine(Algorithm):
    name = "prompt"
    def surrogate(self, x):
        return (lambda r: BODY)(x.ratio)
'''
exec(source)
Mine.__module__ = "nowhere"
FINGERPRINT = registry.fingerprint(Mine)
"""


def test_a_class_without_a_file_has_the_same_fingerprint_in_every_process() -> None:
    def here(body: str) -> str:
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(WITHOUT_FILE.replace("BODY", body), names)
        return str(names["FINGERPRINT"])

    code = WITHOUT_FILE.replace("BODY", "r * 2") + "print(FINGERPRINT)"
    there = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    assert here("r * 2") == there
    assert here("r * 3") != there


def test_an_edited_plugin_is_imported_anew_and_the_old_class_keeps_its_fingerprint(tmp_path: Path) -> None:
    file = tmp_path / "edited.py"
    text = (
        "from rlbench import Algorithm\n\nclass Edited(Algorithm):\n    name = 'edited-meanwhile'\n    _rate = RATE\n"
    )
    file.write_text(text.replace("RATE", "1"), encoding="utf-8")
    (old,) = registry.add_file(file)
    before = registry.fingerprint(old)
    file.write_text(text.replace("RATE", "22"), encoding="utf-8")
    assert registry.fingerprint(old) == before
    (new,) = registry.add_file(file)
    assert (old._rate, new._rate) == (1, 22)  # type: ignore[attr-defined]
    assert registry.fingerprint(new) != before
    assert registry.load("edited-meanwhile") is new
