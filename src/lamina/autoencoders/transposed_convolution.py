"""The transposed convolution that decodes what a convolution encodes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Generator, nn

from lamina.errors import ConfigError
from lamina.initialisers import initialise
from lamina.nn.tied_linear import Convolution, own_weight

_TRANSPOSED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv1d: nn.ConvTranspose1d,
    nn.Conv2d: nn.ConvTranspose2d,
    nn.Conv3d: nn.ConvTranspose3d,
}


def transposed_convolution(
    layer: Convolution,
    size: Sequence[int],
    *,
    channels: int | None = None,
    tied: bool = True,
    generator: Generator | None = None,
) -> nn.Module:
    """Return the transposed convolution that leads from a convolution's outputs back to maps of its inputs' size.

    Tied, it is x̂ = Wᵀ h + b, W being the linear map of the convolution: its ``weight`` is the convolution's own
    parameter, which has the shape that PyTorch's transposed convolutions have.

    Args:
        layer: The encoder's convolution, padded with zeros.
        size: Height, width … of the layer's inputs: with a stride above 1 several sizes have outputs of one size.
        channels: Maps that it reads; None are the convolution's. Others cannot be tied.
        tied: False gives it weights of its own, by Glorot's rule.
        generator: Source of these, on the layer's device; None is PyTorch's default generator.

    Returns:
        ``nn.ConvTranspose1d``, ``2d`` or ``3d``; its bias is zero.

    Raises:
        ConfigError: If the padding is not of zeros and the same on both sides, or the weight cannot be tied.

    Reference: Masci, Meier, Cireşan & Schmidhuber, "Stacked Convolutional Auto-Encoders for Hierarchical Feature
    Extraction", ICANN 2011, section 3.
    """
    make = next(make for kind, make in _TRANSPOSED.items() if isinstance(layer, kind))
    padding = _padding(layer)
    steps = zip(size, padding, layer.dilation, layer.kernel_size, layer.stride, strict=True)
    module: nn.Module = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        make,
        layer.out_channels if channels is None else channels,
        layer.in_channels,
        layer.kernel_size,
        stride=layer.stride,
        padding=padding,
        output_padding=tuple((n + 2 * p - d * (k - 1) - 1) % s for n, p, d, k, s in steps),
        groups=layer.groups,
        dilation=layer.dilation,
        device=layer.weight.device,
        dtype=layer.weight.dtype,
    )
    if not tied:
        initialise(module, "glorot", generator)
        return module
    if channels not in (None, layer.out_channels):
        raise ConfigError(
            f"the code has {channels} maps and the convolution {layer.out_channels}: nothing to tie",
            where="transposed_convolution",
            mend="use tied=False",
        )
    module.weight = own_weight(layer, "transposed_convolution")
    nn.init.zeros_(module.get_parameter("bias"))
    return module


def _padding(layer: Convolution) -> tuple[int, ...]:
    padding = layer.padding
    if padding == "valid":
        return (0,) * len(layer.kernel_size)
    if padding == "same":
        spans = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        if all(span % 2 == 0 for span in spans):
            return tuple(span // 2 for span in spans)
    elif layer.padding_mode == "zeros":
        return tuple(int(p) for p in padding)
    raise ConfigError(
        f"no transposed convolution undoes padding={padding!r} with padding_mode={layer.padding_mode!r}",
        where="transposed_convolution",
        mend="pad with zeros, alike on both sides",
    )
