"""Figures as files: SVG, PDF and PNG, the same bytes for the same figure."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rlbench.analysis.draw.style import any_letters, rlbench_style
from rlbench.files import write

_PNG_DPI = 180
# No dates: the same runs give the same bytes.
_METADATA = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
_LETTERS = {"svg.fonttype": "none"}  # text stays text on the page


@dataclass(frozen=True)
class Picture:
    """One figure of the report; `make` draws it, `alt` describes it to those who cannot see it."""

    name: str
    section: str
    title: str
    caption: str
    alt: str
    make: Callable[[], Figure]
    wide: bool = False


@dataclass(frozen=True)
class Rendered:
    """A picture with its SVG as a data URI, for the page."""

    picture: Picture
    uri: str


def render(picture: Picture, directory: Path) -> Rendered:
    """Draw a picture, write NAME.svg, .pdf and .png into an existing directory, and return it for the page."""
    return Rendered(picture, save(drawn(picture), picture.name, directory))


def drawn(picture: Picture) -> Figure:
    """Return the figure of a picture."""
    with rlbench_style():
        return picture.make()


def save(figure: Figure, name: str, directory: Path) -> str:
    """Write NAME.svg, .pdf and .png into an existing directory, and return the SVG as a data URI."""
    import matplotlib

    with rlbench_style(), matplotlib.rc_context(_LETTERS):  # type: ignore[arg-type]
        FigureCanvasAgg(figure)
        # Lays out once; the three files then share the positions, and none of them is drawn a second time for it.
        engine = figure.get_layout_engine()
        if engine is not None:
            engine.execute(figure)
        figure.set_layout_engine(None)
        files = write_figure(figure, directory, name, _PNG_DPI)
    return "data:image/svg+xml;base64," + base64.b64encode(files["svg"]).decode("ascii")


def write_figure(figure: Figure, directory: Path, name: str, dpi: int) -> dict[str, bytes]:
    """Write a figure that is laid out as NAME.svg, .pdf and .png into a directory, and return their bytes by kind."""
    import matplotlib

    files = {}
    with any_letters(), matplotlib.rc_context({"svg.hashsalt": "rlbench"}):
        for kind, metadata in _METADATA.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, metadata=metadata, dpi=dpi if kind == "png" else "figure")
            files[kind] = buffer.getvalue()
            write(directory / f"{name}.{kind}", files[kind], inside=directory)
    return files
