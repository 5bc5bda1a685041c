"""Gates against NumPy, and their two limits."""

import numpy as np
import pytest
import torch

from lamina.errors import ConfigError
from lamina.nn.connections import Gate


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_C24_is_the_sigmoid_of_both_maps_times_the_value() -> None:
    gate = Gate(4, 3, 2, bias=0.7, generator=seeded()).double()
    x, h, v = (torch.randn(5, n, generator=seeded(n), dtype=torch.float64) for n in (4, 2, 3))
    wf, b, wr = gate.feed.weight, gate.feed.bias, gate.recur.weight
    a = x.numpy() @ wf.detach().numpy().T + h.numpy() @ wr.detach().numpy().T + b.detach().numpy()
    i = 1 / (1 + np.exp(-a))
    np.testing.assert_allclose(gate(x, h).detach(), i, rtol=1e-12)
    np.testing.assert_allclose(gate(x, h, value=v).detach(), i * v.numpy(), rtol=1e-12)


@pytest.mark.parametrize("features", [1, 3])
def test_C24_saturated_gates_pass_nothing_or_everything(features: int) -> None:
    x, v = torch.randn(5, 4, generator=seeded()), torch.randn(5, 3, generator=seeded(1))
    assert torch.equal(Gate(4, features, bias=1e4)(x, value=v), v)
    assert torch.equal(Gate(4, features, bias=-1e4)(x, value=v), torch.zeros(5, 3))


def test_C24_one_gate_on_the_whole_value() -> None:
    gate = Gate(4, 1, generator=seeded())
    x, v = torch.randn(5, 4, generator=seeded(1)), torch.randn(5, 3, generator=seeded(2))
    torch.testing.assert_close(gate(x, value=v) / v, gate(x).expand(5, 3))


def test_starting_bias_and_weights_are_a_function_of_the_generator() -> None:
    state = torch.get_rng_state()
    a, b = (Gate(4, 3, 2, bias=-4.0, generator=seeded(1)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(a.feed.weight, b.feed.weight) and torch.equal(a.recur.weight, b.recur.weight)
    assert a(torch.zeros(1, 4), torch.zeros(1, 2)).allclose(torch.tensor(0.0179862))


def test_refusals() -> None:
    x = torch.zeros(2, 4)
    with pytest.raises(ConfigError, match="h is missing"):
        Gate(4, 3, 2)(x)
    with pytest.raises(ConfigError, match="no recurrent features"):
        Gate(4, 3)(x, x)
    with pytest.raises(ConfigError, match="value has 2 features and the gate 3"):
        Gate(4, 3)(x, value=torch.zeros(2, 2))
    with pytest.raises(ConfigError, match="in_features"):
        Gate(0, 3)
    with pytest.raises(ConfigError, match="recurrent_features"):
        Gate(1, 3, -1)
