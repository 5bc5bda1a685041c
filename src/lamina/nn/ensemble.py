"""Ensemble: several networks that answer as one."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, one_hot

from lamina.errors import ConfigError
from lamina.nn._checks import at_least

_WAYS = ("mean", "softmax", "sigmoid", "vote")


class Ensemble(nn.Module):
    """Average the answers of k networks: bagging, where each was trained on a bootstrap sample of the data.

        combine    outputs (N, n_outputs), to be read by the members' own likelihood
        mean       (1/k) Σ_i z_i                               numbers; of logits, the geometric mean of distributions
        softmax    log (1/k) Σ_i softmax(z_i)                  logits of the mean distribution over K classes
        sigmoid    log p̄ - log(1 - p̄), p̄ = (1/k) Σ_i σ(z_i)    each output a logit of its own
        vote       log of the share of the members whose greatest output it is; log(tiny) where nobody votes so;
                   of one output, log(share above 0) - log(share not above 0)

    Averaging helps as far as the members' errors differ: see ``ensemble_error``. The first of several greatest outputs
    gets the vote. Every way but "vote" is differentiable.

    Input: what the members take; output (N, n_outputs). Members are called one after the other, in their own modes.

    Args:
        members: At least one network, all with the same number of outputs.
        combine: How the outputs become one.

    Raises:
        ConfigError: If there is no member or the way is unknown; in the forward pass, if the outputs differ in shape.

    Reference: Breiman, "Bagging Predictors", Machine Learning 24(2), 1996; Goodfellow et al., Deep Learning, 2016,
    section 7.11.
    """

    def __init__(self, members: Sequence[nn.Module], combine: str = "mean") -> None:
        super().__init__()
        if not members:
            raise ConfigError("needs at least one member", where="Ensemble", mend="give trained networks")
        if combine not in _WAYS:
            raise ConfigError(
                f"combine must be one of {', '.join(_WAYS)}, got {combine!r}", where="Ensemble", mend='use "softmax"'
            )
        self.members, self.combine = nn.ModuleList(members), combine

    def forward(self, x: Shaped[Tensor, "N ..."]) -> Float[Tensor, "N outputs"]:
        """Return the outputs of the average.

        Returns:
            (N, n_outputs).

        Raises:
            ConfigError: If the members' outputs differ in shape.
        """
        outputs = [member(x) for member in self.members]
        if len({z.shape for z in outputs}) > 1:
            raise ConfigError(
                f"the members give {', '.join(str(tuple(z.shape)) for z in outputs)}",
                where="Ensemble",
                mend="take members with one likelihood",
            )
        z = torch.stack(outputs)
        if self.combine == "mean":
            return z.mean(0)
        if self.combine == "softmax":
            return z.log_softmax(-1).logsumexp(0) - _log(len(outputs), z)
        if self.combine == "sigmoid":
            return logsigmoid(z).logsumexp(0) - logsigmoid(-z).logsumexp(0)
        least = torch.finfo(z.dtype).tiny
        if z.shape[-1] == 1:
            yes = (z > 0).to(z.dtype).mean(0)
            return yes.clamp(min=least).log() - (1.0 - yes).clamp(min=least).log()
        votes = one_hot(z.argmax(-1), z.shape[-1]).to(z.dtype).mean(0)
        return votes.clamp(min=least).log()


def ensemble_error(variance: float, covariance: float, members: int) -> float:
    """Return the expected squared error of the mean of k predictors.

        E[((1/k) Σ_i ε_i)²] = v/k + (k - 1) c/k

    for errors ε_i of mean 0, variance v and pairwise covariance c: v/k where they are independent, v where they are the
    same.

    Args:
        variance: v, at least 0.
        covariance: c, between -v/(k - 1) and v.
        members: k, at least 1.

    Returns:
        The error, in the unit of v.

    Raises:
        ConfigError: If no k errors have that variance and covariance.

    Reference: Goodfellow et al., Deep Learning, 2016, eq. 7.50.
    """
    at_least(1, owner="ensemble_error", members=members)
    if not (variance >= 0.0 and -variance <= covariance * (members - 1) and covariance <= variance):
        raise ConfigError(
            f"no {members} errors have variance {variance!r} and covariance {covariance!r}",
            where="ensemble_error",
            mend="take a covariance between -v/(k - 1) and v",
        )
    return variance / members + (members - 1) * covariance / members


def _log(k: int, like: Tensor) -> Tensor:
    return torch.log(like.new_tensor(float(k)))
