"""The default baseline by the structure of the data, as a table of rules."""

from __future__ import annotations

import pytest

from canon.sketches import problem
from lamina.methodology.baseline import complete
from lamina.runs.settings import Settings


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
    settings, reasons = complete(Settings(), problem(n, pictures=pictures))
    assert (settings.model, settings.augment) == (model, augment)
    assert (settings.activation, settings.optimizer) == ("relu", "adamw")
    assert settings.patience is not None  # early stopping is always on
    assert all(reasons[name] for name in ("model", "batch_size", "epochs", "learning_rate"))
    larger, _ = complete(Settings(), problem(20 * n, pictures=pictures))
    assert larger.batch_size is not None
    assert settings.batch_size is not None
    assert larger.batch_size >= settings.batch_size


def test_what_was_asked_for_is_kept() -> None:
    settings, reasons = complete(Settings(model="linear", epochs=3), problem(1_000, pictures=True))
    assert (settings.model, settings.epochs) == ("linear", 3)
    assert "model" not in reasons
    assert "epochs" not in reasons
