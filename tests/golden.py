"""Golden copies of what must not change while the code is rebuilt: trainings, identities of cells, numbers of reports.

    python -m tests.golden FOLDER                   write golden copies
    python -m tests.golden FOLDER --against OTHER   write, say every difference to OTHER, end with status 1 if any

    FOLDER/trainings.json   hashes of both tables of small runs, column by column: five algorithms, two tasks, both
                            engines, packs of 1, 3 and 10 replicas
    FOLDER/cells.json       the identity of every cell of `experiments/`
    FOLDER/reports/NAME/    of three reports the words of the page, what the command said, all tables, and hashes of the
                            archived runs: `main` (experiments/ppo_vs_reinforce.py), `quick` (the lecture, quick) and
                            `lecture` (all of it, from the archive in results/lecture)

The runs of `main` and `quick` lie in the folder that `--stores` names and are trained where they are not there yet.
Give the same folder before and after: then the same runs are reported, and no run has to be trained again.
"""

from __future__ import annotations

import argparse
import csv
import difflib
import functools
import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

import rlbench
from rlbench import Algorithm, Arm, Experiment, Measurement

# ---------------------------------------------------------------------------------------------------------------------
# All that is used from inside of rlbench. Where it moves, change this block and nothing else.
# isort: split

from rlbench.registry import load as algorithm_called
from rlbench.study.plan import make_plan
from rlbench.study.suites import load_experiment, load_suite


def experiments_of(path: Path) -> Sequence[Experiment | Measurement]:
    """Return the experiments of a file, or of a folder."""
    return load_suite(path).experiments if path.is_dir() else [load_experiment(path)]


def cells_of(experiment: Experiment | Measurement) -> Iterator[tuple[str, str, str, str]]:
    """Yield of every cell (what it is, its identity, its algorithm, the fingerprint of the source)."""
    plan = make_plan(experiment)
    for cell, row in zip(plan.cells, plan.planned, strict=True):
        title = f"{row.arm} on {row.environment}, {row.steps} steps, seed {row.seed}"
        yield title, cell.id, row.algorithm, row.fingerprint


# ---------------------------------------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[1]
ALGORITHMS = ("reinforce", "trpo", "ppo-clip", "ppo-penalty", "ppo-adaptive")
TASKS = ("CartPole-v1", "Pendulum-v1")
SMALL: dict[str, Any] = {"epochs": 3, "minibatches": 4, "hidden": (16, 16)}
OF_ALGORITHM: dict[str, dict[str, Any]] = {"reinforce": {"value_minibatches": 4}, "ppo-penalty": {"adaptive": True}}
STEPS = 4 * 256  # four updates
# Seeds and step sizes, None: the algorithm's own. The ten replicas are five seeds with two step sizes each.
PACKS: dict[int, tuple[list[int], Any]] = {1: ([3], None), 3: ([3, 4, 5], None), 10: ([3, 4, 5, 6, 7], [1e-3, 3e-3])}
DIGITS = 16  # of a hash
COUNTS = ("status", "reason", "steps_done", "gradient_steps", "samples")

MAIN = "experiments/ppo_vs_reinforce.py"
SUITE = "experiments/lecture"
REPORTS = {"main": [MAIN], "quick": [SUITE, "--quick"], "lecture": [SUITE]}
PARTS = ("trainings", "cells", *REPORTS)

# What made the runs says nothing of what the code does with them; these are left out.
OF_THE_BUILD = ("commits", "uncommitted_changes", "packages", "machines", "time", "created")
OF_THE_BUILD_COLUMNS = ("commit", "dirty")
# And so do points in time, commits and versions within text.
_MASKED = (
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(Z|[+-]\d\d:?\d\d)?( UTC)?"), "TIME"),
    (re.compile(r"\b[0-9a-f]{40}\b"), "COMMIT"),
    (re.compile(r"\bversions? [0-9a-f]{10}\b(, [0-9a-f]{10}\b)*"), "version COMMIT"),
    (re.compile(r"\b(rlbench|torch|numpy|numba|gymnasium|python) \d+(\.\d+)+\S*", re.IGNORECASE), r"\1 VERSION"),
)


class OwnNetwork(nn.Module):
    """Two perceptrons that share nothing: what the built-in network is, but trained through autograd."""

    def __init__(self, observations: int, outputs: int) -> None:
        super().__init__()
        self.actor, self.critic = (
            nn.Sequential(nn.Linear(observations, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, out))
            for out in (outputs, 1)
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the policy's head and the value."""
        return self.actor(x), self.critic(x).squeeze(-1)


@functools.cache
def with_own_network(name: str) -> type[Algorithm]:
    """Return an algorithm with a network of its own, which the autograd engine trains on the CPU."""

    def network(self: Algorithm, observations: int, outputs: int) -> nn.Module:
        return OwnNetwork(observations, outputs)

    members = {"name": f"golden-{name}", "network": network, "__module__": __name__}
    return type(f"Golden{name.title().replace('-', '')}", (algorithm_called(name),), members)


# What gives an arm's algorithm, and its rollouts of 256 steps. Every step of autograd costs a call for each replica, so
# it takes fewer of them with more copies.
ENGINES: dict[str, tuple[Callable[[str], Any], dict[str, Any]]] = {
    "compiled": (str, {"horizon": 128, "num_envs": 2}),
    "autograd": (with_own_network, {"horizon": 64, "num_envs": 4}),
}


def hashed(column: pd.Series) -> str:
    """Return the kind, the length and a hash of all values of a column, to the bit."""
    values = column.to_numpy()
    if values.dtype.kind in "biuf":
        raw = np.ascontiguousarray(values).tobytes()
    else:
        raw = json.dumps([None if pd.isna(one) else str(one) for one in values]).encode()
    return f"{values.dtype} x{len(values)} {hashlib.sha256(raw).hexdigest()[:DIGITS]}"


def trainings() -> dict[str, Any]:
    """Return by engine, pack and run what both tables of small runs hash to, column by column."""
    found: dict[str, Any] = {}
    for (engine, (make, rollout)), (size, (seeds, rates)) in itertools.product(ENGINES.items(), PACKS.items()):
        settings = SMALL | rollout | ({} if rates is None else {"lr": rates})
        experiment = Experiment(
            name=f"golden-{engine}-{size}",
            arms=[Arm(make(name), label=name, **settings, **OF_ALGORITHM.get(name, {})) for name in ALGORITHMS],
            environments=list(TASKS),
            seeds=seeds,
            steps=STEPS,
        )
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # REINFORCE has updates in which no episode of Pendulum ends
            results = rlbench.run(experiment, folder, workers=0, progress=False, checkpoint_every=0)
        runs = found[f"{engine}, pack of {size}"] = {}
        for row in results.runs.to_dict("records"):
            one = runs[f"{row['arm']} on {row['environment']}, seed {row['seed']}"] = {
                key: str(row[key]) for key in COUNTS
            }
            for title, table in (("episodes", results.episodes), ("updates", results.updates)):
                own = table[table["cell"] == row["cell"]].drop(columns="cell")
                # What only other algorithms record is empty here, and says nothing of this run.
                one |= {f"{title}.{name}": hashed(own[name]) for name in sorted(own) if not own[name].isna().all()}
    return found


def cells() -> dict[str, Any]:
    """Return the identities of all cells of the lecture and of the experiments beside it, by experiment."""
    files = sorted((ROOT / "experiments").glob("*.py"))
    found: dict[str, Any] = {}
    for path in [ROOT / SUITE, *files]:
        for experiment in experiments_of(path):
            listed = list(cells_of(experiment))
            found[f"{path.relative_to(ROOT)}: {experiment.name}"] = {
                "fingerprints": {f"{algorithm}": mark for _, _, algorithm, mark in listed},
                "cells": {title: identity for title, identity, _, _ in listed},
            }
    return found


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `rlbench` of this copy of the code and return what it said."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "rlbench", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "120", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def stored(name: str, stores: Path) -> Path:
    """Return the results folder with the runs of a report, which are trained if it is not there yet."""
    results = stores / name
    if results.is_dir():
        return results
    partial = stores / f"{name}.partial"  # which an interrupted training leaves, to be gone on with
    done = command("run", *REPORTS[name], "--workers", "2", "--results", partial)
    if done.returncode not in (0, 1):  # 1: a run diverged, which is a result
        raise SystemExit(f"Training the runs of {name!r} ended with status {done.returncode}:\n{done.stderr}")
    partial.rename(results)
    return results


def archive(folder: Path) -> Path:
    """Return a results folder in which the report of the whole lecture finds nothing but its archive."""
    results = folder / "results"
    drawn = shutil.ignore_patterns("figures", "paper", "slides", "report.html", "tables", "verdicts.*")
    shutil.copytree(ROOT / "results" / "lecture", results / "lecture", ignore=drawn)
    return results


def report(name: str, stores: Path, out: Path) -> None:
    """Write the golden copy of a report into `out`."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        results = archive(folder) if name == "lecture" else stored(name, stores)
        page = folder / "page"
        done = command("report", *REPORTS[name], "--results", results, "--out", page)
        said = f"status {done.returncode}\n{done.stdout}{done.stderr}"
        for path, word in ((page, "OUT"), (results, "RESULTS"), (ROOT, "ROOT")):
            said = said.replace(str(path), word)
        _write(out / "said.txt", masked(said))
        if not page.is_dir():
            return
        files = sorted(path for path in page.rglob("*") if path.is_file())
        _write(out / "files.txt", "".join(f"{path.relative_to(page)}\n" for path in files))
        for path in files:
            copied(path, out / path.relative_to(page))


def copied(source: Path, target: Path) -> None:
    """Write the golden copy of one file of a report; of a figure there is none: its bytes are matplotlib's."""
    match source.suffix:
        case ".json":
            _write_json(target, _without_build(json.loads(source.read_text(encoding="utf-8"))))
        case ".csv":
            rows = list(csv.reader(source.read_text(encoding="utf-8").splitlines(keepends=True)))
            kept = [k for k, column in enumerate(rows[0] if rows else []) if column not in OF_THE_BUILD_COLUMNS]
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows([[row[k] for k in kept] for row in rows])
        case ".md" | ".tex":
            _write(target, masked(source.read_text(encoding="utf-8")))
        case ".html":
            _write(target.with_suffix(".txt"), masked(words(source.read_text(encoding="utf-8"))))
        case ".parquet":
            table = pd.read_parquet(source)
            kept_columns = [column for column in table if column not in OF_THE_BUILD_COLUMNS]
            _write_json(target.with_suffix(".json"), {column: hashed(table[column]) for column in kept_columns})


def masked(text: str) -> str:
    """Return text without points in time, commits and versions."""
    for pattern, word in _MASKED:
        text = pattern.sub(word, text)
    return text


def _without_build(document: Any) -> Any:
    """Return a document without what says when and from which code something was made."""
    if isinstance(document, Mapping):
        return {key: _without_build(value) for key, value in document.items() if key not in OF_THE_BUILD}
    return [_without_build(value) for value in document] if isinstance(document, list) else document


class _Words(HTMLParser):
    """The words of a page, one line for each block and each row of a table."""

    INLINE = frozenset(("a", "abbr", "b", "code", "em", "i", "small", "span", "strong", "sub", "sup", "td", "th"))

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = [""]
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a line, or a cell of a row; of a figure, its description is kept."""
        self.hidden += tag in ("style", "script")
        if tag in ("td", "th"):
            self.lines[-1] += " | "
        elif tag == "img":
            self.lines += [f"[{dict(attrs).get('alt')}]", ""]
        elif tag not in self.INLINE:
            self.lines.append("")

    def handle_endtag(self, tag: str) -> None:
        """End a line."""
        self.hidden -= tag in ("style", "script")
        if tag not in self.INLINE:
            self.lines.append("")

    def handle_data(self, data: str) -> None:
        """Add words."""
        if not self.hidden:
            self.lines[-1] += data


def words(page: str) -> str:
    """Return the text of an HTML page without tags, styles and pictures, one line for each block."""
    parser = _Words()
    parser.feed(page)
    parser.close()
    return "".join(f"{' '.join(line.split())}\n" for line in parser.lines if line.strip(" |\n\t"))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _write_json(path: Path, document: Any) -> None:
    _write(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def place(part: str) -> Path:
    """Return where below the folder a part is written."""
    return Path("reports", part) if part in REPORTS else Path(f"{part}.json")


def differences(folder: Path, other: Path) -> Iterator[str]:
    """Yield a line for every difference of two golden copies, files or folders: what it is in `other`, and here."""
    if folder.is_dir() and other.is_dir():
        for name in sorted({path.name for path in [*folder.iterdir(), *other.iterdir()]}):
            for line in differences(folder / name, other / name):
                yield f"{name}{'/' if (folder / name).is_dir() and (other / name).is_dir() else ': '}{line}"
    elif not folder.exists() or not other.exists():
        yield "is new" if folder.exists() else "is missing"
    else:
        now, then = (path.read_text(encoding="utf-8") for path in (folder, other))
        if now != then:
            kinds = {".json": _json_differences, ".csv": _csv_differences}
            yield from kinds.get(folder.suffix, _line_differences)(then, now)


def _json_differences(then: str, now: str) -> Iterator[str]:
    yield from _value_differences(json.loads(then), json.loads(now), "")


def _value_differences(then: Any, now: Any, where: str) -> Iterator[str]:
    if isinstance(then, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*then, *now]):
            inside = f"{where} / {key}" if where else str(key)
            if key not in now:
                yield f"{inside}: is missing"
            elif key not in then:
                yield f"{inside}: is new"
            else:
                yield from _value_differences(then[key], now[key], inside)
        if then.keys() == now.keys() and [*then] != [*now]:
            yield f"{where or 'all'}: the same keys in another order"
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for place, (one, another) in enumerate(zip(then, now, strict=True)):
            yield from _value_differences(one, another, f"{where} [{place}]")
    elif type(then) is not type(now) or json.dumps(then) != json.dumps(now):
        yield f"{where}: {json.dumps(then, ensure_ascii=False)}, now {json.dumps(now, ensure_ascii=False)}"


def _csv_differences(then: str, now: str) -> Iterator[str]:
    before, after = (list(csv.reader(text.splitlines(keepends=True))) for text in (then, now))
    if before[:1] != after[:1] or len(before) != len(after):
        yield from _line_differences(then, now)
        return
    for line, (old, new) in enumerate(zip(before, after, strict=True), 1):
        for column, one, another in zip(before[0], old, new, strict=True):
            if one != another:
                yield f"row {line} ({old[0]}), {column}: {one!r}, now {another!r}"


def _line_differences(then: str, now: str) -> Iterator[str]:
    before, after = then.splitlines(), now.splitlines()
    found = False
    for kind, low, high, start, stop in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind != "equal":
            for one, another in itertools.zip_longest(before[low:high], after[start:stop]):
                found = True
                if another is None:
                    yield f"line {low + 1}: {one!r} is missing"
                elif one is None:
                    yield f"line {start + 1}: {another!r} is new"
                else:
                    yield f"line {low + 1}: {one!r}, now {another!r}"
    if not found:
        yield "other ends of lines"


def record(part: str, folder: Path, stores: Path) -> None:
    """Write one part of the golden copies, in place of an earlier one."""
    target = folder / place(part)
    if part in REPORTS:
        shutil.rmtree(target, ignore_errors=True)
        report(part, stores, target)
    else:
        _write_json(target, trainings() if part == "trainings" else cells())


def main(arguments: Sequence[str] | None = None) -> int:
    """Write golden copies, compare them if asked to, and return the status to end with."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.golden", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where golden copies are written")
    parser.add_argument("--against", type=Path, metavar="OTHER", help="golden copies to compare with")
    parser.add_argument(
        "--stores", type=Path, default=ROOT / "build" / "golden", help="the runs of `main` and `quick` [%(default)s]"
    )
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; repeatable")
    given = parser.parse_args(arguments)
    if Path(rlbench.__file__).parents[1] != ROOT:
        raise SystemExit(f"rlbench comes from {rlbench.__file__}, not from {ROOT}; set PYTHONPATH to the latter.")
    if given.against and not given.against.is_dir():
        raise SystemExit(f"There is no folder {given.against}.")
    found = 0
    for part in [one for one in PARTS if one in (given.part or PARTS)]:
        started = time.perf_counter()
        record(part, given.folder, given.stores.resolve())
        print(f"{part}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
        if given.against:
            for line in differences(given.folder / place(part), given.against / place(part)):
                print(f"{part}: {line}", flush=True)
                found += 1
    if given.against:
        print(f"{found} differences" if found else "No difference.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
