"""Standard normal numbers in the shape, type and place of a tensor."""

import math

import torch
from torch import Generator, Tensor

from lamina.errors import ConfigError


def standard_normal(like: Tensor, generator: Generator | None) -> Tensor:
    """Draw ε ~ N(0, I) on the generator's device, and bring it to the tensor's.

    Returns:
        A tensor of the shape, type and device of ``like``.
    """
    device = like.device if generator is None else generator.device
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=device).to(like.device)


def check_std(owner: str, std: float) -> None:
    """Refuse what is no standard deviation.

    Raises:
        ConfigError: If it is not a finite number of at least 0.
    """
    if not (math.isfinite(std) and std >= 0.0):
        raise ConfigError(f"std must be a finite number of at least 0, got {std!r}", where=owner, mend="use 0.1")
