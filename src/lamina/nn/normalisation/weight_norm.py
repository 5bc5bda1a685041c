"""Weight normalisation, differentiable twice."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lamina.errors import ConfigError


class _WeightNorm(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def _length(self, v: Tensor) -> Tensor:
        others = [axis for axis in range(v.ndim) if axis != self.dim % v.ndim]
        length: Tensor = torch.linalg.vector_norm(v, dim=others, keepdim=True)
        return length

    def forward(self, g: Float[Tensor, "..."], v: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return g V/‖V‖."""
        return v * (g / self._length(v))

    def right_inverse(self, w: Float[Tensor, "..."]) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
        """Return g = ‖W‖ and V = W."""
        return self._length(w), w


def weight_norm(module: nn.Module, name: str = "weight", dim: int = 0) -> nn.Module:
    """Learn the length and the direction of each unit's weights apart.

        W = g V/‖V‖,   ∂L/∂g = ∂L/∂W · V/‖V‖,   ∂L/∂V = g/‖V‖ (∂L/∂W - (∂L/∂g) V/‖V‖)  ⟂ V

    a row a unit. g and V start so that W stays what it was; the optimiser sees g and V in its place. Since the gradient
    of V is orthogonal to V, plain gradient steps only lengthen V, which makes the steps of the direction smaller.

    Value, first derivatives and the names in the state (``parametrizations.weight.original0`` is g, ``original1`` V)
    are those of ``torch.nn.utils.parametrizations.weight_norm``. What it adds is the second derivative: that of
    PyTorch's kernel (2.13) leaves out how ‖V‖ changes with V and fails ``gradgradcheck``, so that a penalty on
    gradients (double back-propagation, tangent propagation, contraction) would train on a wrong gradient.

    Args:
        module: A layer; changed in place. ``torch.nn.utils.parametrize.remove_parametrizations`` takes it off.
        name: The weight.
        dim: Axis of the units: 0, or 1 for transposed convolutions.

    Returns:
        The module.

    Raises:
        ConfigError: If the module has no such parameter of two axes or more.

    Reference: Salimans & Kingma, "Weight Normalization", NIPS 2016, eqs. 2 and 3.
    """
    weight = dict(module.named_parameters(recurse=False)).get(name)
    if weight is None or weight.ndim < 2:
        raise ConfigError(
            f'{type(module).__name__} has no weight "{name}" of two axes or more',
            where="weight_norm",
            mend="call it on a linear or convolutional layer",
        )
    return parametrize.register_parametrization(module, name, _WeightNorm(dim))
