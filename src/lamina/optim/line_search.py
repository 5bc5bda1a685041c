"""Line search by the strong Wolfe conditions: how far to go along a direction, even where rounding hides the fall."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

from lamina.errors import ConfigError

Reason = Literal["wolfe", "interval", "evaluations", "not-descent", "non-finite", "zero-step"]

WIDER = 10.0  # a step that is still too short grows by at most so much
INSIDE = 1e-3  # a step between two others keeps so much of their distance from both
SHRINK = 0.66  # two steps must take the interval to so much of what it was, or it is halved


class Trial(NamedTuple):
    """φ at one step.

    Attributes:
        step: α.
        value: φ(α) = f(x + α d).
        slope: φ'(α) = ∇f(x + α d) · d.
        gradient: ∇f(x + α d), carried along for who wants it; the search does not look at it.
    """

    step: float
    value: float
    slope: float
    gradient: Tensor | None = None


@dataclass(frozen=True, slots=True)
class LineSearchResult:
    """Where a line search ended.

    Attributes:
        trial: The point to go to; the start where none was better.
        evaluations: How often φ was asked.
        reason: ``wolfe``: both conditions hold at the trial. ``interval``: the interval shrank to nothing, as at a
            kink; ``evaluations``: the limit was reached; in both the trial is the best point seen. ``not-descent``:
            φ'(0) is not below 0; ``non-finite``: φ(0) or φ'(0) is not; ``zero-step``: the first step was 0 or infinite.
    """

    trial: Trial
    evaluations: int
    reason: Reason

    @property
    def moved(self) -> bool:
        """Whether the trial is another point than the start."""
        return self.trial.step != 0.0


def strong_wolfe(
    phi: Callable[[float], Trial],
    start: Trial,
    first: float = 1.0,
    *,
    c1: float = 1e-4,
    c2: float = 0.9,
    max_evaluations: int = 25,
    rounding: float = 4e-15,
) -> LineSearchResult:
    """Find a step α > 0 that lowers φ enough and flattens it enough.

        φ(α) ≤ φ(0) + c1 α φ'(0)          sufficient decrease
        |φ'(α)| ≤ c2 |φ'(0)|              curvature

    Steps grow until an interval holds such a step; it is then narrowed by the minimum of the cubic through the values
    and slopes at its ends, which on a quadratic is exact, and halved where that shrinks it too slowly. Where value or
    slope is not finite, the step was too far.

    Near a minimum φ falls by less than rounding can show: in float32 from a relative distance of about 3e-4 on. Where
    two values differ by no more than ``rounding`` times their size, their difference is taken from the slopes:

        φ(b) - φ(a) ≈ ½ (b - a) (φ'(a) + φ'(b))

    With it the condition of sufficient decrease is φ'(α) ≤ (2 c1 - 1) φ'(0), the approximate Wolfe condition, equal to
    the first one on a quadratic.

    It never raises for a hard φ: where no step satisfies both conditions (a kink, a φ without lower bound, a gradient
    that is not φ's), the best point seen is returned with the reason.

    Args:
        phi: α to φ and φ' at α.
        start: φ and φ' at α = 0.
        first: The first step tried.
        c1: In (0, ½); a limit of ½ or more excludes the minimum of a quadratic.
        c2: In (c1, 1); 0.9 for quasi-Newton directions, 0.1 for conjugate gradients; 1e-6, with c1=1e-7, is an exact
            search.
        max_evaluations: φ is asked at most so often, at least 1.
        rounding: Relative error of a value of φ: 16 times the type's epsilon for a mean of losses, here float64's. 0
            trusts the values.

    Returns:
        The point and the reason.

    Raises:
        ConfigError: If a constant does not fit.

    References: Nocedal & Wright, Numerical Optimization, 2006, algorithms 3.5 and 3.6 and eq. 3.59; Hager & Zhang, "A
    New Conjugate Gradient Method with Guaranteed Descent and an Efficient Line Search", SIAM J. Optim. 16(1), 2005,
    section 3 (approximate Wolfe); Moré & Thuente, ACM TOMS 20(3), 1994 (halving).
    """
    check_constants("strong_wolfe", c1, c2, max_evaluations)
    if not rounding >= 0.0:
        raise ConfigError(f"rounding must be at least 0, got {rounding!r}", where="strong_wolfe", mend="use 1e-15")
    if not _finite(start):
        return LineSearchResult(start, 0, "non-finite")
    if start.slope >= 0.0:
        return LineSearchResult(start, 0, "not-descent")
    if not 0.0 < first < math.inf:
        return LineSearchResult(start, 0, "zero-step")
    # Between `low`, the lowest point that decreases enough, and `high`, where there is one, lies a step that will do.
    low = before = best = start
    high: Trial | None = None
    widths = [math.inf, math.inf]
    step = first
    for evaluations in range(1, max_evaluations + 1):
        trial = phi(step)
        if _finite(trial) and trial.value < best.value:
            best = trial
        enough = _finite(trial) and _change(start, trial, rounding) <= c1 * trial.step * start.slope
        if not enough or (low is not start and _change(low, trial, rounding) >= 0.0):
            high = trial
        elif abs(trial.slope) <= -c2 * start.slope:
            return LineSearchResult(trial, evaluations, "wolfe")
        else:
            upwards = 1.0 if high is None or high.step > low.step else -1.0
            if trial.slope * upwards >= 0.0:
                high = low
            before, low = low, trial
        if high is None:
            step = _further(before, low, rounding)
            continue
        width = abs(high.step - low.step)
        if width <= max(rounding, 1e-15) * max(high.step, low.step):
            return LineSearchResult(_lower(low, best), evaluations, "interval")
        step = _between(low, high, rounding, halve=width > SHRINK * widths[0])
        widths = [widths[1], width]
    return LineSearchResult(_lower(low, best), max_evaluations, "evaluations")


def check_constants(owner: str, c1: float, c2: float, max_evaluations: int) -> None:
    """Refuse constants that no search can work with.

    Raises:
        ConfigError: Unless 0 < c1 < ½, c1 < c2 < 1 and there is an evaluation.
    """
    if not (0.0 < c1 < 0.5 and c1 < c2 < 1.0 and max_evaluations >= 1):
        raise ConfigError(
            f"c1 must be in (0, 0.5), c2 in (c1, 1) and max_evaluations at least 1, got {c1!r}, {c2!r} and "
            f"{max_evaluations!r}",
            where=owner,
            mend="use c1=1e-4, c2=0.9 and 25",
        )


def _finite(trial: Trial) -> bool:
    return math.isfinite(trial.value) and math.isfinite(trial.slope)


def _lower(low: Trial, best: Trial) -> Trial:
    return best if best.value < low.value else low


def _change(a: Trial, b: Trial, rounding: float) -> float:
    """Return φ(b) - φ(a): from the values where they can tell, else from the slopes."""
    difference = b.value - a.value
    if abs(difference) > rounding * max(abs(a.value), abs(b.value)):
        return difference
    return 0.5 * (b.step - a.step) * (a.slope + b.slope) if rounding else difference


def _cubic(a: Trial, b: Trial, rounding: float) -> float | None:
    """Return the minimum of the cubic with the values and slopes of both; None where it has none."""
    h = b.step - a.step
    middle = a.slope + b.slope - 3.0 * _change(a, b, rounding) / h
    scale = max(abs(middle), abs(a.slope), abs(b.slope))
    if not 0.0 < scale < math.inf:
        return None
    inner = (middle / scale) ** 2 - (a.slope / scale) * (b.slope / scale)
    if inner < 0.0:
        return None
    root = math.copysign(scale * math.sqrt(inner), h)
    below = b.slope - a.slope + 2.0 * root
    return b.step - h * (b.slope + root - middle) / below if below != 0.0 else None


def _further(before: Trial, low: Trial, rounding: float) -> float:
    """Return the next step where φ still falls at ``low``."""
    most = WIDER * low.step
    found = _cubic(before, low, rounding)
    if found is None or not found > low.step:
        return most
    return min(max(found, low.step + 0.01 * (low.step - before.step)), most)


def _between(low: Trial, high: Trial, rounding: float, halve: bool) -> float:
    """Return the next step inside the interval."""
    h = high.step - low.step
    if not _finite(high):
        return low.step + 0.1 * h
    found = None if halve else _cubic(low, high, rounding)
    share = 0.5 if found is None else (found - low.step) / h
    if not 0.0 <= share <= 1.0:
        share = 0.5
    return low.step + min(max(share, INSIDE), 1.0 - INSIDE) * h
