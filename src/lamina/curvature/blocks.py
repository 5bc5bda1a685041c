"""Block-diagonal curvature: a dense matrix for each group of parameters, and nothing between the groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from lamina.curvature._vectors import Tensors, flatten, ordered, unflatten
from lamina.curvature.batch_loss import BatchLoss
from lamina.curvature.output_metric import Kind
from lamina.curvature.per_example import curvature_rows
from lamina.errors import ConfigError

By = Literal["unit", "parameter", "layer"]
_MOST = 1 << 30  # numbers in all blocks


@dataclass(frozen=True)
class BlockDiagonal:
    """A symmetric matrix of blocks on the diagonal: O(b n) numbers for n parameters in blocks of b.

    ``solve`` and ``inverse`` raise ConfigError where a damped block is not positive definite.

    Attributes:
        places: For each size of block the elements of θ, flattened, that the blocks hold, (blocks, b).
        matrices: The blocks, (blocks, b, b) for each size.
        like: θ by name: names and shapes of vectors.
    """

    places: tuple[Tensor, ...]
    matrices: tuple[Tensor, ...]
    like: Tensors

    def product(self, vector: Mapping[str, Tensor]) -> Tensors:
        """Return C v, one tensor for each parameter."""
        flat = flatten(ordered("BlockDiagonal.product", "vector", vector, self.like))
        found = torch.zeros_like(flat)
        for place, matrix in zip(self.places, self.matrices, strict=True):
            found[place] = (matrix @ flat[place].unsqueeze(2)).squeeze(2)
        return unflatten(found, self.like)

    def solve(self, vector: Mapping[str, Tensor], damping: float = 0.0) -> Tensors:
        """Return (C + damping I)⁻¹ v, by a Cholesky factor of each block.

        Args:
            vector: v.
            damping: Added to the diagonal.

        Returns:
            One tensor for each parameter.
        """
        flat = flatten(ordered("BlockDiagonal.solve", "vector", vector, self.like))
        found = torch.zeros_like(flat)
        for place, factor in zip(self.places, self._factors(damping), strict=True):
            found[place] = torch.cholesky_solve(flat[place].unsqueeze(2), factor).squeeze(2)
        return unflatten(found, self.like)

    def inverse(self, damping: float = 0.0) -> BlockDiagonal:
        """Return (C + damping I)⁻¹, in O(b² n) operations, for many products with it.

        Args:
            damping: Added to the diagonal.

        Returns:
            A matrix of the same blocks.
        """
        inverses = tuple(torch.cholesky_inverse(factor) for factor in self._factors(damping))
        return BlockDiagonal(self.places, inverses, self.like)

    def diagonal(self) -> Tensors:
        """Return the diagonal, one tensor for each parameter."""
        found = torch.zeros_like(flatten(self.like))
        for place, matrix in zip(self.places, self.matrices, strict=True):
            found[place] = matrix.diagonal(dim1=1, dim2=2)
        return unflatten(found, self.like)

    def _factors(self, damping: float) -> list[Tensor]:
        """Return the Cholesky factors of the damped blocks.

        Raises:
            ConfigError: If a block is not positive definite.
        """
        factors = []
        for matrix in self.matrices:
            damped = matrix + damping * torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
            factor, failed = torch.linalg.cholesky_ex(damped)
            if bool(failed.any()):
                raise ConfigError(
                    f"a block plus {damping!r} on its diagonal is not positive definite",
                    where="BlockDiagonal",
                    mend="use a larger damping",
                )
            factors.append(factor)
        return factors


def curvature_blocks(
    batch: BatchLoss,
    kind: Kind = "gauss-newton",
    *,
    by: By = "layer",
    draws: int | None = None,
    generator: Generator | None = None,
) -> BlockDiagonal:
    """Return the diagonal blocks of (1/N) Σ_n w_n J_nᵀ M_n J_n exactly, the penalty left out.

        "unit"         all that belongs to one unit of one layer: elements of one index along the first axis
        "parameter"    a weight matrix, a bias
        "layer"        all parameters of one module

    Args:
        batch: The loss; see ``curvature_rows`` for what network it may have.
        kind: Which curvature; see ``BatchLoss.product``.
        by: What a block is.
        draws: For "gauss-newton" and "fisher": targets drawn for each example in place of the closed form.
        generator: Source of the draws.

    Returns:
        The blocks.

    Raises:
        ConfigError: If the blocks would hold more than 2³⁰ numbers, or an argument does not fit.

    Reference: Le Roux, Manzagol & Bengio, "Topmoumoute Online Natural Gradient Algorithm", NIPS 2007, section 4 (blocks
    of the gradients' covariance).
    """
    places = block_places(batch.parameters, by)
    count = sum(place.numel() * place.shape[1] for place in places)
    if count > _MOST:
        raise ConfigError(
            f"the blocks would hold {count:,} numbers", where="curvature_blocks", mend='use by="unit", or K-FAC'
        )
    like = batch.parameters
    kind_of = next(iter(like.values()))
    matrices = [kind_of.new_zeros(*place.shape, place.shape[1]) for place in places]
    for rows in curvature_rows(batch, kind, draws=draws, generator=generator):
        for place, matrix in zip(places, matrices, strict=True):
            some = rows[:, place].transpose(0, 1)
            matrix.baddbmm_(some.mT, some)
    return BlockDiagonal(places, tuple(matrices), like)


def block_places(like: Mapping[str, Tensor], by: By) -> tuple[Tensor, ...]:
    """Return where the blocks' elements stand in the flattened parameters, (blocks, b) for each group of equal blocks.

    Args:
        like: The parameters by name, as ``named_parameters`` calls them.
        by: What a block is; see ``curvature_blocks``.

    Returns:
        Indices that cover every element once.

    Raises:
        ConfigError: If ``by`` is none of these.
    """
    if by not in {"unit", "parameter", "layer"}:
        raise ConfigError(
            f'by must be "unit", "parameter" or "layer", got {by!r}', where="block_places", mend='use "layer"'
        )
    groups: dict[tuple[str, int], list[Tensor]] = {}
    start = 0
    for name, tensor in like.items():
        place = torch.arange(start, start + tensor.numel(), device=tensor.device)
        start += tensor.numel()
        layer, units = name.rpartition(".")[0], tensor.shape[0] if tensor.ndim else 1
        if by == "unit":
            groups.setdefault((layer, units), []).append(place.reshape(units, -1))
        else:
            groups.setdefault((name if by == "parameter" else layer, 1), []).append(place.reshape(1, -1))
    return tuple(torch.cat(parts, dim=1) for parts in groups.values())
