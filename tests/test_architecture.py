"""Which part may import which: the directions of the design, read from the source; and what an import may cost."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "rlbench"

BASE = {"errors", "files", "claims", "records", "userfiles"}
SAID = BASE | {"suite"}
LEARNING = BASE | {"functional", "data", "improve", "fields", "algorithm"}
STORED = SAID | {"store"}
TRAINING = LEARNING | {"registry", "training"}
STUDY = TRAINING | STORED | {"checks", "study"}
# Each part of the package and the parts that it may import, beside itself. Two chains that meet in the study and the
# command line: what learns (it needs torch), and what is stored and analysed (it must not).
MAY_IMPORT = {
    "algorithms": set(),
    "experiments": set(),
    "errors": set(),
    "records": {"errors", "claims"},
    "claims": {"errors", "files"},
    "suite": set(),
    "files": {"errors"},
    "userfiles": {"errors"},
    "functional": set(),
    "data": {"functional"},
    "improve": {"functional", "data"},
    "fields": {"errors"},
    "algorithm": LEARNING - {"algorithm"},
    "registry": LEARNING,
    "training": LEARNING,
    "checks": TRAINING,
    "store": SAID,
    "analysis": STORED,
    "policies": STUDY | {"analysis", ""},
    "films": STUDY | {"analysis", "policies", ""},
    "results": STUDY | {"analysis", "policies", "films"},
    "study": STUDY - {"study"} | {""},  # the package itself: where its source lies
    "lab": TRAINING | STORED | {"analysis"},
    "api": STUDY | {"results"},
    "stages": STUDY | {"analysis", "results"},
    "cli": STUDY | {"analysis", "films", "policies", "results", "api", "stages", "experiments", ""},
    "__main__": {"cli"},
}
FREE_OF_TORCH = sorted(STORED | {"analysis", "results", "fields", "registry"})
# The floors of the analysis, each importing only those above it in this list.
FLOORS = ["stats", "format", "scores", "judge", "draw", "report"]


def without_type_checking(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a module that run, so not what is imported for annotations only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from without_type_checking(node)


def imports(file: Path) -> Iterator[str]:
    """Yield the modules that a file imports, at its top or inside a function, in full."""
    for node in without_type_checking(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file} imports relatively"
            module = str(node.module)
            # `from rlbench import registry` names a module, `from rlbench.errors import RlbenchError` does not.
            for alias in node.names:
                path = ROOT.joinpath(*module.split("."), alias.name)
                inside = path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()
                yield f"{module}.{alias.name}" if inside else module


def files_of(part: str) -> list[Path]:
    folder = CORE / part
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [CORE / f"{part}.py"]


def parts() -> list[str]:
    found = {path.stem if path.suffix else path.name for path in CORE.iterdir() if path.suffix in ("", ".py")}
    return sorted(found - {"__init__", "__pycache__", "tuned"})  # of these the last has data alone


def test_every_part_has_its_place() -> None:
    assert parts() == sorted(MAY_IMPORT)


def test_no_part_may_import_in_a_circle() -> None:
    done: set[str] = set()
    left = {part: allowed - {""} for part, allowed in MAY_IMPORT.items()}
    while left:
        ready = {part for part, allowed in left.items() if allowed <= done}
        assert ready, f"a circle among {sorted(left)}"
        done |= ready
        left = {part: allowed for part, allowed in left.items() if part not in ready}


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_a_part_imports_only_what_stands_before_it(part: str) -> None:
    allowed = MAY_IMPORT[part] | {part}
    for file in files_of(part):
        for module in imports(file):
            top, _, rest = module.partition(".")
            known = module.startswith(("algorithms", "rlbench.algorithms"))
            assert not known, f"{file} imports an algorithm: the core knows none by name"
            if top == "rlbench":
                assert rest.split(".")[0] in allowed, f"{file} imports {module}"


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_of_the_analysis_imports_only_what_stands_below_it(floor: str) -> None:
    folder = CORE / "analysis"
    allowed = FLOORS[: FLOORS.index(floor) + 1]
    for file in sorted((folder / floor).rglob("*.py")) or [folder / f"{floor}.py"]:
        for module in all_imports(file):
            if module.startswith("rlbench.analysis."):
                assert module.split(".")[2] in allowed, f"{file} imports {module}"


def all_imports(file: Path) -> set[str]:
    """Return the modules that a file imports, those for annotations only included."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            inside = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {name if name in MODULES else str(node.module) for name in inside}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts): file
    for file in sorted(CORE.rglob("*.py"))
    if file.name != "__init__.py"
}


def test_no_file_imports_in_a_circle_also_for_annotations_only() -> None:
    left = {module: all_imports(file) & set(MODULES) - {module} for module, file in MODULES.items()}
    while left:
        ready = {module for module, needs in left.items() if not needs & set(left)}
        assert ready, f"a circle among, or before, {sorted(left)}"
        left = {module: needs for module, needs in left.items() if module not in ready}


def test_no_small_file_serves_a_single_other_one() -> None:
    importers: dict[str, set[str]] = {module: set() for module in MODULES}
    for file in sorted(CORE.rglob("*.py")):
        for module in all_imports(file) & set(MODULES):
            importers[module].add(str(file))
    for module, file in MODULES.items():
        small = len(file.read_text(encoding="utf-8").splitlines()) < 60
        assert not small or len(importers[module]) != 1, f"{module} belongs into {importers[module]}"


def test_nothing_private_is_imported_from_another_folder() -> None:
    for file in sorted(CORE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("rlbench"):
                private = [alias.name for alias in node.names if alias.name.startswith("_")]
                home = MODULES.get(str(node.module), CORE / "__init__.py").parent
                assert not private or home == file.parent, f"{file} imports {private} of {node.module}"


@pytest.mark.parametrize("part", FREE_OF_TORCH)
def test_what_is_stored_and_analysed_never_imports_torch(part: str) -> None:
    for file in files_of(part):
        assert not {module.partition(".")[0] for module in imports(file)} & {"torch"}, file


def test_the_mathematics_needs_torch_numpy_and_numba_only() -> None:
    for file in files_of("functional"):
        outside = {module.partition(".")[0] for module in imports(file)} - set(sys.stdlib_module_names)
        assert outside <= {"torch", "numpy", "numba", "rlbench"}, file


@pytest.mark.parametrize("file", sorted((ROOT / "algorithms").glob("*.py")), ids=lambda file: file.stem)
def test_algorithms_use_the_public_names_only(file: Path) -> None:
    siblings = {f"rlbench.algorithms.{one.stem}" for one in file.parent.glob("*.py")}
    library, public = set(), {"rlbench", "rlbench.functional"} | siblings
    if file.stem == "sb3":  # it passes its fields on by their names
        library, public = {"stable_baselines3", "sb3_contrib"}, public | {"rlbench.fields"}
    for module in imports(file):
        outside = module.partition(".")[0] in {"torch", "__future__"} | library | set(sys.stdlib_module_names)
        assert outside or module in public, f"{file} imports {module}"


@pytest.mark.parametrize("file", sorted((ROOT / "algorithms").glob("*.py")), ids=lambda file: file.stem)
def test_built_ins_are_short(file: Path) -> None:
    """A variant costs a few lines: without docstrings, imports and blank lines at most 30, TRPO 60; a library's, 25."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    tree.body = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    lines = [line for line in ast.unparse(tree).splitlines() if line.strip()]
    assert len(lines) <= {"trpo": 60, "sb3": 3 * 25}.get(file.stem, 35)


def loaded_by(statement: str) -> set[str]:
    """Return the top-level modules that are loaded in a fresh interpreter after a statement."""
    code = f"{statement}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    command = [sys.executable, "-W", "ignore", "-c", code]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


HEAVY = {"torch", "pandas", "matplotlib", "seaborn", "scipy", "gymnasium", "pyarrow"}


@pytest.mark.parametrize(
    "statement",
    [
        "import rlbench",
        "import rlbench.cli",
        "from rlbench import Experiment, Arm",
        "from rlbench import run",  # which starts the template before this process imports anything heavy
        "import rlbench.study.suites, rlbench.store.folders",
    ],
)
def test_starting_is_light(statement: str) -> None:
    assert not loaded_by(statement) & HEAVY


def test_workers_are_started_before_anything_is_imported_that_only_storing_and_analysing_need() -> None:
    statement = (
        "from rlbench import Experiment; from rlbench.study import executors, plan, run, schedule\n"
        "from rlbench.study.executors import local\n"
        "ready = plan.make_plan(Experiment('x', ['ppo-clip'], ['CartPole-v1']))\n"
        "run._check_environments(ready.cells)\n"
        "pack = schedule.make_packs(ready.cells, 2)[0]\n"
        "local.payload_of(pack, executors.Job())"
    )
    found = loaded_by(statement)
    assert "torch" in found  # which plugins import
    assert not found & {"pandas", "matplotlib", "seaborn", "pyarrow"}


def test_results_are_loaded_without_drawing_or_scipys_distributions() -> None:
    code = "import rlbench.results, sys; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not set(found) & {"torch", "matplotlib", "seaborn", "scipy.stats", "jinja2"}


def test_a_report_loads_no_torch() -> None:
    assert not loaded_by("import rlbench.analysis.report.experiment_page, rlbench.store, rlbench.store.folders") & {
        "torch",
        "gymnasium",
    }


@pytest.mark.parametrize("file", sorted((ROOT / "experiments").glob("*.py")), ids=lambda file: file.stem)
def test_every_experiment_can_be_planned(file: Path) -> None:
    from rlbench.study.plan import make_plan
    from rlbench.study.suites import load_experiment

    experiment = load_experiment(file)
    plan = make_plan(experiment)
    assert len(plan.planned) == len(experiment.environments) * len(experiment.seeds) * len(plan.document()["arms"])
    assert experiment.question
