"""The shared criterion: -log P(y|x) and -log P(x) of one mixture of Gaussians, whose means are the only parameters."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor, nn

from lamina.data.batch import Batch
from lamina.data.semi_supervised import LabelledAndUnlabelled
from lamina.errors import ConfigError
from lamina.likelihoods import Categorical
from lamina.likelihoods.mean_nll import weighted_mean
from lamina.training import GradientStep, Supervised, fit
from lamina.training.objective import Loss
from lamina.training.semi_supervised import SemiSupervised
from training.problems import make_step, weights_of


class Mixture(nn.Module):
    """P(x) = (1/K) Σ_k N(x; μ_k, I); its outputs are log P(x, k) up to what all k share: P(k|x) is their softmax."""

    def __init__(self, means: Tensor) -> None:
        super().__init__()
        self.means = nn.Parameter(means.clone())

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.means.T - 0.5 * self.means.square().sum(1)


def marginal(model: nn.Module, batch: Batch) -> Loss:
    """-log P(x), mean over all rows."""
    x = batch.inputs
    k, d = model.means.shape  # type: ignore[misc]
    log_p = model(x).logsumexp(1) - 0.5 * x.square().sum(1) - 0.5 * d * math.log(2 * math.pi) - math.log(k)
    return Loss(-log_p.mean())


def joint(model: nn.Module, batch: Batch) -> Loss:
    """-log P(x, y), mean over the labelled rows."""
    x = batch.inputs
    assert batch.targets is not None
    k, d = model.means.shape  # type: ignore[misc]
    log_p = model(x).gather(1, batch.targets[:, None])[:, 0] - 0.5 * x.square().sum(1)
    return Loss(-weighted_mean(log_p - 0.5 * d * math.log(2 * math.pi) - math.log(k), batch.weights))


MEANS = torch.tensor([[2.0, 0.0], [-2.0, 0.0]], dtype=torch.float64)


def data(n: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 2, (n,), generator=generator)
    return MEANS[y] + torch.randn(n, 2, generator=generator, dtype=torch.float64), y


def test_R19_value_is_the_sum_of_the_two_log_densities() -> None:
    x, y = data(6, 0)
    weights = torch.tensor([3.0, 3.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    model = Mixture(MEANS + 0.3)
    densities = np.stack([multivariate_normal(m.numpy()).pdf(x.numpy()) for m in MEANS + 0.3], axis=1) / 2
    conditional = -np.log(densities / densities.sum(1, keepdims=True))[[0, 1], y[:2]].mean()
    of_x, of_both = -np.log(densities.sum(1)).mean(), -np.log(densities[[0, 1], y[:2]]).mean()
    for criterion, generative in ((marginal, of_x), (joint, of_both)):
        loss = SemiSupervised(Categorical(2), criterion, 0.7)(model, Batch(x, y, weights))
        assert loss.total.item() == pytest.approx(conditional + 0.7 * generative, rel=1e-10)
        assert loss.parts["generative"].item() == pytest.approx(generative, rel=1e-10)
        assert loss.parts["supervised"].item() == pytest.approx(conditional, rel=1e-10)


def test_R19_without_weight_it_is_the_supervised_run_bit_for_bit() -> None:
    def never(model: nn.Module, batch: Batch) -> Loss:
        raise AssertionError("not to be evaluated")

    after = []
    for objective in (Supervised(Categorical(3)), SemiSupervised(Categorical(3), never, 0.0)):
        step = make_step(dropout=0.3)
        step.objective = objective
        generator = torch.Generator().manual_seed(0)
        stream = LabelledAndUnlabelled(
            Batch(torch.randn(20, 5, generator=generator), torch.arange(20) % 3),
            torch.randn(50, 5, generator=generator),
            n_labelled=8,
            n_unlabelled=8,
        )
        torch.manual_seed(1)
        fit(step, stream, max_epochs=3)
        after.append(weights_of(step.model))
    assert torch.equal(*after)


def test_R19_unlabelled_rows_find_the_means_that_two_labelled_ones_cannot() -> None:
    """Two labelled rows far from their means; the unlabelled ones tell where the clusters are."""
    labelled = Batch(torch.tensor([[1.0, 2.0], [-1.0, -2.0]], dtype=torch.float64), torch.tensor([0, 1]))
    unlabelled, _ = data(400, 1)
    test_x, test_y = data(2000, 2)
    bayes = (torch.where(test_x[:, 0] > 0, 0, 1) == test_y).double().mean().item()
    accuracy = {}
    for weight in (0.0, 1.0):
        model = Mixture(torch.tensor([[0.3, 0.6], [-0.3, -0.6]], dtype=torch.float64))
        objective = SemiSupervised(Categorical(2), marginal, weight)
        step = GradientStep(model, objective, torch.optim.Adam(model.parameters(), lr=0.05))
        fit(step, LabelledAndUnlabelled(labelled, unlabelled, n_labelled=2, n_unlabelled=50), max_epochs=15)
        accuracy[weight] = (model(test_x).argmax(1) == test_y).double().mean().item()
    assert accuracy[1.0] > bayes - 0.01
    assert accuracy[0.0] < bayes - 0.05


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="weight"):
        SemiSupervised(Categorical(2), marginal, -0.1)
