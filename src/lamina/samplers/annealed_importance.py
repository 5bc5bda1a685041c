"""Annealed importance sampling: a partition function, with error bars, along a path of distributions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, TypeVar

import torch
from torch import Generator, Tensor

from lamina.errors import ConfigError

State = TypeVar("State")


class AnnealingPath(Protocol[State]):
    """Unnormalised densities p*_β from β = 0, which is known and drawn from exactly, to β = 1, which is asked for.

    A state holds many chains and whatever about them is worth computing once.
    """

    @property
    def log_z_start(self) -> Tensor:
        """Return log Z_0, a scalar."""
        ...

    def start(self, chains: int, generator: Generator | None = None) -> State:
        """Draw chains from p_0."""
        ...

    def log_ratio(self, state: State, new: float, old: float) -> Tensor:
        """Return log p*_new(x) - log p*_old(x), ``(chains,)``."""
        ...

    def move(self, state: State, beta: float, generator: Generator | None = None) -> State:
        """Move the chains by a transition that keeps p_β; a reversible one if the path is to be walked backwards."""
        ...


@dataclass(frozen=True)
class PartitionEstimate:
    """An estimate of log Z_1 and how far it can be trusted.

    Attributes:
        log_z: The estimate in nats.
        standard_error: Of ``log_z``, by the delta method from the spread of the weights. It knows only the chains that
            were run: where all miss a mode it is too small, and so is the estimate.
        low: log(Ẑ - 3 standard errors of Ẑ), -inf where that is negative; backwards correspondingly.
        high: log(Ẑ + 3 standard errors of Ẑ).
        effective_chains: (Σ w)² / Σ w², of the chains' weights; near 1 means that one chain decides, and more
            temperatures are needed.
        log_weights: ``(chains,)``.
    """

    log_z: float
    standard_error: float
    low: float
    high: float
    effective_chains: float
    log_weights: Tensor


def temperatures(*legs: tuple[float, int]) -> Tensor:
    """Return a ladder 0 = β_0 < … < β_K = 1 of evenly spaced legs.

    ``temperatures((0.5, 500), (0.9, 4000), (1.0, 10000))`` is that of Salakhutdinov & Murray (2008): close to the end,
    where the distributions change most, the steps are small.

    Args:
        legs: Where each leg ends, and its number of steps; the last ends at 1.

    Returns:
        ``(steps + 1,)``, float64.

    Raises:
        ConfigError: If the ends do not rise to 1 or a leg has no steps.
    """
    ends = [0.0, *(end for end, _ in legs)]
    rising = all(a < b for a, b in pairwise(ends))
    if ends[-1] != 1.0 or not rising or min((steps for _, steps in legs), default=0) < 1:
        raise ConfigError(
            f"legs must rise to 1 with a step or more each, got {legs}",
            where="temperatures",
            mend="use temperatures((0.5, 500), (0.9, 4000), (1.0, 10000))",
        )
    pieces = [torch.zeros(1, dtype=torch.float64)]
    for start, (end, steps) in zip(ends, legs, strict=False):
        pieces.append(torch.linspace(start, end, steps + 1, dtype=torch.float64)[1:])
    return torch.cat(pieces)


@torch.no_grad()
def annealed_importance(
    path: AnnealingPath[State],
    betas: Tensor | Sequence[float],
    chains: int = 100,
    generator: Generator | None = None,
) -> PartitionEstimate:
    """Estimate log Z_1 by chains that start at β = 0 and are weighted as they are cooled.

        x_0 ~ p_0;   for k = 1 … K:  log w += log p*_k(x) - log p*_(k-1)(x),  x ~ T_k(x)
        Z_1 / Z_0 = E w,   log Z_1 ≈ log Z_0 + log mean w

    Ẑ is unbiased, so log Ẑ is too low on average, and a likelihood computed with it too high. Memory does not grow with
    the number of temperatures. Not where enumeration is possible, and not for one number of trust: run two ladders, of
    which one is several times as long, and the reverse walk.

    Args:
        path: From a known distribution to the one that is asked about.
        betas: 0 = β_0 < … < β_K = 1; see ``temperatures``.
        chains: Independent chains, at least 2.
        generator: Source of all draws; None is PyTorch's default generator.

    Returns:
        The estimate with its error bars.

    Raises:
        ConfigError: If the ladder does not rise from 0 to 1 or there are fewer than two chains.

    Reference: Neal, "Annealed Importance Sampling", Statistics and Computing 11, 2001; Salakhutdinov & Murray, "On the
    Quantitative Analysis of Deep Belief Networks", ICML 2008.
    """
    if chains < 2:
        raise ConfigError(f"chains must be at least 2, got {chains}", where="annealed_importance", mend="use 100")
    ladder = _checked(betas, "annealed_importance")
    state = path.start(chains, generator)
    log_w = _walk(path, state, ladder, generator)
    return _estimate(log_w, float(path.log_z_start), sign=1)


@torch.no_grad()
def reverse_annealed_importance(
    path: AnnealingPath[State],
    betas: Tensor | Sequence[float],
    state: State,
    generator: Generator | None = None,
) -> PartitionEstimate:
    """Estimate log Z_1 by chains that start at β = 1 and are warmed.

        x_K ~ p_1;   for k = K … 1:  log w += log p*_(k-1)(x) - log p*_k(x),  x ~ T_(k-1)(x)
        Z_0 / Z_1 = E w,   log Z_1 ≈ log Z_0 - log mean w

    From exact samples the estimate is too high on average where the forward one is too low, so that the two bracket the
    truth. Samples of long Gibbs chains, or data under a good model, do so only nearly.

    Args:
        path: Whose transitions are reversible.
        betas: The same ladder as forwards, 0 = β_0 < … < β_K = 1.
        state: Chains drawn from p_1, at least 2: ``path.state(samples)``.
        generator: Source of all draws; None is PyTorch's default generator.

    Returns:
        The estimate with its error bars.

    Raises:
        ConfigError: If the ladder does not rise from 0 to 1 or there are fewer than two chains.

    Reference: Burda, Grosse & Salakhutdinov, "Accurate and Conservative Estimates of MRF Log-Likelihood Using Reverse
    Annealing", AISTATS 2015; Grosse, Ghahramani & Adams, "Sandwiching the Marginal Likelihood", 2015.
    """
    ladder = _checked(betas, "reverse_annealed_importance")
    log_w = _walk(path, state, ladder[::-1], generator)
    if len(log_w) < 2:
        raise ConfigError("needs at least 2 chains", where="reverse_annealed_importance", mend="use 100 samples")
    return _estimate(log_w, float(path.log_z_start), sign=-1)


def _walk(path: AnnealingPath[State], state: State, ladder: Sequence[float], generator: Generator | None) -> Tensor:
    """Walk a ladder and gather the chains' log weights; the last rung needs no move.

    Returns:
        ``(chains,)``, float64.
    """
    log_w = path.log_ratio(state, ladder[1], ladder[0]).double()
    for old, new in pairwise(ladder[1:]):
        state = path.move(state, old, generator)
        log_w += path.log_ratio(state, new, old)
    return log_w


def _checked(betas: Tensor | Sequence[float], owner: str) -> list[float]:
    ladder = [float(beta) for beta in betas]
    rising = all(a < b for a, b in pairwise(ladder))
    if len(ladder) < 2 or ladder[0] != 0.0 or ladder[-1] != 1.0 or not rising:
        raise ConfigError(
            "temperatures must rise from 0 to 1", where=owner, mend="use lamina.samplers.temperatures((1.0, 1000))"
        )
    return ladder


def _estimate(log_w: Tensor, log_z_start: float, sign: int) -> PartitionEstimate:
    top = float(log_w.max())
    w = torch.exp(log_w - top)
    mean, n = float(w.mean()), len(w)
    relative = float(w.std()) / (mean * math.sqrt(n))
    bounds = sorted(sign * (math.log(r) if r > 0 else -math.inf) for r in (1.0 - 3.0 * relative, 1.0 + 3.0 * relative))
    log_z = log_z_start + sign * (top + math.log(mean))
    effective = float(w.sum() ** 2 / w.square().sum())
    return PartitionEstimate(log_z, relative, log_z + bounds[0], log_z + bounds[1], effective, log_w)
