"""Entropy minimisation: predictions on unlabelled examples shall be decided."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from lamina.errors import ConfigError
from lamina.likelihoods.bernoulli import Bernoulli
from lamina.likelihoods.categorical import Categorical
from lamina.penalties.base import Context, Penalty


@dataclass(frozen=True, slots=True)
class ConditionalEntropy(Penalty):
    """Mean entropy of the predicted distribution: small where the boundary avoids the data.

        R = 1/N Σ_n H( p(· | x_n) ),   H(p) = -Σ_k p_k log p_k                                     (nats)

    From the objective's own outputs, without another pass. No target is looked at and no weight: every row of the batch
    counts, the unlabelled ones too. By itself it also decides wrongly what the network has wrong; beside
    ``VirtualAdversarial`` it moves the boundary out of the data, and that keeps it smooth.

    Raises:
        ConfigError: When called, if the likelihood is neither categorical nor Bernoulli.

    References: Grandvalet & Bengio, "Semi-supervised Learning by Entropy Minimization", NIPS 2004, eq. 6; with virtual
    adversarial training: Miyato et al., IEEE TPAMI 2018, eq. 14.
    """

    def __call__(self, context: Context) -> Float[Tensor, ""]:
        """Return R.

        Returns:
            A scalar, from 0 to the entropy of the uniform distribution.

        Raises:
            ConfigError: If the likelihood is neither categorical nor Bernoulli.
        """
        if not isinstance(context.likelihood, Categorical | Bernoulli):
            raise ConfigError(
                f"needs classes, not a likelihood {type(context.likelihood).__name__}",
                where="ConditionalEntropy",
                mend="leave it out",
            )
        outputs = context.outputs
        if isinstance(context.likelihood, Bernoulli):
            log_p, log_q = -softplus(-outputs), -softplus(outputs)
            return -(log_p.exp() * log_p + log_q.exp() * log_q).sum(1).mean()
        log_p = outputs.log_softmax(-1)
        return -(log_p.exp() * log_p).sum(-1).mean()
