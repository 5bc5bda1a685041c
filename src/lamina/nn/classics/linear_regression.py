"""Linear regression in closed form: least squares, ridge, and the pseudoinverse that ridge tends to."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.nn.classics._checks import affine, check_examples, check_nonnegative

ErrorScale = Literal["half", "whole", "mean"]


@torch.no_grad()
def linear_regression(
    x: Float[Tensor, "N D"],
    target: Float[Tensor, "N ..."],
    *,
    decay: float = 0.0,
    error: ErrorScale = "half",
    bias: bool = True,
) -> nn.Linear:
    """Solve linear regression with weight decay: the W and b that minimise an error plus α/2 ‖W‖².

        half:   ½ Σ_n ‖y_n - W x_n - b‖² + α/2 ‖W‖²     W = (XᵀX + α I)⁻¹ Xᵀ Y
        whole:    Σ_n ‖y_n - W x_n - b‖² + α/2 ‖W‖²     W = (XᵀX + α/2 I)⁻¹ Xᵀ Y
        mean:   ½ mean ‖y_n - W x_n - b‖² + α/2 ‖W‖²    W = (XᵀX + N α I)⁻¹ Xᵀ Y

    with X and Y centred where there is a bias, which is not decayed. ``mean`` is lamina's training objective with
    ``Gaussian(scale=1)`` and ``α * L2()``. Texts that print (XᵀX + α I)⁻¹ beside an error that
    is not halved mean "half".

    With α = 0 the answer is Xᵀ's pseudoinverse applied to Y, the limit α → 0: of all least-squares solutions the one
    with the smallest weights, also where D > N or columns depend on one another.

    How many examples: the rule N = 10 × weights makes the P weights cost some tenth of the noise's variance. Without
    decay, with normal inputs and noise of variance σ², the squared error on new examples is σ² (1 + P / (N - P - 1)) on
    average: 1.11 σ² at N = 10 P, 2.05 σ² at N = 2 P. Decay, and early stopping of networks, do with fewer.

    Solved in float64: by Cholesky of the smaller of XᵀX and XXᵀ where α > 0, else by singular values, of which those
    below the greatest times eps max(N, D) count as zero. Costs N D min(N, D).

    Args:
        x: Inputs.
        target: (N,) or (N, T).
        decay: α, at least 0.
        error: Which of the three errors α is set against.
        bias: Whether there is a b.

    Returns:
        The layer x ↦ W x + b, in the type and on the device of ``x``; one output for (N,) targets.

    Raises:
        ConfigError: If an argument does not fit.

    References: Hoerl & Kennard, "Ridge Regression", Technometrics 12(1), 1970; Goodfellow, Bengio & Courville, Deep
    Learning, 2016, eqs. 7.17 and 7.29 (pseudoinverse).
    """
    check_examples("linear_regression", x, target)
    check_nonnegative("linear_regression", decay=decay)
    if error not in {"half", "whole", "mean"}:
        raise ConfigError(
            f'error must be "half", "whole" or "mean", got {error!r}', where="linear_regression", mend='use "half"'
        )
    ridge = decay * {"half": 1.0, "whole": 0.5, "mean": float(len(x))}[error]
    inputs, outputs = x.double(), target.double().reshape(len(x), -1)
    if not bias:
        return affine(least_squares(inputs, outputs, ridge).mT, None, like=x)
    at, level = inputs.mean(0), outputs.mean(0)
    weight = least_squares(inputs - at, outputs - level, ridge).mT
    return affine(weight, level - weight @ at, like=x)


def least_squares(x: Float[Tensor, "N D"], y: Float[Tensor, "N T"], ridge: float) -> Float[Tensor, "D T"]:
    """Return (XᵀX + ridge I)⁻¹ Xᵀ Y, or its limit for ridge = 0.

    Returns:
        The weights, in the type of ``x``.
    """
    if ridge == 0.0:
        u, s, vt = torch.linalg.svd(x, full_matrices=False)
        kept = s > s.max() * max(x.shape) * torch.finfo(x.dtype).eps
        inverse = torch.where(kept, 1.0 / torch.where(kept, s, 1.0), 0.0)
        found: Tensor = vt.mT @ (inverse.unsqueeze(1) * (u.mT @ y))
        return found
    wide = x.shape[1] > x.shape[0]
    gram = x @ x.mT if wide else x.mT @ x
    gram.diagonal().add_(ridge)
    factor = torch.linalg.cholesky(gram)
    return x.mT @ torch.cholesky_solve(y, factor) if wide else torch.cholesky_solve(x.mT @ y, factor)
