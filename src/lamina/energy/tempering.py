"""Parallel tempering: chains at several temperatures that exchange their states, so that the coldest ones mix."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from lamina.energy.rbm import RBM
from lamina.energy.units import Rectified
from lamina.errors import ConfigError


class Tempered(NamedTuple):
    """Where the replicas stand.

    Attributes:
        v: ``(R M, n_visible)``, the replicas' visible units, M rows a rung, the first M those of the machine itself.
        swaps: ``(R - 1,)``, shares of accepted swaps between neighbouring rungs; where one is near 0 the ladder needs
            a rung more, where all are near 1 it has too many.
    """

    v: Tensor
    swaps: Tensor


@torch.no_grad()
def parallel_tempering(
    rbm: RBM, v: Tensor, temperatures: Sequence[float], sweeps: int = 1, generator: Generator | None = None
) -> Tempered:
    """Make sweeps of replicas at inverse temperatures β_1 = 1 > β_2 > … > β_R ≥ 0, and swaps between neighbours.

        h_r ~ p_r(h | v_r);   swap r, r + 1 with probability min(1, e^(Δβ (s_r+1 - s_r)));   v_r ~ p_r(v | h_r)
        p_r(v, h) ∝ base(v) base(h) e^(β_r s),   s = b·v + c·h + h·W v,   Δβ = β_r - β_r+1

    Each sweep leaves the product of all p_r as it is, p_1 being the machine's distribution. Hot replicas cross between
    modes that the machine's own Gibbs chain does not leave, and hand what they find down. A sweep costs R times that of
    one rung. First the pairs (1, 2), (3, 4), … are asked, then (2, 3), ….

    Not where Gibbs chains mix: then R - 1 of R sweeps are wasted.

    Args:
        rbm: The machine.
        v: ``(R M, n_visible)``, M rows a rung.
        temperatures: β_1 … β_R; with β_R = 0 the hottest replicas are drawn afresh.
        sweeps: How many.
        generator: Source of all draws; None is PyTorch's default generator.

    Returns:
        The replicas and the shares of swaps.

    Raises:
        ConfigError: If the ladder does not fall from 1, the rows are not whole rungs, or hidden units are Rectified.

    Reference: Desjardins, Courville, Bengio, Vincent & Delalleau, "Parallel Tempering for Training of Restricted
    Boltzmann Machines", AISTATS 2010; Swendsen & Wang, "Replica Monte Carlo Simulation of Spin-Glasses", 1986.
    """
    check_temperatures("parallel_tempering", temperatures)
    rungs = len(temperatures)
    if isinstance(rbm.hidden, Rectified):
        raise ConfigError(
            "samples of Rectified units do not keep the machine's distribution", where="parallel_tempering"
        )
    rows = rows_a_rung("parallel_tempering", len(v), rungs)
    beta = torch.tensor(temperatures, dtype=v.dtype, device=v.device)
    each = beta.repeat_interleave(rows)[:, None]
    swaps = beta.new_zeros(rungs - 1)
    for _ in range(sweeps):
        h = rbm.sample_hidden(v, generator, each)
        # v is drawn anew below, so a swap need only exchange h.
        h, accepted = _swap(h, rbm.exponent(v, h), beta, generator)
        swaps += accepted / max(1, sweeps)
        v = rbm.sample_visible(h, generator, each)
    return Tempered(v, swaps)


def _swap(h: Tensor, s: Tensor, beta: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
    """Swap h between neighbouring rungs.

    Returns:
        h, and the shares accepted.
    """
    h, s = h.view(len(beta), -1, h.shape[1]).clone(), s.view(len(beta), -1).clone()
    shares = torch.zeros_like(beta[1:])
    for first in (0, 1):
        low = torch.arange(first, len(beta) - 1, 2, device=h.device)
        high = low + 1
        gain = (beta[low] - beta[high])[:, None] * (s[high] - s[low])
        accept = torch.empty_like(gain).uniform_(generator=generator).log_() < gain
        for x, taken in ((h, accept[:, :, None]), (s, accept)):
            x[low], x[high] = torch.where(taken, x[high], x[low]), torch.where(taken, x[low], x[high])
        shares[low] = accept.to(shares).mean(1)
    return h.flatten(0, 1), shares


def check_temperatures(owner: str, temperatures: Sequence[float]) -> None:
    """Refuse a ladder that does not fall from 1 to 0 or above.

    Raises:
        ConfigError: If so.
    """
    falls = all(a > b for a, b in pairwise(temperatures))
    if len(temperatures) < 2 or temperatures[0] != 1.0 or temperatures[-1] < 0.0 or not falls:
        raise ConfigError(
            f"temperatures are inverse ones that fall from 1 to 0 or above, got {tuple(temperatures)}",
            where=owner,
            mend="use (1.0, 0.75, 0.5, 0.25, 0.0)",
        )


def rows_a_rung(owner: str, rows: int, rungs: int) -> int:
    """Return how many rows each rung has.

    Raises:
        ConfigError: If the rows are not whole rungs.
    """
    if rows % rungs:
        raise ConfigError(
            f"{rows} chains are not whole rungs of {rungs} temperatures",
            where=owner,
            mend=f"keep {rungs} chains or a multiple, RBM(..., chains={rungs * max(1, rows // rungs)})",
        )
    return rows // rungs
