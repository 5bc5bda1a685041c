"""Entity embedding of the categorical columns of a table."""

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from lamina.errors import ConfigError
from lamina.nn._checks import at_least


@runtime_checkable
class TableShape(Protocol):
    """What a table module needs to know of its input: a block of numbers, then a code a categorical column."""

    @property
    def n_numeric(self) -> int:
        """Width of the numeric block."""
        ...

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Number of codes of each categorical column, the code 0 (unseen) included."""
        ...


def embedding_width(cardinality: int) -> int:
    """Return the customary width of an embedding: min(50, ⌈1.6 K^0.56⌉) for K codes.

    Returns:
        Numbers an embedded code becomes, 1 to 50.
    """
    return min(50, math.ceil(1.6 * math.pow(cardinality, 0.56)))


class ColumnEmbedding(nn.Module):
    """Pass the numbers of a table row through and replace each category's code by a learnt vector.

        y = [x_1 … x_M, E_1[c_1], …, E_C[c_C]],   (N, M + C) -> (N, M + Σ_j d_j)

    All tables E_j, of shape (K_j, d_j), lie one after the other, row by row, in the single vector ``weight``, so that a
    batch is looked up by one gather. Row 0 of a table stands for a category never seen and starts at zero; the others
    start at N(0, 0.1²). A code that is no whole number in 0 … K_j - 1, or not a number, is read as 0: an unknown
    category is never an error here. Inputs receive no gradient through the codes.

    Args:
        shape: The input's ``n_numeric`` and ``cardinalities`` (``lamina.data.VectorSpec`` is one).
        widths: d_j of each column; None takes ``embedding_width(K_j)``.
        generator: Source of the weights; None is PyTorch's default generator.

    Raises:
        ConfigError: If a size is below 1, or the widths are not as many as the categorical columns.

    Reference: Guo & Berkhahn, "Entity Embeddings of Categorical Variables", arXiv:1604.06737, section III.
    """

    _scale: Tensor
    _start: Tensor
    _source: Tensor
    _within: Tensor
    _top: Tensor

    def __init__(
        self, shape: TableShape, widths: Sequence[int] | None = None, generator: Generator | None = None
    ) -> None:
        super().__init__()
        cards = tuple(shape.cardinalities)
        dims = tuple(embedding_width(k) for k in cards) if widths is None else tuple(widths)
        at_least(0, owner="ColumnEmbedding", n_numeric=shape.n_numeric)
        for k in cards:
            at_least(1, owner="ColumnEmbedding", cardinality=k)
        for d in dims:
            at_least(1, owner="ColumnEmbedding", width=d)
        if not cards or len(dims) != len(cards):
            raise ConfigError(
                f"widths must be one for each of the {len(cards)} categorical columns (at least one), got {dims}",
                where="ColumnEmbedding",
                mend="leave widths out, or leave the layer out where no column is categorical",
            )
        self.n_numeric, self.cardinalities, self.widths = shape.n_numeric, cards, dims
        self.in_features = shape.n_numeric + len(cards)
        self.out_features = shape.n_numeric + sum(dims)
        starts = [sum(k * d for k, d in zip(cards[:j], dims[:j], strict=True)) for j in range(len(cards))]
        self.weight = nn.Parameter(torch.empty(sum(k * d for k, d in zip(cards, dims, strict=True))))
        with torch.no_grad():
            self.weight.normal_(0.0, 0.1, generator=generator)
            for j in range(len(cards)):
                self.weight[starts[j] : starts[j] + dims[j]].zero_()
        # Where output p = (column j, place i) of code c stands in weight: starts[j] + c · d_j + i.
        places = [(j, i) for j, d in enumerate(dims) for i in range(d)]
        constants = {
            "_top": [k - 1 for k in cards],
            "_scale": dims,
            "_start": starts,
            "_source": [j for j, _ in places],
            "_within": [i for _, i in places],
        }
        # Not state, so nothing would fill them after a start on the meta device: there they are real, on the CPU.
        home = torch.device("cpu") if self.weight.is_meta else self.weight.device
        for name, values in constants.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.int64, device=home), persistent=False)

    def forward(self, x: Float[Tensor, "N M_plus_C"]) -> Float[Tensor, "N D"]:
        """Embed the codes.

        Returns:
            The numbers, then the vectors of column 1, 2, ….
        """
        index = self.index(x)
        vectors = self.weight.index_select(0, index.flatten()).view(index.shape)
        return torch.cat([x[:, : self.n_numeric], vectors], dim=1)

    def index(self, x: Float[Tensor, "N M_plus_C"]) -> Int[Tensor, "N P"]:
        """Return, for each of the P = Σ_j d_j embedded outputs, where it stands in ``weight``.

        Returns:
            Places, int64.

        Raises:
            ConfigError: If x is not (N, n_numeric + number of categorical columns).
        """
        if x.ndim != 2 or x.shape[1] != self.in_features:
            raise ConfigError(
                f"x must have shape (N, {self.in_features}), {self.n_numeric} numbers and {len(self.cardinalities)} "
                f"codes, got {tuple(x.shape)}",
                where="ColumnEmbedding",
                mend="prepare the table as for the fit",
            )
        raw = x[:, self.n_numeric :].detach()
        codes = raw.long()  # what does not fit an integer becomes one out of range, nan too, or differs from raw
        known = (codes >= 0) & (codes <= self._top) & (codes == raw)
        codes = torch.where(known, codes, 0) * self._scale + self._start
        return codes.index_select(1, self._source) + self._within

    def weight_gradient(
        self, x: Float[Tensor, "N M_plus_C"], delta: Float[Tensor, "N D"]
    ) -> Float[Tensor, " n_weights"]:
        """Return ∂L/∂weight from δ = ∂L/∂y: each weight collects the δ of the outputs that it became.

        Returns:
            The gradient, of ``weight``'s shape.
        """
        index = self.index(x)
        gradient = torch.zeros_like(self.weight)
        return gradient.index_add_(0, index.flatten(), delta[:, self.n_numeric :].reshape(-1))

    def table(self, column: int) -> Float[Tensor, "K d"]:
        """Return the table E_j of one categorical column: a view of the weights, a row a code.

        Returns:
            (K_j, d_j).
        """
        k, d = self.cardinalities[column], self.widths[column]
        start = sum(a * b for a, b in zip(self.cardinalities[:column], self.widths[:column], strict=True))
        return self.weight[start : start + k * d].view(k, d)

    def extra_repr(self) -> str:
        """Return the sizes for ``print(module)``.

        Returns:
            One line.
        """
        return f"n_numeric={self.n_numeric}, cardinalities={self.cardinalities}, widths={self.widths}"
