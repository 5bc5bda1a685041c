"""Pairs: siamese embeddings, and few labels with many pairs on the two moons."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from sklearn.datasets import make_moons
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn

from lamina.data.batch import Batch
from lamina.data.pairs import LabelledAndPairs
from lamina.data.stream import InMemory, Stream
from lamina.errors import ConfigError
from lamina.likelihoods import Gaussian
from lamina.nn import MLP
from lamina.penalties import L2
from lamina.training import GradientStep, Objective, Supervised, fit
from lamina.training.pairwise import PairwiseSemiSupervised, Siamese


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("form", ["hinge", "hadsell"])
def test_L14_siamese_is_the_mean_over_all_pairs(form: str) -> None:
    x = torch.randn(7, 3, generator=generator(), dtype=torch.float64)
    codes = torch.tensor([0, 1, 0, 2, 1, 0, 2])
    weights = torch.rand(7, generator=generator(1), dtype=torch.float64)
    model = nn.Linear(3, 2).double()
    z = model(x).detach().numpy()
    plain, weighted = [], []
    for n in range(7):
        for m in range(n + 1, 7):
            d2 = float(((z[n] - z[m]) ** 2).sum())
            apart = max(0.0, 0.9 - d2) if form == "hinge" else max(0.0, 0.9 - d2**0.5) ** 2
            plain.append(d2 if codes[n] == codes[m] else apart)
            weighted.append(plain[-1] * float(weights[n] * weights[m]))
    objective = Siamese(0.9, form)  # type: ignore[arg-type]
    for targets in (codes, codes[:, None]):
        assert objective(model, Batch(x, targets)).total.item() == pytest.approx(np.mean(plain), rel=1e-10)
    assert objective(model, Batch(x, codes, weights)).total.item() == pytest.approx(np.mean(weighted), rel=1e-10)
    with_decay = Siamese(0.9, form, 0.5 * L2())(model, Batch(x, codes))  # type: ignore[arg-type]
    decay = 0.25 * model.weight.square().sum().item()
    assert with_decay.total.item() == pytest.approx(np.mean(plain) + decay, rel=1e-10)
    assert with_decay.parts["pairs"].item() == pytest.approx(np.mean(plain), rel=1e-10)
    assert with_decay.parts["penalty"].item() == pytest.approx(decay, rel=1e-10)


def test_L14_siamese_embeddings_retrieve_unseen_classes() -> None:
    """Classes differ in two of ten noisy directions; trained on six classes, the nearest of four new ones is found."""
    g = generator()
    centres = torch.cat((3 * torch.randn(10, 2, generator=g), torch.zeros(10, 8)), dim=1)
    codes = torch.arange(10).repeat_interleave(20)
    x = centres[codes] + torch.randn(200, 10, generator=g) * torch.tensor([0.3] * 2 + [3.0] * 8)
    seen, new = codes < 6, codes >= 6

    def retrieved(z: Tensor) -> float:
        near = NearestNeighbors(n_neighbors=2).fit(z.numpy()).kneighbors(z.numpy(), return_distance=False)[:, 1]
        return float((codes[new][near] == codes[new]).double().mean())

    model = nn.Linear(10, 2)
    nn.init.normal_(model.weight, 0.0, 0.1, generator=g)
    step = GradientStep(model, Siamese(margin=1.0), torch.optim.Adam(model.parameters(), lr=0.02))
    fit(step, InMemory(Batch(x[seen], codes[seen]), 40), max_epochs=40)
    before, after = retrieved(x[new]), retrieved(model(x[new]).detach())
    assert before < 0.75
    assert after > 0.9


def moons(seed: int) -> dict[str, Tensor]:
    """Two labelled examples a moon; similar pairs are neighbours, dissimilar ones are told by side information."""
    x, y = make_moons(1300, noise=0.08, random_state=seed)
    x = (x - x.mean(0)) / x.std(0)
    few, classes = x[:300], y[:300]
    rng = np.random.default_rng(seed)
    near = NearestNeighbors(n_neighbors=6).fit(few).kneighbors(few, return_distance=False)[:, 1:]
    similar = np.stack([np.repeat(np.arange(300), 5), near.reshape(-1)], axis=1)
    told = rng.integers(0, 300, (1200, 2))
    dissimilar = told[classes[told[:, 0]] != classes[told[:, 1]]][:400]
    inputs, targets = torch.tensor(x, dtype=torch.float32), torch.tensor(2.0 * y - 1.0, dtype=torch.float32)
    return {
        "x": inputs[:300],
        "y": targets[:300],
        "labelled": torch.tensor(np.concatenate([np.flatnonzero(classes == c)[:2] for c in (0, 1)])),
        "pairs": torch.tensor(np.concatenate((similar, dissimilar))),
        "similar": torch.tensor([1] * len(similar) + [0] * len(dissimilar)),
        "test_x": inputs[300:],
        "test_y": targets[300:],
    }


def test_R20_two_moons_with_four_labels_against_supervised() -> None:
    """Networks with outputs ±1, so 4 is the squared distance of the classes, and the margin."""
    accuracy: dict[str, list[float]] = {"supervised": [], "pairs": []}
    for seed, (kind, found) in product(range(2), accuracy.items()):
        d = moons(seed)
        labelled = Batch(d["x"][d["labelled"]], d["y"][d["labelled"]])
        model = MLP(2, 1, (32, 32), "tanh", generator=generator(3))
        objective: Objective = Supervised(Gaussian(scale=1.0))
        data: Stream = InMemory(labelled, 4)
        if kind == "pairs":
            counts = {"n_labelled": 4, "n_similar": 200, "n_dissimilar": 100}
            objective = PairwiseSemiSupervised(Gaussian(scale=1.0), **counts, weight=10.0, margin=4.0)
            data = LabelledAndPairs(labelled, d["x"], d["pairs"], d["similar"], **counts, seed=1)
        step = GradientStep(model, objective, torch.optim.Adam(model.parameters(), lr=0.03))
        fit(step, data, max_epochs=120 // len(data))
        with torch.no_grad():
            found.append((model(d["test_x"])[:, 0].sign() == d["test_y"]).double().mean().item())
    assert np.mean(accuracy["pairs"]) > 0.98
    assert np.mean(accuracy["supervised"]) < 0.9
    assert all(pairs > alone for pairs, alone in zip(accuracy["pairs"], accuracy["supervised"], strict=True))


def test_R20_value_is_the_courses_criterion() -> None:
    """½ Σ over the labelled of squared errors + λ/2 Σ over pairs, each sum divided by its number."""
    x = torch.randn(3 + 2 * 2 + 2 * 4, 3, generator=generator(), dtype=torch.float64)
    y = torch.randn(15, 1, generator=generator(1), dtype=torch.float64)
    weights = torch.tensor([5.0] * 3 + [0.0] * 12, dtype=torch.float64)
    model = nn.Linear(3, 1).double()
    z = model(x).detach().numpy()[:, 0]
    errors = 0.5 * ((z[:3] - y[:3, 0].numpy()) ** 2).mean() + 0.5 * np.log(2 * np.pi)
    alike = [(z[3] - z[5]) ** 2, (z[4] - z[6]) ** 2]
    unlike = [max(0.0, 1.3 - (z[7 + i] - z[11 + i]) ** 2) for i in range(4)]
    objective = PairwiseSemiSupervised(Gaussian(scale=1.0), 3, 2, 4, weight=0.6, margin=1.3)
    loss = objective(model, Batch(x, y, weights))
    assert loss.parts["pairs"].item() == pytest.approx(np.mean(alike + unlike), rel=1e-10)
    assert loss.parts["nll"].item() == pytest.approx(errors, rel=1e-10)
    assert loss.total.item() == pytest.approx(errors + 0.3 * np.mean(alike + unlike), rel=1e-10)
    only = PairwiseSemiSupervised(Gaussian(scale=1.0), 3, 6, 0, weight=0.6, margin=1.3)(model, Batch(x, y, weights))
    assert only.parts["pairs"].item() == pytest.approx(((z[3:9] - z[9:15]) ** 2).mean(), rel=1e-10)


def test_R20_penalty_and_refusals() -> None:
    x, y = torch.zeros(5, 2), torch.zeros(5, 1)
    model = nn.Linear(2, 1)
    bare = PairwiseSemiSupervised(Gaussian(scale=1.0), 1, 1, 1)(model, Batch(x, y)).total.item()
    decayed = PairwiseSemiSupervised(Gaussian(scale=1.0), 1, 1, 1, penalty=2.0 * L2())(model, Batch(x, y))
    assert decayed.total.item() == pytest.approx(bare + model.weight.square().sum().item(), rel=1e-5)
    assert set(decayed.parts) == {"nll", "pairs", "penalty"}
    with pytest.raises(ConfigError, match="needs 5 rows"):
        PairwiseSemiSupervised(Gaussian(scale=1.0), 1, 1, 1)(model, Batch(x[:4], y[:4]))
    for bad in ((1, 0, 0, 1.0), (1, -1, 3, 1.0), (1, 1, 1, -1.0)):
        with pytest.raises(ConfigError):
            PairwiseSemiSupervised(Gaussian(scale=1.0), *bad)
    for batch in (Batch(x), Batch(x[:1], y[:1]), Batch(x, torch.zeros(5, 2))):
        with pytest.raises(ConfigError, match="two examples"):
            Siamese()(model, batch)
