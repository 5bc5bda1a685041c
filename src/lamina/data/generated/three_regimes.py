"""Three-regime curves: noisy points of a polynomial, and the errors of families too small, right and too large."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lamina.data.batch import Batch
from lamina.data.generated.parts import NOISE, PIECES
from lamina.data.images.augmentation.hashed import normals, uniforms
from lamina.errors import ConfigError

Regime = Literal["underfitting", "matched", "overfitting"]


class RegimeErrors(NamedTuple):
    """Expected squared errors of a least-squares polynomial, over the noise of its training targets.

        valid = bayes + bias + variance

    Attributes:
        regime: "underfitting" where the family does not hold the true curve, "matched" where it is the smallest that
            does, "overfitting" where it holds many others too.
        bayes: The error of the true curve, σ²: no rule has less.
        bias: Squared distance of the expected fit from the true curve, over x ~ U(-1, 1).
        variance: Squared distance of a fit from the expected fit, over x ~ U(-1, 1).
        train: Error on the training points.
        valid: Error on new points.
    """

    regime: Regime
    bayes: float
    bias: float
    variance: float
    train: float
    valid: float


def three_regimes(n: int, *, degree: int = 5, noise: float = 0.5, seed: int = 0) -> Batch:
    """Draw noisy points of a curve whose degree is known.

        x ~ U(-1, 1),   t = f(x) + N(0, σ²),   f = K^(-1/2) Σ_{k=1…K} φ_k,   φ_k = √(2k+1) P_k  (Legendre's polynomial)

    The φ_k are orthonormal under U(-1, 1), so f has mean 0 and variance 1, and the best polynomial of degree d < K
    leaves exactly 1 - d/K of it. Families of lower degree exclude the process behind the data (underfitting), that of
    degree K matches it, higher ones hold it among many others (overfitting, by variance): the three situations of
    regularisation. ``regime_errors`` says what each can reach.

    Args:
        n: How many points.
        degree: K, at least 1.
        noise: σ, at least 0; the Bayes error is σ².
        seed: Any whole number. Point i is a function of (seed, i) alone: the same however many are asked for.

    Returns:
        Inputs (n, 1) and targets (n, 1), float32.

    Raises:
        ConfigError: If an argument is out of range.

    Reference: Goodfellow, Bengio & Courville, "Deep Learning", 2016, chapter 7, introduction.
    """
    if n < 1 or degree < 1 or not 0 <= noise < math.inf:
        raise ConfigError(
            f"n and degree must be at least 1 and noise at least 0, got {n}, {degree} and {noise}",
            where="three_regimes",
            mend="try three_regimes(60)",
        )
    indices = torch.arange(n)
    x = 2.0 * uniforms(indices, 0, seed, range(PIECES, PIECES + 1)).T - 1.0
    targets = true_curve(x, degree) + noise * normals(indices, 0, seed, NOISE, 1).double()
    return Batch(x.float(), targets.float())


def true_curve(x: Tensor, degree: int = 5) -> Tensor:
    """Return f at each x: see ``three_regimes``."""
    return torch.from_numpy(_basis(x.double().numpy(), degree)[..., 1:].sum(-1) / math.sqrt(degree)).to(x)


def regime_errors(inputs: Tensor, family: int, *, degree: int = 5, noise: float = 0.5) -> RegimeErrors:
    """Work out the errors of least squares with a polynomial family, trained on given inputs.

        Φ_nk = φ_k(x_n), k = 0 … d;   A = (Φᵀ Φ)^-1 Φᵀ;   f_n = f(x_n);   a the coefficients of f
        bias     = ‖(A f)_{≤d} - a_{≤d}‖² + ‖a_{>d}‖²
        variance = σ² trace(A Aᵀ)
        train    = (1/N) (‖f - Φ A f‖² + σ² (N - d - 1))

    All of it is exact, by linear algebra over an orthonormal basis: nothing is sampled. Inputs that lie badly for a
    high degree show in the variance, which grows without bound towards d + 1 = N.

    Args:
        inputs: (N, 1), as ``three_regimes`` gives them.
        family: d, the degree of the fitted polynomials, at least 0 and below N.
        degree: K, that of the true curve.
        noise: σ.

    Returns:
        The errors, averaged over the noise of the training targets.

    Raises:
        ConfigError: If there are no more than d different inputs, or an argument is out of range.
    """
    x = np.unique(inputs.double().numpy())
    if family < 0 or degree < 1 or not noise >= 0 or len(x) <= family:
        raise ConfigError(
            f"a family of degree {family} on {len(x)} different inputs, a curve of degree {degree} with noise {noise}",
            where="regime_errors",
            mend="give more inputs than the family has degrees, degree at least 1 and noise at least 0",
        )
    x = inputs.double().numpy().reshape(-1)
    n, d = len(x), family
    curve = np.zeros(max(d, degree) + 1)
    curve[1 : degree + 1] = 1 / math.sqrt(degree)
    f = _basis(x, degree) @ curve[: degree + 1]
    phi = _basis(x, d)
    solve = np.linalg.pinv(phi)
    fitted = solve @ f
    bias = float(((fitted - curve[: d + 1]) ** 2).sum() + (curve[d + 1 :] ** 2).sum())
    variance = noise**2 * float((solve**2).sum())
    train = (float(((f - phi @ fitted) ** 2).sum()) + noise**2 * (n - d - 1)) / n
    regime: Regime = "underfitting" if d < degree else "matched" if d == degree else "overfitting"
    return RegimeErrors(regime, noise**2, bias, variance, train, noise**2 + bias + variance)


def _basis(x: np.ndarray, degree: int) -> np.ndarray:
    # (..., degree + 1): φ_0 … φ_degree.
    orthonormal: np.ndarray = np.polynomial.legendre.legvander(x, degree) * np.sqrt(2 * np.arange(degree + 1) + 1)
    return orthonormal
