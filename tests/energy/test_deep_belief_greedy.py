"""Greedy training of deep belief networks: what is handed on, what stays, and that bound and likelihood rise."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Generator

from energy.machines import bars_and_stripes
from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.energy import RBM, ContrastiveDivergenceStep
from lamina.energy.deep_belief import DeepBeliefNetwork
from lamina.energy.deep_belief_greedy import pretrain_deep_belief
from lamina.errors import ConfigError
from lamina.training import Callback, Run, Step
from lamina.training.greedy import encoded

G = torch.Generator
PICTURES = bars_and_stripes(3)
DATA = InMemory(Batch(PICTURES.repeat(10, 1)), 140)


def quick(rbm: RBM, generator: Generator) -> Step:
    return cast(Step, ContrastiveDivergenceStep(rbm, 0.1, sweeps=2, momentum=0.5, generator=generator))


@pytest.mark.parametrize("passing", ["means", "samples"])
def test_U15_each_layer_is_a_machine_of_what_the_lower_ones_infer(passing: Any) -> None:
    net = DeepBeliefNetwork((9, 6, 5, 4), generator=G().manual_seed(0))
    layers = pretrain_deep_belief(net, DATA, quick, epochs=3, passing=passing, generator=G().manual_seed(1))
    assert [type(layer.model) for layer in layers] == [RBM] * 3
    assert layers[-1].model is net.top
    for k, layer in enumerate(layers[:-1]):
        rbm = layer.model
        assert isinstance(rbm, RBM)
        assert torch.equal(net.layers.up[k].weight, rbm.weight) and torch.equal(net.layers.up[k].bias, rbm.hidden_bias)
        assert torch.equal(net.layers.down[k].weight, rbm.weight.t())
        assert torch.equal(net.layers.down[k].bias, rbm.visible_bias)
    # The two layers again, by hand: the same stream from the finished first one, the same draws.
    again = DeepBeliefNetwork((9, 6, 5, 4), generator=G().manual_seed(0))
    generator = G().manual_seed(1)
    one = RBM(9, 6, std=0.0)
    with torch.no_grad():
        one.weight.copy_(again.layers.up[0].weight)
    one.set_visible_bias(DATA.data.inputs)
    step = quick(one, generator)
    two = RBM(6, 5, std=0.0)
    with torch.no_grad():
        two.weight.copy_(again.layers.up[1].weight)
    for epoch in range(3):
        for batch in DATA.batches(epoch):
            step(batch)
    stream = encoded(torch.nn.Sequential(*[_affine(one), torch.nn.Sigmoid()]), DATA, passing)
    seen = torch.cat([batch.inputs for batch in stream.batches(0)])
    two.set_visible_bias(seen)
    step = quick(two, generator)
    for epoch in range(3):
        for batch in stream.batches(epoch):
            step(batch)
    torch.testing.assert_close(net.layers.up[0].weight, one.weight)
    torch.testing.assert_close(net.layers.up[1].weight, two.weight)


def _affine(rbm: RBM) -> torch.nn.Linear:
    linear = torch.nn.Linear(rbm.n_visible, rbm.n_hidden)
    with torch.no_grad():
        linear.weight.copy_(rbm.weight)
        linear.bias.copy_(rbm.hidden_bias)
    return linear


class LowerLayers(Callback):
    """Keeps what the finished layers are while a later one learns."""

    def __init__(self, net: DeepBeliefNetwork) -> None:
        self.net, self.seen = net, []

    def on_epoch(self, run: Run) -> None:
        self.seen.append([p.detach().clone() for p in self.net.layers.parameters()])


def test_U03_finished_layers_stay() -> None:
    net = DeepBeliefNetwork((9, 6, 4), generator=G().manual_seed(0))
    watch = LowerLayers(net)
    pretrain_deep_belief(
        net, DATA, quick, epochs=3, callbacks=lambda layer: [watch] if layer.number == 2 else [], generator=G()
    )
    assert len(watch.seen) == 3
    for kept in watch.seen:
        assert all(torch.equal(a, b) for a, b in zip(kept, net.layers.parameters(), strict=True))


def maximum_likelihood(rbm: RBM, generator: Generator) -> Step:
    rbm.chains = torch.zeros(200, rbm.n_visible)
    return cast(Step, ContrastiveDivergenceStep(rbm, 0.5, sweeps=5, persistent=True, generator=generator))


def test_U17_a_tied_layer_starts_from_the_machine_below_and_raises_the_bound() -> None:
    net = DeepBeliefNetwork((9, 6, 9), std=0.1, generator=G().manual_seed(0))
    starts: list[tuple[torch.Tensor, ...]] = []

    def learn(rbm: RBM, generator: Generator) -> Step:
        starts.append(tuple(p.detach().clone() for p in (rbm.weight, rbm.visible_bias, rbm.hidden_bias)))
        return maximum_likelihood(rbm, generator)

    first, _ = pretrain_deep_belief(net, DATA, learn, epochs=(250, 1200), tied=True, generator=G().manual_seed(1))
    rbm = first.model
    assert isinstance(rbm, RBM)
    weight, visible, hidden = starts[1]
    assert torch.equal(weight, rbm.weight.t())
    assert torch.equal(visible, rbm.hidden_bias) and torch.equal(hidden, rbm.visible_bias)
    with torch.no_grad():
        alone = rbm.log_likelihood(PICTURES, rbm.log_partition()).mean()
        found = net.exact_bound(PICTURES, net.top.log_partition())
    assert float(found.bound.mean()) > float(alone) + 0.05
    assert float(found.log_likelihood.mean()) > float(found.bound.mean())


def test_labels_join_the_top() -> None:
    kinds = torch.tensor([[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]).repeat(40, 1)
    data = InMemory(Batch(kinds, torch.tensor([0, 1]).repeat(40)), 20)
    net = DeepBeliefNetwork((6, 4, 4), 2, std=0.1, generator=G().manual_seed(0))
    pretrain_deep_belief(net, data, quick, epochs=100, generator=G().manual_seed(1))
    with torch.no_grad():
        assert bool((net.label_log_prob(kinds[:2]).diagonal().exp() > 0.9).all())
    drawn = net.sample(200, 50, G().manual_seed(2), labels=torch.arange(2).repeat(100))[0]
    assert float((drawn == kinds[:2].repeat(100, 1)).float().mean()) > 0.9


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="pretrain_deep_belief: tied layers are as wide as those two below"):
        pretrain_deep_belief(DeepBeliefNetwork((9, 6, 8)), DATA, epochs=1, tied=True)
    with pytest.raises(ConfigError, match="pretrain_deep_belief: the network has labels, and the data have none"):
        pretrain_deep_belief(DeepBeliefNetwork((9, 6), 2), DATA, epochs=1)
