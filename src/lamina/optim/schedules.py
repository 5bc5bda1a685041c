"""Learning-rate schedules: factor = schedule(progress), progress from 0 to 1 over the planned updates."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence

from lamina.errors import ConfigError

Schedule = Callable[[float], float]


def constant(progress: float) -> float:
    """Return 1 throughout."""
    return 1.0


def linear(progress: float, floor: float = 0.01) -> float:
    """Fall from 1 to ``floor`` in a straight line.

        ε_k = (1 - α) ε_0 + α ε_τ,   α = k/τ,   ε_τ = floor · ε_0

    Returns:
        The factor.

    Reference: Goodfellow et al., Deep Learning, 2016, eq. 8.14, with ε_τ at 1 % of ε_0.
    """
    return (1.0 - progress) + progress * floor


def cosine(progress: float, warmup: float = 0.0, floor: float = 0.0) -> float:
    """Rise linearly over the first ``warmup`` share, then fall along half a cosine to ``floor``.

    Returns:
        The factor.

    Reference: Loshchilov & Hutter, "SGDR", ICLR 2017, eq. 5, without restarts.
    """
    if progress < warmup:
        return progress / warmup
    along = (progress - warmup) / (1.0 - warmup) if warmup < 1.0 else 1.0
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * along))


def one_cycle(progress: float, peak: float = 0.25, start: float = 0.04, end: float = 1e-4) -> float:
    """Rise along half a cosine from ``start`` to 1 at ``peak`` of the way, fall along another to ``end``.

    Returns:
        The factor; the same curve as ``torch.optim.lr_scheduler.OneCycleLR`` with ``anneal_strategy="cos"``.

    Reference: Smith & Topin, "Super-Convergence", 2018.
    """
    if progress < peak:
        return 1.0 + (start - 1.0) * 0.5 * (1.0 + math.cos(math.pi * progress / peak))
    return end + (1.0 - end) * 0.5 * (1.0 + math.cos(math.pi * (progress - peak) / (1.0 - peak)))


def beginning(schedule: Schedule, share: float) -> Schedule:
    """Return the first ``share`` of a schedule as a schedule of its own.

    Returns:
        A function of progress that ends where the given one stands at ``share``.
    """
    return lambda progress: schedule(progress * share)


def recorded(ends: Sequence[float], factors: Sequence[float]) -> Schedule:
    """Return a schedule that repeats what was recorded: ``factors[i]`` up to the progress ``ends[i]``.

    Args:
        ends: Rising, the last one 1.
        factors: As many.

    Returns:
        A step function of progress.
    """
    return lambda progress: factors[min(bisect.bisect_right(ends, progress), len(factors) - 1)]


def by_name(name: str) -> Schedule:
    """Return a schedule of this module with its default constants.

    Returns:
        A function of progress.

    Raises:
        ConfigError: If there is none of that name.
    """
    schedules: dict[str, Schedule] = {"constant": constant, "linear": linear, "cosine": cosine, "one-cycle": one_cycle}
    if name not in schedules:
        raise ConfigError(f'no schedule "{name}"', where="schedule", mend="one of " + ", ".join(schedules))
    return schedules[name]
