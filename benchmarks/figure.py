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
    import seaborn as sns

    from rlbench.analysis.draw import frame, styled

    found, it = measurements(document), document["machine"]
    title = f"CartPole-v1 on one core of {it['cpus']}: {it['processor']}, commit {(document['commit'] or '?')[:12]}"
    with styled("report") as style:
        figure = frame.new_figure(12.0, 8.0, notes=title)
        axes = figure.subplots(2, 2)
        for column, (key, setting) in enumerate(SETTINGS.items()):
            _rates(axes[0][column], found, key)
            axes[0][column].set_title(f"({key}) {setting.title}")
            _where(axes[1][column], found, key, sns.color_palette("tab20", len(ROWS)))
        axes[0][1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        handles, labels = axes[1][0].get_legend_handles_labels()
        if handles:
            axes[1][1].legend(handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1.0, 1.0))
        frame.settle(figure)
        frame.write_figure(figure, folder, "figure", style.dpi, ("svg", "png"))


def _rates(ax: Any, found: list[Measurement], setting: str) -> None:
    from matplotlib.ticker import EngFormatter

    from rlbench.analysis.draw.style import arm_styles

    for name, style in arm_styles(ALGORITHMS).items():
        ones = {
            one.info["replicas"]: one.rates()
            for one in found
            if one.group == "training" and one.info["algorithm"] == name and one.info["setting"] == setting
        }
        replicas = sorted(ones)
        middle = [median(ones[r]) for r in replicas]
        look = {"color": style.color, "marker": style.marker, "markeredgecolor": "white"}
        ax.plot(replicas, middle, linestyle=style.line, label=name, **look)
        low, high = ([end(ones[r]) for r in replicas] for end in (min, max))
        ax.fill_between(replicas, low, high, color=style.color, alpha=0.15, linewidth=0)
    ax.set_xscale("log")
    ax.set_xticks(REPLICAS, [str(r) for r in REPLICAS])
    ax.minorticks_off()
    ax.set_ylim(bottom=0)
    ax.set_xlabel("replicas in the pack")
    ax.yaxis.set_major_formatter(EngFormatter(sep=""))
    ax.set_ylabel("environment steps per second, all replicas")


def _where(ax: Any, found: list[Measurement], setting: str, colors: Any) -> None:
    ones = [one for one in found if one.group == "breakdown" and one.info["setting"] == setting]
    names = [f"R = {one.info['replicas']}" for one in ones]
    below = [0.0] * len(ones)
    for row, color in zip(ROWS, colors, strict=True):
        heights = [median(one.series[row]) for one in ones]
        ax.bar(names, heights, bottom=below, color=color, label=row, width=0.6)
        below = [low + height for low, height in zip(below, heights, strict=True)]
    ax.grid(False, axis="x")
    ax.set_ylabel("µs per step of one replica, ppo-clip")
