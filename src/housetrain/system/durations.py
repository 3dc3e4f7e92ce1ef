"""Durations as text, for the terminal, the report and the page."""

from __future__ import annotations


def format_duration(seconds: float | None) -> str:
    """Return a duration for a person: ``4.2 s``, ``42 s``, ``3 min 20 s``, ``1 h 05 min``, or ``–`` for ``None``.

    Args:
        seconds: 0 or more; ``None`` where it is not known.
    """
    if seconds is None:
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
