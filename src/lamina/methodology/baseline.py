"""The default model by the structure of the data: what is tried first, before anything is tuned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lamina.data.spec import ImageSpec
from lamina.data.tables.targets import ClassTarget, NumberTarget
from lamina.errors import ConfigError
from lamina.methodology.problem import Problem, likelihood_of
from lamina.methodology.together import check_together
from lamina.nn.activations import read_activation
from lamina.optim.registry import read_optimizer
from lamina.runs.lines import read_groups
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
        Settings without an open choice, and the reason for each choice made. Settings that do not go together, or not
        with the problem, are a ``ConfigError``.

    Reference: Goodfellow et al., Deep Learning, 2016, section 11.2.
    """
    chosen = _for_pictures(problem, settings) if problem.pictures else _for_tables(problem, settings)
    _for_optimizer(chosen, settings, problem.n_training)
    open_ones = {name: value for name, value in chosen.items() if getattr(settings, name) is None}
    whole = replace(settings, **{name: value for name, (value, _) in open_ones.items()})
    check_together(whole, problem, lambda: model_card(whole, problem))
    return whole, {name: reason for name, (_, reason) in open_ones.items()}


def _for_optimizer(chosen: dict[str, tuple[Any, str]], settings: Settings, n: int) -> None:
    """Replace what is chosen for AdamW, which the baseline is trained with, where another optimiser wants another."""
    line = read_optimizer(settings.optimizer)
    choice, why = line.choice, f"the usual one of {line.name}"
    if choice.rate is not None:
        chosen["learning_rate"] = (choice.rate, why)
    if choice.finds_rate:
        del chosen["learning_rate"]
    if not choice.takes("weight_decay"):
        chosen["weight_decay"] = (0.0, f"{line.name} has none")
    if choice.batch is not None:
        chosen["batch_size"] = (min(n, choice.batch), why)
        chosen["schedule"] = ("constant", f"{line.name} has no planned course")


def _for_tables(problem: Problem, settings: Settings) -> dict[str, tuple[Any, str]]:
    n = problem.n_training
    batch, updates = next((size, updates) for limit, size, updates in TABLE_PACE if n <= limit)
    epochs = max(20, min(600, updates // max(1, n // batch)))
    numbers = len(problem.targets) == 1 and isinstance(problem.targets[0], NumberTarget)
    return {
        "model": ("mlp", "the inputs are vectors"),
        "hidden": ((128, 128) if n < 5_000 else (256, 256), f"{n:,} training rows"),
        "dropout": (0.1 if numbers or n > 5_000 else 0.3, f"{n:,} training rows" + ("" if numbers else " of classes")),
        "epochs": (epochs, "early stopping ends sooner"),
        "batch_size": (batch, f"{n:,} training rows"),
        "learning_rate": (3e-3 if numbers else 1e-3, "the default for " + ("numbers" if numbers else "classes")),
        "weight_decay": (1e-2, "the default for tables"),
        "schedule": ("cosine", "the number of updates is planned"),
        "patience": (max(20, epochs // 3), "a third of the epochs"),
        "monitor": (
            ("valid_rmse", "the target is a number")
            if numbers and (settings.likelihood or "gaussian").partition(":")[0] == "gaussian"
            else ("valid_loss", "the likelihood of the validation part")
        ),
        "second_pass": (
            ("none", "the validation part has more targets than the training part is left")
            if settings.labels is not None
            else ("retrain", "few rows: the validation part is worth learning from")
            if n <= FEW_ROWS and len(problem.split.valid)
            else ("none", "many rows, or no validation part")
        ),
        "smoothing": (0.0, "only for pictures of more than two classes"),
        "augment": (False, "only for pictures"),
    }


FEW_ROWS = 20_000
"""Up to so many training rows of a table the second pass is worth its time."""

TABLE_PACE = [
    (2_000, 32, 6_000),
    (10_000, 64, 10_000),
    (50_000, 128, 20_000),
    (200_000, 256, 30_000),
    (float("inf"), 1024, 30_000),
]
"""Largest number of training rows, batch size, updates: small batches regularise, large ones save time."""


def _for_pictures(problem: Problem, settings: Settings) -> dict[str, tuple[Any, str]]:
    n = problem.n_training
    convolutional, plain = settings.model in {None, "resnet"}, settings.model == "convnet"
    epochs = (10 if convolutional else 20) if n >= 20_000 else max(10, min(60, 70_000 // n))
    hidden: tuple[int, ...] = (128,) if plain else (1024, 512)
    why = "the default of convnet" if plain else "the default for pictures"
    return {
        "model": ("resnet", "the inputs are pictures"),
        "hidden": (hidden, why),
        "dropout": (
            0.0 if convolutional else 0.3,
            "batch normalisation regularises" if convolutional else "the default",
        ),
        "width": (16 if plain else 24, why),
        "epochs": (epochs, f"{n:,} training pictures"),
        "batch_size": (128 if n >= 5_000 else 32, f"{n:,} training pictures"),
        "learning_rate": (4e-3 if convolutional else 1e-3, "the default of the model"),
        "weight_decay": (1e-2, "the default for pictures"),
        "schedule": ("one-cycle", "few epochs are planned"),
        "patience": (epochs, "the one-cycle schedule needs its end"),
        "monitor": ("valid_loss", "the likelihood of the validation part"),
        "second_pass": ("none", "the learning rate's course is planned for one pass"),
        "smoothing": (
            (0.09, "the default for pictures")
            if len(problem.targets) == 1
            and isinstance(problem.targets[0], ClassTarget)
            and len(problem.targets[0].classes) > 2
            else (0.0, "only for pictures of more than two classes")
        ),
        "augment": (
            (settings.model != "linear" or settings.augmentation is not None) and settings.pairs == "none",
            "pairs are of pictures as they are"
            if settings.pairs != "none"
            else "small shifts keep the class of a picture"
            if settings.augmentation is None
            else "changes are named",
        ),
    }


def model_card(settings: Settings, problem: Problem) -> ModelCard:
    """Return the card of the network that completed settings describe, with the outputs that the likelihood reads.

    Returns:
        The card.

    Raises:
        ConfigError: If the units have no pieces, and pieces are asked for.
    """
    assert settings.model is not None
    find(settings.model)
    arguments: dict[str, Any] = {}
    if settings.model == "mlp":
        arguments = {"hidden": settings.hidden, "activation": settings.activation, "dropout": settings.dropout}
        if settings.input_dropout:
            arguments["input_dropout"] = settings.input_dropout
        if settings.normalisation != "none":
            arguments["normalisation"] = settings.normalisation
        if settings.connections != "plain":
            arguments["connections"] = settings.connections
        if settings.low_rank is not None:
            arguments["low_rank"] = settings.low_rank
        if settings.share:
            arguments["shared"] = read_groups(settings.share)
        if settings.pieces is not None:
            unit = read_activation(settings.activation, where="activation")
            if not unit.pools:
                raise ConfigError(
                    f"{unit.name} units have one affine map each, not {settings.pieces}",
                    where="pieces",
                    mend="leave pieces out, or use activation=maxout",
                )
            arguments["pieces"] = settings.pieces
    elif settings.model == "resnet":
        arguments = {"filters": settings.width, "dropout": settings.dropout}
    elif settings.model == "convnet":
        arguments = {"filters": settings.width, "hidden": settings.hidden, "dropout": settings.dropout}
        if settings.activation != "relu":
            arguments["activation"] = settings.activation
    if settings.features is not None:
        arguments["features"] = settings.features
    n_outputs = likelihood_of(settings, problem.targets).n_outputs
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
    middle = [f"{settings.width} filters"] if card.name in {"resnet", "convnet"} else []
    if card.name in {"mlp", "convnet"}:
        middle += [str(units) for units in settings.hidden or ()]
    sizes = "-".join([inputs, *middle, str(card.n_outputs)])
    words = [f"{card.name} {sizes}"]
    if card.name in {"mlp", "convnet"}:
        words += [settings.activation, *_in_layers(settings)]
    if settings.features is not None:
        words.append(f"features {settings.features}")
    if settings.dropout and card.name != "linear":
        words.append(f"dropout {settings.dropout:g}")
    if settings.likelihood is not None:
        words.append(settings.likelihood)
    return ", ".join([*words, settings.optimizer, "early stopping"])


def _in_layers(settings: Settings) -> list[str]:
    words = []
    if settings.normalisation != "none":
        words.append(f"{settings.normalisation} normalisation")
    if settings.connections != "plain":
        words.append(f"{settings.connections} connections")
    if settings.low_rank is not None:
        words.append(f"rank {settings.low_rank}")
    return words
