"""What every report is made of: an HTML page from a template, with everything escaped, and folders for its files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rlbench.files import folder

PAGE = "report.html"
FIGURES, TABLES = ("svg", "pdf", "png"), ("csv", "md", "tex")  # the endings of their files


def page(template: str, **values: Any) -> str:
    """Return the page of a template in `templates`."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text: str = environment.get_template(template).render(**values)
    return text


def fresh_folder(path: Path, kinds: Iterable[str]) -> Path:
    """Make a folder in that of a report and remove the files of an earlier one, by the endings of their names."""
    folder(path, inside=path.parent)
    for kind in kinds:
        for old in path.glob(f"*.{kind}"):
            if old.is_symlink() or not old.is_dir():
                old.unlink()
    return path
