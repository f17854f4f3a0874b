"""The format on disk: documented, readable without rlbench, and older schemas readable with it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from rlbench.errors import RlbenchError
from rlbench.store import Planned, Store, load_table
from rlbench.store.entry import SCHEMA
from rlbench.store.runs import ASIDE
from rlbench.study.experiment import Arm, Experiment
from rlbench.study.plan import make_plan
from rlbench.study.run import execute
from rlbench.training.policy import Policy

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "store.md").read_text(encoding="utf-8")
SCHEMA_1 = Path(__file__).parent / "data" / "schema-1"
CELL = "7868b19e28dc9381780d913e76e73ac2"


def experiment() -> Experiment:
    arm = Arm("ppo-adaptive", horizon=64, minibatches=1, epochs=1, hidden=[4])
    return Experiment("tiny", [arm], ["CartPole-v1"], seeds=2, steps=256)


def test_every_schema_up_to_this_one_is_read() -> None:
    kept = {path.name for path in SCHEMA_1.parent.glob("schema-*")}  # each has a test below
    assert kept == {f"schema-{schema}" for schema in range(1, SCHEMA)}
    assert re.findall(r"^\| (\d+) \| 0\.", DOCUMENT, re.M) == [str(schema) for schema in range(1, SCHEMA + 1)]
    assert f"This is schema {SCHEMA}." in DOCUMENT


def test_an_entry_of_schema_1_is_read(tmp_path: Path) -> None:
    shutil.copytree(SCHEMA_1, tmp_path, dirs_exist_ok=True)
    written = json.loads((tmp_path / "store" / CELL / "manifest.json").read_text())
    assert written["schema"] == 1
    assert "attempts" not in written["outcome"]
    store = Store(tmp_path)
    stored = store.read(CELL)
    assert stored is not None
    manifest, episodes, updates = stored
    assert manifest["schema"] == SCHEMA
    assert manifest["outcome"] == written["outcome"] | {"attempts": 1}
    assert {name: manifest[name] for name in ("identity", "status", "files")} == {
        name: written[name] for name in ("identity", "status", "files")
    }
    assert (updates.num_rows, updates["step"].to_pylist()) == (4, [64, 128, 192, 256])
    assert store.list() == {CELL: manifest}
    runs = load_table(tmp_path, [Planned(CELL, "ppo-clip", "ppo-clip", "CartPole-v1", 0, 256)]).runs
    assert list(runs["status"]) == ["finished"]
    assert len(episodes) == episodes.num_rows > 0


def test_an_entry_of_schema_2_is_read_and_has_no_policy(tmp_path: Path) -> None:
    shutil.copytree(SCHEMA_1.with_name("schema-2"), tmp_path, dirs_exist_ok=True)
    (entry,) = (tmp_path / "store").iterdir()
    written = json.loads((entry / "manifest.json").read_text())
    store = Store(tmp_path)
    assert store.manifest(entry.name, thorough=True) == written | {"schema": SCHEMA}
    assert store.policy(entry.name) is None
    assert store.messages == []


def test_an_entry_is_whole_without_its_policy_but_not_with_a_damaged_one(tmp_path: Path) -> None:
    plan = make_plan(experiment())
    execute(plan, tmp_path, workers=0, progress=False)
    first, second = (cell.id for cell in plan.cells)
    store = Store(tmp_path)
    store.drop_policy(first)
    assert store.policy(first) is None
    assert store.manifest(first, thorough=True) is not None
    path = tmp_path / "store" / second / "policy.npz"
    data = path.read_bytes()
    path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    assert store.policy(second) is None
    assert "policy.npz was changed or damaged" in store.messages[0]
    before = load_table(tmp_path, plan.planned)
    summary = execute(plan, tmp_path, workers=0, progress=False)
    assert (summary.skipped, summary.trained) == (1, 1)
    assert path.read_bytes() == data  # it is trained again, to the same policy
    assert (tmp_path / "store" / ASIDE / f"{second}.1" / "policy.npz").exists()
    after = load_table(tmp_path, plan.planned)
    assert before.updates.equals(after.updates)


def test_what_a_newer_rlbench_wrote_stops_a_run_and_is_left_where_it_is(tmp_path: Path) -> None:
    plan = make_plan(experiment())
    execute(plan, tmp_path, workers=0, progress=False)
    path = tmp_path / "store" / plan.cells[0].id / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": SCHEMA + 1}))
    with pytest.raises(RlbenchError, match=rf"newer rlbench: its schema is {SCHEMA + 1}.*Update rlbench"):
        execute(plan, tmp_path, workers=0, progress=False)
    assert json.loads(path.read_text())["schema"] == SCHEMA + 1
    assert not (tmp_path / "store" / ASIDE).exists()
    assert list(load_table(tmp_path, plan.planned).runs["status"]) == ["missing", "finished"]


@pytest.mark.parametrize("schema", [0, -1, True, "1", 1.0, None])
def test_other_schemas_are_none(tmp_path: Path, schema: Any) -> None:
    shutil.copytree(SCHEMA_1, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "store" / CELL / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": schema}))
    store = Store(tmp_path)
    assert store.list() == {}
    assert "its schema is" in store.messages[0]


def test_the_snippet_reads_what_rlbench_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(experiment())
    execute(plan, tmp_path / "results", workers=0, progress=False)
    shutil.rmtree(tmp_path / "results" / "store" / plan.cells[1].id)
    monkeypatch.chdir(tmp_path)
    snippet = "".join(re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.M | re.S))
    assert "rlbench" not in snippet
    names: dict[str, Any] = {}
    exec(snippet, names)
    table = names["table"]
    expected = load_table(tmp_path / "results", plan.planned)
    assert list(table["cell"]) == [plan.cells[0].id]
    assert list(table["status"]) == ["finished"]
    assert list(table["mean_return"]) == [expected.episodes["return"].mean()]
    assert isinstance(table, pd.DataFrame)
    data = Store(tmp_path / "results").policy(plan.cells[0].id)
    assert data is not None
    expected_logits = Policy(data).evaluate(np.zeros((1, 4), np.float32))[0][0]
    np.testing.assert_allclose(names["logits"], expected_logits, rtol=1e-5, atol=1e-6)


def keys(document: dict[str, Any], *nested: str) -> list[str]:
    return [*document, *(f"{name}.{key}" for name in nested for key in document[name])]


def test_every_file_key_and_column_is_documented(tmp_path: Path) -> None:
    plan = make_plan(experiment())
    execute(plan, tmp_path, workers=0, progress=False)
    entry = tmp_path / "store" / plan.cells[0].id
    for path in [*(tmp_path / "store").iterdir(), *entry.iterdir()]:
        assert path.name in DOCUMENT or re.fullmatch("[0-9a-f]{32}", path.name), path
    manifest = json.loads((entry / "manifest.json").read_text())
    described = [*(f"outcome.{key}" for key in manifest["outcome"]), *manifest, *manifest["provenance"]]
    described += [
        "files.episodes",
        "files.updates",
        "files.policy",
        *manifest["files"]["updates"],
        *manifest["identity"],
    ]
    for name in described:
        assert f"`{name}`" in DOCUMENT or name in ("outcome", "files"), name
    for name in ("episodes", "updates"):
        rows = re.search(rf"^## `{name}.parquet`\n(.*?)^## ", f"{DOCUMENT}## ", re.M | re.S)
        assert rows is not None
        for field in pq.read_schema(entry / f"{name}.parquet"):
            shown = "field.NAME" if field.name.startswith("field.") else field.name
            (kind,) = re.findall(rf"^\| (?:`\w+`, )?`{re.escape(shown)}`(?:, `\w+`)? \| (\w+) \|", rows[1], re.M)
            kinds = {"float": ("float", "double"), "float64": ("double",)}.get(kind, (kind,))
            assert str(field.type) in kinds, (field.name, field.type)
    specification = json.loads((tmp_path / "tiny" / "experiment.json").read_text())
    for name in [*specification, *specification["cells"][0]]:
        assert f"`{name}`" in DOCUMENT, name


def test_the_name_of_an_entry_can_be_computed_from_what_is_documented() -> None:
    identity = json.loads((SCHEMA_1 / "store" / CELL / "manifest.json").read_text())["identity"]
    whole: Callable[[Any], Any] = lambda value: (  # noqa: E731
        {key: whole(one) for key, one in value.items()}
        if isinstance(value, dict)
        else [whole(one) for one in value]
        if isinstance(value, list)
        else int(value)
        if isinstance(value, float) and value.is_integer()
        else value
    )
    text = json.dumps(whole(identity), sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest()[:32] == CELL
