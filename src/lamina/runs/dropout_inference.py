"""How a network trained with dropout answers: its sub-networks, drawn by the seed and averaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lamina.errors import CheckpointError, shown
from lamina.likelihoods import Bernoulli, Categorical, Gaussian, Heads, Likelihood, Poisson
from lamina.nn import monte_carlo_dropout

Way = Literal["monte-carlo", "geometric"]
_KNEE = 20.0  # from this output on, Poisson's rate is e²⁰ (1 + η - 20)


@dataclass(frozen=True)
class DropoutInference:
    """Answer with the mean over S sub-networks instead of scaled weights.

        monte-carlo   classes  p(k | x) = 1/S Σ_s p(k | x, m_s),   counts  λ = 1/S Σ_s λ_s
                      Gaussian with learnt spread  µ = 1/S Σ_s µ_s,   s² = 1/S Σ_s (s_s² + µ_s²) - µ²
                      others  the outputs of the sub-networks averaged
        geometric     classes  p(k | x) ∝ Π_s p(k | x, m_s)^(1/S), which is the softmax of the mean logits

    Every row is asked of the same S sub-networks: masks are drawn anew for each row from the same seed, so that an
    answer depends neither on the rows that are asked with it nor on when it is asked. It costs S passes.

    Attributes:
        way: Which mean.
        passes: S.
        seed: Of the masks.

    Reference: Gal & Ghahramani, "Dropout as a Bayesian Approximation", ICML 2016, eq. 6 and 7 (the variance); Hinton et
    al., arXiv:1207.0580 (the geometric mean).
    """

    way: Way
    passes: int
    seed: int

    def outputs(self, model: nn.Module, inputs: Tensor, likelihood: Likelihood, rows: Tensor | None = None) -> Tensor:
        """Return outputs that mean, to the likelihood, what the sub-networks say together.

        Args:
            model: With dropout at work, else it is a ``ConfigError``.
            inputs: ``(N, ...)``.
            likelihood: Reads the network's outputs.
            rows: ``(n,)`` int64, which of the inputs to take; all if not given.

        Returns:
            ``(n, n_outputs)`` float64, where the model is.
        """
        device = next(model.parameters()).device
        chosen = inputs if rows is None else inputs.index_select(0, rows)
        link = _as_they_are if self.way == "geometric" else partial(_to_average, likelihood)
        means = [
            monte_carlo_dropout(
                model, row.to(device), self.passes, link, torch.Generator(device).manual_seed(self.seed)
            )
            for row in torch.split(chosen, 1)
        ]
        mean = torch.cat(means)
        return mean if self.way == "geometric" else _from_average(likelihood, mean)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"way": self.way, "passes": self.passes, "seed": self.seed}

    @classmethod
    def from_json(cls, value: Any, *, where: str) -> DropoutInference | None:
        """Read back what ``to_json`` returned; nothing is read as None.

        Args:
            value: From a file.
            where: The file, for messages.

        Returns:
            How to answer, or None: with scaled weights.

        Raises:
            CheckpointError: If it cannot be.
        """
        if value is None:
            return None
        whole = isinstance(value, Mapping) and set(value) == {"way", "passes", "seed"}
        whole = whole and value["way"] in {"monte-carlo", "geometric"}
        whole = whole and all(type(value[n]) is int and least <= value[n] < 2**63 for n, least in _LEAST.items())
        if not whole:
            raise CheckpointError(
                f"what it says of dropout cannot be used: {shown(repr(value), 60)}",
                where=where,
                mend="use an intact copy of the run",
            )
        return cls(value["way"], value["passes"], value["seed"])


_LEAST = {"passes": 1, "seed": 0}


def _as_they_are(outputs: Tensor) -> Tensor:
    return outputs.double()


def _to_average(likelihood: Likelihood, outputs: Tensor) -> Tensor:
    """Return what is averaged over the sub-networks, as wide as the outputs, (S, N, outputs)."""
    outputs = outputs.double()
    if isinstance(likelihood, Heads):
        pieces = torch.split(outputs, [head.n_outputs for head in likelihood.likelihoods], dim=-1)
        heads = zip(likelihood.likelihoods, pieces, strict=True)
        return torch.cat([_to_average(head, piece) for head, piece in heads], dim=-1)
    if isinstance(likelihood, Categorical):
        return outputs.softmax(-1)
    if isinstance(likelihood, Bernoulli):
        return outputs.sigmoid()
    flat = outputs.flatten(0, -2)
    if isinstance(likelihood, Poisson):
        return likelihood.mean(flat).reshape(outputs.shape)
    if isinstance(likelihood, Gaussian) and likelihood.scale is None:
        mean, spread = (part(flat).reshape(len(flat), -1) for part in (likelihood.mean, likelihood.spread))
        return torch.cat([mean, spread.square() + mean.square()], dim=1).reshape(outputs.shape)
    return outputs


def _from_average(likelihood: Likelihood, mean: Tensor) -> Tensor:
    """Return the outputs that mean it, (N, outputs)."""
    if isinstance(likelihood, Heads):
        pieces = torch.split(mean, [head.n_outputs for head in likelihood.likelihoods], dim=-1)
        heads = zip(likelihood.likelihoods, pieces, strict=True)
        return torch.cat([_from_average(head, piece) for head, piece in heads], dim=-1)
    least = torch.finfo(mean.dtype).tiny
    if isinstance(likelihood, Categorical):
        return mean.clamp(min=least).log()
    if isinstance(likelihood, Bernoulli):
        return mean.clamp(least, 1.0 - torch.finfo(mean.dtype).eps).logit()
    if isinstance(likelihood, Poisson):
        straight = mean * torch.exp(mean.new_tensor(-_KNEE)) + (_KNEE - 1.0)
        return torch.where(straight > _KNEE, straight, mean.clamp(min=least).log())
    if isinstance(likelihood, Gaussian) and likelihood.scale is None:
        centre, second = mean.chunk(2, dim=1)
        return likelihood.outputs_for(centre, (second - centre.square()).clamp(min=0.0).sqrt())
    return mean
