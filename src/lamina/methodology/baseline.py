"""The default model by the structure of the data: what is tried first, before anything is tuned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lamina.data.spec import ImageSpec
from lamina.methodology.problem import Problem
from lamina.runs.models import ModelCard, find
from lamina.runs.settings import Settings


def complete(settings: Settings, problem: Problem) -> tuple[Settings, dict[str, str]]:
    """Fill in every setting that was left to be chosen.

    Fixed-size vectors and tables get a multilayer perceptron with embedded categories, pictures a small residual
    convolutional network with batch normalisation; both rectified units, AdamW, early stopping.

    Args:
        settings: As given by the user.
        problem: What is to be learnt.

    Returns:
        Settings without an open choice, and the reason for each choice made.

    Reference: Goodfellow et al., Deep Learning, 2016, section 11.2.
    """
    chosen = _for_pictures(problem, settings) if problem.pictures else _for_tables(problem, settings)
    open_ones = {name: value for name, value in chosen.items() if getattr(settings, name) is None}
    return replace(settings, **{name: value for name, (value, _) in open_ones.items()}), {
        name: reason for name, (_, reason) in open_ones.items()
    }


def _for_tables(problem: Problem, settings: Settings) -> dict[str, tuple[Any, str]]:
    n = len(problem.split.train)
    batch = next(size for limit, size in TABLE_BATCH if n <= limit)
    steps = max(1, n // batch)
    epochs = max(20, min(300, 30_000 // steps))
    return {
        "model": ("mlp", "the inputs are vectors"),
        "hidden": ((128, 128) if n < 5_000 else (256, 256), f"{n:,} training rows"),
        "dropout": (0.1, "the default for tables"),
        "epochs": (epochs, "early stopping ends sooner"),
        "batch_size": (batch, f"{n:,} training rows"),
        "learning_rate": (1e-3, "the default of AdamW"),
        "weight_decay": (1e-2, "the default for tables"),
        "schedule": ("plateau", "cut when validation stops improving"),
        "patience": (max(10, epochs // 10), "a tenth of the epochs"),
        "augment": (False, "only for pictures"),
    }


TABLE_BATCH = [(2_000, 32), (10_000, 64), (50_000, 128), (200_000, 256), (float("inf"), 1024)]
"""Batch size by training rows: small ones regularise, large ones save time."""


def _for_pictures(problem: Problem, settings: Settings) -> dict[str, tuple[Any, str]]:
    n = len(problem.split.train)
    convolutional = settings.model in {None, "resnet"}
    epochs = 10 if n >= 20_000 else max(10, min(60, 70_000 // n))
    return {
        "model": ("resnet", "the inputs are pictures"),
        "hidden": ((512, 512), "the default for pictures"),
        "dropout": (
            0.0 if convolutional else 0.2,
            "batch normalisation regularises" if convolutional else "the default",
        ),
        "width": (24, "the default for pictures"),
        "epochs": (epochs, f"{n:,} training pictures"),
        "batch_size": (128 if n >= 5_000 else 32, f"{n:,} training pictures"),
        "learning_rate": (4e-3 if convolutional else 1e-3, "the default of the model"),
        "weight_decay": (1e-2, "the default for pictures"),
        "schedule": ("one-cycle", "few epochs are planned"),
        "patience": (epochs, "the one-cycle schedule needs its end"),
        "augment": (convolutional, "small shifts keep the class of a picture"),
    }


def model_card(settings: Settings, problem: Problem, n_outputs: int) -> ModelCard:
    """Return the card of the network that completed settings describe.

    Returns:
        The card.
    """
    assert settings.model is not None
    find(settings.model)
    arguments: dict[str, Any] = {}
    if settings.model == "mlp":
        arguments = {"hidden": settings.hidden, "activation": settings.activation, "dropout": settings.dropout}
    elif settings.model == "resnet":
        arguments = {"filters": settings.width, "dropout": settings.dropout}
    return ModelCard(settings.model, problem.spec, n_outputs, arguments)


def in_words(card: ModelCard, settings: Settings) -> str:
    """Return the model and how it is trained in one line.

    Returns:
        For instance ``mlp 46-128-128-2, relu, dropout 0.1, adamw``.
    """
    if isinstance(card.spec, ImageSpec):
        inputs = f"{card.spec.channels}x{card.spec.height}x{card.spec.width}"
    else:
        inputs = str(card.spec.n_numeric + len(card.spec.cardinalities))
    middle = [str(units) for units in settings.hidden or ()] if card.name == "mlp" else []
    if card.name == "resnet":
        middle = [f"{settings.width} filters"]
    sizes = "-".join([inputs, *middle, str(card.n_outputs)])
    words = [f"{card.name} {sizes}"]
    if card.name == "mlp":
        words.append(settings.activation)
    if settings.dropout and card.name != "linear":
        words.append(f"dropout {settings.dropout:g}")
    return ", ".join([*words, settings.optimizer, "early stopping"])
