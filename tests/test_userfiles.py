"""Files that the user names, and the helpers beside them that they import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from rlbench import registry
from rlbench.errors import RlbenchError
from rlbench.userfiles import PREFIX, assigns, folder_of, import_file, importable, source_of, with_helpers


def write(folder: Path, **texts: str) -> Path:
    """Write one file per name, and return the folder."""
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_a_file_imports_its_neighbours_and_leaves_no_trace(tmp_path: Path) -> None:
    write(tmp_path, main="import helper_a\nX = helper_a.X\n", helper_a="from helper_b import X\n", helper_b="X = 3\n")
    finders, names = list(sys.meta_path), set(sys.modules)
    assert import_file(tmp_path / "main.py", "test").X == 3
    assert sys.meta_path == finders
    assert {name for name in set(sys.modules) - names if not name.startswith(PREFIX)} == set()


def test_helpers_of_one_name_in_two_folders_never_meet(tmp_path: Path) -> None:
    text = "from shared_name import X, Y\n"
    one = write(tmp_path / "one", main=text, shared_name="X = 1\nclass Y: pass\n")
    two = write(tmp_path / "two", main=text, shared_name="X = 2\nclass Y: pass\n")
    first, second = import_file(one / "main.py", "test"), import_file(two / "main.py", "test")
    assert (first.X, second.X) == (1, 2)
    assert first.Y.__module__ != second.Y.__module__
    assert import_file(one / "main.py", "test") is first


def test_what_was_imported_by_a_helpers_name_before_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = object()
    monkeypatch.setitem(sys.modules, "taken_name", mine)
    write(tmp_path, main="from taken_name import X\n", taken_name="X = 1\n")
    assert import_file(tmp_path / "main.py", "test").X == 1
    assert sys.modules["taken_name"] is mine


def test_pythons_own_modules_are_not_hidden(tmp_path: Path) -> None:
    write(tmp_path, main="import random\nX = random.random()\n", random="raise OSError\n")
    assert 0 <= import_file(tmp_path / "main.py", "test").X < 1


def test_members_share_their_helper_and_may_be_helpers_themselves(tmp_path: Path) -> None:
    write(tmp_path, first="from base import C\n", second="from first import C\n", base="class C: pass\n")
    assert import_file(tmp_path / "first.py", "test").C is import_file(tmp_path / "second.py", "test").C
    assert import_file(tmp_path / "base.py", "another kind").C is import_file(tmp_path / "first.py", "test").C


def test_an_edited_helper_makes_another_module_of_what_imports_it(tmp_path: Path) -> None:
    write(tmp_path, main="from middle import X\n", middle="from far import X\n", far="X = 1\n")
    before = import_file(tmp_path / "main.py", "test")
    write(tmp_path, far="X = 2\n")
    assert (before.X, import_file(tmp_path / "main.py", "test").X) == (1, 2)


def test_helpers_that_import_each_other(tmp_path: Path) -> None:
    write(tmp_path, main="from a_side import A\nfrom b_side import B\n")
    write(tmp_path, a_side="import b_side\nA = 1\n", b_side="import a_side\nB = 2\n")
    module = import_file(tmp_path / "main.py", "test")
    assert (module.A, module.B) == (1, 2)


@pytest.mark.parametrize(
    ("helper", "said"),
    [
        ("\nX = 1 / 0\n", "helper.py, line 2: ZeroDivisionError"),
        ("def f(:\n", "helper.py, line 1: SyntaxError"),
        ("import nothing_like_this\n", "helper.py, line 1: ModuleNotFoundError"),
        ("from rlbench import Arm\ndef X():\n    return Arm('')\nX()\n", "helper.py, line 3: An arm needs"),
    ],
)
def test_a_broken_helper_is_named_each_time(tmp_path: Path, helper: str, said: str) -> None:
    write(tmp_path, main="\n\nfrom helper import X\n", helper=helper)
    for _ in range(2):
        with pytest.raises(RlbenchError) as caught:
            import_file(tmp_path / "main.py", "test")
        assert str(caught.value).startswith(f"{tmp_path}/{said}")
        assert "\n" not in str(caught.value)


def test_a_file_that_is_not_python(tmp_path: Path) -> None:
    (tmp_path / "main.txt").write_text("X = 1\n")
    with pytest.raises(RlbenchError, match="is not a Python file"):
        import_file(tmp_path / "main.txt", "test")


def test_what_a_helper_defines_travels_to_a_process_that_cannot_import_it(tmp_path: Path) -> None:
    write(tmp_path, main="import helper\ndef f(x):\n    return helper.C().g(x)\n")
    write(tmp_path, helper="import far\nclass C:\n    def g(self, x):\n        return far.add(x)\n")
    write(tmp_path, far="ONE = 1\ndef add(x):\n    return x + ONE\n")
    function = import_file(tmp_path / "main.py", "test").f
    file = tmp_path / "payload"
    file.write_bytes(cloudpickle.dumps(function))
    code = f"import pickle; print(pickle.load(open({str(file)!r}, 'rb'))(2))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert found.stdout == "3\n"


def test_names_can_be_imported_later_where_it_is_said(tmp_path: Path) -> None:
    write(tmp_path, main="def f():\n    from helper import X\n    return X\n", helper="X = 5\n")
    function = import_file(tmp_path / "main.py", "test").f
    with pytest.raises(ModuleNotFoundError):
        function()
    with importable(folder_of(function.__module__)):
        assert function() == 5
    assert folder_of("rlbench.userfiles") is None


def test_helpers_are_found_wherever_they_are_imported(tmp_path: Path) -> None:
    write(tmp_path, main="import z_one\ndef f():\n    from b_two import X\n", z_one="import a_three.x\n")
    write(tmp_path, b_two="", a_three="", unused="")
    names = [file.stem for file in with_helpers(tmp_path / "main.py")]
    assert names == ["main", "a_three", "b_two", "z_one"]


PLUGIN = """
from maths_of_mine import scale
from rlbench import Algorithm

class Mine(Algorithm):
    name = "userfiles-mine"

    def surrogate(self, x):
        return scale(x.ratio) * x.advantage
"""


def test_an_algorithms_fingerprint_covers_the_helpers_of_its_file(tmp_path: Path) -> None:
    def fingerprint(helper: str, other: str = "") -> str:
        write(tmp_path, plugin=PLUGIN, maths_of_mine=helper, other=other)
        (cls,) = registry.add_file(tmp_path / "plugin.py")
        return registry.fingerprint(cls)

    first = fingerprint("def scale(x):\n    return x\n")
    assert fingerprint("def scale(x):\n    return 2 * x\n") != first
    assert fingerprint("def scale(x):\n    return x\n", other="X = 1\n") == first
    assert registry.origin(registry.load("userfiles-mine")) == str(tmp_path / "plugin.py")


def test_the_source_of_a_function_is_that_of_its_file_and_helpers(tmp_path: Path) -> None:
    write(tmp_path, main="from helper import X\ndef f():\n    return X\n", helper="X = 5\n")
    text = source_of(import_file(tmp_path / "main.py", "test").f)
    assert "def f()" in text
    assert "X = 5" in text
    assert "def write(" in source_of(write)  # type: ignore[arg-type]  # a function's type is narrower


def test_what_gives_a_name_a_value(tmp_path: Path) -> None:
    write(tmp_path, yes="EXPERIMENT = 1\n", typed="EXPERIMENT: int = 1\n", no="print(EXPERIMENT)\n", broken="def (\n")
    found = [assigns(tmp_path / f"{name}.py", "EXPERIMENT") for name in ("yes", "typed", "no", "broken")]
    assert found == [True, True, False, True]


PROMPT = """
BONUS = {bonus}
def helper():
    return {helped}
class Mine:
    limit = {limit}
    def step(self, g={default}):
        return BONUS + helper() + g + self.limit
    @property
    def size(self):
        return {size}
"""


@pytest.mark.parametrize("changed", ["bonus", "helped", "limit", "default", "size"])
def test_what_is_defined_at_a_prompt_is_known_by_all_that_it_uses(changed: str) -> None:
    def source(**values: int) -> str:
        space: dict[str, Any] = {"__name__": "prompt"}
        exec(PROMPT.format(**{"bonus": 1, "helped": 2, "limit": 3, "default": 4, "size": 5, **values}), space)
        return source_of(space["Mine"])

    assert source() == source()
    assert source(**{changed: 7}) != source()
