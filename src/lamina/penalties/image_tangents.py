"""How pictures change under small translations, rotations, scalings, shears and changes of stroke width."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d, pad

from lamina.errors import ConfigError, nearest
from lamina.penalties._passes import positive

GROUPS = {
    "rigid": ("translation-x", "translation-y", "rotation"),
    "affine": ("translation-x", "translation-y", "rotation", "scaling", "hyperbolic", "diagonal"),
    "all": ("translation-x", "translation-y", "rotation", "scaling", "hyperbolic", "diagonal", "thickening"),
}


def image_tangents(
    pictures: Float[Tensor, "N ..."], transforms: str = "affine", smoothing: float = 0.9
) -> Float[Tensor, "K N ..."]:
    """Return the derivative of each picture by the parameter of each transform, at the identity.

    With I the picture after a Gaussian of standard deviation ``smoothing``, x to the right and y downwards from the
    centre of the picture, all in pixels:

        translation-x  ∂I/∂x                  hyperbolic  x ∂I/∂x - y ∂I/∂y   (wider and lower)
        translation-y  ∂I/∂y                  diagonal    y ∂I/∂x + x ∂I/∂y   (shear)
        rotation       y ∂I/∂x - x ∂I/∂y      thickening  (∂I/∂x)² + (∂I/∂y)²
        scaling        x ∂I/∂x + y ∂I/∂y

    So I + α t is, to first order in α, the picture I(p + α ξ(p)) with ξ the vector that stands at the gradient:
    rotation is by α radians, scaling to 1/(1 + α) of the size. Slopes are central differences of I, whose border pixels
    go on outside the picture. Tangents are not normalised.

    Args:
        pictures: ``(N, C, H, W)``, each channel on its own.
        transforms: Names of the table with commas between, or one of the groups ``rigid`` (the first three), ``affine``
            (the first six) and ``all``.
        smoothing: Standard deviation in pixels, above 0.

    Returns:
        ``(K, N, C, H, W)`` in the order of the names, detached.

    Raises:
        ConfigError: If a name is unknown, or the inputs are not pictures.

    Reference: Simard, LeCun, Denker & Victorri, "Transformation Invariance in Pattern Recognition: Tangent Distance and
    Tangent Propagation", in Neural Networks: Tricks of the Trade, 1998, sections 4.1 and 5.
    """
    names = GROUPS.get(transforms) or tuple(name.strip() for name in transforms.split(","))
    for name in names:
        if name not in GROUPS["all"]:
            known = [*GROUPS["all"], *GROUPS]
            raise ConfigError(
                f'no transform "{name}"{nearest(name, known)}',
                where="image_tangents",
                mend="one of " + ", ".join(known),
            )
    if pictures.ndim != 4:
        raise ConfigError(
            f"pictures must have shape (N, C, H, W), got {tuple(pictures.shape)}",
            where="image_tangents",
            mend="give the penalty tangents of its own, or keep the pictures' shape up to the network",
        )
    positive("image_tangents", smoothing=smoothing)
    with torch.no_grad():
        along_x, along_y = _slopes(pictures.detach(), smoothing)
        height, width = pictures.shape[-2:]
        x = (torch.arange(width, device=pictures.device) - (width - 1) / 2).to(pictures.dtype)
        y = (torch.arange(height, device=pictures.device) - (height - 1) / 2).to(pictures.dtype).unsqueeze(1)
        made = {
            "translation-x": lambda: along_x,
            "translation-y": lambda: along_y,
            "rotation": lambda: y * along_x - x * along_y,
            "scaling": lambda: x * along_x + y * along_y,
            "hyperbolic": lambda: x * along_x - y * along_y,
            "diagonal": lambda: y * along_x + x * along_y,
            "thickening": lambda: along_x.square() + along_y.square(),
        }
        return torch.stack([made[name]() for name in names])


def _slopes(pictures: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Return ∂I/∂x and ∂I/∂y, each shaped as the pictures."""
    reach = math.ceil(4 * smoothing)
    at = torch.arange(-reach, reach + 1, device=pictures.device, dtype=pictures.dtype)
    bell = torch.exp(-0.5 * (at / smoothing).square())
    bell = bell / bell.sum()
    smooth = _filtered(_filtered(pictures, bell, 3), bell, 2)
    slope = torch.tensor([-0.5, 0.0, 0.5], device=pictures.device, dtype=pictures.dtype)
    return _filtered(smooth, slope, 3), _filtered(smooth, slope, 2)


def _filtered(pictures: Tensor, weights: Tensor, axis: int) -> Tensor:
    reach = len(weights) // 2
    margins = (reach, reach, 0, 0) if axis == 3 else (0, 0, reach, reach)
    planes = pad(pictures.flatten(0, 1).unsqueeze(1), margins, mode="replicate")
    shape = (1, 1, 1, -1) if axis == 3 else (1, 1, -1, 1)
    return conv2d(planes, weights.reshape(shape)).reshape(pictures.shape)
