"""The variational bound on a log-likelihood, and its gap, by enumeration of the hidden states."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lamina.energy.exact import all_states
from lamina.energy.units import Bernoulli

_NUMBERS = 2**21  # in one piece


class VariationalBound(NamedTuple):
    """What a distribution q over hidden states knows of each example, in nats.

    Attributes:
        log_likelihood: ``(N,)``, log p(x).
        bound: ``(N,)``, E_q[log p(x, h) - log q(h | x)].
    """

    log_likelihood: Tensor
    bound: Tensor

    @property
    def gap(self) -> Tensor:
        """``(N,)``, KL(q(h | x), p(h | x)), at least 0."""
        return self.log_likelihood - self.bound


def variational_bound(log_joint: Tensor, log_q: Tensor) -> VariationalBound:
    """Return the likelihood and its bound from tables over all hidden states.

        log p(x) = log Σ_h p(x, h) ≥ Σ_h q(h | x) (log p(x, h) - log q(h | x)) = log p(x) - KL(q, p(h | x))

    Args:
        log_joint: ``(N, S)``, log p(x, h) of every state h.
        log_q: ``(N, S)``, log q(h | x), each row's exponentials summing to 1; -inf for a state that q excludes.

    Returns:
        Both, a number an example.

    Reference: Neal & Hinton, "A View of the EM Algorithm that Justifies Incremental, Sparse, and Other Variants", 1998.
    """
    return VariationalBound(log_joint.logsumexp(1), _expectation(log_joint, log_q))


def enumerated_bound(
    log_joint: Callable[[Tensor], Tensor], log_q: Callable[[Tensor], Tensor], n: int, like: Tensor, width: int
) -> VariationalBound:
    """Return the likelihood and its bound by going through the 2^n states of n binary units.

    Args:
        log_joint: Takes states ``(S, n)`` and returns log p(x, h), ``(N, S)``.
        log_q: The same for log q(h | x).
        n: Hidden units, at most 25.
        like: ``(N, ...)`` of the type and device wanted, which decides how many rows there are.
        width: Numbers that a state needs for one row, which decides how many go into a piece.

    Returns:
        Both, a number an example.
    """
    total = like.new_full((len(like),), -torch.inf)
    bound = like.new_zeros(len(like))
    for states in all_states(Bernoulli(), n, like, max(1, _NUMBERS // (width * max(1, len(like))))):
        joint = log_joint(states)
        total = torch.logaddexp(total, joint.logsumexp(1))
        bound = bound + _expectation(joint, log_q(states))
    return VariationalBound(total, bound)


def enumerated_log_sum(log_joint: Callable[[Tensor], Tensor], n: int, like: Tensor, width: int) -> Tensor:
    """Return log Σ_h exp(log_joint(h)) over the 2^n states of n binary units, ``(N,)``; see ``enumerated_bound``."""
    total = like.new_full((len(like),), -torch.inf)
    for states in all_states(Bernoulli(), n, like, max(1, _NUMBERS // (width * max(1, len(like))))):
        total = torch.logaddexp(total, log_joint(states).logsumexp(1))
    return total


def sampled_log_weights(weigh: Callable[[Tensor], Tensor], x: Tensor, samples: int, width: int) -> Tensor:
    """Return log weights of several draws for each row.

    Args:
        weigh: Takes ``(some, N, n_0)``, draws hidden states for each, and returns log p(x, h) - log q(h | x),
            ``(some, N)``.
        x: ``(N, n_0)``.
        samples: Draws a row.
        width: Numbers that a draw needs for one row, which decides how many go into a piece.

    Returns:
        ``(samples, N)``.
    """
    most = max(1, _NUMBERS // (width * max(1, len(x))))
    sizes = [most] * (samples // most) + [samples % most] * (samples % most > 0)
    return torch.cat([weigh(x.expand(size, *x.shape)) for size in sizes])


def _expectation(log_joint: Tensor, log_q: Tensor) -> Tensor:
    q = log_q.exp()
    return torch.where(q > 0, q * (log_joint - log_q), 0.0).sum(1)
