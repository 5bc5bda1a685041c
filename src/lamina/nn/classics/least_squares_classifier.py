"""Least-squares classifier: linear regression on targets that are +1 for the class and -1 elsewhere."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.nn._checks import at_least
from lamina.nn.classics.linear_regression import ErrorScale, linear_regression


def signed_targets(labels: Int[Tensor, " N"], n_classes: int) -> Float[Tensor, "N C"]:
    """Return targets of least-mean-squares training: +1 for the class, -1 for the C - 1 others.

    Args:
        labels: Classes as whole numbers 0 … C - 1.
        n_classes: C, at least 1.

    Returns:
        A matrix of PyTorch's default type.

    Raises:
        ConfigError: If a label lies outside 0 … C - 1.
    """
    at_least(1, owner="signed_targets", n_classes=n_classes)
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < n_classes:
        raise ConfigError(
            f"labels must lie in 0 … {n_classes - 1}, got {int(labels.min())} … {int(labels.max())}",
            where="signed_targets",
            mend="code the classes from 0, or raise n_classes",
        )
    return 2.0 * nn.functional.one_hot(labels.long(), n_classes).to(torch.get_default_dtype()) - 1.0


def least_squares_classifier(
    x: Float[Tensor, "N D"],
    labels: Int[Tensor, " N"],
    n_classes: int,
    *,
    decay: float = 0.0,
    error: ErrorScale = "half",
) -> nn.Linear:
    """Fit W x + b to ``signed_targets`` by least squares; the decision is the greatest output.

    What least-mean-squares training (``delta_rule`` with a linear unit) of a network without hidden layer tends to.
    The outputs are no probabilities, and examples far on the right side count as errors too: for probabilities use
    logistic regression.

    Args:
        x: Inputs.
        labels: Classes as whole numbers 0 … C - 1.
        n_classes: C, at least 1.
        decay: Weight decay α, at least 0.
        error: What α is set against, as in ``linear_regression``.

    Returns:
        The layer, in the type and on the device of ``x``: (N, D) to (N, C).

    Reference: Bishop, "Pattern Recognition and Machine Learning", 2006, section 4.1.3 (there with 0 in place of -1,
    which gives the same decisions).
    """
    return linear_regression(x, signed_targets(labels, n_classes).to(x), decay=decay, error=error)
