"""Directed and deep undirected networks of a few units, from their definitions: every state, in NumPy."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from energy.oracle import Array, binary, log_sum


def shaken(network: nn.Module, seed: int = 0, size: float = 1.0) -> nn.Module:
    """Give a network parameters large enough to tell wrong ones apart."""
    generator = torch.Generator().manual_seed(seed)
    network.double()
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(size * torch.randn(p.shape, generator=generator))
    return network


def array(p: torch.Tensor) -> Array:
    return p.detach().numpy().copy()


def log_sigmoid(x: Array) -> Array:
    return -np.logaddexp(0.0, -x)


def log_bernoulli(x: Array, theta: Array) -> Array:
    """log p of rows of bits whose logits are theta."""
    return (x * log_sigmoid(theta) + (1 - x) * log_sigmoid(-theta)).sum(-1)


def all_hidden(sizes: tuple[int, ...]) -> list[Array]:
    """Every state of all layers together, cut into layers."""
    states = binary(sum(sizes))
    return np.split(states, np.cumsum(sizes)[:-1], axis=1)


def total_variation(counts: Array, p: Array) -> float:
    return 0.5 * float(np.abs(counts / counts.sum() - p).sum())


def counted(rows: torch.Tensor, states: Array) -> Array:
    """How often each state occurs."""
    places = 2 ** np.arange(states.shape[1])
    order = {int(state @ places): k for k, state in enumerate(states)}
    counts = np.zeros(len(states))
    for code, times in zip(*np.unique(rows.numpy() @ places, return_counts=True), strict=True):
        counts[order[int(code)]] = times
    return counts


def chi_square(counts: Array, p: Array) -> float:
    """The statistic's p-value, cells expected fewer than 5 times put together."""
    from scipy.stats import chi2

    expected = counts.sum() * p
    small = expected < 5
    seen = np.append(counts[~small], counts[small].sum())
    wanted = np.append(expected[~small], expected[small].sum())
    seen, wanted = (seen[:-1], wanted[:-1]) if wanted[-1] == 0 else (seen, wanted)
    return float(chi2.sf(((seen - wanted) ** 2 / wanted).sum(), len(seen) - 1))


class EnumeratedDeepBoltzmann:
    """A deep Boltzmann machine with all its states."""

    def __init__(self, weights: list[Array], biases: list[Array]) -> None:
        self.sizes = tuple(len(b) for b in biases)
        self.units = all_hidden(self.sizes)
        exponent = sum(u @ b for u, b in zip(self.units, biases, strict=True))
        for w, below, above in zip(weights, self.units, self.units[1:], strict=False):
            exponent = exponent + np.einsum("si,ij,sj->s", above, w, below)
        self.exponent = exponent
        self.log_z = float(log_sum(exponent))
        self.p = np.exp(exponent - self.log_z)

    def rows(self, x: Array) -> Array:
        return np.flatnonzero((self.units[0] == x).all(1))

    def log_p(self, x: Array) -> Array:
        return np.array([float(log_sum(self.exponent[self.rows(row)])) for row in x]) - self.log_z
