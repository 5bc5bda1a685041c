"""What is sent back through the network to measure its Fisher matrix: output gradients whose squares average to it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from lamina.likelihoods.base import Likelihood
from lamina.likelihoods.registry import for_scoring

KINDS = ("sampled", "exact", "empirical")


@torch.no_grad()
def output_gradients(
    fisher: str,
    likelihood: Likelihood,
    outputs: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    *,
    generator: Generator | None,
) -> Iterator[Tensor]:
    """Give cotangents u of the outputs, (N, K) each, with Σ u uᵀ of an example its Fisher matrix of the outputs.

        sampled     one u = ∇(-log p(y | z)) with y drawn from the network: right on average
        exact       K of them, the columns of a root of F_n: right in itself, at K passes back
        empirical   one u = ∇(-log p(t | z)) of the data's own targets, which is another matrix

    An example of weight w counts w times.

    Args:
        fisher: Which.
        likelihood: What the outputs mean; label smoothing and the weighting β are left out but for ``empirical``.
        outputs: (N, K), detached.
        targets: As the likelihood takes them.
        weights: (N,), or None.
        generator: Source of the drawn targets.

    Yields:
        (N, K).

    Reference: Martens, "New Insights and Perspectives on the Natural Gradient Method", JMLR 21, 2020, sections 5, 11.
    """
    root = None if weights is None else weights.to(outputs.dtype).sqrt().unsqueeze(1)
    scored = for_scoring(likelihood)
    if fisher == "exact":
        for column in _roots(scored, outputs).unbind(2):
            yield column if root is None else column * root
        return
    if fisher == "sampled":
        found = scored.nll_gradient(outputs, scored.sample(outputs, generator))
    else:
        found = likelihood.nll_gradient(outputs, targets)
    yield found if root is None else found * root


def _roots(likelihood: Likelihood, outputs: Tensor) -> Tensor:
    """Return R (N, K, K) with R Rᵀ = F, the Fisher matrix of each example's outputs; symmetric."""
    n, k = outputs.shape
    basis = torch.eye(k, dtype=outputs.dtype, device=outputs.device)
    columns = [likelihood.fisher_product(outputs, row.repeat(n, 1)) for row in basis]
    values, vectors = torch.linalg.eigh(torch.stack(columns, dim=2))
    root: Tensor = (vectors * values.clamp(min=0.0).sqrt().unsqueeze(1)) @ vectors.mT
    return root
