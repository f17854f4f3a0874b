"""Made-up results of a sweep, and what can be seen in a drawn figure."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from rlbench.results import Results
from tests.analysis.synthetic import ENVIRONMENTS, experiment_document, make_tables

CLIPS = (0.1, 0.2, 0.4, 0.8)
SWEEP = [f"ppo-clip clip={value:g}" for value in CLIPS]
DELTAS = (0.001, 0.01, 0.1)
VARIANTS = [*SWEEP, *(f"trpo delta={value:g}" for value in DELTAS), "reinforce"]


def results_of(arms=VARIANTS, environments=ENVIRONMENTS, seeds=3, **more) -> Results:
    """Return made-up results whose document says what each arm sets, as a plan's does."""
    document = experiment_document(arms, environments, seeds=seeds, steps=20_000)
    for arm in document["arms"]:
        name, _, value = arm["label"].partition(" ")[2].partition("=")
        own = {name: float(value)} if name else {}
        arm["fields"] = {"clip": 0.2, "delta": 0.01, "gamma": 0.99, "anneal_lr": True, "hidden": [64, 64]} | own
        arm["settings"] = own
    return Results(document, make_tables(arms, environments, seeds, steps=20_000, **more))


def visible_texts(figure: Figure) -> Iterator[tuple[str, Bbox, float]]:
    """Yield what is written, where (pixels) and the size of its letters, without ticks beyond the axes."""
    figure.draw_without_rendering()  # places what a legend holds
    beyond = set()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not low - 1e-12 <= tick.get_loc() <= high + 1e-12:
                    beyond |= {tick.label1, tick.label2}
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and text not in beyond:
            yield text.get_text(), Text.get_window_extent(text), text.get_fontsize()


def covered(figure: Figure) -> list[tuple[str, str]]:
    """Return the pairs of texts that lie on each other."""
    found = list(visible_texts(figure))
    return [
        (one, other)
        for index, (one, box, _) in enumerate(found)
        for other, second, _ in found[index + 1 :]
        if min(box.x1, second.x1) - max(box.x0, second.x0) > 1.5
        and min(box.y1, second.y1) - max(box.y0, second.y0) > 1.5
    ]
