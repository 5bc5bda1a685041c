"""What the units that pool over groups share: the groups, and the affine map in front of them."""

import torch
from torch import Generator, Tensor, nn

from lamina.errors import ConfigError
from lamina.nn._checks import at_least
from lamina.nn.linear import linear


def grouped(z: Tensor, pieces: int, dim: int, owner: str) -> tuple[Tensor, int]:
    """Split one axis of size ``pieces`` · H into ``pieces`` blocks of H: group i is what stands i-th in each block.

    Returns:
        The view with one axis more, and the number of the axis that runs within a group.

    Raises:
        ConfigError: If there is no such axis, or its size is no multiple of ``pieces``.
    """
    if not -z.ndim <= dim < z.ndim or z.shape[dim] % pieces:
        raise ConfigError(
            f"axis {dim} of an input of shape {tuple(z.shape)} cannot be split into groups of {pieces}",
            where=owner,
            mend=f"let that axis be a multiple of {pieces}",
        )
    return torch.unflatten(z, dim, (pieces, -1)), dim - 1 if dim < 0 else dim


def affine_pieces(
    owner: str, in_features: int, out_features: int, pieces: int, *, std: float, bias: bool, generator: Generator | None
) -> nn.Linear:
    """Build the affine maps of ``out_features`` groups, W_ij ~ N(0, std²), b = 0.

    Returns:
        The layer; its rows are the first piece of every unit, then the second of every unit, and so on.
    """
    at_least(1, owner=owner, in_features=in_features, out_features=out_features, pieces=pieces)
    layer = linear(in_features, out_features * pieces, "zero", generator, bias)
    with torch.no_grad():
        layer.weight.normal_(0.0, std, generator=generator)
    return layer
