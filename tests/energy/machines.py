"""Machines with weights large enough to tell wrong ones apart."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lamina.energy import RBM
from lamina.energy.units import Bernoulli, Units

BINARY = Bernoulli()


def machine(
    n_visible: int = 4,
    n_hidden: int = 3,
    visible: Units = BINARY,
    hidden: Units = BINARY,
    seed: int = 0,
    size: float = 1.0,
    **options: Any,
) -> RBM:
    generator = torch.Generator().manual_seed(seed)
    rbm = RBM(n_visible, n_hidden, visible, hidden, generator=generator, **options).double()
    with torch.no_grad():
        for p in rbm.parameters():
            p.copy_(size * torch.randn(p.shape, generator=generator))
    return rbm


def arrays(rbm: RBM) -> tuple[Any, Any, Any]:
    return tuple(p.detach().numpy().copy() for p in (rbm.weight, rbm.visible_bias, rbm.hidden_bias))


def bars_and_stripes(side: int) -> Tensor:
    """The 2^(side + 1) - 2 pictures whose rows, or columns, are each all on or all off."""
    rows = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * side)
    bars = rows[:, :, None].expand(-1, side, side)
    return torch.cat([bars, bars.transpose(1, 2)]).reshape(-1, side * side).unique(dim=0)
