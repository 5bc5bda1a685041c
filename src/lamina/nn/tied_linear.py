"""A layer whose weight is another layer's own, transposed: the decoder of a tied autoencoder."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear

from lamina.errors import ConfigError

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d


class TiedLinear(nn.Module):
    """x̂ = Wᵀ h + b, W being the weight of another layer.

    ``weight`` is that layer's parameter itself, not a copy: there is one tensor, one gradient with the contributions
    of both uses, and an optimiser over the whole autoencoder's ``parameters()`` meets it once. Copies, moves to another
    device and ``load_state_dict`` of the whole keep the tie.

    Args:
        layer: The encoder's layer, W ``(out, in)``; its bias has no part in this.

    Raises:
        ConfigError: If its weight is no parameter of its own (weight normalisation computes it anew in each pass).

    Reference: Vincent, Larochelle, Bengio & Manzagol, "Extracting and Composing Robust Features with Denoising
    Autoencoders", ICML 2008, section 2.1.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight = own_weight(layer, "TiedLinear")
        self.bias = nn.Parameter(layer.weight.new_zeros(layer.in_features))

    def forward(self, h: Float[Tensor, "... out"]) -> Float[Tensor, "... in"]:
        """Return Wᵀ h + b."""
        return linear(h, self.weight.t(), self.bias)

    @torch.no_grad()
    def untied(self) -> nn.Linear:
        """Return a layer of its own that computes the same."""
        out, into = self.weight.shape
        layer: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            nn.Linear, out, into, device=self.weight.device, dtype=self.weight.dtype
        )
        layer.weight.copy_(self.weight.t())
        layer.bias.copy_(self.bias)
        return layer

    def extra_repr(self) -> str:
        """Return what is printed between the brackets."""
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}"


def own_weight(layer: nn.Linear | Convolution, owner: str) -> nn.Parameter:
    """Return a layer's weight where it is a parameter of the layer.

    Raises:
        ConfigError: If something else computes it.
    """
    weight: object = layer.weight
    if not isinstance(weight, nn.Parameter):
        raise ConfigError(
            "the encoder's weight is computed from others and cannot be shared",
            where=owner,
            mend="tie plain layers, or use tied=False",
        )
    return weight
