"""What the preparations share: arrays and tensors in, the same kind out, and state that is checked on reading."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from lamina.errors import CheckpointError, ConfigError, DataError

Array = TypeVar("Array", np.ndarray, Tensor)
Arrays = dict[str, np.ndarray]

_CHUNK = 2**20  # numbers widened to float64 at a time


def as_floats(x: np.ndarray | Tensor, owner: str) -> Tensor:
    """Return a floating-point tensor: the array's own memory where it is one, else float32.

    Raises:
        DataError: If the array holds no numbers or has no axis.
    """
    if isinstance(x, np.ndarray):
        if x.dtype.kind not in "fiub":
            raise DataError(f"cannot prepare an array of {x.dtype}", where=owner, mend="give numbers")
        native = np.asarray(x, x.dtype.newbyteorder("="))
        shared = native.flags.writeable and all(step >= 0 for step in native.strides)
        x = torch.from_numpy(native if shared else native.copy())
    if x.ndim == 0:
        raise DataError("a single number is no set of examples", where=owner, mend="give (N, ...)")
    return x if x.is_floating_point() else x.to(torch.float32)


def same_kind(result: Tensor, like: Array) -> Array:
    """Return a tensor as what the caller gave: an array for an array."""
    if isinstance(like, Tensor):
        return result
    array: np.ndarray = result.numpy()
    return array


def constant(values: np.ndarray, like: Tensor) -> Tensor:
    """Return numbers on the device and in the type of a tensor."""
    return torch.from_numpy(values).to(like)


def chunks(x: Tensor) -> Iterator[Tensor]:
    """Yield the examples in float64, some at a time.

    Yields:
        ``(n, ...)``.
    """
    step = max(1, _CHUNK * x.shape[0] // max(1, x.numel()))
    for start in range(0, x.shape[0], step):
        yield x[start : start + step].double()


def total(parts: Iterable[Tensor]) -> Tensor:
    """Return the sum of at least one tensor."""
    iterator = iter(parts)
    result = next(iterator).clone()
    for part in iterator:
        result += part
    return result


def to_host(x: Tensor) -> np.ndarray:
    """Return statistics as a float64 array."""
    array: np.ndarray = x.double().cpu().numpy()
    return array


def learnable(x: Tensor, owner: str) -> None:
    """Refuse data to learn from that are empty, or hold infinite numbers or nan.

    Raises:
        DataError: If they are.
    """
    if x.numel() == 0:
        raise DataError(f"there is nothing in an array of shape {tuple(x.shape)}", where=owner, mend="give examples")
    if not bool(x.isfinite().all()):
        raise DataError("the data hold numbers that are not finite", where=owner, mend="leave out or fill those cells")


def fits(x: Tensor, statistics: np.ndarray, owner: str) -> None:
    """Refuse examples whose shape is not that of the statistics (1 fits any size).

    Raises:
        DataError: If they do not fit.
    """
    shape, wanted = tuple(x.shape[1:]), statistics.shape
    if len(shape) != len(wanted) or any(b not in {1, a} for a, b in zip(shape, wanted, strict=True)):
        raise DataError(
            f"examples of shape {shape} do not fit statistics of shape {wanted}",
            where=owner,
            mend="give data of the form that the statistics were learned from",
        )


def positive(owner: str, **values: float) -> None:
    """Refuse numbers that are not finite and above 0.

    Raises:
        ConfigError: For the first that is not.
    """
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name} must be a finite number above 0, got {value!r}", where=owner, mend="use 1.0")


def not_negative(owner: str, **values: float) -> None:
    """Refuse numbers that are not finite and at least 0.

    Raises:
        ConfigError: For the first that is not.
    """
    for name, value in values.items():
        if not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"{name} must be a finite number of at least 0, got {value!r}", where=owner, mend="use 0")


def read(arrays: Mapping[str, Any], names: tuple[str, ...], owner: str) -> list[np.ndarray]:
    """Return stored arrays by name, after a check that they are finite numbers and all there.

    Raises:
        CheckpointError: If they are not.
    """  # noqa: DOC501, DOC502
    if set(arrays) != set(names):
        raise broken(owner, f"its arrays are {sorted(arrays)} instead of {sorted(names)}")
    found = [np.asarray(arrays[name]) for name in names]
    for name, array in zip(names, found, strict=True):
        if array.dtype.kind not in "fiub" or not np.isfinite(array).all():
            raise broken(owner, f'the array "{name}" does not hold finite numbers')
    return found


def scalars(arrays: Mapping[str, Any], names: tuple[str, ...], owner: str) -> list[float]:
    """Return stored single numbers by name.

    Raises:
        CheckpointError: If one is missing or no single finite number.
    """  # noqa: DOC501, DOC502
    found = read(arrays, names, owner)
    if any(array.shape != () for array in found):
        raise broken(owner, "an array of it should be a single number")
    return [float(array) for array in found]


def broken(owner: str, what: str) -> CheckpointError:
    """Return the error for stored state that cannot be used."""
    return CheckpointError(
        f"the stored preparation cannot be used: {what}", where=owner, mend="restore it from a copy, or fit anew"
    )
