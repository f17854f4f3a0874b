"""Would the tests notice a small fault? `make mutants` tries a sample of all that can be made.

A fault is put into a copy of the repository, and the tests nearest to it run: those of the module's name and those
that import it. What they do not notice lacks a test, unless `mutants.toml` says, judged by hand, that it is no fault.
"""

import ast
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from itertools import accumulate
from pathlib import Path

from rlbench.analysis.stats.estimates import wilson

ROOT = Path(__file__).parents[1]
COPY = ROOT / "build" / "mutants" / "copy"
_STATISTICS = """statistics intervals bands permutation families trends survival tails selection sequential resampling
    proportions equivalence power questions scores references verdicts"""
SCOPE = {  # what gets faults, and where below `tests` its tests are
    "algorithms/*": "algorithms/test_*",
    "rlbench/functional/*": "functional/test_*",
    "rlbench/improve/**/*": "test_improve test_*problem replay/test_*",
    "rlbench/training/*": "training/test_* training/autograd/test_[aow]*",  # not those of GPUs, nor all of checkpoints
    "rlbench/training/envs/**/*": "training/envs/test_* training/test_rollout",
    "rlbench/training/limits*": "study/test_faults",
    "rlbench/store/*": "test_store* test_leases test_registration study/test_runner",
    **{f"rlbench/analysis/{name}": "analysis/test_*" for name in _STATISTICS.split()},
}
_OTHER = {"Lt": "LtE", "LtE": "Lt", "Gt": "GtE", "GtE": "Gt", "Add": "Sub", "Sub": "Add", "Mult": "Div", "Div": "Mult"}
_OTHER |= {"FloorDiv": "Mult", "Mod": "Mult", "Pow": "Mult", "And": "Or", "Or": "And", "BitAnd": "BitOr"}
_OTHER |= {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "any": "all", "all": "any"}


def changes(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Yield what may be replaced, the node or what is directly below it, and by which code that is wrong there."""

    def instead(**fields: object) -> tuple[ast.AST, str]:
        return node, ast.unparse(type(node)(**{**dict(ast.iter_fields(node)), **fields}))

    match node:
        case ast.Compare(ops=[op]):
            yield node, f"not ({ast.unparse(node)})"
            yield from (instead(ops=[getattr(ast, _OTHER[name])()]) for name in {type(op).__name__} & {*_OTHER})
        case ast.BinOp(op=op) | ast.AugAssign(op=op):
            yield from (instead(op=getattr(ast, _OTHER[name])()) for name in {type(op).__name__} & {*_OTHER})
        case ast.BoolOp(op=op, values=parts):
            yield instead(op=getattr(ast, _OTHER[type(op).__name__])())
            yield from (instead(values=parts[:k] + parts[k + 1 :]) for k in range(len(parts)))
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=operand):
            yield node, ast.unparse(operand)
        case ast.Constant(value=bool(value)):
            yield node, repr(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield node, repr(value * 1.5 if isinstance(value, float) and abs(value) > 1e-3 else value + 1)
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in _OTHER:
            yield instead(**{node._fields[-2]: _OTHER[name]})
        case ast.If(test=(ast.Name() | ast.Attribute() | ast.Call()) as test) if ast.unparse(test) != "TYPE_CHECKING":
            yield test, f"not ({ast.unparse(test)})"
        case ast.Expr(value=ast.Call()) | ast.Assign(targets=[ast.Subscript() | ast.Attribute()]):
            yield node, "pass"


def running(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below one that run: no annotation, decorator or text."""
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            hidden = name in ("annotation", "returns", "decorator_list", "bases") or isinstance(child, ast.JoinedStr)
            if isinstance(child, ast.AST) and not hidden:
                yield child
                yield from running(child)


def faults(text: bytes) -> Iterator[tuple[int, str, bytes]]:
    """Yield every fault that can be put into a file: the line, its code and the change, and the text with it."""
    lines = text.decode().splitlines()
    starts = [0, 0, *accumulate(len(line) for line in text.splitlines(keepends=True))]
    for node in running(ast.parse(text)):
        for place, new in changes(node):
            start, end = starts[place.lineno] + place.col_offset, starts[place.end_lineno] + place.end_col_offset
            whole = text[:start] + (new if isinstance(place, ast.stmt) else f"({new})").encode() + text[end:]
            old = " ".join(text[start:end].decode().split())
            yield place.lineno, f"{lines[place.lineno - 1].strip()}: {old} -> {new}, column {place.col_offset}", whole


def nearest(file: str, places: str) -> list[str]:
    """Return the tests of a file's name and those that import it, or else all in the `places`; short files first."""
    tests = [test for place in places.split() for test in sorted(COPY.glob(f"tests/{place}.py"))]
    *package, name = file.removesuffix(".py").split("/")
    imported = re.compile(rf"\b{'.'.join(package)}(\.| import (\([^)]*|[^\n(]*)\b){name}\b")
    near = [test for test in tests if test.stem == f"test_{name}" or imported.search(test.read_text(encoding="utf-8"))]
    order = sorted(near or tests, key=lambda test: (test.stem != f"test_{name}", test.stat().st_size))
    return [str(test.relative_to(COPY)) for test in order]


def failing(tests: list[str], compiled: Path, *options: str) -> list[str]:
    """Return which of the tests fail, or the first file if they never end or crash."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "--cache-clear", *options, *tests]
    used, quiet = os.environ | {"NUMBA_CACHE_DIR": str(compiled)}, subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=COPY, env=used, stdout=quiet, stderr=quiet, process_group=0)
    status, noted = None, COPY / ".pytest_cache" / "v" / "cache" / "lastfailed"
    with suppress(subprocess.TimeoutExpired):
        status = process.wait(900)  # a loop without end is noticed, too
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # and what the tests started
    if status == 1 and noted.is_file():
        return list(json.loads(noted.read_text(encoding="utf-8")))
    return [] if status in (0, 5) else tests[:1]  # 5: all of them need what is not here, as a GPU


def main(count: int, seed: int) -> None:
    """Try a sample of all faults, and say what share of them was noticed and which were not."""
    shutil.rmtree(COPY, ignore_errors=True)
    shutil.copytree(ROOT, COPY, ignore=shutil.ignore_patterns("results", "build", ".*", "__pycache__"))
    warm, used = COPY.with_name("warm"), COPY.with_name("used")  # machine code; that of a fault is not used again
    os.environ |= {"PYTHONPATH": str(COPY), "NUMBA_CACHE_DIR": str(warm)}
    subprocess.run([sys.executable, "-m", "rlbench.study.process"], cwd=COPY, check=True)
    tests = {str(file.relative_to(COPY)): SCOPE[one] for one in SCOPE for file in sorted(COPY.glob(f"{one}.py"))}
    every = [(file, *fault) for file in tests for fault in faults((COPY / file).read_bytes())]
    judged = tomllib.loads((COPY / "tests" / "mutants.toml").read_text(encoding="utf-8"))
    noticing, missed, none = set[str](), list[str](), list[str]()
    for file, line, fault, text in random.Random(seed).sample(every, count):
        shown, path = f"{file}:{line}: {fault}", COPY / file
        if reason := judged.get(file, {}).get(fault):
            none.append(f"{shown} ({reason})")
            continue
        shutil.rmtree(used, ignore_errors=True)
        shutil.copytree(warm, used, copy_function=os.link)
        right = path.rename(path.with_suffix(".right"))
        path.write_bytes(text)
        found = failing(nearest(file, tests[file]), used, "-x")
        right.replace(path)
        noticing |= {*found}
        missed += [shown] * (not found)
        print(f"{found[0]} noticed" if found else "NOT NOTICED:", shown, flush=True)
    if noticing and (broken := failing(sorted(noticing), warm)):
        raise SystemExit(f"Without any fault, too, these fail: {', '.join(broken)}")
    share = 1 - len(missed) / (tried := count - len(none))
    low, high = (float(end) for end in wilson(share, tried, 0.95))
    print(f"{tried - len(missed)} of {tried} noticed: {share:.1%} [{low:.1%}, {high:.1%}]; {count} drawn, seed {seed}")
    print("Not noticed:", *missed, "No faults, as judged by hand:", *none, sep="\n  ")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
