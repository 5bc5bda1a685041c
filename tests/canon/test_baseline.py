"""The default baseline by the structure of the data, as a table of rules."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lamina.methodology.baseline import complete
from lamina.runs.settings import Settings


def problem(*, pictures: bool, n: int) -> Any:
    """As much of a problem as the rules look at."""
    return SimpleNamespace(pictures=pictures, split=SimpleNamespace(train=range(n), valid=range(n // 7)), targets=())


@pytest.mark.parametrize(
    ("pictures", "n", "model", "augment"),
    [
        (False, 100, "mlp", False),
        (False, 100_000, "mlp", False),
        (True, 1_000, "resnet", True),
        (True, 60_000, "resnet", True),
    ],
)
def test_structure_decides_the_baseline(pictures: bool, n: int, model: str, augment: bool) -> None:
    settings, reasons = complete(Settings(), problem(pictures=pictures, n=n))
    assert (settings.model, settings.augment) == (model, augment)
    assert (settings.activation, settings.optimizer) == ("relu", "adamw")
    assert settings.patience is not None  # early stopping is always on
    assert all(reasons[name] for name in ("model", "batch_size", "epochs", "learning_rate"))
    larger, _ = complete(Settings(), problem(pictures=pictures, n=20 * n))
    assert larger.batch_size is not None
    assert settings.batch_size is not None
    assert larger.batch_size >= settings.batch_size


def test_what_was_asked_for_is_kept() -> None:
    settings, reasons = complete(Settings(model="linear", epochs=3), problem(pictures=True, n=1_000))
    assert (settings.model, settings.epochs) == ("linear", 3)
    assert "model" not in reasons
    assert "epochs" not in reasons
