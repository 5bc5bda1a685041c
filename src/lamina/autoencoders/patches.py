"""Random patches of pictures, from which features are learnt without targets."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from lamina.errors import ConfigError


def random_patches(
    images: Float[Tensor, "N C H W"], size: int, n: int, generator: Generator | None = None
) -> Float[Tensor, "n D"]:
    """Return n square patches from uniformly drawn places of uniformly drawn pictures, with replacement.

    Only the patches themselves take memory. D = C · size²; a patch as a picture is ``view(n, C, size, size)``.

    Args:
        images: Pictures.
        size: Side of a patch, in pixels.
        n: How many.
        generator: Source of the places; None is PyTorch's default generator.

    Returns:
        On the pictures' device.

    Raises:
        ConfigError: If a patch does not fit into a picture, or a number is below 1.
    """
    count, _, height, width = images.shape
    if not 1 <= size <= min(height, width) or n < 1 or count < 1:
        raise ConfigError(
            f"{n!r} patches of side {size!r} cannot be taken of {count} pictures of {height} × {width}",
            where="random_patches",
            mend="use smaller patches",
        )
    which, row, column = (
        torch.randint(end, (n,), generator=generator).to(images.device)
        for end in (count, height - size + 1, width - size + 1)
    )
    every = images.unfold(2, size, 1).unfold(3, size, 1)  # a view (N, C, places, places, size, size)
    return every[which, :, row, column].flatten(1)
