"""Shape and range checks that the likelihoods share; each raises before anything can broadcast."""

import math

import torch
from torch import Tensor

from lamina.errors import ConfigError, DataError


def check_count(owner: str, name: str, value: object, least: int = 1) -> None:
    """Refuse a size that is not a whole number of at least ``least``.

    Raises:
        ConfigError: If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(
            f"{name} must be a whole number of at least {least}, got {value!r}", where=owner, mend=f"correct {name}"
        )


def check_level(owner: str, level: float) -> None:
    """Refuse a probability of an interval outside the open interval (0, 1).

    Raises:
        ConfigError: If it is.
    """
    if not 0.0 < level < 1.0:
        raise ConfigError(f"level must lie strictly between 0 and 1, got {level!r}", where=owner, mend="use 0.9")


def check_outputs(owner: str, outputs: Tensor, n_outputs: int) -> None:
    """Refuse outputs that are not a floating (N, n_outputs) matrix.

    Raises:
        ConfigError: If they are not.
    """
    if outputs.ndim != 2 or outputs.shape[1] != n_outputs:
        raise ConfigError(
            f"outputs must have shape (N, {n_outputs}), got {tuple(outputs.shape)}",
            where=owner,
            mend=f"give the network {n_outputs} output{'s' if n_outputs > 1 else ''} (n_outputs of the likelihood)",
        )
    if not outputs.is_floating_point():
        raise ConfigError(
            f"outputs must be floating-point numbers, got {outputs.dtype}", where=owner, mend="pass outputs.float()"
        )


def target_columns(owner: str, target: Tensor, outputs: Tensor, n_targets: int) -> Tensor:
    """Return the target as (N, T) in the outputs' dtype; (N,) is read as (N, 1) where T = 1.

    Returns:
        The target, (N, T).

    Raises:
        ConfigError: If its shape does not fit.
    """
    n = outputs.shape[0]
    if target.shape == (n, n_targets):
        return target.to(outputs.dtype)
    if n_targets == 1 and target.shape == (n,):
        return target.to(outputs.dtype).unsqueeze(1)
    expected = f"(N,) or (N, 1) with N = {n}" if n_targets == 1 else f"(N, {n_targets}) with N = {n}"
    raise ConfigError(
        f"target must have shape {expected}, got {tuple(target.shape)}", where=owner, mend="reshape the target"
    )


def drop_lone_column(values: Tensor) -> Tensor:
    """Return (N, 1) as (N,), anything else as it is.

    Returns:
        The values of a one-target likelihood as a vector.
    """
    return values.squeeze(1) if values.shape[1] == 1 else values


def over_targets(values: Tensor) -> Tensor:
    """Return the sum over the targets of an example, (N, T) -> (N,); for T = 1 a view.

    Returns:
        One number an example.
    """
    return values.squeeze(1) if values.shape[1] == 1 else values.sum(1)


def check_column_count(owner: str, target: Tensor, n_targets: int) -> Tensor:
    """Return the target of a data set as (N, T), as a float64 matrix, after checking shape and finiteness.

    Returns:
        The target, (N, T).

    Raises:
        ConfigError: If the shape does not fit. A value that is not finite raises ``DataError``.
    """
    if target.ndim == 1 and n_targets == 1:
        target = target.unsqueeze(1)
    if target.ndim != 2 or target.shape[1] != n_targets:
        expected = "(N,) or (N, 1)" if n_targets == 1 else f"(N, {n_targets})"
        raise ConfigError(
            f"target must have shape {expected}, got {tuple(target.shape)}", where=owner, mend="reshape the target"
        )
    matrix = target.to(torch.float64)
    refuse_rows(owner, ~torch.isfinite(matrix), matrix, "a finite number")
    return matrix


def refuse_rows(owner: str, bad: Tensor, values: Tensor, expected: str) -> None:
    """Refuse the targets where ``bad`` holds, by row number (from 0).

    Raises:
        DataError: If any entry of ``bad`` is true.
    """
    if not bool(bad.any()):
        return
    rows = bad.flatten(1).any(1) if bad.ndim > 1 else bad
    numbers = rows.nonzero().flatten().tolist()
    first = values[numbers[0]].flatten()
    offending = bad[numbers[0]].flatten()
    value = first[offending][0].item() if offending.shape == first.shape else first[0].item()
    text = "nan" if isinstance(value, float) and math.isnan(value) else f"{value:g}"
    listed = ", ".join(str(n) for n in numbers[:5]) + (", …" if len(numbers) > 5 else "")
    place = f"row{'s' if len(numbers) > 1 else ''} {listed} ({len(numbers)} in all)"
    raise DataError(
        f"target must be {expected}, got {text} in {place}",
        where=owner,
        mend="correct or drop these rows, or choose another likelihood",
    )
