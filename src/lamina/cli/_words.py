"""Numbers as the screen shows them."""

from __future__ import annotations

import math


def figure(value: float) -> str:
    """Return a score or a loss with three significant digits or three decimals.

    Returns:
        For instance ``0.414``, ``12.3``, ``1.2e-05``; ``not finite`` where it is none.
    """
    if not math.isfinite(value):
        return "not finite"
    size = abs(value)
    if size != 0 and (size >= 1e5 or size < 1e-3):
        return f"{value:.3g}"
    if size >= 1000:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}" if size >= 100 else f"{value:.2f}"
    return f"{value:.3f}"


def count(value: int) -> str:
    """Return a whole number with thousands marked."""
    return f"{value:,}"


def bar(fraction: float, width: int = 16) -> str:
    """Return a bar in ASCII, as ``########--------``."""
    share = min(max(fraction, 0.0), 1.0) if math.isfinite(fraction) else 0.0
    done = int(share * width)
    return "#" * done + "-" * (width - done)


def duration(seconds: float) -> str:
    """Return a time as a person says it: ``9 s``, ``2 min``, ``1 h 10 min``."""
    if not math.isfinite(seconds):
        return "?"
    seconds = max(seconds, 0.0)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def pace(seconds: float) -> str:
    """Return the time of an epoch: ``1.1 s/epoch``, ``30 ms/epoch``."""
    if not math.isfinite(seconds):
        return "? s/epoch"
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms/epoch"
    return f"{seconds:.1f} s/epoch" if seconds < 99.5 else f"{duration(seconds)}/epoch"


def left(seconds: float) -> str:
    """Return the time left: ``~9 s left``."""
    return f"~{duration(seconds)} left"
