"""Checks that the metrics share: vectors of one length, not empty, without nan."""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from lamina.errors import ConfigError

if TYPE_CHECKING:
    from numpy import typing as npt

    ArrayLike = npt.ArrayLike
else:
    ArrayLike = object  # numpy's own is for static checkers: at run time it refuses a tuple of bools


def vectors(owner: str, **arrays: Any) -> tuple[Float[np.ndarray, " N"], ...]:
    """Return the arrays as float64 vectors of one length.

    Returns:
        One vector for each keyword, in order.

    Raises:
        ConfigError: If one is not a vector, is empty, holds nan, or the lengths differ: nothing is broadcast.
    """
    found = {name: np.asarray(values, dtype=np.float64) for name, values in arrays.items()}
    for name, values in found.items():
        if values.ndim != 1:
            raise ConfigError(f"{name} must have shape (N,), got {values.shape}", where=owner, mend="flatten it")
        if not len(values):
            raise ConfigError(f"{name} is empty", where=owner, mend="a metric needs at least one example")
        if np.isnan(values).any():
            row = int(np.isnan(values).argmax())
            raise ConfigError(f"{name} must hold no nan, got one in row {row}", where=owner, mend="drop these rows")
    lengths = {name: len(values) for name, values in found.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} {n}" for name, n in lengths.items())
        raise ConfigError(f"lengths must agree, got {said}", where=owner, mend="pass one value an example")
    return tuple(found.values())


def truth_values(owner: str, name: str, values: Float[np.ndarray, " N"]) -> None:
    """Refuse values other than 0 and 1.

    Raises:
        ConfigError: If there is one.
    """
    if not np.isin(values, (0.0, 1.0)).all():
        raise ConfigError(
            f"{name} must hold 0 and 1 (or False and True) only", where=owner, mend="compare first: a == b"
        )


def unit_interval(owner: str, name: str, values: Float[np.ndarray, " N"]) -> None:
    """Refuse values outside [0, 1].

    Raises:
        ConfigError: If there is one.
    """
    if values.min() < 0.0 or values.max() > 1.0:
        raise ConfigError(
            f"{name} must lie in [0, 1], got {values.min():g} to {values.max():g}",
            where=owner,
            mend="pass probabilities",
        )


def level_between(owner: str, level: float) -> None:
    """Refuse a level outside the open interval (0, 1).

    Raises:
        ConfigError: If it is.
    """
    if not 0.0 < level < 1.0:
        raise ConfigError(f"level must lie strictly between 0 and 1, got {level!r}", where=owner, mend="use 0.95")
