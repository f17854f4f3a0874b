"""The measurements as one figure: steps per second against R, and where each microsecond goes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.breakdown import ROWS
from benchmarks.cases import ALGORITHMS, REPLICAS, SETTINGS
from benchmarks.results import Measurement, measurements


def draw(document: Mapping[str, Any], folder: Path) -> None:
    """Write `figure.svg` and `figure.png`; panels of what was not measured stay empty."""
    import matplotlib as mpl
    import seaborn as sns
    from matplotlib.figure import Figure

    found = measurements(document)
    with mpl.rc_context({"svg.hashsalt": "rlbench", "svg.fonttype": "none"}):
        figure = Figure(figsize=(11, 8), layout="constrained")
        axes = figure.subplots(2, 2)
        for column, (key, setting) in enumerate(SETTINGS.items()):
            _rates(axes[0][column], found, key)
            axes[0][column].set_title(f"({key}) {setting.title}")
            _where(axes[1][column], found, key, sns.color_palette("tab20", len(ROWS)))
        handles, labels = axes[1][0].get_legend_handles_labels()
        if handles:
            figure.legend(handles[::-1], labels[::-1], loc="outside right lower", fontsize=8)
        it = document["machine"]
        figure.suptitle(
            f"CartPole-v1 on one core of {it['cpus']}: {it['processor']}, commit {(document['commit'] or '?')[:12]}",
            fontsize=10,
        )
        figure.savefig(folder / "figure.svg", metadata={"Date": None})
        figure.savefig(folder / "figure.png", dpi=150)


def _rates(ax: Any, found: list[Measurement], setting: str) -> None:
    from rlbench.analysis.draw.style import arm_styles

    for name, style in arm_styles(ALGORITHMS).items():
        ones = {
            one.info["replicas"]: one.rates()
            for one in found
            if one.group == "training" and one.info["algorithm"] == name and one.info["setting"] == setting
        }
        replicas = sorted(ones)
        middle = [median(ones[r]) for r in replicas]
        ax.plot(replicas, middle, style.marker, ls=style.line, markersize=4, color=style.color, label=name)
        ax.fill_between(
            replicas, [min(ones[r]) for r in replicas], [max(ones[r]) for r in replicas], color=style.color, alpha=0.2
        )
    ax.set_xscale("log")
    ax.set_xticks(REPLICAS, [str(r) for r in REPLICAS])
    ax.minorticks_off()
    ax.set_ylim(bottom=0)
    ax.set_xlabel("replicas in the pack")
    ax.set_ylabel("environment steps per second, all replicas")
    ax.legend(fontsize=8)


def _where(ax: Any, found: list[Measurement], setting: str, colors: Any) -> None:
    ones = [one for one in found if one.group == "breakdown" and one.info["setting"] == setting]
    names = [f"R = {one.info['replicas']}" for one in ones]
    below = [0.0] * len(ones)
    for row, color in zip(ROWS, colors, strict=True):
        heights = [median(one.series[row]) for one in ones]
        ax.bar(names, heights, bottom=below, color=color, label=row, width=0.6)
        below = [low + height for low, height in zip(below, heights, strict=True)]
    ax.set_ylabel("µs per step of one replica, ppo-clip")
