"""Least-squares classifier on targets +1 and -1: the closed form, and what least-mean-squares training tends to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifier
from torch import Tensor

from lamina.errors import ConfigError
from lamina.nn.classics import SingleLayerPerceptron, delta_rule, least_squares_classifier, signed_targets


def problem(n: int = 60) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 3
    centres = torch.tensor([[0.0, 2.0], [2.0, -1.0], [-2.0, -1.0]], dtype=torch.float64)
    return centres[labels] + torch.randn(n, 2, generator=g, dtype=torch.float64), labels


def test_L15_targets() -> None:
    expected = [[-1, 1, -1], [1, -1, -1], [-1, -1, 1]]
    assert signed_targets(torch.tensor([1, 0, 2]), 3).tolist() == expected
    assert signed_targets(torch.tensor([0]), 1).tolist() == [[1]]
    assert signed_targets(torch.tensor([], dtype=torch.long), 2).shape == (0, 2)


@pytest.mark.parametrize("decay", [0.0, 2.5])
def test_L15_closed_form(decay: float) -> None:
    x, labels = problem()
    layer = least_squares_classifier(x, labels, 3, decay=decay)
    rows = np.column_stack([x.numpy(), np.ones(60)])
    targets = np.where(labels.numpy()[:, None] == np.arange(3), 1.0, -1.0)
    solved = np.linalg.solve(rows.T @ rows + np.diag([decay, decay, 0.0]), rows.T @ targets)
    np.testing.assert_allclose(layer.weight.detach().numpy(), solved[:2].T, atol=1e-12)
    np.testing.assert_allclose(layer.bias.detach().numpy(), solved[2], atol=1e-12)
    if decay:
        theirs = RidgeClassifier(alpha=decay, solver="svd").fit(x.numpy(), labels)
        np.testing.assert_allclose(layer(x).detach().numpy(), theirs.decision_function(x.numpy()), atol=1e-10)
    assert (layer(x).argmax(1) == labels).double().mean() > 0.85


def test_L15_least_mean_squares_training_tends_to_it() -> None:
    x, labels = problem()
    unit = SingleLayerPerceptron(2, 3, "identity").double()
    delta_rule(unit, x, signed_targets(labels, 3).double(), rate=0.2, epochs=500, batch_size=60)
    layer = least_squares_classifier(x, labels, 3)
    torch.testing.assert_close(unit.affine.weight, layer.weight, rtol=0, atol=1e-8)
    torch.testing.assert_close(unit.affine.bias, layer.bias, rtol=0, atol=1e-8)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="labels must lie in 0 … 1"):
        signed_targets(torch.tensor([0, 2]), 2)
    with pytest.raises(ConfigError, match="labels must lie"):
        signed_targets(torch.tensor([-1, 1]), 2)
    with pytest.raises(ConfigError, match="n_classes"):
        signed_targets(torch.tensor([0]), 0)
