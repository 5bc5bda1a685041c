"""A step of ``features``: what makes something of the inputs in front of a network."""

from __future__ import annotations

from typing import ClassVar, Literal, Protocol

from torch import Tensor, nn

from lamina.errors import ConfigError

Shape = tuple[int, ...]
Reads = Literal["all", "vectors", "pictures"]


class Stage(Protocol):
    """One step of ``features``; its fields are the options.

    Attributes:
        reads: Vectors only, (N, D), pictures only, (N, C, H, W), or both.
        code: Whether a network behind it is given each number standardised.
    """

    reads: ClassVar[Reads]
    code: ClassVar[bool]

    def layer(self, shape: Shape) -> tuple[nn.Module, Shape]:
        """Return the layer for examples of a shape, its buffers still to be filled, and the shape of what comes out."""
        ...

    def made(self, inputs: Tensor, seed: int) -> nn.Module:
        """Return the layer, made from what goes into it."""
        ...


def refusal(what: str, mend: str) -> ConfigError:
    """Return the error of an option."""
    return ConfigError(what, where="features", mend=mend)
