"""What the curves of a run tell: flat, still falling, risen after the best, ill-conditioned, wrong step size."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TOO_SMALL_RATIO, TOO_LARGE_RATIO = 1e-5, 0.5
"""Update over weight norms that tell a wrong learning rate; 1e-2 is usual (Goodfellow et al. 2016, section 11.5)."""

_FLAT = 0.01  # the loss fell by less than this share of itself
_EXPLODED = 100.0  # largest gradient norm over the median one


@dataclass(frozen=True)
class Signs:
    """The curves in a few numbers; None where the figure was not recorded, or not for long enough.

    Args:
        epochs: Records there are.
        fall: Share by which the training loss fell, from the first record to the lowest.
        late_fall: Share by which it fell over the last tenth of the epochs (at least three records).
        rise: How much the validation loss stands above its lowest at the end, as a share of the lowest.
        lowest_valid: The lowest validation loss (nats).
        lowest_epoch: Its record's ``epoch``.
        update_ratio: Median over the second half of the run.
        gradient_first: Median gradient norm of the first tenth.
        gradient_last: Median gradient norm of the last tenth.
        gradient_spread: Largest gradient norm over the median one.
        dead_layers: Largest number of parameter groups whose gradient was exactly 0.
        validated: Whether a validation loss was recorded.
        not_finite: Whether the training loss or the validation loss was NaN or infinite.
    """

    epochs: int
    fall: float | None = None
    late_fall: float | None = None
    rise: float | None = None
    lowest_valid: float | None = None
    lowest_epoch: int | None = None
    update_ratio: float | None = None
    gradient_first: float | None = None
    gradient_last: float | None = None
    gradient_spread: float | None = None
    dead_layers: float | None = None
    validated: bool = False
    not_finite: bool = False

    @property
    def flat(self) -> bool:
        """The training loss did not fall from the first record on."""
        return self.fall is not None and self.fall < _FLAT

    @property
    def plateau(self) -> bool:
        """The training loss no longer falls."""
        return self.late_fall is not None and self.late_fall < _FLAT / 2

    @property
    def ill_conditioned(self) -> bool:
        """No progress while the gradient stays large: not a minimum, but a direction that steps cannot follow.

        Goodfellow et al. 2016, section 8.2.1 and figure 8.1: at a minimum the gradient norm would have fallen.
        """
        if self.gradient_first is None or self.gradient_last is None:
            return False
        return self.plateau and self.gradient_last > 0.5 * self.gradient_first > 0

    @property
    def exploded(self) -> bool:
        """A few steps had gradients far larger than the rest."""
        return self.gradient_spread is not None and self.gradient_spread > _EXPLODED


def read_signs(history: Sequence[Mapping[str, Any]]) -> Signs:
    """Read the curves.

    Args:
        history: Records with ``epoch``, ``loss``, and where recorded ``valid_loss``, ``grad_norm``, ``update_ratio``,
            ``dead_layers``. None and NaN are skipped.

    Returns:
        The signs.
    """
    losses = _series(history, "loss")
    valid = _series(history, "valid_loss")
    gradients = [value for _, value in _series(history, "grad_norm")]
    ratios = [value for _, value in _series(history, "update_ratio")]
    dead = [value for _, value in _series(history, "dead_layers")]
    lowest_epoch, lowest = min(valid, key=lambda pair: pair[1], default=(None, None))
    tenth = max(1, len(gradients) // 10)
    middle = statistics.median(gradients) if gradients else 0.0
    return Signs(
        epochs=len(history),
        fall=_fall(losses[0][1], min(v for _, v in losses)) if len(losses) >= 3 else None,
        late_fall=_late_fall([value for _, value in losses]),
        rise=(valid[-1][1] - lowest) / max(abs(lowest), 1e-12) if lowest is not None else None,
        lowest_valid=lowest,
        lowest_epoch=lowest_epoch,
        update_ratio=statistics.median(ratios[len(ratios) // 2 :]) if ratios else None,
        gradient_first=statistics.median(gradients[:tenth]) if gradients else None,
        gradient_last=statistics.median(gradients[-tenth:]) if gradients else None,
        gradient_spread=max(gradients) / middle if middle > 0 else None,
        dead_layers=max(dead, default=None),
        validated=any("valid_loss" in record for record in history),
        not_finite=any(_broken(record, name) for record in history for name in ("loss", "valid_loss")),
    )


def _series(history: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, float]]:
    found = []
    for place, record in enumerate(history):
        value = record.get(name)
        if isinstance(value, int | float) and math.isfinite(value):
            found.append((int(record.get("epoch", place + 1)), float(value)))
    return found


def _broken(record: Mapping[str, Any], name: str) -> bool:
    return name in record and (record[name] is None or not math.isfinite(record[name]))


def _fall(first: float, last: float) -> float:
    return (first - last) / max(abs(first), 1e-12)


def _late_fall(losses: list[float]) -> float | None:
    """Compare the best of the last tenth of the curve with the best before it.

    Returns:
        The share by which it fell, or None for a curve too short.
    """
    tail = max(3, len(losses) // 10)
    if len(losses) < 2 * tail:
        return None
    return _fall(min(losses[:-tail]), min(losses[-tail:]))
