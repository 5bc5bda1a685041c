"""Greedy pre-training, audited: what may change while a layer learns, what each layer is shown, what is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from lamina.autoencoders.autoencoder_layer import AutoencoderLayer
from lamina.autoencoders.corruption import Masking
from lamina.data.batch import Batch
from lamina.data.stream import InMemory, Stream
from lamina.energy.rbm_layer import RBMLayer
from lamina.errors import ConfigError
from lamina.initialisers import initialise
from lamina.nn import MLP
from lamina.training import Callback, Run
from lamina.training.gradient_step import GradientStep
from lamina.training.greedy import LayerLearner, encoded, pretrain_greedy
from lamina.training.hidden_layers import HiddenLayer
from lamina.training.objective import Loss

G = torch.Generator


def network(seed: int = 0, **options: Any) -> nn.Sequential:
    return MLP(7, 3, (6, 5, 4), "sigmoid", generator=G().manual_seed(seed), **options)


def examples(n: int = 24, seed: int = 1) -> Batch:
    generator = G().manual_seed(seed)
    return Batch(torch.rand(n, 7, generator=generator), torch.randint(3, (n,), generator=generator))


def stream(**options: Any) -> InMemory:
    return InMemory(examples(), 5, seed=2, **options)


class Elsewhere:
    """The same batches from a stream that is not in memory."""

    def __init__(self, data: InMemory) -> None:
        self.data, self.n_examples = data, data.n_examples

    def __len__(self) -> int:
        return len(self.data)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        return self.data.batches(epoch, start)


@dataclass
class Recorder:
    """Another learner that keeps what it is shown; a layer learns to give 1."""

    shown: dict[int, list[Tensor]] = field(default_factory=dict)
    targets: list[Tensor | None] = field(default_factory=list)
    adopted: list[int] = field(default_factory=list)

    def step(self, layer: HiddenLayer, inputs: Stream, generator: Generator) -> GradientStep:
        def objective(model: nn.Module, batch: Batch) -> Loss:
            self.shown.setdefault(layer.number, []).append(batch.inputs.clone())
            self.targets.append(batch.targets)
            return Loss((1 - model(batch.inputs)).square().mean(), {})

        return GradientStep(layer.encoder, objective, torch.optim.SGD(layer.encoder.parameters(), 0.5))

    def adopt(self, model: nn.Module, layer: HiddenLayer) -> None:
        self.adopted.append(layer.number)


class Audit(Callback):
    """After each update, sees that only one layer of the network has changed, to the bit."""

    def __init__(self, net: nn.Sequential, layer: HiddenLayer) -> None:
        self.net, self.own = net, tuple(f"{name}." for name in layer.modules)
        self.before = copy.deepcopy(net.state_dict())
        self.steps = 0

    def on_step(self, run: Run) -> None:
        self.steps += 1
        for name, value in self.net.state_dict().items():
            if not name.startswith(self.own):
                assert torch.equal(value, self.before[name]), name


LEARNERS: dict[str, Callable[[], LayerLearner]] = {
    "rbm": RBMLayer,
    "persistent": lambda: RBMLayer(0.1, persistent=True),
    "autoencoder": AutoencoderLayer,
    "denoising": lambda: AutoencoderLayer(0.1, corruption=Masking(0.3)),
    "untied": lambda: AutoencoderLayer(0.1, tied=False),
    "recorder": Recorder,
}


@pytest.mark.parametrize("passing", ["means", "samples"])
@pytest.mark.parametrize("learner", LEARNERS)
def test_U03_while_a_layer_learns_all_others_stay_to_the_bit(learner: str, passing: Any) -> None:
    net, audits = network(), []

    def watch(layer: HiddenLayer) -> list[Callback]:
        audits.append(Audit(net, layer))
        return [audits[-1]]

    start = copy.deepcopy(net.state_dict())
    done = pretrain_greedy(
        net, stream(), LEARNERS[learner](), epochs=(1, 2, 3), passing=passing, callbacks=watch,
        generator=G().manual_seed(3),
    )  # fmt: skip
    assert [audit.steps for audit in audits] == [5, 10, 15]
    assert [len(each.history.records) for each in done] == [1, 2, 3]
    assert [each.layer.name for each in done] == ["linear1", "linear2", "linear3"]
    after = net.state_dict()
    for k in (1, 2, 3):
        assert not torch.equal(after[f"linear{k}.weight"], start[f"linear{k}.weight"])
        # Where the next layer's audit began is where this layer ended, and it is there still.
        for audit in audits[k:]:
            assert torch.equal(audit.before[f"linear{k}.weight"], after[f"linear{k}.weight"])
            assert torch.equal(audit.before[f"linear{k}.bias"], after[f"linear{k}.bias"])
    assert torch.equal(after["output.weight"], start["output.weight"])
    assert all(p.grad is None for p in net.parameters())
    assert net.training and not any(each.model.training for each in done)


def test_U03_each_layer_is_shown_what_the_finished_ones_give() -> None:
    net, recorder = network(), Recorder()
    pretrain_greedy(net, stream(), recorder, epochs=2)
    assert recorder.adopted == [1, 2, 3]
    given = [batch.inputs for epoch in (0, 1) for batch in stream().batches(epoch)]
    w = {name: value.double() for name, value in net.state_dict().items()}
    for k in (1, 2, 3):
        assert all(a.shape == b.shape for a, b in zip(recorder.shown[k], given, strict=True))
        for shown, h in zip(recorder.shown[k], given, strict=True):
            torch.testing.assert_close(shown, h)
        given = [(1 / (1 + torch.exp(-(h.double() @ w[f"linear{k}.weight"].T + w[f"linear{k}.bias"])))).float()
                 for h in given]  # fmt: skip
    targets = [batch.targets for epoch in (0, 1) for batch in stream().batches(epoch)] * 3
    assert all(torch.equal(a, b) for a, b in zip(recorder.targets, targets, strict=True))  # type: ignore[arg-type]


def test_U03_finished_layers_compute_as_in_evaluation() -> None:
    recorder = Recorder()
    net = nn.Sequential(
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(7, 6), nn.BatchNorm1d(6), nn.Sigmoid(), nn.Dropout(0.5),
        nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Sigmoid(), nn.Linear(5, 3),
    )  # fmt: skip
    initialise(net, "glorot", G().manual_seed(0))
    (first, second) = pretrain_greedy(net, stream(shuffle=False), recorder, epochs=2)
    assert list(first.layer.before) == [net[0], net[1]] and list(second.layer.before) == []
    x = examples().inputs
    assert torch.equal(torch.cat(recorder.shown[1][:5]), x)  # no input dropout
    assert not torch.equal(net[3].running_mean, torch.zeros(6))
    with torch.no_grad():
        wanted = torch.sigmoid(
            (x @ net[2].weight.T + net[2].bias - net[3].running_mean)
            / (net[3].running_var + net[3].eps).sqrt() * net[3].weight + net[3].bias
        )  # fmt: skip
    torch.testing.assert_close(torch.cat(recorder.shown[2][:5]), wanted)


def test_layers_stop_early_where_asked_and_the_mode_comes_back() -> None:
    net = network().eval()
    before = copy.deepcopy(net.state_dict())
    done = pretrain_greedy(net, stream(), RBMLayer(), epochs=[1, 1], layers=2)
    assert len(done) == 2 and not net.training
    assert torch.equal(net.state_dict()["linear3.weight"], before["linear3.weight"])


def test_the_mode_comes_back_after_an_error_too() -> None:
    net = network()
    with pytest.raises(ConfigError, match="linear1"):
        pretrain_greedy(net, InMemory(Batch(3 + torch.rand(9, 7)), 3), RBMLayer(), epochs=1)
    assert net.training


def test_U03_samples_are_drawn_anew_in_each_epoch_as_a_function_of_epoch_and_example() -> None:
    net, recorder = network(), Recorder()
    pretrain_greedy(net, stream(shuffle=False), recorder, epochs=2, passing="samples")
    assert torch.equal(torch.cat(recorder.shown[1][:5]), examples().inputs)  # the data are given as they are
    one, two = torch.cat(recorder.shown[2][:5]), torch.cat(recorder.shown[2][5:])
    assert {0.0, 1.0} == set(one.unique().tolist()) and not torch.equal(one, two)
    # Shuffled, the same examples get the same samples.
    rows = Batch(torch.arange(24.0)[:, None].expand(24, 7) / 24, torch.arange(24))
    body = nn.Sequential(nn.Linear(7, 40), nn.Sigmoid())
    kept: dict[bool, Tensor] = {}
    for shuffle in (False, True):
        batches = list(encoded(body, InMemory(rows, 5, shuffle=shuffle), "samples").batches(3))
        order = torch.cat([b.targets for b in batches if b.targets is not None]).argsort()
        kept[shuffle] = torch.cat([b.inputs for b in batches])[order]
    assert torch.equal(kept[False], kept[True])
    # From the middle of an epoch they are those of the whole epoch.
    of = encoded(body, InMemory(rows, 5), "samples")
    assert torch.equal(list(of.batches(1))[3].inputs, next(iter(of.batches(1, 3))).inputs)


def test_U03_samples_have_the_units_values_as_probabilities() -> None:
    p = torch.rand(6, generator=G().manual_seed(0))
    data = InMemory(Batch(p.expand(400, 6).contiguous()), 100)
    seen = torch.cat([b.inputs for epoch in range(10) for b in encoded(nn.Identity(), data, "samples").batches(epoch)])
    assert ((seen.mean(0) - p).abs() < 4 * (p * (1 - p) / 4_000).sqrt()).all()
    centred = (seen - p) / (p * (1 - p)).sqrt()
    correlations = centred.T @ centred / 4_000 - torch.eye(6)
    assert correlations.abs().max() < 4.5 / 4_000**0.5


@pytest.mark.parametrize("learner", ["rbm", "denoising"])
def test_U03_a_stream_that_is_not_in_memory_teaches_the_same(learner: str) -> None:
    nets = []
    for data in (stream(), Elsewhere(stream()), stream(augment=lambda x, rows, epoch: x)):
        nets.append(network())
        pretrain_greedy(nets[-1], data, LEARNERS[learner](), epochs=2, generator=G().manual_seed(3))
    for other in nets[1:]:
        for name, value in nets[0].state_dict().items():
            torch.testing.assert_close(value, other.state_dict()[name], rtol=1e-5, atol=1e-6)


def test_a_stream_that_is_not_in_memory_is_sampled_by_place() -> None:
    body = nn.Sequential(nn.Linear(7, 9), nn.Sigmoid())
    of = encoded(body, Elsewhere(stream()), "samples")
    assert len(of) == 5 and of.n_examples == 24
    first, again, other = list(of.batches(0)), list(of.batches(0)), list(of.batches(1))
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(first, again, strict=True))
    assert torch.equal(first[2].inputs, next(iter(of.batches(0, 2))).inputs)
    assert not torch.equal(first[0].inputs, other[0].inputs)
    assert not torch.equal(first[0].inputs, first[1].inputs)
    assert set(first[0].inputs.unique().tolist()) == {0.0, 1.0}
    with torch.no_grad():  # the same chance for all: only the place tells two batches apart
        body[0].weight.zero_()
    first = list(encoded(body, Elsewhere(stream()), "samples").batches(0))
    assert not torch.equal(first[0].inputs, first[1].inputs)


def test_what_is_in_memory_stays_there_with_its_rows_weights_and_order() -> None:
    base = examples()
    weighted = base._replace(weights=torch.linspace(0.1, 2.0, 24))
    data = InMemory(weighted, 5, rows=torch.arange(0, 24, 2), seed=4)
    made = encoded(nn.Linear(7, 2), data)
    assert isinstance(made, InMemory) and made.n_examples == 12
    for ours, theirs in zip(made.batches(2), data.batches(2), strict=True):
        assert torch.equal(ours.weights, theirs.weights) and torch.equal(ours.targets, theirs.targets)  # type: ignore[arg-type]
        assert ours.inputs.shape == (len(theirs.inputs), 2)


def test_the_same_generator_gives_the_same_network() -> None:
    nets = [network(), network(), network()]
    for net, seed in zip(nets, (5, 5, 6), strict=True):
        pretrain_greedy(net, stream(), RBMLayer(), epochs=2, generator=G().manual_seed(seed))
    a, b, c = (net.state_dict()["linear2.weight"] for net in nets)
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_what_is_no_chain_or_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="hidden layer"):
        pretrain_greedy(nn.Sequential(nn.Linear(7, 3)), stream(), RBMLayer(), epochs=1)
    for wrong in (0, (1, 2), (1, 1, 0), True, (1, 1, True)):
        with pytest.raises(ConfigError, match="epochs"):
            pretrain_greedy(network(), stream(), RBMLayer(), epochs=wrong)
    for layers in (0, 4, True):
        with pytest.raises(ConfigError, match="between 1 and 3"):
            pretrain_greedy(network(), stream(), RBMLayer(), epochs=1, layers=layers)
    tanh = MLP(7, 3, (6, 5), "tanh", generator=G().manual_seed(0))
    with pytest.raises(ConfigError, match="probabilities"):
        pretrain_greedy(tanh, stream(), AutoencoderLayer(), epochs=1, passing="samples")
