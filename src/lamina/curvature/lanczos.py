"""Lanczos' method with restarts: extreme eigenvalues and eigenvectors of a symmetric matrix known by its products."""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from lamina.curvature._vectors import Tensors, flatten, ordered, unflatten
from lamina.errors import ConfigError

Which = Literal["largest", "smallest", "magnitude"]


class Eigenpairs(NamedTuple):
    """Eigenvalues and eigenvectors, the wanted ones first.

    Attributes:
        values: (k,): descending for ``largest``, ascending for ``smallest``, by descending |value| for ``magnitude``.
        vectors: For each parameter (k, ...): along the first axis, eigenvectors of length 1.
        residuals: (k,): estimates of ‖A v - λ v‖; some eigenvalue lies within so much of λ.
        products: How many products were taken.
        converged: Whether every residual is below the tolerance times the greatest |λ| seen.
    """

    values: Tensor
    vectors: Tensors
    residuals: Tensor
    products: int
    converged: bool


@torch.no_grad()
def lanczos(
    product: Callable[[Tensors], Mapping[str, Tensor]],
    like: Mapping[str, Tensor],
    k: int = 1,
    *,
    which: Which = "largest",
    basis: int | None = None,
    max_products: int = 1000,
    tolerance: float = 1e-5,
    generator: Generator | None = None,
) -> Eigenpairs:
    """Return k extreme eigenpairs of a symmetric matrix A, from products A v only.

    From a random start the space of v, A v, A² v … is built up to ``basis`` vectors, each made orthogonal to all before
    (twice, against rounding); the eigenpairs of A within it approach those of A, the extreme ones first. When the basis
    is full, the best of them start the next one (thick restart), so that the memory is ``basis`` vectors of the
    parameters' size however many products are taken. Of an eigenvalue that occurs more than once one vector may be
    found where there are several.

    Args:
        product: v to A v, both one tensor for each parameter: ``lambda v: hessian_vector(loss, parameters, v)``.
        like: Tensors of the parameters' names, shapes and type.
        k: How many, at least 1 and at most the number of parameters.
        which: Largest, smallest (most negative), or greatest in absolute value.
        basis: Vectors kept, above k; None is max(2 k + 10, 20). More need fewer products.
        max_products: After which to stop, converged or not; looked at when the basis is full.
        tolerance: On the residuals, relative to the greatest |λ| seen.
        generator: Source of the start; None is PyTorch's default generator.

    Returns:
        The pairs, also where they have not converged.

    Raises:
        ConfigError: If an argument does not fit.

    References: Lanczos, J. Res. NBS 45, 1950; Wu & Simon, "Thick-Restart Lanczos Method for Large Symmetric Eigenvalue
    Problems", SIAM J. Matrix Anal. 22(2), 2000.
    """
    ordered("lanczos", "like", like, like)
    size = sum(tensor.numel() for tensor in like.values())
    basis = max(2 * k + 10, 20) if basis is None else basis
    if not 1 <= k <= size or basis <= k or which not in {"largest", "smallest", "magnitude"} or max_products < 1:
        raise ConfigError(
            f'k must be in 1 … {size}, basis above k, which "largest", "smallest" or "magnitude" and max_products at '
            f"least 1, got {k!r}, {basis!r}, {which!r} and {max_products!r}",
            where="lanczos",
            mend="correct the one that is not",
        )
    m = min(basis, size)
    kind = next(iter(like.values()))
    space = kind.new_zeros(m + 1, size)
    projected = torch.zeros(m, m, dtype=torch.float64)  # Vᵀ A V
    space[0] = _fresh(space[:0], generator)
    filled = products = 0
    while True:
        coupling = 0.0
        for j in range(filled, m):
            turned = flatten(ordered("lanczos", "the product", product(unflatten(space[j], like)), like))
            products += 1
            within, rest = _split(turned, space[: j + 1])
            projected[: j + 1, j] = projected[j, : j + 1] = within.double().cpu()
            coupling = float(rest.norm())
            if coupling <= 10 * torch.finfo(kind.dtype).eps * float(turned.norm()) or j + 1 == size:
                coupling = 0.0  # the space holds A of itself: go on from a new direction, where there is one
                if j + 1 < size:
                    space[j + 1] = _fresh(space[: j + 1], generator)
            else:
                space[j + 1] = rest / coupling
        theta, y = torch.linalg.eigh(projected)
        order = _wanted(theta, which)
        theta, y = theta[order], y[:, order]
        residuals = (coupling * y[-1]).abs()
        done = bool((residuals[:k] <= tolerance * theta.abs().max()).all())
        if done or products >= max_products or m == size:
            vectors = y[:, :k].mT.to(space) @ space[:m]
            return Eigenpairs(theta[:k].to(kind), unflatten(vectors, like), residuals[:k].to(kind), products, done)
        # Restart from the wanted pairs and half of the others, and the direction that the last product left over.
        filled = min(k + (m - k) // 2, m - 1)
        space[:filled] = y[:, :filled].mT.to(space) @ space[:m]
        space[filled] = space[m]
        projected.zero_()
        projected.diagonal()[:filled] = theta[:filled]


def _split(vector: Tensor, space: Float[Tensor, "j P"]) -> tuple[Float[Tensor, " j"], Tensor]:
    """Return a vector's coordinates in an orthonormal space, and what lies outside of it."""
    within = space @ vector
    rest = vector - within @ space
    again = space @ rest
    return within + again, rest - again @ space


def _fresh(space: Float[Tensor, "j P"], generator: Generator | None) -> Float[Tensor, " P"]:
    """Return a random direction orthogonal to a space."""
    device = "cpu" if generator is None else generator.device
    drawn = torch.randn(space.shape[1], generator=generator, dtype=space.dtype, device=device).to(space.device)
    _, rest = _split(drawn / drawn.norm(), space)
    _, rest = _split(rest / rest.norm(), space)
    found: Tensor = rest / rest.norm()
    return found


def _wanted(theta: Float[Tensor, " m"], which: Which) -> Tensor:
    if which == "smallest":
        return theta.argsort()
    return (theta if which == "largest" else theta.abs()).argsort(descending=True)
