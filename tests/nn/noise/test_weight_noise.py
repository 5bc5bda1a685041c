"""Weight noise: which weights, for which modules, and the penalty that it is in expectation."""

import math

import pytest
import torch
from torch import nn

from lamina.errors import ConfigError
from lamina.nn.noise import WeightNoise


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


MODULES = {
    "linear": (lambda: nn.Linear(3, 4), (5, 3)),
    "conv": (lambda: nn.Conv2d(2, 3, 3), (2, 2, 6, 6)),
    "lstm": (lambda: nn.LSTM(3, 4, batch_first=True), (2, 5, 3)),
    "gru": (lambda: nn.GRU(3, 4, batch_first=True), (2, 5, 3)),
    "network": (lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)), (5, 3)),
}


def output(value: object) -> torch.Tensor:
    return value[0] if isinstance(value, tuple) else value  # type: ignore[return-value]


@pytest.mark.parametrize("name", list(MODULES))
def test_R11_noisy_while_training_exact_in_evaluation(name: str) -> None:
    make, shape = MODULES[name]
    module, x = make(), torch.randn(shape, generator=seeded(1))
    layer = WeightNoise(module, 0.5, generator=seeded(2))
    before = {k: v.clone() for k, v in module.named_parameters()}
    first, second = output(layer(x)), output(layer(x))
    assert not torch.allclose(first, second)
    assert all(torch.equal(v, before[k]) for k, v in module.named_parameters())
    assert torch.equal(output(layer.eval()(x)), output(module.eval()(x)))
    assert torch.equal(output(WeightNoise(module, 0.0)(x)), output(module(x)))


@pytest.mark.parametrize("name", list(MODULES))
def test_R11_output_and_gradient_are_those_at_the_noisy_weights(name: str) -> None:
    make, shape = MODULES[name]
    module, x = make().double(), torch.randn(shape, generator=seeded(1), dtype=torch.float64)
    layer = WeightNoise(module, 0.5, generator=seeded(2))
    found = torch.autograd.grad(output(layer(x)).square().sum(), list(module.parameters()))
    twin, generator = make().double(), seeded(2)
    twin.load_state_dict(module.state_dict())
    with torch.no_grad():
        for p in twin.parameters():
            if p.ndim > 1:  # matrices and kernels, in the order of the module
                p.add_(torch.randn(p.shape, generator=generator, dtype=p.dtype), alpha=0.5)
    expected = torch.autograd.grad(output(twin(x)).square().sum(), list(twin.parameters()))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_R11_chosen_names() -> None:
    module = nn.Linear(3, 2)
    layer = WeightNoise(module, 1.0, ["bias"], generator=seeded())
    difference = layer(torch.zeros(1, 3)) - module.bias
    assert difference.abs().min() > 0
    assert torch.equal(layer(torch.zeros(1, 3)) - layer(torch.zeros(1, 3)), torch.zeros(1, 2)) is False
    assert WeightNoise(module, 1.0).names == ("weight",)


def test_R11_E23_in_expectation_the_penalty_is_eta_times_the_squared_gradient_of_the_output() -> None:
    """E_ε (ŷ_{W+ε} - y)² - (ŷ_W - y)² tends to η ‖∇_W ŷ‖², where ŷ = y and the curvature of ŷ does not enter."""
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    for k, p in enumerate(net.parameters()):
        p.data.normal_(generator=seeded(k))
    x, eta = torch.tensor([[0.7, -1.2]], dtype=torch.float64), 1e-4
    y = net(x).detach()
    weights = [net[0].weight, net[2].weight]
    gradients = torch.autograd.grad(net(x).sum(), weights)
    penalty = eta * sum(g.square().sum() for g in gradients)
    layer = WeightNoise(net, math.sqrt(eta), generator=seeded(9))
    with torch.no_grad():
        losses = torch.stack([(layer(x) - y).square().sum() for _ in range(4000)])
    error = losses.std() / math.sqrt(len(losses))
    assert abs(losses.mean() - penalty) < 4 * error
    assert error < 0.03 * penalty  # narrow enough to tell σ from η, and a factor of two


def test_refusals() -> None:
    with pytest.raises(ConfigError, match='no parameter "wight"; did you mean "weight"'):
        WeightNoise(nn.Linear(2, 2), 0.1, ["wight"])
    with pytest.raises(ConfigError, match="no weights"):
        WeightNoise(nn.ReLU(), 0.1)
    with pytest.raises(ConfigError, match="std"):
        WeightNoise(nn.Linear(2, 2), -0.1)
