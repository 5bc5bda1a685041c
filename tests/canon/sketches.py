"""Problems of which there is no more than the rules of the baseline look at."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from lamina.data.spec import ImageSpec, VectorSpec
from lamina.data.tables.target_kinds import NumberTarget


def problem(n: int, *, pictures: bool = False) -> Any:
    """One number to be predicted from four others, or from pictures; n training rows."""
    return SimpleNamespace(
        n_training=n,
        pictures=pictures,
        split=SimpleNamespace(train=range(n), valid=range(n // 7)),
        targets=(NumberTarget("y", 0.0, 1.0),),
        spec=ImageSpec(1, 8, 8) if pictures else VectorSpec(4),
        hints=(),
        unlabelled=None,
    )
