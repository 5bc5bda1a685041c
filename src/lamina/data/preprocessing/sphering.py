"""Sphering (whitening): features without correlation and of equal variance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from lamina.data.preprocessing._arrays import (
    Array,
    Arrays,
    as_floats,
    broken,
    chunks,
    constant,
    fits,
    learnable,
    not_negative,
    read,
    same_kind,
    to_host,
    total,
)
from lamina.errors import ConfigError, DataError

Kind = Literal["pca", "zca"]


@dataclass(frozen=True)
class Sphering:
    """Turn the data onto their principal components and give each the same variance.

        Σ = U Λ Uᵀ the covariance of the training part (divided by n - 1),   λ_1 ≥ λ_2 ≥ …
        pca:  z = (Λ + ε)^(-1/2) Uᵀ (x - µ)        k numbers an example, the strongest component first
        zca:  z = U (Λ + ε)^(-1/2) Uᵀ (x - µ)      of x's shape: the sphered data nearest to x

    With ε = 0 the covariance of z over the training part is the identity (for zca on the space that the data span).
    Directions in which the training part does not vary carry nothing and are left out; ε > 0 keeps weak ones from being
    blown up: a component's variance becomes λ / (λ + ε). The sign of a component is such that its largest weight is
    positive.

    Attributes:
        mean: µ, of an example's shape; float64.
        components: ``(k, D)``, the rows of Uᵀ; D is the product of an example's shape.
        variances: ``(k,)``, λ, falling, above 0.
        epsilon: ε, in the squared units of x.
        kind: ``pca`` or ``zca``.

    References: Goodfellow, Bengio & Courville, "Deep Learning", 2016, section 12.2.1.1; Bell & Sejnowski, "The
    Independent Components of Natural Scenes Are Edge Filters", 1997 (zca).
    """

    mean: np.ndarray
    components: np.ndarray
    variances: np.ndarray
    epsilon: float
    kind: Kind

    @classmethod
    def fit(cls, x: Array, kind: Kind = "pca", *, components: int | None = None, epsilon: float = 0.0) -> Sphering:
        """Learn mean and components from the training part; time grows as N D min(N, D) + min(N, D)³, memory as D².

        Args:
            x: ``(N, ...)``, at least two examples; an example of several axes is read as one vector.
            kind: ``pca`` or ``zca``.
            components: k, the number of strongest components to keep; None keeps all in which the data vary.
            epsilon: ε ≥ 0; for pictures with values from 0 to 1 some 0.01 to 0.1.

        Returns:
            The preparation.

        Raises:
            ConfigError: If the kind is unknown, or k is not in 1 … the number of components there are.
            DataError: If there are fewer than two examples, or all are the same.
        """
        if kind not in {"pca", "zca"}:
            raise ConfigError(f"kind must be pca or zca, got {kind!r}", where="Sphering", mend='use "pca"')
        not_negative("Sphering", epsilon=epsilon)
        values = as_floats(x, "Sphering")
        learnable(values, "Sphering")
        n, shape = values.shape[0], values.shape[1:]
        if n < 2:
            raise DataError("a covariance needs at least two examples", where="Sphering", mend="give more examples")
        flat = values.reshape(n, -1)
        mean = total(chunk.sum(0) for chunk in chunks(flat)) / n
        if n < flat.shape[1]:  # fewer examples than dimensions: the other side of the matrix is the smaller one
            _, singular, rows = torch.linalg.svd(flat.double() - mean, full_matrices=False)
            scatter = singular.square()
        else:
            rising, vectors = torch.linalg.eigh(total((chunk - mean).T @ (chunk - mean) for chunk in chunks(flat)))
            scatter, rows = rising.flip(0), vectors.flip(1).T
        variances = scatter / (n - 1)
        # Below this a variance is what rounding leaves of 0.
        floor = variances[0] * max(flat.shape) * torch.finfo(torch.float64).eps
        scale = float(mean.abs().max())
        floor = torch.clamp(floor, min=(10 * torch.finfo(torch.float64).eps * scale) ** 2)
        rank = int((variances > floor).sum())
        if rank == 0:
            raise DataError("all examples are the same", where="Sphering", mend="leave this preparation out")
        k = rank if components is None else components
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= rank:
            raise ConfigError(
                f"components must be a whole number from 1 to {rank}, in which the data vary, got {components!r}",
                where="Sphering",
                mend=f"use {rank}, or leave it out",
            )
        rows = rows[:k]
        largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
        return cls(to_host(mean.reshape(shape)), to_host(rows * largest.sign()), to_host(variances[:k]), epsilon, kind)

    def transform(self, x: Array) -> Array:
        """Return z: ``(N, k)`` for pca, of x's shape for zca; of x's kind and type."""
        values = as_floats(x, "Sphering")
        fits(values, self.mean, "Sphering")
        rows = constant(self.components, values)
        scale = constant(1 / np.sqrt(self.variances + self.epsilon), values)
        flat = (values - constant(self.mean, values)).reshape(values.shape[0], self.mean.size)
        z = flat @ (rows * scale[:, None]).T
        return same_kind(z if self.kind == "pca" else (z @ rows).reshape(values.shape), x)

    def inverse(self, z: Array) -> Array:
        """Return x; with fewer components than dimensions, its projection onto them."""
        values = as_floats(z, "Sphering")
        wanted = self.variances if self.kind == "pca" else self.mean
        fits(values, wanted, "Sphering")
        rows = constant(self.components, values)
        scale = constant(np.sqrt(self.variances + self.epsilon), values)
        turned = values if self.kind == "pca" else values.reshape(values.shape[0], self.mean.size) @ rows.T
        x = (turned * scale) @ rows
        return same_kind(x.reshape(values.shape[0], *self.mean.shape) + constant(self.mean, values), z)

    def to_arrays(self) -> Arrays:
        """Return the state, to be stored."""
        return {
            "mean": self.mean,
            "components": self.components,
            "variances": self.variances,
            "epsilon": np.array(self.epsilon),
            "zca": np.array(self.kind == "zca"),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Sphering:
        """Rebuild the preparation from ``to_arrays()``.

        Returns:
            The preparation.

        Raises:
            CheckpointError: If the state cannot be.
        """  # noqa: DOC501, DOC502
        names = ("mean", "components", "variances", "epsilon", "zca")
        mean, rows, variances, epsilon, zca = read(arrays, names, "Sphering")
        if rows.ndim != 2 or variances.shape != rows.shape[:1] or mean.size != rows.shape[1]:
            raise broken("Sphering", f"{rows.shape} components, {variances.shape} variances, a mean of {mean.size}")
        if epsilon.shape != () or zca.shape != () or zca.dtype.kind != "b" or epsilon < 0 or not (variances > 0).all():
            raise broken("Sphering", "its variances or its epsilon cannot be")
        if not np.allclose(rows @ rows.T, np.eye(len(rows)), atol=1e-6):
            raise broken("Sphering", "its components are not orthonormal")
        wide = [a.astype(np.float64) for a in (mean, rows, variances)]
        return cls(wide[0], wide[1], wide[2], float(epsilon), "zca" if zca else "pca")
