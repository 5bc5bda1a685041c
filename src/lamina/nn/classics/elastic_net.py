"""LASSO and elastic net: linear regression with weights that become exactly zero."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lamina.errors import ConfigError, DivergedError
from lamina.nn.classics._checks import affine, check_examples, check_nonnegative

_EVERY = 100  # iterations between two looks at whether the end is reached
_MOST = 100_000
_TOLERANCE = 1e-9  # of the optimality conditions, relative to the greatest |Xᵀ Y|


@torch.no_grad()
def elastic_net(
    x: Float[Tensor, "N D"],
    target: Float[Tensor, "N ..."],
    *,
    decay: float,
    l1_ratio: float = 1.0,
    bias: bool = True,
) -> nn.Linear:
    """Solve linear regression under an elastic-net penalty; with ``l1_ratio=1`` the LASSO.

        ½ Σ_n ‖y_n - W x_n - b‖² + λ (ρ ‖W‖₁ + (1 - ρ)/2 ‖W‖²),   λ = decay, ρ = l1_ratio

    By the accelerated proximal gradient method with restarts (a gradient step, then each weight moved towards zero by a
    fixed amount and no further), in float64 on XᵀX; as soon as the signs that it finds are the right ones, the weights
    on them follow exactly from a linear system. Differs from scikit-learn's ``ElasticNet(alpha)``: there the error is a
    mean, λ = N alpha.

    Args:
        x: Inputs.
        target: (N,) or (N, T); each target has its own zeros.
        decay: λ, above 0; at or above the greatest |Xᵀ Y| / ρ all weights are zero.
        l1_ratio: ρ, in (0, 1]; for 0 use ``linear_regression``.
        bias: Whether there is a b, which is not decayed.

    Returns:
        The layer, in the type and on the device of ``x``.

    Raises:
        ConfigError: If an argument does not fit.
        DivergedError: If the method came to no end, as may be for a decay close to 0.

    References: Tibshirani, "Regression Shrinkage and Selection via the Lasso", JRSS B 58(1), 1996; Zou & Hastie, JRSS B
    67(2), 2005; Beck & Teboulle, SIAM J. Imaging Sciences 2(1), 2009 (FISTA); O'Donoghue & Candès, 2015 (restarts).
    """
    check_examples("elastic_net", x, target)
    check_nonnegative("elastic_net", decay=decay)
    if not (0.0 < l1_ratio <= 1.0 and decay > 0.0):
        raise ConfigError(
            f"decay must be above 0 and l1_ratio in (0, 1], got {decay!r} and {l1_ratio!r}",
            where="elastic_net",
            mend="without an absolute-value part, use linear_regression",
        )
    inputs, outputs = x.double(), target.double().reshape(len(x), -1)
    at, level = inputs.mean(0), outputs.mean(0)
    if bias:
        inputs, outputs = inputs - at, outputs - level
    gram, moment = inputs.mT @ inputs, inputs.mT @ outputs
    gram.diagonal().add_(decay * (1.0 - l1_ratio))
    solved = _minimise(gram, moment, decay * l1_ratio)
    if solved is None:
        raise DivergedError(
            f"{_MOST} iterations did not suffice", where="elastic_net", mend="raise decay, or scale the inputs"
        )
    weight = solved.mT
    return affine(weight, level - weight @ at if bias else None, like=x)


def _minimise(gram: Float[Tensor, "D D"], moment: Float[Tensor, "D T"], l1: float) -> Float[Tensor, "D T"] | None:
    """Return argmin ½ wᵀ G w - mᵀ w + l1 ‖w‖₁, column by column; None if it came to no end."""
    rate = 1.0 / float(torch.linalg.matrix_norm(gram, 2).clamp_min(torch.finfo(gram.dtype).tiny))
    enough = _TOLERANCE * float(moment.abs().max())
    w = ahead = torch.zeros_like(moment)
    momentum = 1.0
    for iteration in range(_MOST):
        if iteration % _EVERY == 0:
            exact = torch.stack([_on_signs(gram, m, v, l1) for m, v in zip(moment.mT, w.mT, strict=True)], dim=1)
            for candidate in (exact, w):
                if float(_violation(gram, moment, candidate, l1).max()) <= enough:
                    return candidate
        moved = nn.functional.softshrink(ahead - rate * (gram @ ahead - moment), l1 * rate)
        # Momentum that points up the slope is dropped: the restart that makes the method linear near the end.
        uphill = ((ahead - moved) * (moved - w)).sum() > 0
        following = 0.5 * (1.0 + (1.0 + 4.0 * momentum**2) ** 0.5)
        if bool(uphill):
            following, ahead = 1.0, moved
        else:
            ahead = moved + (momentum - 1.0) / following * (moved - w)
        w, momentum = moved, following
    return None


def _violation(gram: Tensor, moment: Tensor, w: Tensor, l1: float) -> Float[Tensor, "D T"]:
    """Return by how much each weight breaks the conditions of a minimum, 0 ∈ G w - m + l1 ∂|w|."""
    slope = gram @ w - moment
    return torch.where(w == 0, (slope.abs() - l1).clamp_min(0), (slope + l1 * w.sign()).abs())


def _on_signs(gram: Tensor, moment: Tensor, w: Tensor, l1: float) -> Float[Tensor, " D"]:
    """Return the minimum among weights of w's signs, if it has those signs; else w."""
    kept = w.nonzero().squeeze(1)
    factor, failed = torch.linalg.cholesky_ex(gram[kept][:, kept])
    if not len(kept) or int(failed):
        return w
    signs = w[kept].sign()
    solved = torch.cholesky_solve((moment[kept] - l1 * signs).unsqueeze(1), factor).squeeze(1)
    return torch.zeros_like(w).index_copy(0, kept, solved) if bool((solved.sign() == signs).all()) else w
