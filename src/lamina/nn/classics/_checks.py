"""What the classics share: checks of examples and targets, and an affine layer with given weights."""

import math

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from lamina.errors import ConfigError


def check_examples(owner: str, x: Shaped[Tensor, "..."], target: Shaped[Tensor, "..."]) -> None:
    """Refuse anything but N ≥ 1 rows of finite reals and one finite target, or row of targets, for each.

    Raises:
        ConfigError: If a shape, a type or a value does not fit.
    """
    if x.ndim != 2 or not x.is_floating_point() or not len(x):
        raise ConfigError(
            f"x must be a matrix (N, D) of reals with N at least 1, got {tuple(x.shape)} {x.dtype}",
            where=owner,
            mend="one row an example",
        )
    if target.ndim not in {1, 2} or len(target) != len(x):
        raise ConfigError(
            f"target must be (N,) or (N, T) with N = {len(x)}, got {tuple(target.shape)}",
            where=owner,
            mend="one target, or row of targets, an example",
        )
    for name, value in (("x", x), ("target", target)):
        if not bool(torch.isfinite(value).all()):
            raise ConfigError(f"{name} must be finite", where=owner, mend="drop or fill such rows first")


def check_bits(owner: str, target: Shaped[Tensor, "..."]) -> None:
    """Refuse targets other than a vector of 0 and 1.

    Raises:
        ConfigError: If there is another value or another axis.
    """
    if target.ndim != 1 or not bool(((target == 0) | (target == 1)).all()):
        raise ConfigError("target must be (N,) and hold 0 and 1 only", where=owner, mend="code the classes as 0 and 1")


def check_nonnegative(owner: str, **values: float) -> None:
    """Refuse values that are below 0 or not finite.

    Raises:
        ConfigError: For the first that is.
    """
    for name, value in values.items():
        if not (value >= 0 and math.isfinite(value)):
            raise ConfigError(f"{name} must be finite and at least 0, got {value!r}", where=owner, mend="use 0.0")


def affine(weight: Float[Tensor, "T D"], bias: Float[Tensor, " T"] | None, like: Tensor | None = None) -> nn.Linear:
    """Build ``torch.nn.Linear`` with these weights, in the type and on the device of ``like``.

    Returns:
        The layer; without ``like`` of PyTorch's default type, on the default device.
    """
    n_out, n_in = weight.shape
    layer: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        nn.Linear,
        n_in,
        n_out,
        bias=bias is not None,
        dtype=torch.get_default_dtype() if like is None else like.dtype,
        device=torch.get_default_device() if like is None else like.device,
    )
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer
