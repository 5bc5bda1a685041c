"""Noise put into chains: where it stands, and that nothing else changes."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from lamina.errors import ConfigError
from lamina.nn.mlp import MLP, ResidualMLP
from lamina.nn.noise import GaussianNoise, insert_noise
from lamina.nn.pixels import PixelScaling


@dataclass(frozen=True)
class Shape:
    n_numeric: int
    cardinalities: tuple[int, ...] = ()


def kinds(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_children()]


def test_R10_before_the_first_layer_and_behind_each_hidden_unit() -> None:
    model = MLP(3, 2, hidden=(4, 4), dropout=0.5, normalisation="batch")
    noisy = insert_noise(model, inputs=0.1, hidden=0.2)
    assert kinds(noisy) == [
        "noise0",
        *("linear1", "norm1", "relu1", "noise1", "dropout1"),
        *("linear2", "norm2", "relu2", "noise2", "dropout2"),
        "output",
    ]
    assert noisy.noise0.std == 0.1 and noisy.noise1.std == noisy.noise2.std == 0.2
    assert noisy.linear1 is model.linear1
    assert list(noisy.state_dict()) == list(model.state_dict())
    x = torch.randn(5, 3)
    assert torch.equal(noisy.eval()(x), model.eval()(x))
    assert not torch.equal(noisy.train()(x), noisy(x))


def test_only_one_of_them_and_none() -> None:
    model = MLP(3, 2, hidden=(4,))
    assert kinds(insert_noise(model, inputs=0.1)) == ["noise0", "linear1", "relu1", "output"]
    assert kinds(insert_noise(model, hidden=0.1)) == ["linear1", "relu1", "noise1", "output"]
    assert kinds(insert_noise(model)) == kinds(model)


def test_codes_and_bytes_stay_clean() -> None:
    table = insert_noise(MLP(Shape(1, (3,)), 1, hidden=(4,)), inputs=0.5)
    assert kinds(table) == ["columns", "noise0", "linear1", "relu1", "output"]
    table(torch.tensor([[0.3, 2.0]]))
    pictures = insert_noise(nn.Sequential(PixelScaling([0.5], [0.2]), nn.Flatten(), nn.Linear(4, 1)), inputs=0.5)
    assert isinstance(pictures[1], GaussianNoise)
    pictures(torch.zeros(1, 1, 2, 2, dtype=torch.uint8))


def test_within_chains_and_residual_branches() -> None:
    model = ResidualMLP(3, 1, width=4, blocks=2)
    noisy = insert_noise(model, hidden=0.3)
    assert kinds(noisy.block1.branch) == ["norm", "linear1", "unit", "noise1", "dropout", "linear2"]
    assert kinds(noisy) == ["linear0", "block1", "block2", "norm", "unit", "noise1", "output"]
    assert list(noisy.state_dict()) == list(model.state_dict())
    x = torch.randn(6, 3)
    assert torch.equal(noisy.eval()(x), model.eval()(x))
    assert not any(isinstance(m, GaussianNoise) for m in model.modules())


def test_the_output_unit_stays_clean_and_a_unit_may_stand_twice() -> None:
    relu = nn.ReLU()
    model = nn.Sequential(nn.Linear(2, 3), relu, nn.Linear(3, 3), relu, nn.Linear(3, 1), nn.Sigmoid(), nn.Flatten())
    noisy = insert_noise(model, hidden=0.3)
    assert kinds_of(noisy) == ["Linear", "ReLU", "GaussianNoise"] * 2 + ["Linear", "Sigmoid", "Flatten"]
    assert torch.equal(noisy.eval()(torch.ones(1, 2)), model(torch.ones(1, 2)))


def kinds_of(model: nn.Sequential) -> list[str]:
    return [type(layer).__name__ for layer in model]


def test_generator_decides() -> None:
    model, x = MLP(3, 2, hidden=(4,)), torch.randn(5, 3)
    first, second = (insert_noise(model, 0.3, 0.3, torch.Generator().manual_seed(1))(x) for _ in range(2))
    assert torch.equal(first, second)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="no hidden unit"):
        insert_noise(MLP(3, 2, hidden=()), hidden=0.1)
    with pytest.raises(ConfigError, match="LSTM is not a chain"):
        insert_noise(nn.LSTM(2, 2), inputs=0.1)
    with pytest.raises(ConfigError, match="std"):
        insert_noise(nn.Sequential(), inputs=-0.1)
