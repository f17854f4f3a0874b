"""What reads data runs no code: where the package could, it is listed here with its reason."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "rlbench").rglob("*.py"), *(ROOT / "algorithms").rglob("*.py")])

DANGEROUS_MODULES = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "yaml", "joblib", "imp", "code", "runpy"}
DANGEROUS_CALLS = {"eval", "exec", "compile", "__import__", "import_module", "exec_module", "system", "popen"}
DANGEROUS_LOADS = {"torch.load", "np.load", "numpy.load", "pd.read_pickle", "pandas.read_pickle", "pa.deserialize"}
ALLOWED = {
    ("rlbench/study/executors/local.py", "pickle"): "what a worker answers, through a pipe that only it holds",
    ("rlbench/study/executors/worker.py", "pickle"): "the packs of its parent, through a pipe that only it holds",
    ("rlbench/study/executors/launcher.py", "pickle"): "the first message to a worker, through its pipe",
    ("rlbench/study/executors/ray.py", "pickle"): "what a task on the user's Ray cluster answers, which it writes",
    ("rlbench/study/executors/local.py", "cloudpickle"): "packs on their way to workers",
    ("rlbench/userfiles.py", "cloudpickle"): "says which modules travel to workers whole; reads nothing",
    ("rlbench/userfiles.py", "exec_module"): "plugins and experiments, which are code, when they are named",
    ("rlbench/registry.py", "import_module"): "installed plugins, by entry points",
    ("rlbench/registry.py", "exec"): "names and fields of plugins, with nothing within reach but hyper, static, float",
    ("rlbench/registry.py", "compile"): "the same",
    ("rlbench/study/executors/__init__.py", "import_module"): "installed executors, by entry points",
    ("rlbench/training/envs/gymnasium.py", "import_module"): "the module of an environment's id, `module:Id-v0`",
    ("rlbench/study/environments.py", "import_module"): "the same, to see what is registered before it is made",
    ("rlbench/study/environments.py", "runpy"): "Gymnasium's own list of environments, as it is installed",
    ("rlbench/study/environments.py", "pickle"): "hashes an argument of an environment; reads nothing",
    ("rlbench/training/envs/classic/__init__.py", "exec_module"): "Gymnasium's own modules, as they are installed",
    ("rlbench/__init__.py", "import_module"): "the package's own modules, from a table in the file",
    ("rlbench/files.py", "np.load"): "policies and checkpoints: arrays, with allow_pickle=False",
    ("rlbench/analysis/scores/formats.py", "np.load"): "arrays of others' runs, with allow_pickle=False",
    ("rlbench/analysis/scores/formats.py", "pickle"): "dictionaries of arrays (npy); nothing but arrays is ever made",
    ("algorithms/sb3.py", "import_module"): "the two libraries that it brings in, by names in the file",
    ("rlbench/improve/replay/__init__.py", "exec"): "a program made of the operations in its own table",
}


def dangers(file: Path) -> set[str]:
    """Return what a file imports or calls that can run what it reads."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names} & DANGEROUS_MODULES
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module).partition(".")[0]} & DANGEROUS_MODULES
            found |= {alias.name for alias in node.names} & {"import_module", "read_pickle"}
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            last = called.rpartition(".")[2]
            found |= {called} & DANGEROUS_LOADS
            if last in DANGEROUS_CALLS and called not in ("re.compile", "torch.compile", "platform.system"):
                found.add(last)
            if any(one.arg in ("allow_pickle", "shell") and ast.unparse(one.value) != "False" for one in node.keywords):
                found.add("allow_pickle or shell")
    return found


def test_code_is_run_in_the_listed_places_only() -> None:
    found = {(str(file.relative_to(ROOT)), danger) for file in FILES for danger in dangers(file)}
    assert len(FILES) > 100
    assert found == set(ALLOWED)


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from cloudpickle import loads",
        "eval('1')",
        "torch.load('x')",
        "np.load('x', allow_pickle=True)",
        "subprocess.run('x', shell=True)",
        "pandas.read_pickle('x')",
        "os.system('x')",
        "import yaml",
    ],
)
def test_the_search_finds_them(tmp_path: Path, source: str) -> None:
    (tmp_path / "x.py").write_text(source)
    assert dangers(tmp_path / "x.py")


def test_what_is_stored_and_analysed_imports_none_of_it() -> None:
    """But for one file, which reads what other programs wrote."""
    for part in ("store", "analysis"):
        files = [file for file in (ROOT / "rlbench" / part).rglob("*.py") if dangers(file)]
        assert [file.name for file in files] == (["formats.py"] if part == "analysis" else [])
