"""Ensembles: mean distributions by numpy, scikit-learn's bagging on the same members, and the error formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import make_classification
from sklearn.ensemble import BaggingClassifier, BaggingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from torch import Tensor, nn

from lamina.data.bootstrap import out_of_bag
from lamina.errors import ConfigError
from lamina.likelihoods import Bernoulli, Categorical
from lamina.nn.ensemble import Ensemble, ensemble_error


class Constant(nn.Module):
    def __init__(self, outputs: Tensor) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, x: Tensor) -> Tensor:
        return self.outputs


def logits(k: int = 5, n: int = 6, classes: int = 3) -> Tensor:
    return 3 * torch.randn(k, n, classes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


X = torch.zeros(6, 1)


def test_R15_softmax_is_the_mean_distribution() -> None:
    z = logits()
    p = np.exp(z.numpy()) / np.exp(z.numpy()).sum(-1, keepdims=True)
    outputs = Ensemble([Constant(m) for m in z], "softmax")(X)
    np.testing.assert_allclose(Categorical(3).mean(outputs).numpy(), p.mean(0), rtol=1e-12)
    np.testing.assert_allclose(outputs.numpy(), np.log(p.mean(0)), rtol=1e-10)  # log-probabilities as they stand


def test_R15_sigmoid_is_the_mean_distribution_also_far_out() -> None:
    z = logits(classes=1)
    outputs = Ensemble([Constant(m) for m in z], "sigmoid")(X)
    p = 1 / (1 + np.exp(-z.numpy()))
    np.testing.assert_allclose(Bernoulli().mean(outputs).numpy(), p.mean(0)[:, 0], rtol=1e-12)
    far = Ensemble([Constant(torch.full((6, 1), v)) for v in (1e4, 1e4, -1e4)], "sigmoid")(X)
    torch.testing.assert_close(far, torch.full((6, 1), float(np.log(2.0))))  # two thirds against one third
    for way in ("mean", "softmax", "sigmoid", "vote"):
        extreme = Ensemble([Constant(torch.tensor([[1e4, -1e4]])), Constant(torch.tensor([[-1e4, 1e4]]))], way)(X[:1])
        assert extreme.isfinite().all()


def test_R15_mean_and_vote() -> None:
    z = logits()
    torch.testing.assert_close(Ensemble([Constant(m) for m in z])(X), torch.tensor(z.numpy().mean(0)))
    shares = Categorical(3).mean(Ensemble([Constant(m) for m in z], "vote")(X)).numpy()
    counted = np.stack([np.bincount(z[:, n].argmax(-1).numpy(), minlength=3) / 5 for n in range(6)])
    np.testing.assert_allclose(shares, counted, atol=1e-12)
    assert Ensemble([Constant(m) for m in z], "vote")(X).isfinite().all()
    one = Ensemble([Constant(m[:, :1]) for m in z], "vote")(X)
    np.testing.assert_allclose(Bernoulli().mean(one).numpy(), (z[:, :, 0] > 0).double().mean(0).numpy(), atol=1e-12)
    assert one.isfinite().all()


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(["mean", "softmax", "sigmoid"]), st.integers(1, 4))
def test_members_that_agree_are_one_member(way: str, k: int) -> None:
    z = logits(1)[0]
    outputs = Ensemble([Constant(z)] * k, way)(X)
    same = {"softmax": z.log_softmax(-1)}.get(way, z)
    torch.testing.assert_close(outputs, same)


@pytest.mark.parametrize("way", ["softmax", "vote"])
def test_R15_is_scikit_learns_bagging_on_the_same_members(way: str) -> None:
    x, y = make_classification(200, 6, n_informative=4, n_classes=3, n_clusters_per_class=1, random_state=0)
    bags = BaggingClassifier(LogisticRegression(), n_estimators=7, random_state=0).fit(x, y)
    members = []
    for estimator in bags.estimators_:
        layer = nn.Linear(6, 3).double()
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(estimator.coef_))
            layer.bias.copy_(torch.tensor(estimator.intercept_))
        members.append(layer)
    outputs = Ensemble(members, way)(torch.tensor(x)).detach()
    if way == "softmax":
        np.testing.assert_allclose(Categorical(3).mean(outputs).numpy(), bags.predict_proba(x), rtol=1e-8)
        np.testing.assert_array_equal(Categorical(3).predict(outputs).numpy(), bags.predict(x))
    else:
        votes = np.stack([estimator.predict(x) for estimator in bags.estimators_])
        most = [np.bincount(column, minlength=3).argmax() for column in votes.T]
        np.testing.assert_array_equal(Categorical(3).predict(outputs).numpy(), most)


def test_R15_out_of_bag_rows_and_the_mean_are_scikit_learns_for_numbers() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 3))
    y = x @ np.array([1.0, -2.0, 0.5]) + rng.standard_normal(40)
    bags = BaggingRegressor(LinearRegression(), n_estimators=15, oob_score=True, random_state=0).fit(x, y)
    members = []
    for estimator in bags.estimators_:
        layer = nn.Linear(3, 1).double()
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(estimator.coef_)[None])
            layer.bias.fill_(float(estimator.intercept_))
        members.append(layer)
    inputs = torch.tensor(x)
    np.testing.assert_allclose(Ensemble(members)(inputs).detach().numpy()[:, 0], bags.predict(x), rtol=1e-10)
    lacks = out_of_bag(torch.tensor(np.stack(bags.estimators_samples_)), 40)
    outputs = torch.stack([member(inputs).detach()[:, 0] for member in members])
    mean = (outputs * lacks).sum(0) / lacks.sum(0)
    np.testing.assert_allclose(mean.numpy(), bags.oob_prediction_, rtol=1e-10)


def test_W26_error_of_an_ensemble() -> None:
    assert ensemble_error(1.0, 0.3, 5) == pytest.approx(0.44, abs=1e-15)
    assert ensemble_error(2.0, 0.0, 4) == pytest.approx(0.5)
    assert ensemble_error(2.0, 2.0, 9) == pytest.approx(2.0)
    for bad in ((1.0, 1.1, 3), (1.0, -0.6, 3), (-1.0, 0.0, 3), (1.0, 0.0, 0)):
        with pytest.raises(ConfigError):
            ensemble_error(*bad)


def test_W26_errors_drawn_with_that_covariance_average_to_it() -> None:
    rng = np.random.default_rng(0)
    covariance = 0.3 * np.ones((5, 5)) + 0.7 * np.eye(5)
    errors = torch.tensor(rng.multivariate_normal(np.zeros(5), covariance, size=200_000))
    ensemble = Ensemble([Constant(errors[:, i : i + 1]) for i in range(5)])
    squared = ensemble(torch.zeros(200_000, 1)).square()
    spread = squared.std().item() / np.sqrt(200_000)
    assert squared.mean().item() == pytest.approx(0.44, abs=4 * spread)
    assert 4 * spread < 0.01


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        Ensemble([])
    with pytest.raises(ConfigError, match="combine"):
        Ensemble([nn.Linear(1, 1)], "median")
    with pytest.raises(ConfigError, match="members give"):
        Ensemble([nn.Linear(1, 1), nn.Linear(1, 2)])(X)
