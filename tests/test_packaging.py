"""What is built of the repository: complete, with the built-in algorithms inside, beside any user's `algorithms`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIST = "from rlbench import registry; print(*map(registry.load, registry.names()), registry.broken())"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a source distribution of the repository and the wheel that is built of that."""
    copy = tmp_path_factory.mktemp("build") / "copy"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("results", "build", "dist", ".*", "*.egg-info"))
    folder = copy.parent
    build(f"build_sdist({str(folder)!r})", copy)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    build(f"build_wheel({str(folder)!r})", folder / f"rlbench-{version()}")
    return folder


def build(call: str, folder: Path) -> None:
    code = f"from setuptools import build_meta; build_meta.{call}"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True)


def python(code: str, first: Path, folder: Path, interpreter: str = sys.executable) -> str:
    """Run code in a folder with `first` at the head of Python's path and return what it prints."""
    code = f"import sys; sys.path.insert(0, {str(first)!r})\n{code}"
    return subprocess.run(
        [interpreter, "-c", code], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.mark.parametrize("installed", [True, False], ids=["wheel", "checkout"])
def test_a_users_module_algorithms_and_the_built_ins_do_not_meet(built: Path, tmp_path: Path, installed: bool) -> None:
    site = ROOT
    if installed:
        site = tmp_path / "site"
        zipfile.ZipFile(next(built.glob("*.whl"))).extractall(site)
        assert not (site / "algorithms").exists()
    folder = tmp_path / "work"
    package = folder / "algorithms"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("WHOSE = 'the user'")
    plugin = "from algorithms import WHOSE\nfrom rlbench.algorithms.ppo_clip import PPOClip\n"
    (folder / "plugin.py").write_text(plugin + "class Mine(PPOClip):\n    name = 'mine'\n    whose = WHOSE\n")
    here = f"sys.path.insert(0, {str(folder)!r})\n"
    code = "from rlbench import registry\n(mine,) = registry.add_file('plugin.py'); print(mine.whose)\n"
    whose, listed = python(here + code + LIST, site, folder).splitlines()
    assert whose == "the user"
    for name in ("actor_critic.ActorCritic", "ppo_adaptive.PPOAdaptive", "trpo.TRPO"):
        assert f"rlbench.algorithms.{name}" in listed
    assert listed.endswith("{}")


def test_a_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    names = set(zipfile.ZipFile(next(built.glob("*.whl"))).namelist())
    assert {name.split("/")[0].removesuffix(".dist-info") for name in names} == {"rlbench", f"rlbench-{version()}"}
    modules = {f"rlbench/{file.relative_to(ROOT / 'rlbench')}" for file in (ROOT / "rlbench").rglob("*.py")}
    built_in = {f"rlbench/algorithms/{file.name}" for file in (ROOT / "algorithms").glob("*.py")}
    templates = {f"rlbench/{file.relative_to(ROOT / 'rlbench')}" for file in (ROOT / "rlbench").rglob("templates/*")}
    assert modules - {"rlbench/experiments/__init__.py"} | built_in | templates <= names
    experiments = {str(file.relative_to(ROOT)) for file in (ROOT / "experiments").rglob("*.py")}
    assert {f"rlbench/{file}" for file in experiments} <= names
    assert {"rlbench/py.typed", "rlbench/analysis/stats/calibration.csv"} <= names
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        assert wheel.read("rlbench/algorithms/__init__.py") == (ROOT / "algorithms" / "__init__.py").read_bytes()


def test_a_source_distribution_holds_all_that_the_tests_need(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for folder in ("algorithms", "benchmarks", "docs", "experiments", "rlbench", "tests"):
        files = (file for file in (ROOT / folder).rglob("*.*") if file.is_file() and "__pycache__" not in file.parts)
        assert {str(file.relative_to(ROOT)) for file in files} <= names
    assert {"CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "Makefile", "constraints.txt"} <= names


def test_a_package_of_somebody_elses_is_installed_and_found(tmp_path: Path) -> None:
    """Its environment is new; what rlbench itself needs is taken from this one."""
    shutil.copytree(ROOT / "docs" / "example_package", tmp_path / "package")
    venv.create(tmp_path / "env", symlinks=True)
    (site,) = (tmp_path / "env").glob("lib/*/site-packages")
    here = sysconfig.get_path("purelib")
    (site / "here.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    own = str(tmp_path / "env" / "bin" / "python")
    install = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", str(tmp_path / "package")]
    subprocess.run([sys.executable, "-m", "pip", "--python", own, *install], check=True, capture_output=True)
    found, origin = python(
        "from rlbench import registry; print(registry.load('sign-ppo')); print(registry.broken())", site, tmp_path, own
    ).splitlines()
    assert found == "<class 'rlbench_sign.SignPPO'>"
    assert origin == "{}"
    listed = subprocess.run(
        [own, "-m", "rlbench", "algorithms"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "sign-ppo" in listed.stdout
    checked = subprocess.run(
        [own, "-m", "rlbench", "check", "sign-ppo"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert checked.stdout.count("  ok  ") == 11


def test_the_citation_names_the_version_and_the_licence() -> None:
    lines = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert {f"version: {version()}", "license: MIT"} <= set(lines)


def version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
