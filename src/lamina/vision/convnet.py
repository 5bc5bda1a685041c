"""Convolutional network in one chain: convolution, unit, pooling, again and again, then dense layers."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Generator, nn

from lamina.errors import ConfigError
from lamina.nn import linear
from lamina.nn._chain import NamedChain
from lamina.nn._checks import at_least, fraction
from lamina.nn.activations import read_activation
from lamina.vision._convolution import convolution

_KERNEL = 5
_COARSE = 7  # stages go on until the longer side is at most this


class ConvNet(NamedChain):
    """The plain convolutional network of the courses, a chain whose layers can be taught one by one.

        xᵏ = pool(g(Wᵏ * xᵏ⁻¹ + bᵏ))       k = 1 … S: 5 × 5 kernels, half-padded; the largest of each 2 × 2 places
        hᵏ = m ⊙ g(Wᵏ hᵏ⁻¹ + bᵏ)          dense layers over all places and maps; output = W hᴸ + b

    Each stage halves the places, rounded down, and doubles the maps, until the longer side is at most 7: 28 × 28
    pictures go through 14 × 14 places of 16 maps and 7 × 7 of 32. The chain is flat: ``conv1``, ``relu1`` (named for
    the unit), ``pool1``, …, ``flatten``, ``linear3``, ``relu3``, ``dropout3`` (only where p > 0), …, ``output``; layers
    are numbered through. Weights are a pure function of the generator, by the rule that suits the unit; biases are 0.

    Input (N, channels, height, width) floating-point numbers, output (N, n_outputs), unbounded.

    Args:
        channels: 1 for grey, 3 for colour.
        height: Rows of pixels.
        width: Columns of pixels.
        n_outputs: Outputs that the likelihood reads.
        filters: Maps of the first stage.
        hidden: Units of each dense hidden layer; may be empty.
        activation: g: one of ``ACTIVATIONS``, with options as ``lamina.nn.MLP`` has them.
        dropout: Probability of dropping a dense hidden unit, in [0, 1).
        generator: Source of the weights; None is PyTorch's default generator.

    Raises:
        ConfigError: If a size is below 1 (below 2 for the shorter side), the probability outside [0, 1), or the unit
            unknown or one that pools over maps of its own.

    Reference: LeCun, Bottou, Bengio & Haffner, "Gradient-Based Learning Applied to Document Recognition", Proceedings
    of the IEEE 86, 1998, section II; Goodfellow, Bengio & Courville, "Deep Learning", 2016, chapter 9.
    """

    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        n_outputs: int,
        *,
        filters: int = 16,
        hidden: Sequence[int] = (128,),
        activation: str = "relu",
        dropout: float = 0.0,
        generator: Generator | None = None,
    ) -> None:
        chosen = read_activation(activation, where="ConvNet", pooling=False)
        at_least(1, owner="ConvNet", channels=channels, n_outputs=n_outputs, filters=filters)
        fraction(owner="ConvNet", dropout=dropout)
        for units in hidden:
            at_least(1, owner="ConvNet", hidden=units)
        if min(height, width) < 2:
            raise ConfigError(
                f"pictures of {height} x {width} have no 2 x 2 places to pool", where="ConvNet", mend="use an mlp"
            )
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        maps, sides, k = channels, (height, width), 0
        while k == 0 or (max(sides) > _COARSE and min(sides) >= 2):
            k += 1
            given = filters * 2 ** (k - 1)
            layers[f"conv{k}"] = convolution(maps, given, _KERNEL, 1, chosen.start, generator)
            layers[f"{chosen.name}{k}"] = chosen.module(given)
            layers[f"pool{k}"] = nn.MaxPool2d(2)
            maps, sides = given, (sides[0] // 2, sides[1] // 2)
        layers["flatten"] = nn.Flatten()
        size = maps * sides[0] * sides[1]
        for units in hidden:
            k += 1
            layers[f"linear{k}"] = linear(size, units, chosen.start, generator)
            layers[f"{chosen.name}{k}"] = chosen.module(units)
            if dropout:
                layers[f"dropout{k}"] = nn.Dropout(dropout)
            size = units
        layers["output"] = linear(size, n_outputs, "glorot", generator)
        super().__init__(layers)
