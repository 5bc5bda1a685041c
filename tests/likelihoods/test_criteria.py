"""Criteria that are likelihoods by another name: squared errors, reconstruction, the 0-1 loss behind a surrogate."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy, mse_loss

from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.likelihoods.bernoulli import Bernoulli
from lamina.likelihoods.categorical import Categorical
from lamina.likelihoods.gaussian import Gaussian
from lamina.training import GradientStep, Supervised, fit
from lamina.training.early_stopping import EarlyStopping
from lamina.training.evaluation import Validation

N, T = 6, 4
G = torch.Generator().manual_seed(0)
OUTPUTS = torch.randn(N, T, generator=G, dtype=torch.float64)
Y = torch.randn(N, T, generator=G, dtype=torch.float64)
LOSSES = {
    "half": (1.0, lambda e: 0.5 * np.square(e).sum(1).mean()),
    "without the half": (math.sqrt(0.5), lambda e: np.square(e).sum(1).mean()),
    "mean over examples and targets": (math.sqrt(T / 2), lambda e: np.square(e).mean()),
}


@pytest.mark.parametrize("name", list(LOSSES))
def test_L01_every_scaling_of_squared_error_is_a_scale(name: str) -> None:
    scale, by_hand = LOSSES[name]
    likelihood = Gaussian(T, scale=scale)
    constant = T * (math.log(scale) + 0.5 * math.log(2 * math.pi))
    loss = -likelihood.log_prob(OUTPUTS, Y).mean().item() - constant
    assert math.isclose(loss, by_hand((OUTPUTS - Y).numpy()), rel_tol=1e-12)
    slope = likelihood.nll_gradient(OUTPUTS, Y) / N
    step = 1e-6
    for i, j in ((0, 0), (2, 3)):
        moved = OUTPUTS.clone()
        moved[i, j] += step
        difference = (by_hand((moved - Y).numpy()) - by_hand((OUTPUTS - Y).numpy())) / step
        assert math.isclose(slope[i, j].item(), difference, rel_tol=1e-4)


def test_L01_two_of_them_are_torchs() -> None:
    mean = -Gaussian(T, scale=math.sqrt(T / 2)).log_prob(OUTPUTS, Y).mean()
    away = mean - T * (0.5 * math.log(T / 2) + 0.5 * math.log(2 * math.pi))
    torch.testing.assert_close(away, mse_loss(OUTPUTS, Y))
    gradient = Gaussian(T, scale=math.sqrt(0.5)).nll_gradient(OUTPUTS, Y)
    torch.testing.assert_close(gradient, -2 * (Y - OUTPUTS))


def test_L16_reconstruction_is_measured_against_the_clean_input() -> None:
    clean = torch.rand(N, T, generator=G, dtype=torch.float64)
    corrupted = clean * (torch.rand(N, T, generator=G) < 0.7)
    decoder = torch.nn.Linear(T, T).double()
    batch = Batch(corrupted, clean)
    squared = Supervised(Gaussian(T, scale=1.0))(decoder, batch).total
    by_hand = 0.5 * (decoder(corrupted) - clean).square().sum(1).mean() + 0.5 * T * math.log(2 * math.pi)
    torch.testing.assert_close(squared, by_hand)
    crossed = Supervised(Bernoulli(T))(decoder, batch).total
    pixels = decoder(corrupted).sigmoid()
    torch.testing.assert_close(crossed, T * binary_cross_entropy(pixels, clean))


def test_L16_cross_entropy_of_a_grey_pixel_is_least_at_the_pixel() -> None:
    grey = torch.tensor([[0.2, 0.7]], dtype=torch.float64)
    best = torch.logit(grey)
    assert Bernoulli(2).nll_gradient(best, grey).abs().max() < 1e-15
    entropy = -(grey * grey.log() + (1 - grey) * (1 - grey).log()).sum().item()
    assert math.isclose(-Bernoulli(2).log_prob(best, grey).item(), entropy, rel_tol=1e-12)


def mistakes(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (Categorical(2).predict(outputs) != y).double().mean()


def test_L12_trained_on_the_surrogate_and_stopped_on_the_counted_errors() -> None:
    g = torch.Generator().manual_seed(3)
    x = torch.randn(90, 3, generator=g)
    y = (x[:, 0] + 0.8 * torch.randn(90, generator=g) > 0).long()
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 32), torch.nn.Tanh(), torch.nn.Linear(32, 2))
    step = GradientStep(model, Supervised(Categorical(2)), torch.optim.Adam(model.parameters(), lr=0.05))
    valid = Batch(x[40:], y[40:])
    kept = EarlyStopping("valid_errors", patience=20)
    history = fit(
        step,
        InMemory(Batch(x[:40], y[:40]), 20),
        max_epochs=60,
        callbacks=[Validation(valid, Categorical(2), {"errors": mistakes}), kept],
    )
    counted = sum(
        int(a != b) for a, b in zip(model(valid.inputs).argmax(1).tolist(), valid.targets.tolist(), strict=True)
    )
    assert kept.best_value == pytest.approx(counted / 50)
    errors, losses = history.series("valid_errors"), history.series("valid_loss")
    assert min(errors) == kept.best_value and errors.index(min(errors)) != losses.index(min(losses))
