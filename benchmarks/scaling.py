"""How a Ray run scales, on paper: the driver's costs are measured, many cores are simulated; run as a program.

    python -m benchmarks.scaling            measures, simulates, writes results/benchmarks/scaling.* and docs/cluster.md
    python -m benchmarks.scaling --again    simulates again with the costs that were measured last

A pack's duration is that of ppo-clip on CartPole-v1 in setting (a) of `results/benchmarks/table.md`; packs differ as
those of the lecture's runs did.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.fleet import Driver, Outcome, simulate
from benchmarks.machine import Bystanders, describe

FOLDER = Path(__file__).parents[1] / "results" / "benchmarks"
GUIDE = FOLDER.parents[1] / "docs" / "cluster.md"
BEGIN, END = "<!-- written by python -m benchmarks.scaling -->\n", "<!-- until here -->\n"
RUNS = FOLDER.parent / "lecture" / "runs" / "runs.parquet"
CELLS, CORES = 10_000, 1000
LENGTHS = (100_000, 1_000_000, 10_000_000)
SIZES = (1, 5, 10, 50)
FLEETS = (10, 30, 100, 300, 1000, 3000, 10_000)


def pack_seconds(document: Mapping[str, Any], steps: int) -> Callable[[int], float]:
    """Return the duration of a pack by its replicas, from the benchmarks that are committed: a line through them."""
    points = {
        one["info"]["replicas"]: min(one["seconds"]) / one["info"]["steps"]
        for one in document["measurements"]
        if one["name"].startswith("pack[ppo-clip-a-")
    }
    sizes, seconds = np.array([*points], float), np.array([*points.values()])
    each, fixed = np.polyfit(sizes, seconds, 1, w=1 / seconds)
    return lambda replicas: float(fixed + each * replicas) * steps


def spread(runs: pd.DataFrame) -> float:
    """Return the coefficient of variation of the seconds of runs that differ in nothing but their pack and seed."""
    trained = runs[(runs["algorithm"] == "ppo-clip") & (runs["status"] == "finished")]
    groups = trained.groupby(["settings", "environment", "steps"])["seconds"]
    return float((groups.std() / groups.mean()).median())


def table(costs: Mapping[str, Any], benchmarks: Mapping[str, Any]) -> pd.DataFrame:
    """Simulate every run length, pack size and number of cores; a row each."""
    driver = Driver(**costs["driver"])
    rows = []
    for steps in LENGTHS:
        seconds = pack_seconds(benchmarks, steps)
        for replicas in SIZES:
            for cores in FLEETS:
                found = simulate(CELLS, replicas, cores, seconds, driver, spread=costs["spread"], start=costs["start"])
                rows.append(_row(steps, replicas, cores, seconds(replicas), found, driver))
    return pd.DataFrame(rows)


def _row(steps: int, replicas: int, cores: int, pack: float, found: Outcome, driver: Driver) -> dict[str, Any]:
    return {
        "steps": steps,
        "replicas": replicas,
        "cores": cores,
        "pack_seconds": pack,
        "makespan_seconds": found.makespan,
        "driver_busy": found.driver / found.makespan,
        "cores_busy": found.core / found.makespan,
        "cells_per_second": CELLS / found.makespan,
        "driver_cells_per_second": 1 / driver.per_cell(replicas),
        "saturating_cores": pack / replicas / driver.per_cell(replicas),
    }


def page(document: Mapping[str, Any], simulated: pd.DataFrame) -> str:
    """Return the numbers as Markdown."""
    it, costs = document["machine"], document["driver"]
    parts = [
        f"Measured on {it['processor']}, {it['cpus']} cores, commit {(document['commit'] or '?')[:12]}; others kept "
        f"{document['cores_used_by_others']:.1f} cores busy meanwhile. A stored run has "
        f"{document['stored_bytes'] / 1024:.0f} KiB. 60 packs of a quarter of a second on two processes took "
        f"{document['check']['real']:.1f} s, in the simulation {document['check']['simulated']:.1f} s.",
        "| what the driver does | milliseconds |\n| --- | ---: |",
    ]
    names = {
        "plan_cell": "plan a cell and find that it is not stored",
        "send": "send a pack",
        "send_cell": "send a pack, more per cell",
        "claim": "claim a pack, and let go of it",
        "claim_pending": "claim, more per cell that is claimed",
        "look": "look whether packs have ended",
        "look_pending": "look, more per pack on the cluster",
        "land": "take a pack's answer",
        "land_cell": "take a pack's answer, more per cell",
        "store_cell": "store a run, flushed to the disk",
    }
    parts[-1] += "".join(f"\n| {text} | {1000 * costs[key]:.4f} |" for key, text in names.items())
    head = (
        "| steps of a run | cells in a pack | a pack takes, s | all stored after, s | cores at work | driver at work "
        "| driver saturated from, cores |\n| ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    rows = simulated[simulated["cores"] == CORES].itertuples()
    parts.append(f"{CELLS:,} cells on {CORES:,} cores, a new worker ready after {document['start']:.1f} s:")
    parts.append(
        head
        + "".join(
            f"\n| {row.steps:,} | {row.replicas} | {row.pack_seconds:.1f} | {row.makespan_seconds:,.0f} | "
            f"{row.cores_busy:.0%} | {row.driver_busy:.0%} | {row.saturating_cores:,.0f} |"
            for row in rows
        )
    )
    return "\n\n".join(parts) + "\n"


def draw(simulated: pd.DataFrame, folder: Path) -> None:
    """Write `scaling.svg` and `scaling.png`: time against cores, and where the driver is saturated."""
    import matplotlib as mpl
    import seaborn as sns
    from matplotlib.figure import Figure

    colors = sns.color_palette("colorblind", len(SIZES))
    with mpl.rc_context({"svg.hashsalt": "rlbench", "svg.fonttype": "none"}), sns.axes_style("ticks"):
        figure = Figure(figsize=(11, 4.2), layout="constrained")
        axes = figure.subplots(1, 3, sharex=True, sharey=True)
        for ax, steps in zip(axes, LENGTHS, strict=True):
            for size, color, marker in zip(SIZES, colors, "osD^", strict=True):
                ones = simulated[(simulated["steps"] == steps) & (simulated["replicas"] == size)]
                label = f"{size} cell{'s' if size > 1 else ''} in a pack"
                ax.plot(ones["cores"], ones["makespan_seconds"], color=color, marker=marker, ms=4, label=label)
            best = simulated[simulated["steps"] == steps].groupby("cores")[["makespan_seconds", "cores_busy"]]
            ideal = best.apply(lambda group: (group["makespan_seconds"] * group["cores_busy"]).min())
            ax.plot(ideal.index, ideal, color="#4D4D4D", ls=":", label="no driver, no idle core")
            ax.set(xscale="log", yscale="log", xlabel="cores", title=f"{steps:,} steps a run")
        axes[0].set_ylabel(f"seconds until {CELLS:,} runs are stored")
        axes[0].legend(fontsize=8, frameon=False)
        sns.despine(figure)
        figure.savefig(folder / "scaling.svg", metadata={"Date": None})
        figure.savefig(folder / "scaling.png", dpi=150)


def put_in(guide: str, numbers: str) -> str:
    """Return a page with the numbers that stand between its two marks replaced."""
    before, _, rest = guide.partition(BEGIN)
    _, mark, after = rest.partition(END)
    assert mark, f"the page has no place between {BEGIN!r} and {END!r}"
    return f"{before}{BEGIN}\n{numbers}\n{END}{after}"


def write(document: Mapping[str, Any], folder: Path) -> None:
    """Simulate with measured costs and write all files."""
    benchmarks = json.loads((FOLDER / "benchmarks.json").read_text(encoding="utf-8"))
    simulated = table(document, benchmarks)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scaling.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    simulated.to_csv(folder / "scaling.csv", index=False, float_format="%.6g", lineterminator="\n")
    (folder / "scaling.md").write_text(page(document, simulated), encoding="utf-8")
    draw(simulated, folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure unless told not to, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true", help="use what was measured last")
    if parser.parse_args(arguments).again:
        document = json.loads((FOLDER / "scaling.json").read_text(encoding="utf-8"))
    else:
        from benchmarks.driver import measure

        others = Bystanders()
        with tempfile.TemporaryDirectory(dir=FOLDER.parents[1]) as folder:  # on a disk, not in memory
            document = {**measure(Path(folder)), **describe(), **others.report()}
        document["spread"] = spread(pd.read_parquet(RUNS))
    write(document, FOLDER)
    numbers = (FOLDER / "scaling.md").read_text(encoding="utf-8")
    GUIDE.write_text(put_in(GUIDE.read_text(encoding="utf-8"), numbers), encoding="utf-8")
    print(numbers)


if __name__ == "__main__":
    main()
