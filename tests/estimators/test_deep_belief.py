"""The deep belief network: the classifier that it is, what its inputs are, its features, frames and folders."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import lamina
from lamina.errors import CheckpointError, ConfigError
from lamina.estimators import NeuralClassifier
from lamina.estimators.deep_belief import DeepBeliefNetwork

RNG = np.random.default_rng(0)
KINDS = (RNG.random((3, 12)) < 0.5).astype(float)
CODES = RNG.integers(0, 3, 240)
Y = np.array(["one", "three", "two"])[CODES]
X = np.abs(KINDS[CODES] - (RNG.random((240, 12)) < 0.05))
QUICK = {"pretrain_epochs": 3, "epochs": 6, "random_state": 0, "threads": 1, "learning_rate": 1e-2}


def network(**changes) -> DeepBeliefNetwork:
    return DeepBeliefNetwork(**{"hidden": (10, 6), **QUICK, **changes})


def scales(fitted) -> set[tuple[float, float]]:
    return {(e.scale.centre, e.scale.width) for e in fitted.predictor_.preparation.encoders.values()}


def test_on_real_numbers_it_is_the_classifier_with_machines_before() -> None:
    data = X * 3.0 - 1.0
    ours = network(sweeps=2, pretrain_momentum=0.5, persistent=True, sparsity=0.2).fit(data, Y)
    line = "rbm:epochs=3:rate=0.05:sweeps=2:persistent=true:momentum=0.5:sparsity=0.2"
    options = {key: value for key, value in QUICK.items() if not key.startswith("pretrain")}
    theirs = NeuralClassifier((10, 6), activation="sigmoid", dropout=0.0, pretrain=line, **options).fit(data, Y)
    assert np.array_equal(ours.predict_proba(data), theirs.predict_proba(data))
    assert (0.0, 1.0) not in scales(ours)
    assert not np.array_equal(ours.predict_proba(data), network().fit(data, Y).predict_proba(data))


def test_numbers_from_0_to_1_are_taken_as_they_are() -> None:
    holes = X.copy()
    holes[::7, 3] = np.nan
    for data in (X, holes, X.astype(np.float32), X.astype(bool)):
        fitted = network().fit(data, Y)
        assert scales(fitted) == {(0.0, 1.0)}
        assert any("taken for probabilities" in note for note in fitted.notes_)
        assert np.isfinite(fitted.predict_proba(data)).all()
    as_real = network(inputs="gaussian").fit(X, Y)
    assert (0.0, 1.0) not in scales(as_real)
    assert network(inputs="bernoulli").fit(X, Y).score(X, Y) == network().fit(X, Y).score(X, Y)
    with pytest.raises(ValueError, match="X: does not hold numbers from 0 to 1 only"):
        network(inputs="bernoulli").fit(X * 2, Y)
    with pytest.raises(ConfigError, match="DeepBeliefNetwork: inputs must be one of auto, bernoulli, gaussian"):
        network(inputs="binary").fit(X, Y)


def test_features_are_the_means_of_the_top_layer() -> None:
    fitted = network().fit(X, Y)
    weights = {name: p.double().numpy() for name, p in fitted.predictor_.model.state_dict().items()}
    h = X
    for k in (1, 2):
        h = expit(h @ weights[f"linear{k}.weight"].T + weights[f"linear{k}.bias"])
    np.testing.assert_allclose(fitted.transform(X), h, rtol=1e-10)
    assert list(fitted.get_feature_names_out()) == [f"deepbeliefnetwork{j}" for j in range(6)]
    again = network().fit_transform(X, Y)
    np.testing.assert_array_equal(again, fitted.transform(X))


def test_it_learns_and_pretraining_is_done() -> None:
    long = network(epochs=40, second_pass="none").fit(X, Y)
    assert long.score(X, Y) > 0.95 and long.classes_.tolist() == ["one", "three", "two"]
    # A fine-tuning that moves next to nothing leaves what the machines learnt, and that follows the kinds of rows.
    still = network(epochs=1, learning_rate=1e-9, pretrain_epochs=60, pretrain_rate=0.2, second_pass="none").fit(X, Y)
    drawn = network(epochs=1, learning_rate=1e-9, pretrain_epochs=1, pretrain_rate=1e-9, second_pass="none").fit(X, Y)

    def between(fitted: DeepBeliefNetwork) -> float:
        h = fitted.transform(X)
        return float(np.stack([h[k == CODES].mean(0) for k in range(3)]).std(0).mean())

    assert between(still) > 2 * between(drawn)


def test_it_is_kept_and_lamina_reads_it(tmp_path) -> None:
    fitted = network().fit(X, Y)
    path = fitted.save(tmp_path / "model")
    again = DeepBeliefNetwork.load(path)
    assert np.array_equal(again.transform(X), fitted.transform(X))
    assert np.array_equal(again.predict_proba(X), fitted.predict_proba(X))
    assert again.get_params() == {**fitted.get_params(), "hidden": [10, 6]}
    (answer,) = lamina.load(path).predict(X)
    assert np.array_equal(answer.prediction, fitted.predict(X))
    with pytest.raises(CheckpointError, match="holds a DeepBeliefNetwork, not a NeuralClassifier"):
        NeuralClassifier.load(path)


@pytest.mark.parametrize("make", ["pandas", "polars"])
def test_frames_with_and_without_words(make) -> None:
    library = pytest.importorskip(make)
    columns = {f"c{j}": X[:, j] for j in range(12)}
    fitted = network().fit(library.DataFrame(columns), Y)
    assert np.array_equal(fitted.predict_proba(library.DataFrame(columns)), network().fit(X, Y).predict_proba(X))
    colour = np.array(["red", "green", "blue"])[CODES]
    mixed = library.DataFrame({**columns, "colour": colour})
    with_words = network(epochs=30).fit(mixed, Y)
    assert with_words.score(mixed, Y) > 0.9 and with_words.transform(mixed).shape == (240, 6)
    out = fitted.set_output(transform=make).transform(library.DataFrame(columns))
    assert type(out) is library.DataFrame and out.shape == (240, 6)


def test_searches_and_clones() -> None:
    grid = GridSearchCV(network(epochs=30), {"hidden": [(1,), (12,)]}, cv=2).fit(X, Y)
    assert grid.best_params_ == {"hidden": (12,)}
    assert not hasattr(clone(grid.best_estimator_), "predictor_")
