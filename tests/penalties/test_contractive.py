"""The contractive penalty: closed form, exact and estimated, against finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.penalties.contractive import Contractive
from penalties.derivative_problems import Wrapped, context_of, normalised_network, parameter_gradients, rows


def squared_norm(encoder: nn.Module, x: Tensor, h: float = 1e-5) -> Tensor:
    """Mean over the rows of the squared Jacobian, by central differences."""
    axes = h * torch.eye(x.shape[1], dtype=x.dtype)
    slopes = torch.stack([(encoder(x + axis) - encoder(x - axis)) / (2 * h) for axis in axes])
    return slopes.square().sum() / len(x)


class Autoencoder(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = nn.Linear(3, 4).double()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.decoder(self.encoder(x))
        return y


@pytest.mark.parametrize("unit", [nn.Sigmoid(), nn.Tanh(), None, nn.Softplus()])
def test_R29_contractive_norm_of_one_layer(unit: nn.Module | None) -> None:
    """Closed forms for the sigmoid, tanh and no unit; the softplus goes the general way."""
    torch.manual_seed(0)
    layers = [nn.Linear(4, 3).double()] + ([unit] if unit is not None else [])
    encoder = nn.Sequential(*layers)
    model, x = Autoencoder(encoder), rows()
    value = Contractive(draws=0)(context_of(model, x))
    expected = squared_norm(encoder, x)
    assert math.isclose(value.item(), expected.item(), rel_tol=1e-8)
    for a, b in zip(parameter_gradients(value, model), parameter_gradients(expected, model), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


def test_R29_deep_encoder_by_name_exact_and_estimated() -> None:
    torch.manual_seed(0)
    chain = nn.Sequential()
    for name, layer in {
        "linear1": nn.Linear(4, 5), "tanh1": nn.Tanh(), "linear2": nn.Linear(5, 3), "tanh2": nn.Tanh(),
        "output": nn.Linear(3, 4),
    }.items():  # fmt: skip
        chain.add_module(name, layer.double())
    x = rows(1)
    context = context_of(chain, x)
    exact = Contractive("tanh2", draws=0)(context).item()
    assert math.isclose(exact, squared_norm(chain[:4], x).item(), rel_tol=1e-7)
    found = {
        round(Contractive("tanh2", 1, torch.Generator().manual_seed(seed))(context).item(), 10) for seed in range(40)
    }
    assert len(found) == 4 and math.isclose(sum(found) / 4, exact, rel_tol=1e-6)
    first = Contractive(draws=0)(context).item()  # no name: the first hidden layer
    assert math.isclose(first, squared_norm(chain[:2], x).item(), rel_tol=1e-8)


def test_a_submodule_by_name() -> None:
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(4, 3), nn.Softplus()).double()
    model, x = Wrapped(encoder), rows()
    assert math.isclose(
        Contractive("inner", 0)(context_of(model, x)).item(), squared_norm(encoder, x).item(), rel_tol=1e-8
    )


def test_extra_passes_leave_the_running_statistics() -> None:
    model = normalised_network()
    context = context_of(model, rows())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    Contractive("2")(context).backward()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_refusals() -> None:
    context = context_of(Wrapped(nn.Linear(4, 3).double()), rows())
    with pytest.raises(ConfigError, match="which part is the encoder"):
        Contractive()(context)
    with pytest.raises(ConfigError, match='no part "codes"'):
        Contractive("codes")(context)
    with pytest.raises(ConfigError, match="draws"):
        Contractive(draws=-1)
