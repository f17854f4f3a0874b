"""Tables of runs that were trained elsewhere: any bytes are compared or refused in a sentence."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlbench.store import Store
from tests.fuzz.hostile import TEXTS
from tests.fuzz.sandbox import CASES, Sandbox, untouched
from tests.fuzz.test_experiment_files import damaged

SCORES = "algorithm,environment,seed,score\n" + "".join(
    f"{name},{place},{seed},{seed + len(name)}\n" for name in ("a", "bb") for place in ("E", "F") for seed in range(4)
)
CURVES = "algorithm,environment,seed,step,score\n" + "".join(
    f"{name},E,{seed},{step},{seed + step}\n" for name in ("a", "bb") for seed in range(3) for step in (10, 20, 30)
)
CELLS = [*TEXTS, "1e400", "-1e308", "1,5", "1;5", '"', '""', "'", "2**53", "9007199254740993", "1" * 400, "NaN", "NULL"]
HEADERS = ["algorithm", "environment", "seed", "score", "step", "Score ", "SEED", "Unnamed: 0", "cell", "", *TEXTS[:20]]


@pytest.fixture
def quick(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Return a sandbox in which reports draw no figures, which takes seconds."""
    monkeypatch.setattr("rlbench.analysis.report.experiment_page.pictures", lambda _: [])
    return sandbox


def compare(sandbox: Sandbox, data: bytes, *options: str, name: str = "runs.csv") -> int:
    (sandbox.work / name).write_bytes(data)
    with untouched(sandbox):
        return sandbox.call("compare", f"--from={name}", *options).exit_code


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """Return a CSV file that nearly is a table of runs: some of its cells or headers are not what they should be."""
    rows = [line.split(",") for line in draw(st.sampled_from([SCORES, CURVES])).splitlines()]
    for _ in range(draw(st.integers(1, 3))):
        row = draw(st.integers(0, len(rows) - 1))
        column = draw(st.integers(0, len(rows[0]) - 1))
        cell = draw(st.sampled_from(HEADERS if row == 0 else CELLS) | st.text(max_size=20))
        everywhere = row > 0 and draw(st.booleans())
        for one in rows[1:] if everywhere else [rows[row]]:
            if column < len(one) and (not everywhere or one[column] == rows[row][column] or one is rows[row]):
                one[column] = quoted(cell) if draw(st.booleans()) else cell
    if draw(st.integers(0, 5)) == 0:
        rows = [row[: draw(st.integers(0, 5))] for row in rows]
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-16", "latin-1", "utf-8-sig"]))
    separator = draw(st.sampled_from([",", ",", ",", ";", "\t"]))
    return "\n".join(separator.join(row) for row in rows).encode(encoding, errors="replace")


def test_tables_that_are_nearly_right(quick: Sandbox, share: float) -> None:
    statuses: set[int] = set()

    @settings(settings.get_profile("fuzz"), max_examples=round(220 * share))
    @given(tables())
    def fuzz(data: bytes) -> None:
        statuses.add(compare(quick, data))

    fuzz()
    assert quick.cases >= 220 * share
    assert 2 in statuses <= {0, 2}
    assert share < 1 or 0 in statuses


def test_damaged_bytes(quick: Sandbox, share: float) -> None:
    @settings(settings.get_profile("fuzz"), max_examples=round(100 * share))
    @given(st.sampled_from([SCORES, CURVES]), st.integers(0, 2**32))
    def fuzz(text: str, seed: int) -> None:
        compare(quick, damaged(text.encode(), random.Random(seed)))

    fuzz()
    assert quick.cases >= 100 * share


def test_random_bytes(quick: Sandbox, share: float) -> None:
    @settings(settings.get_profile("fuzz"), max_examples=round(120 * share))
    @given(st.binary(max_size=400), st.sampled_from(["runs.csv", "runs.parquet", "runs.json", "runs", ".csv", "..csv"]))
    def fuzz(data: bytes, name: str) -> None:
        assert compare(quick, data, name=name) == 2

    fuzz()
    assert quick.cases >= 120 * share


def test_damaged_parquet(quick: Sandbox, share: float) -> None:
    import io

    import pandas as pd

    buffer = io.BytesIO()
    pd.read_csv(io.StringIO(SCORES)).to_parquet(buffer)

    @settings(settings.get_profile("fuzz"), max_examples=round(80 * share))
    @given(st.integers(0, 2**32))
    def fuzz(seed: int) -> None:
        compare(quick, damaged(buffer.getvalue(), random.Random(seed)), name="runs.parquet")

    fuzz()
    assert quick.cases >= 80 * share


def logs() -> dict[str, bytes]:
    """Return a small file of every other kind, by the name that tells what it is."""
    import io

    import numpy as np
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    def saved(save: Any, *arrays: Any, **named: Any) -> bytes:
        buffer = io.BytesIO()
        save(buffer, *arrays, **named)
        return buffer.getvalue()

    events = b""
    for step in range(5):
        value = Summary.Value(tag="rollout/ep_rew_mean", simple_value=float(step))
        record = Event(step=step, summary=Summary(value=[value])).SerializeToString()
        events += len(record).to_bytes(8, "little") + bytes(4) + record + bytes(4)
    scores = {"DQN": [[1.0, 2.0], [3.0, 4.0]], "IQN": [[5.0, 6.0], [7.0, 8.0]]}
    arrays = {name: np.array(values) for name, values in scores.items()}
    records = [{"env": "E", "algo": algo, "seed": 1, "xs": [1, 2], "ys": [3, 4]} for algo in "ab"]
    return {
        "a_1.monitor.csv": b'#{"t_start": 1.5, "env_id": "E-v0"}\nr,l,t\n1.5,10,0.1\n2.5,7,0.2\n',
        "evaluations.npz": saved(np.savez, timesteps=[1, 2], results=[[1.0], [2.0]]),
        "runs.npz": saved(np.savez, **arrays),
        "runs.npy": saved(np.save, arrays, allow_pickle=True),
        "runs.json": json.dumps(scores).encode(),
        "lines.json": "\n".join(map(json.dumps, records)).encode(),
        "events.out.tfevents.1": events,
        "wide.csv": b"Step,a_1 - return,a_1 - return__MIN,b_1 - return\n1,2,2,3\n2,3,3,4\n",
        "runs.csv.gz": gzip.compress(CURVES.encode()),
    }


@pytest.mark.parametrize("name", sorted(logs()))
def test_damaged_logs(quick: Sandbox, share: float, name: str) -> None:
    content = logs()[name]

    @settings(settings.get_profile("fuzz"), max_examples=round(40 * share))
    @given(st.integers(0, 2**32))
    def fuzz(seed: int) -> None:
        compare(quick, damaged(content, random.Random(seed)), "--env=E-v0", name=name)

    fuzz()
    assert quick.cases >= 40 * share


PARQUET: dict[str, Any] = {
    "lists": {"score": [[1.0], [2.0], [3.0], [4.0]]},
    "mappings": {"algorithm": [{"x": 1}] * 4},
    "dates": {"seed": ["2020-01-01"] * 4},
    "bytes": {"environment": [b"\xff"] * 4},
    "nothing": {"score": [None] * 4},
    "mixed": {"seed": ["0", "1", "x", "y"]},
}


@pytest.mark.parametrize("kind", sorted(PARQUET))
def test_parquet_of_other_types(quick: Sandbox, kind: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"algorithm": ["a", "a", "b", "b"], "environment": ["E"] * 4, "seed": [0, 1, 0, 1], "score": [1.0] * 4}
    pq.write_table(pa.table(columns | PARQUET[kind]), quick.work / "runs.parquet")
    with untouched(quick):
        quick.call("compare", "--from=runs.parquet")


@pytest.mark.parametrize(
    "name", ["..csv", "...csv", "--debug.csv", "a b.csv", "<b>.csv", "x" * 240 + ".csv", ".hid.csv"]
)
def test_the_name_of_a_table_stays_inside_the_results(quick: Sandbox, name: str) -> None:
    assert compare(quick, SCORES.encode(), name=name) == 0
    pages = list(Path(quick.results).rglob("report.html"))
    assert len(pages) == 1
    assert pages[0].parent.parent == quick.results
    assert Store(quick.results).list() == {}


def test_options(quick: Sandbox, share: float) -> None:
    texts = TEXTS[:: round(1 / share)]
    for text in texts:
        compare(quick, SCORES.encode(), f"--baseline={text}")
        compare(quick, SCORES.encode(), f"--reference=E={text},1")
        compare(quick, SCORES.encode(), "--", text)
        if len(text) % 2:  # half of them are enough
            compare(quick, SCORES.encode(), f"--reference={text}")
            compare(quick, SCORES.encode(), f"--reference={text}=0,1")
    assert quick.cases >= 3 * len(texts)


def test_there_are_enough_cases() -> None:
    assert 220 + 100 + 120 + 80 + len(PARQUET) + 7 + 3 * len(TEXTS) >= CASES["tables"]
