"""Likelihood, bagging, hints and inference with dropout as parameters of the estimators."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression

from lamina.errors import ConfigError, DataError
from lamina.estimators import NeuralClassifier, NeuralRegressor
from lamina.likelihoods import FullGaussian, StudentT
from lamina.nn import Ensemble, monte_carlo_dropout

X, Y = make_classification(160, 5, n_informative=3, n_redundant=0, random_state=1)
XR, YR = make_regression(160, 5, n_informative=3, noise=1.0, random_state=1)
QUICK = {"epochs": 4, "hidden": 8, "random_state": 0, "threads": 1}


def test_a_regressor_takes_a_likelihood_and_keeps_it(tmp_path) -> None:
    model = NeuralRegressor(**QUICK, likelihood="student-t:freedom=3").fit(XR, YR)
    assert model.predictor_.likelihood == StudentT(freedom=3.0)
    (low, high), (left, right) = model.predict_interval(XR, 0.9), model.predict_interval(XR, 0.5)
    ratio = (high - low) / (right - left)
    np.testing.assert_allclose(ratio, stats.t.ppf(0.95, 3) / stats.t.ppf(0.75, 3), rtol=1e-6)
    again = NeuralRegressor.load(model.save(tmp_path / "model"))
    assert again.get_params()["likelihood"] == "student-t:freedom=3"
    assert np.array_equal(again.predict(XR), model.predict(XR))
    with pytest.raises(ConfigError, match="NeuralRegressor: there is no likelihood"):
        NeuralRegressor(**QUICK, likelihood="studentt").fit(XR, YR)
    with pytest.raises(ConfigError, match="poisson is for counts"):
        NeuralRegressor(**QUICK, likelihood="poisson").fit(XR, YR)


def test_a_full_gaussian_answers_for_both_columns(tmp_path) -> None:
    other = 50 * XR[:, 0] + 300 + np.random.default_rng(0).normal(size=160)
    both = np.stack([YR, other], axis=1)
    linear = {**QUICK, "epochs": 150, "model": "linear", "learning_rate": 0.02}
    model = NeuralRegressor(**linear, likelihood="full-gaussian").fit(XR, both)
    assert model.predictor_.likelihood == FullGaussian(2)
    said, (low, high) = model.predict(XR), model.predict_interval(XR)
    assert said.shape == low.shape == (160, 2) and (low < said).all() and (said < high).all()
    assert np.corrcoef(said[:, 0], YR)[0, 1] > 0.8 and np.corrcoef(said[:, 1], other)[0, 1] > 0.8
    assert abs(said[:, 1].mean() - 300) < 20
    assert model.report(tmp_path / "report.html").exists()


def test_bag_trains_several_networks_and_averages_their_probabilities(tmp_path) -> None:
    model = NeuralClassifier(**QUICK, bag=2).fit(X, Y)
    network = model.predictor_.model
    assert isinstance(network, Ensemble) and len(network.members) == 2
    inputs = torch.from_numpy(model._prepared(X)).double()
    with torch.no_grad():
        ways = [torch.sigmoid(member.double()(inputs)) for member in network.members]
        for member in network.members:
            member.float()
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], torch.stack(ways).mean(0)[:, 0].numpy(), rtol=1e-5)
    again = NeuralClassifier.load(model.save(tmp_path / "model"))
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X)) and again.bag == 2
    with pytest.raises(ConfigError, match="bag must be between 1 and 1000"):
        NeuralClassifier(**QUICK, bag=0).fit(X, Y)


def test_dropout_is_averaged_over_its_sub_networks(tmp_path) -> None:
    more = {"dropout": 0.4, "dropout_inference": "monte-carlo", "dropout_passes": 12}
    model = NeuralClassifier(**QUICK, **more).fit(X, Y)
    row = torch.from_numpy(model._prepared(X[:1])).double()
    by_hand = monte_carlo_dropout(model._network, row, 12, torch.sigmoid, torch.Generator().manual_seed(0))
    assert model.predict_proba(X)[0, 1] == pytest.approx(by_hand.item(), rel=1e-5)
    plain = NeuralClassifier(**QUICK, dropout=0.4).fit(X, Y)
    assert not np.allclose(plain.predict_proba(X), model.predict_proba(X), atol=1e-4)
    again = NeuralClassifier.load(model.save(tmp_path / "model"))
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))
    assert model.report(tmp_path / "report.html").exists()


SEVERITY = np.where(np.arange(160) % 3 == 0, "bad", "good")


def test_hints_teach_and_are_then_forgotten() -> None:
    plain = NeuralClassifier(**QUICK).fit(X, Y)
    hinted = NeuralClassifier(**QUICK).fit(X, Y, hints=np.stack([X[:, 0] * X[:, 1], np.arange(160) % 2], axis=1))
    named = NeuralClassifier(**QUICK).fit(X, Y, hints=SEVERITY)
    states = [list(model.predictor_.model.state_dict()) for model in (plain, hinted, named)]
    assert states[0] == states[1] == states[2]
    assert [target.name for target in hinted.predictor_.targets] == ["y"]
    assert not np.allclose(plain.predict_proba(X), hinted.predict_proba(X))
    assert hinted.predict_proba(X).shape == (160, 2)  # without any hint
    again = clone(hinted).fit(X, Y)
    assert np.array_equal(again.predict_proba(X), plain.predict_proba(X))


def test_a_hint_belongs_to_its_row() -> None:
    """Rows of weight 0 are absent with their hints, copies come with them, and the order of rows has no influence."""
    hints, order = X[:, 0] * X[:, 1], np.random.default_rng(0).permutation(160)
    one = NeuralRegressor(**QUICK).fit(XR, YR, hints=hints)
    other = NeuralRegressor(**QUICK).fit(XR[order], YR[order], hints=hints[order])
    assert np.array_equal(one.predict(XR), other.predict(XR))
    unmatched = NeuralRegressor(**QUICK).fit(XR[order], YR[order], hints=hints)
    assert not np.array_equal(one.predict(XR), unmatched.predict(XR))
    far = np.concatenate([hints, [1e6]])
    weights = np.concatenate([np.full(160, 1.0), [0.0]])
    more = np.concatenate([XR, XR[:1]]), np.concatenate([YR, YR[:1]])
    left_out = NeuralRegressor(**QUICK).fit(*more, sample_weight=weights, hints=far)
    assert np.array_equal(left_out.predict(XR), one.predict(XR))


def test_hints_that_cannot_be_are_refused() -> None:
    for bad, words in ((SEVERITY[:-1], "has 159 rows, and X has 160"), (np.zeros((160, 1, 1)), "one or two axes")):
        with pytest.raises(DataError, match=f"hints: {words}|hints: must have {words}"):
            NeuralClassifier(**QUICK).fit(X, Y, hints=bad)
