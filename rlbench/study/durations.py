"""Durations as people read them."""

from __future__ import annotations


def clock(seconds: float | None) -> str:
    """Return a duration as `4:05` or `1:04:05`, and `-` where it is not known."""
    if seconds is None:
        return "-"
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
