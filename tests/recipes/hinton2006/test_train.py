"""One autoencoder of the recipe: pure, measured in the published unit, in the picture's own grey."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from sklearn.decomposition import PCA as Peer
from torch import nn

from lamina.autoencoders.autoencoder import Autoencoder
from lamina.likelihoods import Bernoulli, Gaussian
from lamina.recipes.hinton2006 import train
from lamina.recipes.hinton2006.train import Pictures, deep, examples, linear, load_pictures, neighbour_error, originals
from lamina.training.threads import threads

SMALL: dict[str, Any] = {
    "data": "digits", "hidden": [20], "code": 2, "seed": 1, "pretraining": 1, "epochs": 1, "batch": 100,
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the runner does."""
    with threads(1):
        yield


def test_all_pictures_that_are_not_for_the_test_are_for_training() -> None:
    pictures = load_pictures("digits")
    assert pictures.train.shape == (1_347, 64) and pictures.test.shape == (450, 64) and len(pictures.digits) == 450


def test_principal_components_leave_what_scikit_learns_do() -> None:
    pictures = load_pictures("digits")
    peer = Peer(6).fit(pictures.train.numpy())
    given_back = peer.inverse_transform(peer.transform(pictures.test.numpy()))
    squared = ((given_back - pictures.test.numpy()) ** 2).sum(1)
    found = linear(data="digits", code=6)
    assert found["test_error"] == pytest.approx(squared.mean(), rel=1e-5)
    half = 1.96 * squared.std(ddof=1) / 450**0.5
    assert found["test_low"] == pytest.approx(squared.mean() - half, rel=1e-5)
    assert found["test_high"] == pytest.approx(squared.mean() + half, rel=1e-5)
    assert "map" not in found


@pytest.mark.parametrize("start", ["machines", "random"])
def test_a_training_is_a_pure_function_of_its_arguments(start: str) -> None:
    torch.manual_seed(0)
    first = deep(start=start, **SMALL)
    torch.manual_seed(1)
    assert deep(start=start, **SMALL) == first
    assert deep(start=start, **{**SMALL, "seed": 2})["test_error"] != first["test_error"]
    assert ("start_error" in first) is (start == "machines")
    assert len(first["map"]) == 450 and 0.0 < first["neighbour_error"] < 1.0


def test_pictures_are_shown_in_their_own_grey_one_a_digit() -> None:
    seen = originals(data="digits")
    pictures = load_pictures("digits")
    rows = examples(pictures.digits)
    assert pictures.digits[rows].tolist() == list(range(10)) and seen["side"] == 8
    torch.testing.assert_close(torch.tensor(seen["shown"]) / 255.0, pictures.test[rows], atol=0.002, rtol=0.0)


def test_the_error_is_of_means_not_of_logits() -> None:
    x = torch.full((3, 4), 0.5)
    nothing = nn.Linear(4, 4)
    nn.init.zeros_(nothing.weight)
    nn.init.zeros_(nothing.bias)
    halves = Autoencoder(nn.Identity(), nothing, Bernoulli(4))  # logits 0, probabilities a half
    assert train.errors(halves, x).tolist() == [0.0] * 3
    assert train.errors(Autoencoder(nn.Identity(), nothing, Gaussian(4, scale=1.0)), x).tolist() == [1.0] * 3
    found = train.measured(halves, Pictures(x, x, torch.tensor([0, 1, 2])))
    assert found["test_error"] == 0.0


def test_neighbours_by_hand() -> None:
    codes = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.5, 0.0], [9.0, 0.0]])
    assert neighbour_error(codes, torch.tensor([0, 0, 1, 1])) == 0.5  # 0→1 same, 1→2 other, 2→1 other, 3→2 same
