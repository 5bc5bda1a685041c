"""Semi-supervised embedding by hand, against the criterion at the outputs, and with few labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from lamina.autoencoders.embedding import EmbeddingLayer, EmbeddingNetwork, SemiSupervisedEmbedding
from lamina.data.batch import Batch
from lamina.data.generated.moons import two_moons
from lamina.data.nearest_pairs import nearest_pairs
from lamina.data.pairs import LabelledAndPairs
from lamina.data.stream import InMemory
from lamina.errors import ConfigError
from lamina.likelihoods import Categorical, Gaussian
from lamina.nn import MLP
from lamina.penalties import L2
from lamina.training import GradientStep, Objective, PairwiseSemiSupervised, Supervised, fit
from lamina.training.greedy import pretrain_greedy

COUNTS = {"n_labelled": 3, "n_similar": 4, "n_dissimilar": 2}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def example() -> tuple[MLP, Batch]:
    network = MLP(5, 3, (4, 6), "tanh", generator=generator()).double()
    x = torch.randn(15, 5, generator=generator(1), dtype=torch.float64)
    weights = torch.tensor([5.0] * 3 + [0.0] * 12, dtype=torch.float64)
    return network, Batch(x, torch.tensor([0, 2, 1] + [0] * 12), weights)


@pytest.mark.parametrize("form", ["hinge", "hadsell"])
def test_U10_value_by_hand(form: str) -> None:
    network, batch = example()
    head = nn.Linear(4, 2, dtype=torch.float64)
    model = EmbeddingNetwork(network, (2, 1), {1: head})
    objective = SemiSupervisedEmbedding(
        Categorical(3),
        **COUNTS,
        weight=0.6,
        margin=1.5,
        form=form,
        penalty=0.1 * L2(),  # type: ignore[arg-type]
    )
    loss = objective(model, batch)
    with torch.no_grad():
        h1 = torch.tanh(network.linear1(batch.inputs))
        h2 = torch.tanh(network.linear2(h1))
        logits = network.output(h2)
        nll = -sum(logits.log_softmax(1)[n, c] for n, c in enumerate((0, 2, 1))) / 3
        pairs = 0.0
        for z in (head(h1), h2):
            for m in range(4):
                pairs += float(((z[3 + m] - z[7 + m]) ** 2).sum()) / 6
            for m in range(2):
                d2 = float(((z[11 + m] - z[13 + m]) ** 2).sum())
                pairs += (max(0.0, 1.5 - d2) if form == "hinge" else max(0.0, 1.5 - d2**0.5) ** 2) / 6
    assert loss.parts["nll"].item() == pytest.approx(float(nll), rel=1e-10)
    assert loss.parts["pairs"].item() == pytest.approx(pairs, rel=1e-10)
    expected = float(nll) + 0.3 * pairs + loss.parts["penalty"].item()
    assert loss.total.item() == pytest.approx(expected, rel=1e-10) and loss.parts["penalty"] > 0


def test_U10_at_the_outputs_it_is_the_pairwise_criterion() -> None:
    network, batch = example()
    mine = SemiSupervisedEmbedding(Categorical(3), **COUNTS, weight=2.0, margin=0.7)(EmbeddingNetwork(network), batch)
    theirs = PairwiseSemiSupervised(Categorical(3), **COUNTS, weight=2.0, margin=0.7)(network, batch)
    torch.testing.assert_close(mine.total, theirs.total)
    torch.testing.assert_close(mine.parts["pairs"], theirs.parts["pairs"])


def test_U10_network_computes_as_alone_and_pairs_reach_only_the_layers_below() -> None:
    network, batch = example()
    model = EmbeddingNetwork(network, (1,))
    outputs, (z,) = model.embed(batch.inputs)
    assert torch.equal(outputs, network(batch.inputs)) and torch.equal(model(batch.inputs), outputs)
    assert torch.equal(z, network[:2](batch.inputs))
    (gradient,) = torch.autograd.grad(z.sum(), [network.linear1.weight], retain_graph=True)
    assert gradient.any()
    assert torch.autograd.grad(z.sum(), [network.linear2.weight], allow_unused=True) == (None,)
    convolutional = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(18, 2))
    assert EmbeddingNetwork(convolutional, (1,)).embed(torch.zeros(4, 1, 5, 5))[1][0].shape == (4, 18)


def digits(seed: int) -> dict[str, Tensor]:
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(y))
    inputs, codes = torch.tensor(x[order] / 16, dtype=torch.float32), torch.tensor(y[order])
    few = torch.cat([(codes[:1000] == c).nonzero()[:2, 0] for c in range(10)])
    return {"x": inputs[:1000], "few": inputs[few], "codes": codes[few], "u": inputs[1000:], "v": codes[1000:]}


def test_U10_neighbours_at_a_hidden_layer_save_labels_on_digits() -> None:
    """Two labels a class, and 980 digits without any: about half the errors of the labels alone."""
    errors: dict[str, list[float]] = {"labels": [], "embedding": []}
    for seed in range(1):
        d = digits(seed)
        labelled = Batch(d["few"], d["codes"])
        pairs, similar = nearest_pairs(d["x"], 8, seed=seed)
        counts = {"n_labelled": 20, "n_similar": 100, "n_dissimilar": 100}
        for kind, found in errors.items():
            network = MLP(64, 10, (50,), "tanh", generator=generator(seed))
            if kind == "labels":
                step = GradientStep(network, Supervised(Categorical(10)), torch.optim.Adam(network.parameters(), 0.01))
                fit(step, InMemory(labelled, 20), max_epochs=200)
            else:
                data = LabelledAndPairs(labelled, d["x"], pairs, similar, **counts, seed=seed)
                model = EmbeddingNetwork(network, (1,))
                objective = SemiSupervisedEmbedding(Categorical(10), **counts, weight=3.0, margin=5.0)
                step = GradientStep(model, objective, torch.optim.Adam(model.parameters(), 0.01))
                fit(step, data, max_epochs=1_000, max_steps=200)
            found.append((network(d["u"]).argmax(1) != d["v"]).double().mean().item())
    print(errors)
    assert np.mean(errors["embedding"]) < 0.65 * np.mean(errors["labels"])


def test_U10_two_moons_with_two_labels() -> None:
    """One label a moon; neighbours are alike, and 400 pairs are told to be of different moons."""
    right: dict[str, list[float]] = {"labels": [], "embedding": []}
    counts = {"n_labelled": 2, "n_similar": 200, "n_dissimilar": 100}
    for seed in range(1):
        points, test = two_moons(300, noise=0.08, seed=seed), two_moons(2_000, noise=0.08, seed=seed + 100)
        mean, std = points.inputs.mean(0), points.inputs.std(0)
        x, u = (points.inputs - mean) / std, (test.inputs - mean) / std
        tops = torch.tensor([[0.0, 1.0], [1.0, -0.5]])
        rows = torch.cdist(tops, points.inputs).argmin(1)
        codes = points.targets
        assert codes is not None and codes[rows].tolist() == [0, 1]
        labelled = Batch(x[rows], 2.0 * codes[rows] - 1.0)
        near, similar = nearest_pairs(x, 5, seed=seed)
        told = torch.randint(300, (1_200, 2), generator=generator(seed))
        told = told[codes[told[:, 0]] != codes[told[:, 1]]][:400]
        pairs = torch.cat([near[similar], told])
        similar = torch.arange(len(pairs)) < len(pairs) - len(told)
        for kind, found in right.items():
            network = MLP(2, 1, (32, 32), "tanh", generator=generator(seed))
            objective: Objective = Supervised(Gaussian(scale=1.0))
            model: nn.Module = network
            if kind == "embedding":
                model = EmbeddingNetwork(network, (2,))
                objective = SemiSupervisedEmbedding(Gaussian(scale=1.0), **counts, weight=3.0, margin=4.0)
            step = GradientStep(model, objective, torch.optim.Adam(model.parameters(), lr=0.03))
            if kind == "embedding":
                data = LabelledAndPairs(labelled, x, pairs, similar, **counts, seed=seed)
                fit(step, data, max_epochs=1_000, max_steps=400)
            else:
                fit(step, InMemory(labelled, 2), max_epochs=150)
            found.append(((network(u)[:, 0] > 0) == (test.targets == 1)).double().mean().item())
    assert np.mean(right["embedding"]) > np.mean(right["labels"]) + 0.07


def test_U10_greedy_layers_learn_from_pairs_and_leave_the_rest_alone() -> None:
    d = digits(0)
    pairs, similar = nearest_pairs(d["x"], 5)
    counts = {"n_labelled": 20, "n_similar": 100, "n_dissimilar": 100}
    data = LabelledAndPairs(Batch(d["few"], d["codes"]), d["x"], pairs, similar, **counts)
    network = MLP(64, 10, (30, 20), "tanh", generator=generator())
    start = {name: value.clone() for name, value in network.state_dict().items()}
    learner = EmbeddingLayer(**counts, margin=3.0)
    first, second = pretrain_greedy(network, data, learner, epochs=2)
    for name, value in network.state_dict().items():
        assert torch.equal(value, start[name]) == name.startswith("output"), name
    for record in (first, second):
        assert record.history.records[-1]["loss"] < 0.9 * record.history.records[0]["loss"]
    alone = MLP(64, 10, (30, 20), "tanh", generator=generator())
    pretrain_greedy(alone, data, learner, epochs=2, layers=1)
    assert torch.equal(alone.linear1.weight, network.linear1.weight)  # the second layer left the first as it was
    batch = next(iter(data.batches(0)))
    z = network[:2](batch.inputs).detach()
    expected = []
    for n in range(100):
        expected.append(float(((z[20 + n] - z[120 + n]) ** 2).sum()))
        expected.append(max(0.0, 3.0 - float(((z[220 + n] - z[320 + n]) ** 2).sum())))
    assert learner(network[:2], batch).total.item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_refusals() -> None:
    network, batch = example()
    for at, auxiliary in (((), None), ((3,), None), ((0,), None), (("outputs",), None), ((1,), {2: nn.Identity()})):
        with pytest.raises(Exception, match="EmbeddingNetwork"):
            EmbeddingNetwork(network, at, auxiliary)  # type: ignore[arg-type]
    objective = SemiSupervisedEmbedding(Categorical(3), **COUNTS)
    with pytest.raises(ConfigError, match="needs an EmbeddingNetwork"):
        objective(network, batch)
    with pytest.raises(ConfigError, match="needs 15 rows"):
        objective(EmbeddingNetwork(network), batch.rows(0, 14))
    with pytest.raises(ConfigError, match="weight"):
        SemiSupervisedEmbedding(Categorical(3), **COUNTS, weight=-1.0)
    with pytest.raises(ConfigError, match="counts"):
        SemiSupervisedEmbedding(Categorical(3), 3, 0, 0)
    with pytest.raises(ConfigError, match="shrink to a point"):
        EmbeddingLayer(3, 4, 0)
