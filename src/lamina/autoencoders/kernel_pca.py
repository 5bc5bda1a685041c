"""Kernel principal components, and layers of them: features of a kernel, made without back-propagation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from lamina.autoencoders.feature_selection import select_features
from lamina.data.batch import Batch
from lamina.errors import ConfigError

Kernel = Callable[[Tensor, Tensor], Tensor]
"""``kernel(x, y) -> (N, M)`` of ``(N, D)`` and ``(M, D)``: positive definite, like ``ArcCosine((1, 1))``."""

_AT_ONCE = 1 << 22  # numbers of a block of the kernel


class KernelPCA(nn.Module):
    """The coordinates of an example along the principal components of a kernel's feature space.

        K_mn = k(p_m, p_n),   K̃ = H K H,   H = I - 11ᵀ/M,   K̃ = V Λ Vᵀ
        z(x) = Λ^(-1/2) Vᵀ H (k(P, x) - K 1/M)

    P are M points, of which the components are linear combinations; any other example is projected onto them, a block
    at a time. Over the points a component has mean 0 and mean square λ/M. ``fit`` takes the points from the data and
    works in float64, as the projection does; the module holds all in its own type.

    The buffers are the first three arguments: ``KernelPCA(**state_dict, kernel=kernel)`` rebuilds it.

    Args:
        points: P, (M, D).
        coefficients: V Λ^(-1/2), (M, F), the strongest component first.
        means: H K 1/M, (M,): what all the kernel's values have in common is left out, for H takes it away from z too.
        kernel: k.

    References: Schölkopf, Smola & Müller, "Nonlinear Component Analysis as a Kernel Eigenvalue Problem", Neural
    Computation 10, 1998, section 3 and appendix B.
    """

    def __init__(
        self,
        points: Float[Tensor, "M D"],
        coefficients: Float[Tensor, "M F"],
        means: Float[Tensor, " M"],
        kernel: Kernel,
    ) -> None:
        super().__init__()
        self.points: Tensor
        self.coefficients: Tensor
        self.means: Tensor
        for name, value in {"points": points, "coefficients": coefficients, "means": means}.items():
            self.register_buffer(name, value.detach().clone())
        self.kernel = kernel

    @classmethod
    @torch.no_grad()
    def fit(
        cls,
        x: Float[Tensor, "N D"],
        kernel: Kernel,
        components: int | None = None,
        *,
        at_most: int = 2_000,
        generator: Generator | None = None,
    ) -> KernelPCA:
        """Find the components of some of the examples. Takes some 3 M² float64 numbers, and time as M³.

        Args:
            x: Examples.
            kernel: k.
            components: F, how many; None is all whose λ is above rounding.
            at_most: M, how many examples are taken for points: all, or as many, drawn without replacement.
            generator: Source of the draw; None is PyTorch's default generator.

        Returns:
            The module, of x's type.

        Raises:
            ConfigError: If there are fewer than two points, or not as many components.
        """
        if len(x) < 2 or at_most < 2:
            raise ConfigError(
                f"needs two points or more, got {len(x)} examples and at_most={at_most}", where="KernelPCA"
            )
        chosen = torch.randperm(len(x), generator=generator)[:at_most].sort().values.to(x.device)
        points = x[chosen]
        wide = points.double()
        gram = kernel(wide, wide)
        means = gram.mean(1)
        centred = gram - means[:, None] - means + means.mean()
        values, vectors = torch.linalg.eigh(0.5 * (centred + centred.mT))
        values, vectors = values.flip(0), vectors.flip(1)
        # Rounding is that of the uncentred kernel; where all points are the same, only rounding is left.
        floor = len(points) * torch.finfo(torch.float64).eps * torch.maximum(values[0], gram.abs().max())
        rank = int((values > floor).sum())
        kept = rank if components is None else components
        if rank == 0 or isinstance(kept, bool) or not 1 <= kept <= rank:
            raise ConfigError(
                f"{len(points)} points vary in {rank} components, {components!r} were asked for",
                where="KernelPCA",
                mend="ask for fewer components, or give more examples",
            )
        vectors = vectors[:, :kept]
        signs = vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
        coefficients = vectors * signs / values[:kept].sqrt()
        return cls(points, coefficients.to(x.dtype), (means - means.mean()).to(x.dtype), kernel)

    def forward(self, x: Float[Tensor, "N D"]) -> Float[Tensor, "N F"]:
        """Return z(x), a block of examples at a time; no gradient is recorded."""
        with torch.no_grad():
            points, means, coefficients = (v.double() for v in (self.points, self.means, self.coefficients))
            found = x.new_empty(len(x), coefficients.shape[1])
            size = max(1, _AT_ONCE // len(points))
            for start in range(0, len(x), size):
                rows = self.kernel(x[start : start + size].double(), points) - means
                rows -= rows.mean(1, keepdim=True)
                found[start : start + size] = rows @ coefficients
            return found

    def select(self, components: Int[Tensor, " W"]) -> KernelPCA:
        """Return the same with some of its components, in the order given."""
        return KernelPCA(self.points, self.coefficients[:, components], self.means, self.kernel)


def stacked_kernel_pca(
    train: Batch,
    kernels: Sequence[Kernel],
    *,
    valid: Batch | None = None,
    components: int | None = None,
    at_most: int = 2_000,
    neighbours: int = 5,
    generator: Generator | None = None,
) -> nn.Sequential:
    """Fit layers of kernel principal components, each on the features of the one below.

        h⁰ = x;   for l = 1 … L:  hˡ = selected components of kernel PCA with k_l on hˡ⁻¹

    With targets and a validation set this is the multilayer kernel machine: in each layer the features are ranked by
    mutual information with the class, and only as many are kept as serve nearest neighbours best on the validation set
    (``select_features``). Without, all are kept. The layers never learn together; a classifier is to follow
    (nearest neighbours, ``lamina.nn.LogisticRegression``).

    Args:
        train: Inputs (N, D), and class codes for the selection.
        kernels: k of each layer; ``ArcCosine((1,))`` for all is the source's choice.
        valid: As ``train``; None selects nothing.
        components: Of each layer before the selection; None is all there are.
        at_most: Points of each layer.
        neighbours: See ``select_features``.
        generator: Source of the points; None is PyTorch's default generator.

    Returns:
        ``layer1`` to ``layerL``, (N, D) to (N, F).

    Raises:
        ConfigError: If there is no layer, or the data do not serve.

    Reference: Cho & Saul, "Kernel Methods for Deep Learning", NeurIPS 2009, section 3.
    """
    if not kernels:
        raise ConfigError("there is no kernel", where="stacked_kernel_pca", mend="give one for each layer")
    network = nn.Sequential()
    for number, kernel in enumerate(kernels, start=1):
        layer = KernelPCA.fit(train.inputs, kernel, components, at_most=at_most, generator=generator)
        train = train._replace(inputs=layer(train.inputs))
        if valid is not None:
            valid = valid._replace(inputs=layer(valid.inputs))
            kept = select_features(train, valid, neighbours=neighbours)
            layer = layer.select(kept)
            train, valid = (part._replace(inputs=part.inputs[:, kept]) for part in (train, valid))
        network.add_module(f"layer{number}", layer)
    return network
