"""Pre-training by machines against the rules written out, and what a layer must be to be taught so."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from energy.machines import arrays, bars_and_stripes
from energy.oracle import Enumerated
from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.energy import RBM, Gaussian
from lamina.energy.binary_draws import draw_binary
from lamina.energy.rbm_layer import RBMLayer
from lamina.errors import ConfigError
from lamina.nn import MLP
from lamina.training.greedy import LayerLearner, pretrain_greedy
from lamina.training.hidden_layers import hidden_layers

G = torch.Generator


def network(inputs: int = 6, hidden: tuple[int, ...] = (5, 4), seed: int = 0, **options: Any) -> nn.Sequential:
    net = MLP(inputs, 3, hidden, "sigmoid", generator=G().manual_seed(seed), **options).double()
    with torch.no_grad():  # biases too, so that a forgotten one is seen
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=G().manual_seed(seed + p.numel())))
    return net


def probabilities(n: int = 8, width: int = 6) -> torch.Tensor:
    return torch.rand(n, width, generator=G().manual_seed(3), dtype=torch.float64)


def test_U05_a_stack_is_contrastive_divergence_written_out() -> None:
    net, x = network(), probabilities()
    w = {k: p.detach().clone() for k, p in net.named_parameters()}
    data = InMemory(Batch(x), 8, shuffle=False)
    done = pretrain_greedy(net, data, RBMLayer(0.3), epochs=2, generator=G().manual_seed(7))
    drawn, v = G().manual_seed(7), x
    for k in (1, 2):
        weight, c = w[f"linear{k}.weight"], w[f"linear{k}.bias"]
        torch.empty(weight.shape).normal_(generator=drawn)  # the machine's own start, which is overwritten
        share = (v.sum(0) + 0.5) / 9  # one more example, of one half
        b = (share / (1 - share)).log()
        for _ in range(2):
            h = torch.sigmoid(v @ weight.t() + c)
            state = draw_binary(h, drawn)
            mean = torch.sigmoid(state @ weight + b)
            v2 = draw_binary(mean, drawn)
            h2 = torch.sigmoid(v2 @ weight.t() + c)
            weight = weight + 0.3 * (h.t() @ v - h2.t() @ v2) / 8
            b = b + 0.3 * (v - v2).mean(0)
            c = c + 0.3 * (h - h2).mean(0)
        torch.testing.assert_close(net.get_parameter(f"linear{k}.weight").detach(), weight)
        torch.testing.assert_close(net.get_parameter(f"linear{k}.bias").detach(), c)
        model = done[k - 1].model
        assert isinstance(model, RBM)
        torch.testing.assert_close(model.visible_bias.detach(), b)
        v = torch.sigmoid(v @ weight.t() + c)


def test_U03_copied_weights_equal_those_of_the_machine_and_are_not_shared_with_it() -> None:
    net = network()
    for each in pretrain_greedy(net, InMemory(Batch(probabilities()), 4), RBMLayer(), epochs=2):
        assert isinstance(each.model, RBM)
        assert torch.equal(each.layer.affine.weight, each.model.weight)  # type: ignore[arg-type]
        assert torch.equal(each.layer.affine.bias, each.model.hidden_bias)  # type: ignore[arg-type]
        assert each.layer.affine.weight.data_ptr() != each.model.weight.data_ptr()  # type: ignore[operator]
        x = probabilities(width=each.model.n_visible)
        torch.testing.assert_close(each.model(x), each.layer.encoder(x))  # the machine computes what the layer does


def test_it_starts_with_the_layers_own_weights() -> None:
    net = network()
    before = copy.deepcopy(net.state_dict())
    pretrain_greedy(net, InMemory(Batch(probabilities()), 4), RBMLayer(0.0), epochs=1)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_gaussian_inputs_have_their_means_as_biases_and_a_tenth_of_the_rate() -> None:
    x = 3.0 + torch.randn(50, 6, generator=G().manual_seed(1), dtype=torch.float64)
    layers, _ = hidden_layers(network(), "test")
    learner = RBMLayer(0.2, first_visible="gaussian", momentum=0.5)
    first = learner.step(layers[0], InMemory(Batch(x), 10), G().manual_seed(0))
    assert first.model.visible == Gaussian(learn_variance=False)  # type: ignore[comparison-overlap]
    torch.testing.assert_close(first.model.visible_bias.detach(), x.mean(0))  # type: ignore[operator]
    assert first.optimizer.param_groups[0]["lr"] == pytest.approx(0.02)
    second = learner.step(layers[1], InMemory(Batch(probabilities(width=5)), 10), G().manual_seed(0))
    assert type(second.model.visible).__name__ == "Bernoulli"
    assert second.optimizer.param_groups[0]["lr"] == pytest.approx(0.2)


def test_options_reach_the_machine() -> None:
    layers, _ = hidden_layers(network(), "test")
    learner = RBMLayer(0.2, sweeps=3, persistent=True, momentum=0.5, weight_decay=0.01, sparsity=0.1, centred=True)
    step: Any = learner.step(layers[0], InMemory(Batch(probabilities(9)), 4), G().manual_seed(0))
    assert (step.sweeps, step.persistent, step.sparsity, step.centred) == (3, True, 0.1, True)
    assert step.model.chains.shape == (4, 6) and step.model.chains.dtype == torch.float64
    group = step.optimizer.param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.2, 0.5, 0.01)
    wanted = torch.full((5,), 0.1).double()
    torch.testing.assert_close(step.model.hidden_bias.sigmoid(), wanted)  # it starts at the mean that is asked for
    drawing: Any = RBMLayer(draw_data=True).step(layers[0], InMemory(Batch(probabilities()), 4), G())
    assert drawing.draw_data
    real: Any = RBMLayer(draw_data=True, first_visible="gaussian")
    assert not real.step(layers[0], InMemory(Batch(probabilities()), 4), G()).draw_data
    mean: Any = RBMLayer(reconstruction="mean").step(layers[0], InMemory(Batch(probabilities()), 4), G())
    assert mean.reconstruction == "mean"


def test_U05_likelihood_of_bars_and_stripes_rises() -> None:
    patterns = bars_and_stripes(3)
    x = patterns[torch.randint(len(patterns), (300,), generator=G().manual_seed(2))]
    net = MLP(9, 2, (8,), "sigmoid", generator=G().manual_seed(0))
    found = []
    for epochs in (1, 60):
        taught = copy.deepcopy(net)
        (one,) = pretrain_greedy(
            taught, InMemory(Batch(x), 10), RBMLayer(0.2), epochs=epochs, generator=G().manual_seed(1)
        )
        exact = Enumerated(*arrays(one.model))  # type: ignore[arg-type]
        rows = (patterns.numpy() @ 2 ** np.arange(8, -1, -1)).astype(int)  # states are in the order of binary numbers
        assert np.array_equal(exact.v[rows], patterns.numpy())
        found.append(float(np.log(exact.joint.sum(1)[rows]).mean()))
    assert found[0] < -5.5 and found[1] > -4.3  # -log 14 = -2.64 at best


class Counted:
    """A stream that is not in memory, and counts the batches that it gave."""

    def __init__(self, data: InMemory) -> None:
        self.data, self.n_examples, self.given = data, data.n_examples, 0

    def __len__(self) -> int:
        return len(self.data)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for batch in self.data.batches(epoch, start):
            self.given += 1
            yield batch


def test_biases_start_from_the_first_ten_thousand_examples() -> None:
    x = torch.zeros(24_000, 2, dtype=torch.float64)
    x[:10_000, 0] = 1.0
    layers, _ = hidden_layers(network(2), "test")
    counted = Counted(InMemory(Batch(x), 1_000, shuffle=False))
    step = RBMLayer().step(layers[0], counted, G())
    assert counted.given == 10
    share = torch.tensor([10_000.5 / 10_001, 0.5 / 10_001], dtype=torch.float64)
    torch.testing.assert_close(step.model.visible_bias.detach(), (share / (1 - share)).log())  # type: ignore[operator]


@pytest.mark.parametrize(
    ("modules", "named"),
    [
        ([nn.Linear(6, 4), nn.ReLU()], "Linear, ReLU"),
        ([nn.Linear(6, 4)], "Linear,"),
        ([nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Sigmoid()], "BatchNorm1d"),
        ([nn.Linear(6, 4), nn.Sigmoid(), nn.BatchNorm1d(4)], "BatchNorm1d"),
        ([nn.Linear(6, 4, bias=False), nn.Sigmoid()], "Linear, Sigmoid"),
        ([weight_norm(nn.Linear(6, 4)), nn.Sigmoid()], "Sigmoid"),
        ([nn.Conv1d(6, 4, 1), nn.Sigmoid()], "Conv1d"),
    ],
)
def test_other_layers_are_refused_by_name(modules: list[nn.Module], named: str) -> None:
    chain = OrderedDict([(f"part{i}", module) for i, module in enumerate(modules)] + [("output", nn.Linear(4, 2))])
    layers, _ = hidden_layers(nn.Sequential(chain), "test")
    with pytest.raises(ConfigError, match=named) as caught:
        RBMLayer().step(layers[0], InMemory(Batch(torch.rand(4, 6)), 2), G())
    assert 'layer "part0"' in str(caught.value)


def test_dropout_behind_the_unit_is_no_hindrance() -> None:
    net = network(dropout=0.5)
    x = probabilities()
    plain = network()
    pretrain_greedy(net, InMemory(Batch(x), 4), RBMLayer(), epochs=2, generator=G().manual_seed(1))
    pretrain_greedy(plain, InMemory(Batch(x), 4), RBMLayer(), epochs=2, generator=G().manual_seed(1))
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in net.state_dict().items())


def test_inputs_that_are_no_probabilities_are_refused_with_their_range() -> None:
    x = probabilities()
    x[3, 2] = 1.5
    with pytest.raises(ConfigError, match=r"to 1\.5") as caught:
        pretrain_greedy(network(), InMemory(Batch(x), 4), RBMLayer(), epochs=1)
    assert 'first_visible="gaussian"' in (caught.value.mend or "")


def test_options_out_of_range_are_refused_at_once() -> None:
    for options in ({"rate": -0.1}, {"momentum": 1.0}, {"sweeps": 0}, {"sparsity": 2.0}, {"reconstruction": "no"},
                    {"persistent": True, "reconstruction": "mean"}, {"first_visible": "softmax"}):  # fmt: skip
        with pytest.raises(ConfigError):
            RBMLayer(**options)  # type: ignore[arg-type]
    assert isinstance(RBMLayer(), LayerLearner)
