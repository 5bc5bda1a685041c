"""Training with hints: outputs while training, and the network as it was afterwards, bit by bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.errors import ConfigError
from lamina.likelihoods import Categorical, Gaussian, Heads
from lamina.nn import MLP
from lamina.nn.hints import with_hints, without_hints
from lamina.training import GradientStep, Supervised, fit


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_R18_heads_that_exist_only_while_training() -> None:
    x = torch.randn(64, 4, generator=generator(0))
    kind = (x[:, 0] > 0).float() + (x[:, 1] > 0).float()
    severity = x[:, 0] + x[:, 1]
    plain = MLP(4, 3, (8,), generator=generator(1))
    names, count = list(plain.state_dict()), sum(p.numel() for p in plain.parameters())
    before = plain(x)

    model = with_hints(plain, 1, generator=generator(2))
    assert model(x).shape == (64, 4)
    assert torch.equal(model(x)[:, :3], before)
    assert sum(p.numel() for p in model.parameters()) == count + 8 + 1
    heads = Heads((Categorical(3), Gaussian(scale=1.0)), ("kind", "severity"))
    step = GradientStep(model, Supervised(heads), torch.optim.Adam(model.parameters(), lr=1e-2))
    data = InMemory(Batch(x, torch.stack((kind, severity), dim=1)), 16)
    fit(step, data, max_epochs=5)
    assert model.eval()(x).shape == (64, 3)
    main, hinted = model.train()(x)[:, :3].detach(), model.get_submodule("output.hints.weight".rpartition(".")[0])
    assert (hinted.weight.grad != 0).any()

    bare = without_hints(model)
    assert list(bare.state_dict()) == names
    assert sum(p.numel() for p in bare.parameters()) == count
    assert bare(x).shape == (64, 3)
    assert torch.equal(bare(x).detach(), main)
    assert (bare(x) != before).any()
    MLP(4, 3, (8,)).load_state_dict(bare.state_dict())  # a run folder rebuilds it as it was declared


def test_R18_the_hint_teaches_the_hidden_layer() -> None:
    """With the main loss switched off, the hidden layer still learns; with no hint it does not."""
    x = torch.randn(32, 4, generator=generator(0))
    model = with_hints(MLP(4, 2, (5,), generator=generator(1)), 1, generator=generator(2))
    (model(x)[:, 2] - x.sum(1)).square().mean().backward()  # type: ignore[no-untyped-call]
    assert (model.linear1.weight.grad != 0).any()
    assert model.output.main.weight.grad is None or (model.output.main.weight.grad == 0).all()


def test_R18_a_layer_deep_within_and_double_precision() -> None:
    model = nn.ModuleDict({"head": nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))}).double()
    with_hints(model, 3, layer="head.1")
    assert model["head"](torch.zeros(5, 3, dtype=torch.float64)).shape == (5, 5)
    assert model["head"][1].out_features == 5
    without_hints(model)
    assert isinstance(model["head"][1], nn.Linear)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="missing"):
        with_hints(nn.Sequential(nn.Linear(1, 1)), 1)
    with pytest.raises(ConfigError, match="a ReLU"):
        with_hints(nn.Sequential(nn.ReLU()), 1, layer="0")
    with pytest.raises(ConfigError, match="no part"):
        with_hints(nn.Sequential(nn.Linear(1, 1)), 1, layer="a.b")
    with pytest.raises(ConfigError, match="n_hints"):
        with_hints(nn.Sequential(nn.Linear(1, 1)), 0, layer="0")
    with pytest.raises(ConfigError, match="no hints"):
        without_hints(nn.Linear(1, 1))
