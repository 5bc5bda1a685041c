"""An affine layer whose starting weights are a pure function of a generator."""

import torch
from torch import Generator, nn

from lamina.initialisers import Scheme, fill
from lamina.nn._checks import at_least

Start = Scheme


def linear(
    in_features: int, out_features: int, start: Start = "he", generator: Generator | None = None, bias: bool = True
) -> nn.Linear:
    """Build ``torch.nn.Linear`` with weights drawn from ``generator`` and biases zero.

        he:      W_ij ~ N(0, 2 / in)                 for units that halve the variance (ReLU)
        glorot:  W_ij ~ U(-a, a), a² = 6 / (in + out) for tanh, sigmoid and outputs
        zero:    W_ij = 0                             for a branch that starts as nothing

    and every other scheme of ``lamina.initialisers``. Differs from ``torch.nn.Linear``, which draws from the global
    generator, W and b ~ U(-1/√in, 1/√in).

    Args:
        in_features: Size of the last axis of the input, at least 1.
        out_features: Number of units, at least 1.
        start: A name in ``lamina.initialisers.SCHEMES``, or a rule such as ``gaussian(0.1)``.
        generator: Source of the weights; None is PyTorch's default generator.
        bias: Whether the layer adds a bias.

    Returns:
        The layer, on the current default device.

    References: He et al., "Delving Deep into Rectifiers", ICCV 2015, eq. 10; Glorot & Bengio, AISTATS 2010, eq. 16.
    """
    at_least(1, owner="linear", in_features=in_features, out_features=out_features)
    # skip_init draws nothing from the global generator; it needs the device said, or it would ignore torch.device(...).
    layer: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        nn.Linear, in_features, out_features, bias=bias, device=torch.get_default_device()
    )
    fill(layer.weight, start, generator)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
