"""Sequence loss: the log-probability of a sequence is the sum of its steps' conditional ones."""

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from lamina.errors import ConfigError
from lamina.likelihoods.base import Likelihood


def sequence_log_prob(
    likelihood: Likelihood,
    outputs: Float[Tensor, "N S outputs"],
    target: Shaped[Tensor, "N S ..."],
    mask: Bool[Tensor, "N S"] | None = None,
) -> Float[Tensor, " N"]:
    """Return log p(y_1 … y_S | x) of each sequence, padded steps left out.

        log p(y | x) = log Π_t p(y_t | x_1 … x_t) = Σ_t mask_t log p(y_t | outputs_t)    (nats)

    The loss of a batch is minus its mean; divided by the number of real steps it is the loss a step. The padded steps
    may hold anything, not-a-number included: they are neither read nor given a gradient. The host reads how many steps
    are real, so that a loss with a mask cannot be captured in a CUDA graph.

    Args:
        likelihood: What the outputs of one step mean.
        outputs: Of every step; that of step t has seen x_1 … x_t.
        target: As the likelihood takes it, a step at each place.
        mask: True where the step is real; all are if not given.

    Returns:
        One number a sequence.

    Raises:
        ConfigError: If the shapes do not fit, or the mask is not of truth values.

    Reference: Goodfellow, Bengio & Courville, "Deep Learning", 2016, section 10.2.
    """
    steps = outputs.shape[:2]
    if outputs.ndim != 3 or target.shape[:2] != steps:
        raise ConfigError(
            f"outputs must have shape (N, S, outputs) and target (N, S, …), got {tuple(outputs.shape)} and "
            f"{tuple(target.shape)}",
            where="sequence_log_prob",
            mend="pad the sequences of a batch to one length",
        )
    if mask is None:
        return likelihood.log_prob(outputs.flatten(0, 1), target.flatten(0, 1)).view(steps).sum(1)
    if mask.shape != steps or mask.dtype is not torch.bool:
        raise ConfigError(
            f"mask must be truth values of shape {tuple(steps)}, got {mask.dtype} of shape {tuple(mask.shape)}",
            where="sequence_log_prob",
            mend="pass mask.bool(), true where a step is real",
        )
    real = likelihood.log_prob(outputs[mask], target[mask])
    return outputs.new_zeros(steps).masked_scatter(mask, real).sum(1)
