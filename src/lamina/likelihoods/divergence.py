"""Kullback-Leibler divergence between what two output matrices say, in closed form."""

from jaxtyping import Float
from torch import Tensor

from lamina.errors import ConfigError
from lamina.likelihoods._checks import check_outputs
from lamina.likelihoods.base import Likelihood


def kl_divergence(
    likelihood: Likelihood, outputs: Float[Tensor, "N outputs"], other: Float[Tensor, "N outputs"]
) -> Float[Tensor, " N"]:
    """Return how much ``other`` loses as a description of ``outputs``, example by example.

        KL(p ‖ q) = E_p[log p(y) - log q(y)],   p = p(· | outputs),  q = p(· | other)      (nats)

    It is 0 where both say the same and positive elsewhere, up to rounding; not symmetric. Targets of an example that
    are independent add up. What only shapes training (label smoothing, β) has no part in it. Values and both
    derivatives are finite for outputs up to ±1e4 in float32. Nothing is detached: give ``outputs.detach()`` where only
    the second argument is to move.

    Args:
        likelihood: What both output matrices mean; it has a closed form where it has a method ``kl``.
        outputs: The description p that is taken for true.
        other: The description q that stands in for it.

    Returns:
        One number an example.

    Raises:
        ConfigError: If the likelihood has no closed form (Student-t, a mixture, a power loss), or the shapes differ.

    Reference: Kullback & Leibler, "On Information and Sufficiency", Annals of Mathematical Statistics 22, 1951.
    """
    kl = getattr(likelihood, "kl", None)
    if kl is None:
        raise ConfigError(
            f"{type(likelihood).__name__} has no divergence in closed form",
            where="kl_divergence",
            mend="use a Gaussian, Laplace, Bernoulli, Categorical or Poisson, or average log_prob over samples",
        )
    for matrix in (outputs, other):
        check_outputs(type(likelihood).__name__, matrix, likelihood.n_outputs)
    if outputs.shape != other.shape:
        raise ConfigError(
            f"outputs and other must have the same shape, got {tuple(outputs.shape)} and {tuple(other.shape)}",
            where="kl_divergence",
            mend="give the outputs of the same examples",
        )
    divergence: Tensor = kl(outputs, other)
    return divergence
