"""LASSO and elastic net against scikit-learn, a closed form, and the conditions of a minimum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import ElasticNet, Lasso
from torch import Tensor

from lamina.errors import ConfigError
from lamina.nn.classics import elastic_net
from lamina.nn.classics.elastic_net import _on_signs


def problem(n: int, d: int, t: int = 1, seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=g, dtype=torch.float64) + 1.0
    w = torch.randn(d, t, generator=g, dtype=torch.float64) * (torch.rand(d, t, generator=g) < 0.4)
    return x, x @ w + 0.5 * torch.randn(n, t, generator=g, dtype=torch.float64) - 1.0


@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(40, 8), (15, 30)])
def test_C42_scikit_learns_lasso_and_elastic_net(shape: tuple[int, int], bias: bool, l1_ratio: float) -> None:
    x, y = problem(*shape, t=2)
    for column in range(2):
        settings = {"alpha": 4.0 / len(x), "fit_intercept": bias, "tol": 1e-13, "max_iter": 1_000_000}
        model = Lasso(**settings) if l1_ratio == 1.0 else ElasticNet(l1_ratio=l1_ratio, **settings)
        model.fit(x.numpy(), y[:, column].numpy())
        ours = elastic_net(x, y, decay=4.0, l1_ratio=l1_ratio, bias=bias)
        np.testing.assert_allclose(ours.weight[column].detach().numpy(), model.coef_, atol=1e-7)
        if bias:
            assert ours.bias[column].item() == pytest.approx(model.intercept_, abs=1e-6)
        assert (ours.weight[column] == 0).numpy().tolist() == (model.coef_ == 0).tolist()  # exact zeros, the same ones


def test_C42_on_orthonormal_columns_each_weight_is_moved_by_lambda() -> None:
    q = torch.linalg.qr(torch.randn(12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    plain = torch.tensor([2.0, -0.7, 0.3, 0.0, -5.0], dtype=torch.float64)
    lasso = elastic_net(q, q @ plain, decay=0.5, bias=False).weight[0]
    torch.testing.assert_close(lasso, torch.tensor([1.5, -0.2, 0.0, 0.0, -4.5], dtype=torch.float64))
    net = elastic_net(q, q @ plain, decay=1.0, l1_ratio=0.5, bias=False).weight[0]
    torch.testing.assert_close(net, torch.tensor([1.5, -0.2, 0.0, 0.0, -4.5], dtype=torch.float64) / 1.5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), n=st.integers(3, 30), d=st.integers(1, 40), share=st.floats(0.01, 1.2))
def test_C42_the_conditions_of_a_minimum_hold(seed: int, n: int, d: int, share: float) -> None:
    x, y = problem(n, d, seed=seed)
    most = float((x.mT @ y).abs().max())
    layer = elastic_net(x, y, decay=share * most, bias=False)
    w = layer.weight[0].detach()
    pull = (x.mT @ (y[:, 0] - x @ w)) / (share * most)  # in the subdifferential of ‖w‖₁
    assert pull.abs().max() <= 1 + 1e-6
    torch.testing.assert_close(pull[w != 0], w[w != 0].sign(), rtol=0, atol=1e-6)
    assert (share < 1) or bool((w == 0).all())


def test_C42_on_the_right_signs_the_weights_follow_at_once() -> None:
    moment, guess = torch.tensor([2.0, -0.7, 0.3]), torch.tensor([1.0, -1.0, 0.0])
    torch.testing.assert_close(_on_signs(torch.eye(3), moment, guess, 0.5), torch.tensor([1.5, -0.2, 0.0]))
    assert torch.equal(_on_signs(torch.eye(3), moment, -guess, 0.5), -guess)  # other signs: as it was


def test_C42_nearly_dependent_columns() -> None:
    x, y = problem(50, 10)
    x = torch.cat([x, x + 1e-4 * torch.randn(50, 10, generator=torch.Generator().manual_seed(2))], dim=1)
    w = elastic_net(x, y, decay=0.5, bias=False).weight[0].detach()
    pull = (x.mT @ (y[:, 0] - x @ w)) / 0.5
    assert pull.abs().max() <= 1 + 1e-4
    assert (w != 0).sum() <= 20


def test_refusals() -> None:
    x, y = problem(9, 3)
    for wrong in ({"decay": 0.0}, {"decay": 1.0, "l1_ratio": 0.0}, {"decay": 1.0, "l1_ratio": 1.5}):
        with pytest.raises(ConfigError, match="l1_ratio in"):
            elastic_net(x, y, **wrong)
