"""Pseudo-likelihood of binary data: how well each unit is foretold by all the others."""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import logsigmoid

from lamina.energy.units import Bernoulli, Units
from lamina.errors import ConfigError


class _Machine(Protocol):
    """What is asked of an ``RBM``, which has this as a method."""

    visible: Units
    hidden: Units
    weight: nn.Parameter
    visible_bias: nn.Parameter

    @property
    def n_hidden(self) -> int: ...

    def free_energy(self, v: Tensor) -> Tensor: ...

    def hidden_input(self, v: Tensor) -> Tensor: ...


_NUMBERS = 2**21  # in one piece


@torch.no_grad()
def pseudo_likelihood(
    rbm: _Machine, v: Tensor, flips: Tensor | Literal["all", "one"] = "all", generator: Generator | None = None
) -> Tensor:
    """Return the log pseudo-likelihood of each row in nats: no partition function is needed.

        Σ_i log p(v_i | v without i) = Σ_i log σ(F(v with unit i flipped) - F(v))

    A rough guide to how training goes, not a likelihood: it looks no farther than one flip, and machines with poor
    samples can score well.

    Args:
        rbm: A machine with Bernoulli visible units.
        v: ``(N, n_visible)``, zeros and ones.
        flips: "all" is exact and costs ``n_visible`` times a free energy's element-wise part; "one" flips one unit a
            row, drawn evenly, and multiplies by ``n_visible``, which has the same mean and is scikit-learn's
            ``score_samples``; ``(N,)`` indices do the same with units of yours.
        generator: Source of "one"; None is PyTorch's default generator.

    Returns:
        ``(N,)``.

    Raises:
        ConfigError: If the visible units are not Bernoulli.

    Reference: Besag, "Statistical Analysis of Non-Lattice Data", The Statistician 24(3), 1975.
    """
    if not isinstance(rbm.visible, Bernoulli):
        raise ConfigError(
            f"{type(rbm.visible).__name__} units cannot be flipped", where="pseudo_likelihood", mend="use free_energy"
        )
    n, width = v.shape
    if isinstance(flips, str) and flips == "one":
        flips = torch.randint(width, (n,), generator=generator, device=v.device)
    if isinstance(flips, Tensor):
        flipped = v.scatter(1, flips[:, None], 1.0 - v.gather(1, flips[:, None]))
        return width * logsigmoid(rbm.free_energy(flipped) - rbm.free_energy(v))
    rows = max(1, _NUMBERS // (width * rbm.n_hidden))
    return torch.cat([logsigmoid(_flip_gaps(rbm, some)).sum(1) for some in torch.split(v, rows)])


def _flip_gaps(rbm: _Machine, v: Tensor) -> Tensor:
    """Return F(v with unit i flipped) - F(v).

    Returns:
        ``(N, n_visible)``.
    """
    change = 1.0 - 2.0 * v
    a = rbm.hidden_input(v)
    changed = torch.addcmul(a[:, None], change[:, :, None], rbm.weight.t())  # (N, n_visible, n_hidden)
    gained = rbm.hidden.log_partition(changed) - rbm.hidden.log_partition(a)[:, None]
    return -(change * rbm.visible_bias + gained)
