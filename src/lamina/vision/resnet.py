"""Small residual convolutional network: the baseline for small images."""

import math
from collections import OrderedDict

import torch
from jaxtyping import Float, Shaped
from torch import Generator, Tensor, nn

from lamina.errors import ConfigError
from lamina.nn import Residual, linear
from lamina.vision._convolution import convolution

_FINE = 16  # the stem brings the longer side to at most this
_COARSE = 4  # stages go on halving until the longer side is at most this
_STAGES = 3


class SmallResNet(nn.Module):
    """A residual network of two or three stages for images of 8 × 8 to 64 × 64 pixels, quick on a CPU.

        x⁰ = ReLU(BN(conv(x)))                                 stem: down to at most 16 × 16 places
        xˡ = ReLU(S(xˡ⁻¹) + BN(conv(ReLU(BN(conv(xˡ⁻¹))))))    body: blocks of two 3 × 3 convolutions
        outputs = W · (average over places of xᴸ) + b          head

    For 28 × 28 grey images and 24 filters the places are 14², 7², 4² with 24, 48, 96 maps: 174,226 parameters with ten
    outputs. Each stage after the first halves the places and doubles the maps, until 4 × 4 places or three stages;
    where it does, the shortcut S is a 1 × 1 convolution of every other place with batch normalisation, else the
    identity. Weights are a pure function of the generator; each block's last scale γ starts at zero: the network starts
    as stem and shortcuts.

    Input (N, channels, height, width), floating-point or uint8 (then read as x/255); output (N, n_outputs), unbounded.
    Batch normalisation after a convolution without bias makes it indifferent to the scale of the pixels. In evaluation
    each example's output depends on that example alone.

    Differs from He et al.: a 5 × 5 stem of stride 1 or 2, with max pooling only above 32 pixels (there 7 × 7 of stride
    2, then always pooling), one block a stage and at most three stages (there two or more, and four stages), last γ
    zero (Goyal et al., arXiv:1706.02677, section 5.1), activations stored channels last (a training step took 0.73 to
    0.82 of the time on an AVX-512 CPU for 28 and 32 pixels, 0.9 to 1.0 for 8).

    Reference: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 3.3 and table 1.
    """

    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        n_outputs: int,
        *,
        filters: int = 24,
        blocks: int = 1,
        dropout: float = 0.0,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        sizes = {"channels": channels, "height": height, "width": width, "n_outputs": n_outputs}
        for name, value in {**sizes, "filters": filters, "blocks": blocks}.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(
                    f"{name} must be a whole number of at least 1, got {value!r}",
                    where="SmallResNet",
                    mend=f"correct {name}",
                )
        if not 0.0 <= dropout < 1.0:
            raise ConfigError(
                f"dropout must be at least 0 and below 1, got {dropout!r}", where="SmallResNet", mend="use 0.1"
            )
        side, maps = max(height, width), filters
        stride = 1 if side <= _FINE else 2
        stem = [_conv(channels, maps, 5, stride, generator), nn.BatchNorm2d(maps), nn.ReLU()]
        side = math.ceil(side / stride)
        while side > _FINE:
            stem.append(nn.MaxPool2d(3, stride=2, padding=1))
            side = math.ceil(side / 2)
        body: OrderedDict[str, nn.Module] = OrderedDict()
        for stage in range(1, _STAGES + 1):
            if stage > 1 and side <= _COARSE:
                break
            for block in range(1, blocks + 1):
                halve = 2 if stage > 1 and block == 1 else 1
                body[f"stage{stage}_block{block}"] = _block(maps, maps * halve, halve, generator)
                maps, side = maps * halve, math.ceil(side / halve)
        self.stem, self.body = nn.Sequential(*stem), nn.Sequential(body)
        self.pool, self.dropout = nn.AdaptiveAvgPool2d(1), nn.Dropout(dropout)
        self.output = linear(maps, n_outputs, "glorot", generator)
        self.image = (channels, height, width)

    def forward(self, x: Shaped[Tensor, "N C H W"]) -> Float[Tensor, "N outputs"]:
        """Return the outputs for a likelihood to read.

        Returns:
            (N, n_outputs).

        Raises:
            ConfigError: If x is not (N, channels, height, width).
        """
        if x.ndim != 4 or tuple(x.shape[1:]) != self.image:
            raise ConfigError(
                f"x must have shape (N, C, H, W) with (C, H, W) = {self.image}, got {tuple(x.shape)}",
                where="SmallResNet",
                mend="bring the images to this size",
            )
        if x.dtype == torch.uint8:
            x = x.to(self.output.weight.dtype) / 255.0
        places = self.stem(x).contiguous(
            memory_format=torch.channels_last
        )  # the convolutions after it keep this layout
        outputs: Tensor = self.output(self.dropout(self.pool(self.body(places)).flatten(1)))
        return outputs


def small_resnet(
    channels: int,
    height: int,
    width: int,
    n_outputs: int,
    *,
    filters: int = 24,
    blocks: int = 1,
    dropout: float = 0.0,
    generator: Generator | None = None,
) -> SmallResNet:
    """Build the default network for images: a ``SmallResNet``.

    Args:
        channels: 1 for grey, 3 for colour.
        height: Rows of pixels.
        width: Columns of pixels.
        n_outputs: Outputs that the likelihood reads.
        filters: Maps of the first stage; time grows about as its 1.5th power, parameters as its square.
        blocks: Residual blocks a stage, at least 1.
        dropout: Probability of dropping an averaged feature before the output, in [0, 1).
        generator: Source of the weights; None is PyTorch's default generator.

    Returns:
        The network, training mode on.
    """
    return SmallResNet(
        channels, height, width, n_outputs, filters=filters, blocks=blocks, dropout=dropout, generator=generator
    )


def _conv(inputs: int, outputs: int, kernel: int, stride: int, generator: Generator | None) -> nn.Conv2d:
    return convolution(inputs, outputs, kernel, stride, "he_fan_out", generator, bias=False)


def _block(inputs: int, outputs: int, stride: int, generator: Generator | None) -> nn.Sequential:
    last = nn.BatchNorm2d(outputs)
    nn.init.zeros_(last.weight)
    branch = nn.Sequential(
        _conv(inputs, outputs, 3, stride, generator),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        _conv(outputs, outputs, 3, 1, generator),
        last,
    )
    shortcut = None
    if stride != 1 or inputs != outputs:
        # The places are chosen before the convolution, not by its stride: oneDNN's gradient of a strided 1 × 1 kernel
        # writes past its memory where maps lie channels last and are fewer than a register holds (oneDNN issue 6035).
        project = _conv(inputs, outputs, 1, 1, generator)
        shortcut = nn.Sequential(nn.AvgPool2d(1, stride), project, nn.BatchNorm2d(outputs))
    return nn.Sequential(Residual(branch, shortcut), nn.ReLU())
