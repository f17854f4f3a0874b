"""Figures as files: SVG, PDF and PNG, the same bytes for the same figure."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from rlbench.analysis.draw.frame import settle
from rlbench.analysis.draw.style import styled
from rlbench.files import write

# No dates: the same runs give the same bytes.
_METADATA: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}


@dataclass(frozen=True)
class Picture:
    """One figure of a report; `make` draws it, `alt` describes it to those who cannot see it."""

    name: str
    section: str
    title: str
    caption: str
    alt: str
    make: Callable[[], Figure]
    wide: bool = False

    def draw(self) -> Figure:
        """Return the figure, in the style of a report."""
        with styled("report"):
            return self.make()


@dataclass(frozen=True)
class Rendered:
    """A picture with its SVG as a data URI, for the page."""

    picture: Picture
    uri: str


def render(picture: Picture, directory: Path) -> Rendered:
    """Draw a picture, write NAME.svg, .pdf and .png into an existing directory, and return it for the page."""
    return Rendered(picture, save(picture.draw(), picture.name, directory))


def save(figure: Figure, name: str, directory: Path) -> str:
    """Lay out a figure of a report, write NAME.svg, .pdf and .png, and return the SVG as a data URI."""
    with styled("report") as style:
        settle(figure)
        files = write_figure(figure, directory, name, style.dpi)
    return "data:image/svg+xml;base64," + base64.b64encode(files["svg"]).decode("ascii")


def write_figure(figure: Figure, directory: Path, name: str, dpi: int) -> dict[str, bytes]:
    """Write a figure that is laid out as NAME.svg, .pdf and .png, and return their bytes by kind; within `styled`."""
    files = {}
    with matplotlib.rc_context({"svg.hashsalt": "rlbench"}):
        for kind, metadata in _METADATA.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, metadata=metadata, dpi=dpi if kind == "png" else "figure")
            files[kind] = buffer.getvalue()
            write(directory / f"{name}.{kind}", files[kind], inside=directory)
    return files
