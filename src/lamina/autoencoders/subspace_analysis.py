"""Independent subspace analysis: filters in small groups whose joint energy is sparse, learnt without targets."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from lamina.data.preprocessing import Sphering
from lamina.errors import ConfigError

_AT_ONCE = 1 << 22  # numbers of a block
_GROWTH, _SHRINKING = 1.5, 0.5  # of the step, after one that went down and one that did not
_SMALLEST = 1e-12  # step at which no descent is left but rounding
_JUDGED = 10_000  # examples that decide which filters go together


class SubspaceAnalysis(nn.Module):
    """Independent subspace analysis: squared filter responses, pooled in groups.

        z = V (x - µ)                              whitened, k numbers
        p_g = √(ε + Σ_{j in group g} (W_j·z)²)     g = 1 … G, each of m filters
        fit:  W = argmin mean_x Σ_g p_g(x)   with  W Wᵀ = I

    The filters of a group span a subspace; what is pooled is the length of the projection onto it, which does not
    change as the input moves within (an edge that shifts its phase). Nothing tells the filters of a group apart: W is
    determined up to a rotation within each group, and an order of the groups. With m = 1 it is independent component
    analysis with the density exp(-√2 |s|).

    The buffers are the first three arguments: ``SubspaceAnalysis(**state_dict, size=m)`` rebuilds it.

    Args:
        mean: µ, (D,).
        whitening: V, (k, D).
        weight: W, (G m, k), rows orthonormal, the m rows of a group next to one another.
        size: m.
        epsilon: ε, above 0: keeps the root's slope finite, and the response of a flat input at √ε.

    Raises:
        ConfigError: If the shapes do not go together.

    References: Hyvärinen & Hoyer, "Emergence of Phase- and Shift-Invariant Features by Decomposition of Natural Images
    into Independent Feature Subspaces", Neural Computation 12, 2000; Le, Zou, Yeung & Ng, "Learning Hierarchical
    Invariant Spatio-Temporal Features for Action Recognition with Independent Subspace Analysis", CVPR 2011, section 3.
    """

    def __init__(
        self,
        mean: Float[Tensor, " D"],
        whitening: Float[Tensor, "k D"],
        weight: Float[Tensor, "F k"],
        size: int = 2,
        epsilon: float = 1e-4,
    ) -> None:
        super().__init__()
        if size < 1 or len(weight) % size or not 0 < epsilon < math.inf:
            raise ConfigError(
                f"size must divide the {len(weight)} filters and epsilon be above 0, got {size!r} and {epsilon!r}",
                where="SubspaceAnalysis",
                mend="use size=2",
            )
        self.mean: Tensor
        self.whitening: Tensor
        self.weight: Tensor
        for name, value in {"mean": mean, "whitening": whitening, "weight": weight}.items():
            self.register_buffer(name, value.detach().clone())
        self.size, self.epsilon = size, epsilon

    @classmethod
    @torch.no_grad()
    def fit(
        cls,
        x: Float[Tensor, "N D"],
        groups: int | None = None,
        size: int = 2,
        *,
        components: int | None = None,
        epsilon: float = 1e-4,
        max_steps: int = 500,
        tolerance: float = 1e-6,
        grouped_start: bool = True,
        generator: Generator | None = None,
    ) -> SubspaceAnalysis:
        """Whiten the examples and learn the filters, by projected gradient descent over all of them.

            W ← (A Aᵀ)^(-1/2) A,   A = W - η ∇J(W),   again with half of η where J did not fall

        J falls with every step that is kept, and η finds its own size. A step costs 4 N G m k multiplications; examples
        go through in blocks.

        J has many minima in which a subspace is divided between groups, and from a random start descent alone ends in
        one of them nearly always. So the start is found first, which is ours, not the references': independent
        components (a descent with m = 1), of which those go into one group whose joint pooling lowers J. Of 18 problems
        with planted subspaces (4 to 16 groups of 2 to 4, 4,000 examples) it solved 17, descent alone none.

        Args:
            x: Examples, such as ``random_patches``; many more of them than components.
            groups: G; None is as many as there are components for.
            size: m, filters of a group.
            components: k, strongest principal components that are kept; None is all in which the examples vary.
            epsilon: ε, of the whitened responses, whose variance is 1.
            max_steps: Most steps of a descent, refused ones included.
            tolerance: Ends where J falls by less than this share in ten steps.
            grouped_start: Whether descent starts from grouped independent components; False starts from random filters.
            generator: Source of the start; None is PyTorch's default generator.

        Returns:
            The module, of x's type.

        Raises:
            ConfigError: If there are fewer components than filters, or a number is out of range.
        """
        sphering = Sphering.fit(x, components=components)
        whitening = sphering.components / np.sqrt(sphering.variances)[:, None]
        k = len(whitening)
        groups = k // size if groups is None and size > 0 else groups
        if groups is None or groups < 1 or size < 1 or groups * size > k or max_steps < 0:
            raise ConfigError(
                f"{groups!r} groups of {size!r} filters on {k} components, max_steps {max_steps!r}",
                where="SubspaceAnalysis",
                mend="ask for fewer groups than components by the factor of their size",
            )
        z = sphering.transform(x)
        weight = orthonormal_rows(torch.randn(groups * size, k, generator=generator).to(z))
        descend = partial(_descend, z=z, epsilon=epsilon, max_steps=max_steps, tolerance=tolerance)
        if grouped_start and size > 1:
            weight = descend(weight, size=1)
            judged = z[torch.randperm(len(z), generator=generator)[:_JUDGED].to(z.device)]
            weight = weight[_grouped(judged @ weight.mT, size, epsilon)]
        weight = descend(weight, size=size)
        mean, rows = (torch.from_numpy(a).to(x) for a in (sphering.mean, whitening))
        return cls(mean, rows, weight, size, epsilon)

    @property
    def filters(self) -> Float[Tensor, "F D"]:
        """W V: what each filter is in the space of the inputs."""
        rows: Tensor = self.weight @ self.whitening
        return rows

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch G"]:
        """Return the pooled responses p."""
        return self.pool((x - self.mean) @ self.filters.mT)

    def pool(self, responses: Tensor, dim: int = -1) -> Tensor:
        """Return the pooled responses of linear ones, W z, that lie along an axis."""
        squares = responses.square().movedim(dim, -1)
        energies = squares.reshape(*squares.shape[:-1], -1, self.size).sum(-1)
        return (energies + self.epsilon).sqrt().movedim(-1, dim)


def orthonormal_rows(matrix: Float[Tensor, "F k"]) -> Float[Tensor, "F k"]:
    """Return (A Aᵀ)^(-1/2) A: of all matrices with orthonormal rows the nearest to A."""
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    nearest: Tensor = left @ right
    return nearest


def subspace_energy(
    weight: Float[Tensor, "F k"], z: Float[Tensor, "N k"], size: int, epsilon: float
) -> tuple[Float[Tensor, ""], Float[Tensor, "F k"]]:
    """Return J = mean_n Σ_g √(ε + Σ_{j in g} (W_j·z_n)²) and its gradient, by blocks of examples.

        ∂J/∂W_j = mean_n (W_j·z_n) z_n / p_g(j)(z_n)

    Args:
        weight: W.
        z: Whitened examples.
        size: Filters of a group.
        epsilon: ε.

    Returns:
        J and ∂J/∂W.
    """
    total, gradient = weight.new_zeros(()), torch.zeros_like(weight)
    for block in torch.split(z, max(1, _AT_ONCE // weight.shape[1])):
        responses = block @ weight.mT
        grouped = responses.view(len(block), -1, size)
        pooled = (grouped.square().sum(2, keepdim=True) + epsilon).sqrt_()
        total += pooled.sum()
        gradient.addmm_((grouped / pooled).flatten(1).mT, block)
    return total / len(z), gradient / len(z)


def _descend(weight: Tensor, *, z: Tensor, size: int, epsilon: float, max_steps: int, tolerance: float) -> Tensor:
    rate = 1.0
    value, gradient = subspace_energy(weight, z, size, epsilon)
    kept = [float(value)]
    for _ in range(max_steps):
        tried = orthonormal_rows(weight - rate * gradient)
        value, slope = subspace_energy(tried, z, size, epsilon)
        if float(value) >= kept[-1]:
            rate *= _SHRINKING
            if rate < _SMALLEST:
                break
            continue
        weight, gradient, rate = tried, slope, rate * _GROWTH
        kept.append(float(value))
        if len(kept) > 10 and kept[-11] - kept[-1] < tolerance * kept[-1]:
            break
    return weight


def _grouped(responses: Tensor, size: int, epsilon: float) -> Tensor:
    """Return the filters in an order that groups those whose energies go together.

    Filters i and j of different groups change places where that lowers J, by what i's group has with j in i's place and
    j's with i in j's, less what the two had. Exchanges of different groups do not disturb each other: each round makes
    the best of them, and the next reckons anew.
    """
    width = responses.shape[1]
    order = torch.arange(width, device=responses.device)
    member = order // size
    while True:
        energies = responses[:, order].square()
        groups = energies.view(len(energies), -1, size).sum(2)
        own = (groups + epsilon).sqrt().mean(0).repeat_interleave(size)
        rest = groups.repeat_interleave(size, 1) - energies + epsilon
        mixed = torch.stack([(rest[:, i, None] + energies).sqrt().mean(0) for i in range(width)])
        change = (mixed + mixed.mT - own[:, None] - own).masked_fill_(member[:, None] == member, 0.0).flatten()
        least = 1e-6 * float(own.mean())  # above rounding, so that there is an end
        best = change.argsort()[: width * size].tolist()
        taken: set[int] = set()
        for i, j in (
            divmod(place, width) for place, gain in zip(best, change[best].tolist(), strict=True) if gain < -least
        ):
            if taken.isdisjoint({i // size, j // size}):
                taken |= {i // size, j // size}
                order[[i, j]] = order[[j, i]]
        if not taken:
            return order
