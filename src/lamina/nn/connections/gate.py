"""Gate: a vector between 0 and 1 that decides element by element what passes."""

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from lamina.errors import ConfigError
from lamina.nn._checks import at_least
from lamina.nn.linear import linear


class Gate(nn.Module):
    """Multiply a value element by element with a learnt vector between 0 and 1.

        i = σ(W^f x + W^r h + b),   gated value = i ⊙ v

    What the value v is makes the level: an input or output feature (which features matter here), the history h
    (how far the network remembers), or a layer's output (how much of the layer takes part, as in ``Highway``). At
    i = 0 nothing passes, at i = 1 the value passes as it is.

    W^f and W^r start by Glorot's rule, a pure function of the generator; b starts at ``bias``.

    Args:
        in_features: Size of the last axis of x, at least 1.
        gate_features: Size of i, at least 1: that of the value, or 1 for one gate on the whole value.
        recurrent_features: Size of the last axis of h; 0 for a gate that does not see the history.
        bias: b at the start; 4 is a gate that is 0.98 open, -4 one that is 0.98 closed.
        generator: Source of the weights; None is PyTorch's default generator.

    Raises:
        ConfigError: If a size is too small; in the forward pass, if h is missing or not wanted, or the value's last
            axis is not the gate's.

    Reference: Hochreiter & Schmidhuber, "Long Short-Term Memory", Neural Computation 1997, section 4 (the gate units).
    """

    def __init__(
        self,
        in_features: int,
        gate_features: int,
        recurrent_features: int = 0,
        *,
        bias: float = 0.0,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        at_least(0, owner="Gate", recurrent_features=recurrent_features)
        self.gate_features = gate_features
        self.feed = linear(in_features, gate_features, "glorot", generator)
        nn.init.constant_(self.feed.bias, bias)
        self.recur = (
            linear(recurrent_features, gate_features, "glorot", generator, bias=False) if recurrent_features else None
        )

    def forward(
        self,
        x: Float[Tensor, "*batch in"],
        h: Float[Tensor, "*batch recurrent"] | None = None,
        *,
        value: Float[Tensor, "*batch V"] | None = None,
    ) -> Float[Tensor, "*batch _"]:
        """Return the gated value, or the gate itself where no value is given.

        Args:
            x: The layer's input.
            h: The history, only and always where the gate has recurrent features.
            value: What is gated.

        Returns:
            i ⊙ value of the value's shape, or i of shape (..., gate_features).

        Raises:
            ConfigError: If h is missing or not wanted, or the value's last axis is not the gate's.
        """
        if (h is None) is not (self.recur is None):
            raise ConfigError(
                "the history h is missing" if h is None else "got a history h, and has no recurrent features",
                where="Gate",
                mend="give recurrent_features and h both, or neither",
            )
        if value is not None and self.gate_features not in {1, value.shape[-1]}:
            raise ConfigError(
                f"the value has {value.shape[-1]} features and the gate {self.gate_features}",
                where="Gate",
                mend="make gate_features the value's, or 1",
            )
        a = self.feed(x)
        if self.recur is not None:
            a = a + self.recur(h)
        i = torch.sigmoid(a)
        return i if value is None else i * value
