"""Test errors beside published ones: intervals, spread over seeds, and a test of the difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lamina.errors import ConfigError
from lamina.recipes.intervals import share_interval
from lamina.recipes.table import Cell, Column, Estimate

PUBLISHED_TEST = 50_000
"""Test examples behind every published figure."""

_SIGNIFICANT = 1.959963984540054  # two-sided, 5 %

COLUMNS = (
    Column("seeds"),
    Column("test error, %", ".2f"),
    Column("over seeds"),
    Column("validation error, %", ".2f"),
    Column("published, %"),
    Column("verdict"),
)
"""What ``Cells.row`` gives."""


def two_proportion_z(p: float, n: int, q: float, m: int) -> float:
    """Return the statistic of the two-proportion z-test.

        z = (p - q) / √(r (1 - r) (1/n + 1/m)),   r = (n p + m q) / (n + m)

    Args:
        p: A share of n.
        n: How many.
        q: A share of m.
        m: How many.

    Returns:
        About N(0, 1) if both are drawn with the same probability; 0 if nothing varies.

    Raises:
        ConfigError: If a share or a number is impossible.
    """
    if not (0 <= p <= 1 and 0 <= q <= 1 and n >= 1 and m >= 1):
        raise ConfigError(f"{p} of {n} and {q} of {m} are no shares", where="two_proportion_z")
    together = (n * p + m * q) / (n + m)
    variance = together * (1.0 - together) * (1.0 / n + 1.0 / m)
    return (p - q) / math.sqrt(variance) if variance > 0.0 else 0.0


@dataclass(frozen=True, slots=True)
class Cells:
    """What one method reached on one set.

    Attributes:
        errors: On the test part, shares, one a seed.
        valid_errors: On the validation part, likewise.
        n_test: Examples of the test part.
        published: In percent; None where nothing is.
        comparable: Whether the set is as the published one, at full size.
    """

    errors: Sequence[float]
    valid_errors: Sequence[float]
    n_test: int
    published: float | None
    comparable: bool

    @property
    def percent(self) -> float:
        """Mean test error over seeds, in percent."""
        return 100.0 * math.fsum(self.errors) / len(self.errors)

    @property
    def estimate(self) -> Estimate:
        """The same with Wilson's 95 % interval for one test part of this size: the sampling of its examples alone."""
        at = share_interval(round(self.n_test * self.percent / 100.0), self.n_test)
        return Estimate(self.percent, 100.0 * at.low, 100.0 * at.high)

    @property
    def verdict(self) -> str:
        """``same``, ``better`` or ``worse`` than published, with z; empty where there is nothing to compare with."""
        if self.published is None:
            return ""
        if not self.comparable:
            return "not comparable"
        z = two_proportion_z(self.percent / 100.0, self.n_test, self.published / 100.0, PUBLISHED_TEST)
        word = "same" if abs(z) <= _SIGNIFICANT else "better" if z < 0 else "worse"
        return f"{word} (z = {z:+.1f})"

    @property
    def row(self) -> list[Cell]:
        """One cell for each of ``COLUMNS``."""
        spread = f"{100 * min(self.errors):.2f} to {100 * max(self.errors):.2f}" if len(self.errors) > 1 else ""
        valid = 100.0 * math.fsum(self.valid_errors) / len(self.valid_errors)
        published = "" if self.published is None else with_interval(self.published)
        return [len(self.errors), self.estimate, spread, valid, published, self.verdict]

    def near(self, points: float) -> bool:
        """Return whether the mean is within so many percentage points of the published figure."""
        assert self.published is not None
        return abs(self.percent - self.published) <= points


def with_interval(percent: float) -> str:
    """Return a published figure as it was printed, ± 1.96 √(p (1 - p)/50,000)."""
    p = percent / 100.0
    return f"{percent:.2f} ± {100.0 * _SIGNIFICANT * math.sqrt(p * (1.0 - p) / PUBLISHED_TEST):.2f}"


HOW_TO_READ = (
    "In brackets: the 95 % interval of the mean for one test part of this size (Wilson), the sampling of test examples "
    "alone, as in the published table; beside it the least and the greatest error over seeds, which vary the network "
    "and not the set. The verdict is that of a two-sided two-proportion z-test at 5 % between our mean and the "
    "published figure, both of 50,000 test examples; it takes account neither of seeds nor of what the authors' own "
    "search over settings was worth."
)
