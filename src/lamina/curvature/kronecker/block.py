"""One diagonal block of a Kronecker-factored curvature: which parameters it covers, and as what matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lamina.curvature._vectors import Tensors

Side = Literal["full", "diagonal", "none"]


@dataclass(frozen=True)
class Block:
    """The parameters of a layer as one matrix W (outputs × inputs), with the curvature F ≈ A ⊗ G of its entries.

        F vec(W) = vec(G W A)                                    columns stacked

    An affine layer is W = [weight, bias] with the input's homogeneous coordinate 1 last. A side can also be diagonal
    (the codes of an embedding) or absent: where G is absent, A is the curvature of all the entries together.

        layer                      W                            A, of the inputs     G, of the outputs
        affine, convolution        out × (in + 1)               full                 full
        grouped convolution        groups × out/g × (in/g + 1)  full, each group     full, each group
        transposed convolution     in × out · patch             full                 full, each group
        embedding                  width × codes                diagonal             full
        normalisation              1 × (scales + shifts)        full                 none
        bias of its own            out × 1                      none                 full
        anything, by its diagonal  1 × entries                  diagonal             none

    Args:
        names: Parameters side by side in W, by their names in the model.
        shapes: Their shapes.
        layers: The modules that use them, by name.
        rows: Outputs of W, of all groups together.
        columns: Inputs of W.
        groups: Independent parts of a grouped convolution.
        turned: Whether the parameter is Wᵀ, as in an embedding.
        inputs: What kind of matrix A is.
        outputs: What kind of matrix G is.
        ones: Whether the last column is a bias, whose input is 1.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    layers: tuple[str, ...]
    rows: int
    columns: int
    groups: int = 1
    turned: bool = False
    inputs: Side = "full"
    outputs: Side = "full"
    ones: bool = False

    @property
    def name(self) -> str:
        """The name of the first parameter, which names the block."""
        return self.names[0]

    @property
    def entries(self) -> int:
        """Parameters of the block."""
        return self.rows * self.columns

    def matrix(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the parameters' tensors as one matrix like W; with groups, one matrix for each."""
        lead = (self.rows,) if self.groups == 1 else (self.groups, self.rows // self.groups)
        if self.turned:
            return tensors[self.names[0]].mT
        parts = [tensors[name].reshape(*lead, -1) for name in self.names]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    def tensors(self, matrix: Tensor) -> Tensors:
        """Return a matrix like W as the parameters' tensors: views, where their layout allows."""
        if self.turned:
            return {self.names[0]: matrix.mT}
        found, start = {}, 0
        lead = self.rows
        for name, shape in zip(self.names, self.shapes, strict=True):
            width = _elements(shape) // lead
            found[name] = matrix[..., start : start + width].reshape(shape)
            start += width
        return found

    def zero_factors(self, like: Tensor) -> Tensors:
        """Return factors of the right shapes, filled with zeros, under the names ``inputs`` and ``outputs``."""
        found = {}
        for name, kind, size in (
            ("inputs", self.inputs, self.columns),
            ("outputs", self.outputs, self.rows // self.groups),
        ):
            shape = {"full": (size, size), "diagonal": (size,)}.get(kind)
            if shape is not None:
                found[name] = like.new_zeros(shape if self.groups == 1 else (self.groups, *shape))
        return found

    def multiply(self, inputs: Tensor | None, outputs: Tensor | None, matrix: Tensor) -> Tensor:
        """Return G W A, for factors or for their inverses; an absent side is the identity."""
        if outputs is not None:
            matrix = outputs @ matrix
        if inputs is not None:
            matrix = matrix @ inputs if self.inputs == "full" else matrix * inputs.unsqueeze(-2)
        return matrix


def _elements(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
