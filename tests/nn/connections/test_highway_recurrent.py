"""The recurrent highway against a loop in NumPy, its limits, and torch.nn.RNN."""

import numpy as np
import pytest
import torch
from torch import nn

from lamina.errors import ConfigError
from lamina.nn.connections import HighwayRecurrent


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_weights(layer: HighwayRecurrent) -> None:
    for k, p in enumerate(layer.parameters()):
        p.data.normal_(generator=seeded(10 + k))


def test_C25_recurrent_form_is_the_loop() -> None:
    layer = HighwayRecurrent(3, generator=seeded()).double()
    random_weights(layer)
    x = torch.randn(2, 5, 3, generator=seeded(1), dtype=torch.float64)
    h0 = torch.randn(2, 3, generator=seeded(2), dtype=torch.float64)
    wf, wr, b = (p.detach().numpy() for p in (layer.weight_input, layer.weight_recurrent, layer.bias))
    h, expected = h0.numpy(), []
    for t in range(5):
        xt = x[:, t].numpy()
        i = 1 / (1 + np.exp(-(xt @ wf[:3].T + h @ wr[:3].T + b[:3])))
        h = i * np.tanh(xt @ wf[3:].T + h @ wr[3:].T + b[3:]) + (1 - i) * xt
        expected.append(h)
    outputs, last = layer(x, h0)
    np.testing.assert_allclose(outputs.detach(), np.stack(expected, 1), rtol=1e-12, atol=1e-12)
    assert torch.equal(last, outputs[:, -1])
    zero, _ = layer(x)
    assert torch.equal(zero, layer(x, torch.zeros(2, 3, dtype=torch.float64))[0])


def test_C25_closed_gate_copies_the_layers_input_and_not_the_history() -> None:
    layer = HighwayRecurrent(3, generator=seeded())
    layer.bias.data[:3] = -1e4
    x = torch.randn(2, 5, 3, generator=seeded(1))
    assert torch.equal(layer(x, torch.ones(2, 3))[0], x)


def test_C25_open_gate_is_the_plain_recurrent_layer() -> None:
    layer = HighwayRecurrent(3, generator=seeded()).double()
    random_weights(layer)
    layer.bias.data[:3] = 1e4
    plain = nn.RNN(3, 3, batch_first=True).double()
    with torch.no_grad():
        plain.weight_ih_l0.copy_(layer.weight_input[3:])
        plain.weight_hh_l0.copy_(layer.weight_recurrent[3:])
        plain.bias_ih_l0.copy_(layer.bias[3:])
        plain.bias_hh_l0.zero_()
    x = torch.randn(2, 5, 3, generator=seeded(1), dtype=torch.float64)
    torch.testing.assert_close(layer(x)[0], plain(x)[0])


def test_split_sequence_goes_on_from_the_state() -> None:
    layer = HighwayRecurrent(3, nn.ReLU(), generator=seeded())
    x = torch.randn(2, 7, 3, generator=seeded(1))
    whole, end = layer(x)
    first, state = layer(x[:, :4])
    second, last = layer(x[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(last, end)
    none, same = layer(x[:, :0], state)
    assert none.shape == (2, 0, 3) and torch.equal(same, state)


def test_start_and_refusal() -> None:
    a, b = (HighwayRecurrent(50, generator=seeded(1)) for _ in range(2))
    assert torch.equal(a.weight_recurrent, b.weight_recurrent)
    assert a.bias.tolist() == [-2.0] * 50 + [0.0] * 50
    assert a.weight_input.var().item() == pytest.approx(2 / 100, rel=0.1)
    with pytest.raises(ConfigError, match="features"):
        HighwayRecurrent(0)
