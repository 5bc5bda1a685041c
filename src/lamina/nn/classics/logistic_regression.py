"""Logistic regression by Newton's method (iteratively reweighted least squares)."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from lamina.errors import DivergedError
from lamina.nn._checks import at_least
from lamina.nn.classics._checks import affine, check_bits, check_examples, check_nonnegative

_ARMIJO = 1e-4  # least share of the promised decrease that a step must bring
_SETTLED = 1e-3  # greatest change of a logit in the last step


class LogisticDerivatives(NamedTuple):
    """The loss of logistic regression with its first and second derivative by the weights.

    Attributes:
        loss: L, a scalar, in nats.
        gradient: (D,).
        hessian: (D, D).
    """

    loss: Tensor
    gradient: Tensor
    hessian: Tensor


def logistic_derivatives(
    weight: Float[Tensor, " D"], x: Float[Tensor, "N D"], target: Float[Tensor, " N"]
) -> LogisticDerivatives:
    """Return the cross-entropy of logistic regression and its derivatives, summed over the examples.

        L = Σ_n log(1 + e^(w·x_n)) - t_n w·x_n
        ∇L = Σ_n (g_n - t_n) x_n,   ∇²L = Σ_n g_n (1 - g_n) x_n x_nᵀ,   g_n = σ(w·x_n)

    A printed form without the factor 1 - g_n in the Hessian is a slip. Finite for any w·x.

    Args:
        weight: w; a bias is a column of ones in ``x``.
        x: Examples.
        target: Classes 0 and 1, or probabilities.

    Returns:
        The three, differentiable.
    """
    z = x @ weight
    g = torch.sigmoid(z)
    loss = (nn.functional.softplus(z) - target * z).sum()
    curvature = g * torch.sigmoid(-z)  # g (1 - g) without cancellation where g is close to 1
    return LogisticDerivatives(loss, x.mT @ (g - target), x.mT @ (curvature.unsqueeze(1) * x))


@torch.no_grad()
def logistic_regression(
    x: Float[Tensor, "N D"],
    target: Shaped[Tensor, "N ..."],
    *,
    decay: float = 0.0,
    max_iterations: int = 100,
    tolerance: float = 1e-10,
) -> nn.Linear:
    """Fit logistic regression by Newton's method: the w, b that minimise L + α/2 ‖w‖², b not decayed.

        w ← w - s (∇²L + α I)⁻¹ (∇L + α w)

    with the step s = 1, halved until it brings the loss down enough (Armijo); at s = 1 this is iteratively reweighted
    least squares. Where columns depend on one another the Hessian's pseudoinverse stands in. In float64.

    Args:
        x: Inputs.
        target: (N,) classes, 0 and 1.
        decay: α, at least 0, against the loss summed over the examples, in nats.
        max_iterations: Newton steps after which to give up; some ten are usual.
        tolerance: Ends when no component of the gradient exceeds this times the greatest Σ_n |x_nj|, and the step
            hardly moves a logit.

    Returns:
        The layer (N, D) to (N, 1) whose output is the logit: σ of it is the probability of class 1. In the type and on
        the device of ``x``.

    Raises:
        DivergedError: If there is no decay and a hyperplane separates the classes, maybe with examples of both on
            it, for then the loss has no minimum; or if the iterations did not suffice.

    Reference: Bishop, "Pattern Recognition and Machine Learning", 2006, section 4.3.3, eqs. 4.92 to 4.97.
    """
    at_least(1, owner="logistic_regression", max_iterations=max_iterations)
    check_nonnegative("logistic_regression", decay=decay, tolerance=tolerance)
    check_examples("logistic_regression", x, target)
    check_bits("logistic_regression", target)
    rows = torch.cat([x, x.new_ones(len(x), 1)], dim=1).double()
    bits = target.double()
    shrink = torch.full_like(rows[0], decay)
    shrink[-1] = 0.0
    w = torch.zeros_like(shrink)

    def derivatives(w: Tensor) -> LogisticDerivatives:
        loss, gradient, hessian = logistic_derivatives(w, rows, bits)
        hessian.diagonal().add_(shrink)
        return LogisticDerivatives(loss + 0.5 * (shrink * w * w).sum(), gradient + shrink * w, hessian)

    now = derivatives(w)
    enough = tolerance * float((rows.abs().mT @ torch.ones_like(bits)).max())
    for _ in range(max_iterations):
        factor, failed = torch.linalg.cholesky_ex(now.hessian)
        if int(failed):
            step = torch.linalg.pinv(now.hessian, hermitian=True) @ now.gradient
        else:
            step = torch.cholesky_solve(now.gradient.unsqueeze(1), factor).squeeze(1)
        level = float(now.gradient.abs().max()) <= enough
        # On the way to infinity the slope vanishes too, but then the logits still move by about 1 a step.
        settled = float((rows @ step).abs().max()) <= _SETTLED
        if level and settled:
            return affine(w[:-1].unsqueeze(0), w[-1:], like=x)
        if level or (decay == 0.0 and bool(((2.0 * bits - 1.0) * (rows @ w) > 0).all())):
            raise DivergedError(
                "a hyperplane separates the classes (some examples may lie on it), so that the loss has no minimum",
                where="logistic_regression",
                mend="give a decay above 0, for instance 1.0",
            )
        promised, size = float(step @ now.gradient), 1.0
        after = derivatives(w - step)
        # Near the minimum the decrease drowns in the loss's rounding: there whole steps are taken as they are.
        most = float(now.loss) * (1 + 1e-12)
        while float(after.loss) > most - _ARMIJO * size * promised and size > 1e-10:
            size /= 2
            after = derivatives(w - size * step)
        w, now = w - size * step, after
    raise DivergedError(
        f"{max_iterations} steps did not suffice",
        where="logistic_regression",
        mend="raise max_iterations, or the decay",
    )
