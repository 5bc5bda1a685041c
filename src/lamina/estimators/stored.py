"""What an estimator keeps in its folder beside the model: its parameters and how X looked, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lamina.data.tables.prepare import TablePreparation
from lamina.errors import CheckpointError, shown
from lamina.runs.predictor import Predictor

_DAMAGED = "what it says of the estimator cannot be used"


@dataclass(frozen=True)
class Stored:
    """What was kept.

    Attributes:
        parameters: Of the estimator; those that are no plain values (a generator) have their default again.
        columns: Names of the columns of X.
        names: The same where X was a frame with names, else None.
        numbers: Whether X is read as a matrix of numbers.
        labels: NumPy's name of the type of the class labels, or None.
    """

    parameters: dict[str, Any]
    columns: list[str]
    names: list[str] | None
    numbers: bool
    labels: str | None


def plain(value: Any) -> Any:
    """Return a parameter as a plain Python value where it is one: NumPy numbers and arrays, tuples.

    Returns:
        The value; sequences as lists, mappings as dictionaries.
    """
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def facts_of(estimator: Any) -> dict[str, Any]:
    """Return what to keep of a fitted estimator, as JSON-able values."""
    given = {name: plain(value) for name, value in estimator.get_params(deep=False).items()}
    names = getattr(estimator, "feature_names_in_", None)
    classes = getattr(estimator, "classes_", None)
    return {
        "class": type(estimator).__name__,
        "parameters": {name: value for name, value in given.items() if _is_json(value)},
        "columns": list(estimator._columns),
        "named": names is not None,
        "numbers": estimator._numbers is not None,
        "labels": None if classes is None else classes.dtype.str,
    }


def _is_json(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_json(item) for item in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and all(_is_json(item) for item in value.values())
    return value is None or isinstance(value, str | int | float | bool)


def stored_facts(predictor: Predictor, owner: str, known: Sequence[str], where: str) -> Stored:
    """Read back what ``facts_of`` gave, checked; of a model that ``lamina fit`` wrote, what can be said.

    Args:
        predictor: The model.
        owner: The estimator's class that is asked for.
        known: Its parameters.
        where: The folder, for messages.

    Returns:
        What was kept.

    Raises:
        CheckpointError: If the model reads pictures, or something in it cannot be.
    """
    if not isinstance(predictor.preparation, TablePreparation):
        raise CheckpointError("reads pictures, and an estimator reads tables", where=where, mend="use lamina.load")
    used = list(predictor.preparation.encoders)
    facts = predictor.facts.get("estimator")
    if facts is None:
        return Stored({}, used, used, False, None)
    try:
        parameters, columns, labels = dict(facts["parameters"]), list(facts["columns"]), facts["labels"]
        named, numbers, kind = facts["named"], facts["numbers"], facts["class"]
        whole = all(isinstance(name, str) for name in columns) and set(used) <= set(columns)
        whole &= isinstance(named, bool) and isinstance(numbers, bool) and isinstance(kind, str)
        whole &= set(parameters) <= set(known) or kind != owner
        whole &= labels is None or (isinstance(labels, str) and np.dtype(labels).kind in "biufUSO")
        whole &= not numbers or columns == used
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(_DAMAGED, where=where, mend="use an intact copy") from error
    if kind != owner:
        raise CheckpointError(f"holds a {shown(kind)}, not a {owner}", where=where, mend=f"use {shown(kind)}.load")
    if not whole:
        raise CheckpointError(_DAMAGED, where=where, mend="use an intact copy")
    return Stored(parameters, columns, columns if named else None, numbers, labels)
