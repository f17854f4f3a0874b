"""Under which names a run is shown, and what is said of it beside its curves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rlbench.files import file_name
from rlbench.records import RunRecord, Table
from rlbench.store.specification import home
from rlbench.study.plan import AnyCell, AnyPlan

GROUPS = {"episodes": "train", "updates": "update"}
"""What stands before the names of a table's columns: `train/return`, `update/kl`."""


class Place(NamedTuple):
    """Where an experiment shows a run: in the results folder of its suite or its own, under parts safe as file names.

    `experiment` and `arm` are the names as they were given; two arms that are alike but for characters that a file
    name cannot hold have different `parts`.
    """

    folder: Path
    experiment: str
    arm: str
    parts: tuple[str, ...]


def places_of(plans: Sequence[AnyPlan], results_dir: str | Path) -> dict[str, list[Place]]:
    """Return the places of every run by the id of its cell: one for each experiment that it belongs to."""
    places: dict[str, list[Place]] = {}
    for plan in plans:
        folder, name = folder_of(plan, results_dir), plan.experiment.name
        arms = _slugs([cell.arm for cell in plan.cells])
        environments = _slugs([cell.environment.label for cell in plan.cells])
        for cell in plan.cells:
            parts = (name, arms[cell.arm], environments[cell.environment.label], str(cell.seed))
            places.setdefault(cell.id, []).append(Place(folder, name, cell.arm, parts))
    return places


def folder_of(plan: AnyPlan, results_dir: str | Path) -> Path:
    """Return the results folder of a plan's suite, or that of an experiment by itself."""
    return Path(results_dir) / plan.suite if plan.suite else home(results_dir, plan.experiment.name)


def parameters(cell: AnyCell, record: RunRecord) -> dict[str, bool | int | float | str]:
    """Return what a run was and how it ended, its hyper-parameters as `field.NAME`; what is no number is a text."""
    fields: Mapping[str, Any] = cell.identity.get("settings", {})
    return {
        **{f"field.{name}": _plain(value) for name, value in fields.items()},
        "algorithm": cell.planned.algorithm,
        "arm": cell.arm,
        "environment": cell.environment.label,
        "seed": cell.seed,
        "budget": cell.steps,
        "status": record.status,
        "reason": record.reason,
    }


def used(record: RunRecord) -> dict[str, float]:
    """Return how far a run came and what it took."""
    return {
        "used/steps": record.steps,
        "used/gradient_steps": record.gradient_steps,
        "used/samples": record.samples,
        "used/seconds": record.seconds,
    }


def points(record: RunRecord) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield (environment steps, values by name) of every row of both tables, in the order of the steps."""
    rows = [row for name, group in GROUPS.items() for row in _rows(getattr(record, name), group)]
    yield from sorted(rows, key=lambda row: row[0])


def _rows(table: Table, group: str) -> Iterator[tuple[int, dict[str, float]]]:
    names = [f"{group}/{name}" for name in table if name != "step"]
    columns = [column.tolist() for name, column in table.items() if name != "step"]
    for step, *values in zip(table["step"].tolist() if table else [], *columns, strict=True):
        yield step, dict(zip(names, values, strict=True))


def _slugs(labels: Sequence[str]) -> dict[str, str]:
    taken: set[str] = set()
    return {label: file_name(label, taken) for label in dict.fromkeys(labels)}


def _plain(value: Any) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else json.dumps(value)
