"""Annealed importance sampling of deep Boltzmann machines against the enumerated partition function."""

from __future__ import annotations

import math

import pytest
import torch

from energy.test_deep_boltzmann import made
from lamina.energy.deep_boltzmann_path import DeepBoltzmannPath
from lamina.samplers import annealed_importance, reverse_annealed_importance, temperatures

G = torch.Generator


@pytest.mark.parametrize("sizes", [(4, 3, 2), (3, 3, 2, 2)], ids=str)
def test_U19_the_ends_of_the_path_are_what_they_say(sizes: tuple[int, ...]) -> None:
    machine = made(sizes)
    x = torch.rand(20, sizes[0], generator=G().manual_seed(1)).double()
    path = DeepBoltzmannPath(machine, x)
    base = (x.mean(0) + (0.5 - x.mean(0)) / 21).logit()
    expected = float((1 + base.exp()).log().sum()) + sum(sizes[1:]) * math.log(2)
    assert abs(float(path.log_z_start) - expected) < 1e-12
    state = path.start(50, G().manual_seed(0))
    odd = state.odd
    # log p*_1 - log p*_0, the even layers summed out by hand
    w, b = machine.weights, machine.biases
    linear = sum(h @ b[k] for h, k in zip(odd, range(1, len(sizes), 2), strict=True))
    first = (1 + (odd[0] @ w[0] + b[0]).exp()).log().sum(1)
    second = odd[0] @ w[1].t() + b[2]
    if len(odd) == 2:
        second = second + odd[1] @ w[2]
    ratio = linear + first + (1 + second.exp()).log().sum(1)
    ratio = ratio - (1 + base.exp()).log().sum() - sizes[2] * math.log(2)
    torch.testing.assert_close(path.log_ratio(state, 1.0, 0.0), ratio.detach())


def test_U19_the_estimate_lies_within_its_error_bar_forwards_and_backwards() -> None:
    machine = made((4, 3, 3, 2), size=1.2)
    exact = float(machine.log_partition().detach())
    path = DeepBoltzmannPath(machine)
    inside = 0
    for run in range(40):
        estimate = annealed_importance(path, temperatures((1.0, 40)), 60, G().manual_seed(run))
        inside += abs(estimate.log_z - exact) < 3 * estimate.standard_error
    assert inside >= 37
    chains = machine.gibbs([torch.zeros(300, n).double() for n in machine.sizes], 200, G().manual_seed(0))
    state = path.state(chains)
    estimate = reverse_annealed_importance(path, temperatures((1.0, 200)), state, G().manual_seed(1))
    assert abs(estimate.log_z - exact) < 3 * estimate.standard_error
