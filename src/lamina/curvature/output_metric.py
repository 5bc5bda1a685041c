"""The curvature of a loss by the outputs of the network, which the Gauss-Newton products carry to the parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Generator, Tensor

from lamina.errors import ConfigError
from lamina.likelihoods.base import Likelihood
from lamina.likelihoods.categorical import Categorical
from lamina.likelihoods.registry import for_scoring
from lamina.likelihoods.rejecting import Rejecting

Kind = Literal["gauss-newton", "fisher", "empirical-fisher"]
KINDS = ("gauss-newton", "fisher", "empirical-fisher")


def output_metric(
    kind: Kind,
    likelihood: Likelihood,
    outputs: Tensor,
    targets: Tensor,
    *,
    weights: Tensor | None = None,
    draws: int | None = None,
    generator: Generator | None = None,
) -> Callable[[Tensor], Tensor]:
    """Return u to (w_n / N) M_n u_n for each example n; M_n is positive semi-definite, K by K, and never formed.

        "gauss-newton", "fisher"    M = E[∇²(-log p)] over targets from the distribution
        "empirical-fisher"          M = r rᵀ,   r = ∇(-log p) at the target of the example

    The first two are one matrix. Where the outputs are natural parameters (logits, log-rates, the mean of a Gaussian of
    fixed spread) the second derivative does not depend on the target, the expectation changes nothing, and this is the
    generalised Gauss-Newton matrix of Schraudolph. Elsewhere (a learnt spread, Student-t, Laplace) the second
    derivative may be negative or vanish; its expectation is what is left of it that cannot be negative.

    With ``draws`` the expectation is an average of r rᵀ over targets drawn once, for likelihoods without a closed form
    (a Gaussian mixture); smoothing and β, which shape only training, have no part in it.

    Args:
        kind: Which.
        likelihood: What the outputs mean.
        outputs: (N, K).
        targets: As the likelihood takes them.
        weights: (N,) example weights; None is 1 each.
        draws: Targets drawn for each example; None takes the closed form.
        generator: Source of the draws; None is PyTorch's default generator.

    Returns:
        A linear function of (N, K).

    References: Schraudolph, "Fast Curvature Matrix-Vector Products for Second-Order Gradient Descent", Neural
    Computation 14, 2002; Martens, "New Insights and Perspectives on the Natural Gradient Method", JMLR 21, 2020,
    section 9.
    """
    _check("output_metric", kind, draws)
    at = outputs.detach()
    share = at.new_full((len(at), 1), 1.0 / len(at)) if weights is None else weights.unsqueeze(1).to(at) / len(at)
    pulls = _pulls(kind, likelihood, at, targets, draws=draws, generator=generator)
    if pulls is None:
        return lambda vector: share * likelihood.fisher_product(at, vector)
    return lambda vector: share * (pulls * (pulls * vector).sum(-1, keepdim=True)).sum(0)


def output_columns(
    kind: Kind,
    likelihood: Likelihood,
    outputs: Tensor,
    targets: Tensor,
    *,
    weights: Tensor | None = None,
    draws: int | None = None,
    generator: Generator | None = None,
) -> Iterator[Tensor]:
    """Give (N, K) at a time the columns s of a root of each example's matrix: Σ s sᵀ = w_n M_n, not divided by N.

    One column for the empirical Fisher matrix, as many as there are draws, else K. Only where M is no diagonal matrix
    are N matrices K by K held at once.

    Args:
        kind: See ``output_metric``.
        likelihood: What the outputs mean.
        outputs: (N, K).
        targets: As the likelihood takes them.
        weights: (N,) example weights; None is 1 each.
        draws: Targets drawn for each example; None takes the closed form.
        generator: Source of the draws.

    Yields:
        (N, K).
    """
    _check("output_columns", kind, draws)
    at = outputs.detach()
    root = at.new_ones(len(at), 1) if weights is None else weights.unsqueeze(1).to(at).sqrt()
    pulls = _pulls(kind, likelihood, at, targets, draws=draws, generator=generator)
    if pulls is not None:
        yield from root * pulls
        return
    units = torch.eye(at.shape[1], dtype=at.dtype, device=at.device)
    inside = likelihood.likelihood if isinstance(likelihood, Rejecting) else likelihood
    if isinstance(inside, Categorical):  # diag p - p pᵀ = Σ_k p_k (e_k - p)(e_k - p)ᵀ, with nothing to decompose
        p = inside.probabilities(at)
        yield from (root * p[:, k : k + 1].sqrt() * (unit - p) for k, unit in enumerate(units))
        return
    diagonal, mixed = torch.zeros_like(at), False
    for k, unit in enumerate(units):
        column = likelihood.fisher_product(at, unit.expand_as(at))
        diagonal[:, k] = column[:, k]
        mixed = mixed or bool((column * (1.0 - unit)).any())
    if not mixed:
        for k, unit in enumerate(units):
            yield root * diagonal[:, k : k + 1].sqrt() * unit
        return
    whole = torch.stack([likelihood.fisher_product(at, unit.expand_as(at)) for unit in units], dim=2)
    values, vectors = torch.linalg.eigh(whole)
    yield from (root.unsqueeze(2) * vectors * values.clamp(min=0.0).sqrt().unsqueeze(1)).unbind(2)


def _pulls(
    kind: Kind, likelihood: Likelihood, at: Tensor, targets: Tensor, *, draws: int | None, generator: Generator | None
) -> Tensor | None:
    """Return vectors r, (C, N, K), with M = Σ r rᵀ, or None where M has a closed form."""
    if kind == "empirical-fisher":
        return likelihood.nll_gradient(at, targets).unsqueeze(0)
    if draws is None:
        return None
    plain = for_scoring(likelihood)
    found = [plain.nll_gradient(at, plain.sample(at, generator)) for _ in range(draws)]
    return torch.stack(found) / math.sqrt(draws)


def _check(where: str, kind: str, draws: int | None) -> None:
    """Refuse kinds and draws that do not fit.

    Raises:
        ConfigError: If they do not.
    """
    if kind not in KINDS or (draws is not None and (kind == "empirical-fisher" or draws < 1)):
        raise ConfigError(
            f"kind must be one of {', '.join(KINDS)}, with draws at least 1 or None and no draws for the last, got "
            f"{kind!r} and {draws!r}",
            where=where,
            mend='use "gauss-newton"',
        )
