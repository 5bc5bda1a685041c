"""The deep-learning canon on PyTorch: one loop, one command line, one report.

Nothing heavy is imported until it is used: ``lamina.nn``, ``lamina.fit`` and the rest arrive on first touch.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from lamina._version import __version__

if TYPE_CHECKING:
    from lamina.errors import (
        CheckNotMet,
        CheckpointError,
        ConfigError,
        DataError,
        DivergedError,
        Interrupted,
        LaminaError,
        MachineError,
        MissingExtra,
    )
    from lamina.estimators import NeuralClassifier, NeuralRegressor
    from lamina.runs.predictor import Predictor
    from lamina.runs.settings import Settings
    from lamina.workflows.evaluate import evaluate
    from lamina.workflows.fit import fit
    from lamina.workflows.predict import predict

_ERRORS = ("CheckNotMet", "CheckpointError", "ConfigError", "DataError", "DivergedError", "Interrupted")
_LAZY = {
    **dict.fromkeys((*_ERRORS, "LaminaError", "MachineError", "MissingExtra"), "lamina.errors"),
    "NeuralClassifier": "lamina.estimators",
    "NeuralRegressor": "lamina.estimators",
    "Settings": "lamina.runs.settings",
    "evaluate": "lamina.workflows.evaluate",
    "fit": "lamina.workflows.fit",
    "predict": "lamina.workflows.predict",
}
_ROOMS = frozenset(
    {
        "autoencoders", "curvature", "data", "energy", "estimators", "initialisers", "likelihoods", "methodology",
        "metrics", "nn", "optim", "penalties", "samplers", "training", "vision",
    }
)  # fmt: skip

__all__ = [
    "CheckNotMet",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DivergedError",
    "Interrupted",
    "LaminaError",
    "MachineError",
    "MissingExtra",
    "NeuralClassifier",
    "NeuralRegressor",
    "Settings",
    "__version__",
    "evaluate",
    "fit",
    "load",
    "predict",
]


def load(run: str | os.PathLike[str], device: str = "cpu") -> Predictor:
    """Return the predictor of a run, ready to be asked.

    Args:
        run: The folder that ``lamina fit`` wrote, or a model saved from Python.
        device: Where it computes: ``cpu``, ``cuda``.

    Returns:
        The predictor. A damaged or foreign folder is a ``CheckpointError``; nothing in it is ever run.
    """
    from lamina.runs.predictor import Predictor

    return Predictor.load(os.fspath(run), device)


def __getattr__(name: str) -> Any:
    """Import what is asked for.

    Returns:
        The function, class or room.

    Raises:
        AttributeError: If there is no such name.
    """
    if name in _LAZY:
        value = getattr(importlib.import_module(_LAZY[name]), name)
    elif name in _ROOMS:
        value = importlib.import_module(f"lamina.{name}")
    else:
        raise AttributeError(f"module 'lamina' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_ROOMS})
