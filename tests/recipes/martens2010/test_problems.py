"""The deep autoencoders and their pictures, against sums written out and scikit-learn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from lamina.errors import MachineError
from lamina.recipes.martens2010 import problems
from lamina.recipes.martens2010.problems import (
    PROBLEMS,
    autoencoder,
    component_error,
    load_pictures,
    picture_error,
    settle_pictures,
)
from lamina.recipes.martens2010.train import entropy


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """No pictures kept from or for another test."""
    load_pictures.cache_clear()
    yield
    load_pictures.cache_clear()


def test_network_is_logistic_with_a_linear_code_and_mirrored() -> None:
    network = autoencoder((20, 18, 17, 3), torch.Generator().manual_seed(0))
    kinds = [type(layer).__name__ for layer in network]
    assert kinds == ["Linear", "Sigmoid", "Linear", "Sigmoid", "Linear", "Linear", "Sigmoid", "Linear", "Sigmoid",
                     "Linear"]  # fmt: skip
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    assert [layer.in_features for layer in layers] == [20, 18, 17, 3, 17, 18]
    assert layers[-1].out_features == 20
    for layer in layers:
        counts = (layer.weight != 0).sum(1)
        assert counts.min() == counts.max() == min(15, layer.in_features)
        assert not layer.bias.any()
    assert network.code.out_features == 3
    same = autoencoder((20, 18, 17, 3), torch.Generator().manual_seed(0))
    assert torch.equal(network.code.weight, same.code.weight)


def test_published_sizes() -> None:
    assert PROBLEMS["mnist"].shape == "784-1000-500-250-30"
    assert PROBLEMS["curves"].shape == "784-400-200-100-50-25-6"


def test_error_is_summed_over_pixels_and_averaged_over_pictures() -> None:
    network = nn.Linear(2, 2)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, -1.0]]))
        network.bias.zero_()
    pictures = torch.tensor([[0.0, 1.0], [1.0, 0.5], [0.25, 0.0]])
    loss = squared = 0.0
    for x in pictures.double().numpy():
        q = 1 / (1 + np.exp(-x * np.array([1.0, -1.0])))
        loss -= (x * np.log(q) + (1 - x) * np.log(1 - q)).sum()
        squared += ((q - x) ** 2).sum()
    found = picture_error(network, pictures.repeat(1_000, 1))  # more than one piece
    assert found == (pytest.approx(loss / 3, rel=1e-5), pytest.approx(squared / 3, rel=1e-5))


def test_principal_components_leave_what_scikit_learn_says() -> None:
    generator = torch.Generator().manual_seed(0)
    train, test = (torch.randn(n, 12, generator=generator) @ torch.diag(torch.arange(1.0, 13.0)) + 3 for n in (80, 30))
    pca = PCA(4).fit(train.numpy())
    expected = ((pca.inverse_transform(pca.transform(test.numpy())) - test.numpy()) ** 2).sum(1).mean()
    assert component_error(train, test, 4) == pytest.approx(expected, rel=1e-4)


def test_least_cross_entropy_is_that_of_a_perfect_reconstruction() -> None:
    pictures = torch.tensor([[0.0, 1.0, 0.5], [0.25, 0.0, 1.0]])
    expected = (np.log(2) - 0.25 * np.log(0.25) - 0.75 * np.log(0.75)) / 2
    assert entropy(pictures) == pytest.approx(expected)


def test_bundled_digits_are_divided_without_overlap_and_targets_are_the_inputs() -> None:
    found = load_pictures("digits", 100)
    assert found.train.inputs.shape == (1_437, 64)
    assert found.test.shape == (360, 64)
    assert found.train.targets is found.train.inputs
    assert float(found.test.min()) >= 0.0
    assert float(found.test.max()) == 1.0
    rows = {tuple(row) for row in found.train.inputs.tolist()}
    assert found.watched.shape == (100, 64)
    assert all(tuple(row) in rows for row in found.watched.tolist())
    assert sum(tuple(row) in rows for row in found.test.tolist()) < 5


def test_curves_are_twenty_and_ten_thousand(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def few(n: int, generator: torch.Generator) -> object:
        asked.append(n)
        return type("Drawn", (), {"images": torch.rand(n, 1, 2, 2, generator=generator)})

    monkeypatch.setattr(problems, "curves", few)
    found = load_pictures("curves", 50)
    assert asked == [30_000]
    assert (len(found.train.inputs), len(found.test), len(found.watched)) == (20_000, 10_000, 50)


def test_without_mnist_the_bundled_digits_stand_in_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def missing(*args: object, **options: object) -> None:
        raise MachineError("no network")

    monkeypatch.setattr(problems, "load_named", missing)
    assert settle_pictures(None, True, said.append) == "digits"
    assert "bundled digits" in said[0]
    monkeypatch.setattr(problems, "load_named", lambda *args, **options: None)
    assert settle_pictures(None, True, said.append) == "mnist"
