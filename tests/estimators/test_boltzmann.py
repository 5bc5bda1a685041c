"""The machines as transformers: against scikit-learn's formulas, in frames and pipelines, resumed and kept."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn import neural_network
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from lamina.errors import CheckpointError, ConfigError, DivergedError
from lamina.estimators.boltzmann import BernoulliRBM, GaussianRBM, _flips
from lamina.estimators.stored_machine import CARD, KIND
from lamina.io import read_generation, write_generation
from lamina.io.strict_json import guarded_bytes, parse_guarded

RNG = np.random.default_rng(0)
KINDS = (RNG.random((4, 12)) < 0.5).astype(float)
Y = RNG.integers(0, 4, 300)
X = np.abs(KINDS[Y] - (RNG.random((300, 12)) < 0.05))
REAL = KINDS[Y] * 3.0 + RNG.normal(size=(300, 12)) + np.arange(12) * 10.0


def binary(**changes) -> BernoulliRBM:
    return BernoulliRBM(**{"n_components": 8, "n_iter": 20, "random_state": 0, **changes})


def real(**changes) -> GaussianRBM:
    return GaussianRBM(**{"n_components": 8, "n_iter": 5, "random_state": 0, **changes})


def peer(ours: BernoulliRBM) -> neural_network.BernoulliRBM:
    """scikit-learn's own machine with the same weights."""
    theirs = neural_network.BernoulliRBM(ours.n_components).fit(X)
    for name in ("components_", "intercept_hidden_", "intercept_visible_"):
        setattr(theirs, name, getattr(ours, name).astype(np.float64))
    return theirs


def test_U01_transform_and_reconstruction_are_the_means() -> None:
    fitted = binary(n_iter=100).fit(X)
    h = fitted.transform(X)
    np.testing.assert_allclose(h, peer(fitted).transform(X), rtol=1e-12)
    np.testing.assert_allclose(
        fitted.inverse_transform(h), expit(h @ fitted.components_.astype(float) + fitted.intercept_visible_), rtol=1e-12
    )
    assert fitted.transform(X.astype(np.float32)).dtype == np.float32
    assert np.abs(fitted.inverse_transform(h) - X).mean() < 0.1


def test_U01_scores_have_the_mean_of_scikit_learns() -> None:
    fitted = binary().fit(X)
    theirs = peer(fitted)
    many = np.stack([theirs.set_params(random_state=seed).score_samples(X) for seed in range(60)])
    exact = fitted.machine_.pseudo_likelihood(torch.from_numpy(X).float()).detach().numpy()
    spread = 5 * many.std(1).mean() / np.sqrt(60)
    np.testing.assert_allclose(many.mean(), exact.mean(), atol=spread / np.sqrt(len(X)) * 5)
    scores = []
    for seed in range(60):
        fitted._seed = seed
        scores.append(fitted.score_samples(X))
    ours = np.stack(scores)
    np.testing.assert_allclose(ours.mean(), exact.mean(), atol=spread)
    others = RNG.random((300, 12))  # all different
    counts = np.bincount(np.concatenate([_flips(others, seed) for seed in range(60)]), minlength=12)
    assert np.abs(counts - 1500).max() < 5 * np.sqrt(1500)
    fresh = binary(n_iter=0).fit(X)
    assert fitted.score_samples(X).mean() > fresh.score_samples(X).mean() + 2


def test_a_flip_follows_from_the_row() -> None:
    fitted = binary().fit(X)
    scores = fitted.score_samples(X)
    order = RNG.permutation(300)[:50]
    np.testing.assert_allclose(fitted.score_samples(X[order]), scores[order], rtol=1e-12)
    rows = np.unique(X, axis=0)
    assert (_flips(rows, 1) != _flips(rows, 2)).mean() > 0.8  # eleven of twelve, had both been drawn


def test_the_fit_is_contrastive_divergence_step_by_step() -> None:
    # One batch an epoch: fit and partial_fit then make the same updates, in another order of the rows.
    options = {"n_iter": 1, "batch_size": 300, "momentum": 0.5, "reconstruction": "mean"}
    first = binary(**options).fit(X)
    again = binary(**options).partial_fit(X)
    assert np.abs(first.components_).max() < 0.2 and first.components_.shape == again.components_.shape == (8, 12)
    p = (X.sum(0) + 0.5) / 301
    start = binary(n_iter=0).fit(X)
    np.testing.assert_allclose(start.intercept_visible_, np.log(p / (1 - p)), rtol=1e-5)
    assert start.components_.std() == pytest.approx(0.01, rel=0.3) and start.n_iter_ == 0


@pytest.mark.parametrize("options", [{}, {"persistent": True, "momentum": 0.5}, {"centred": True, "sparsity": 0.1}])
@pytest.mark.parametrize("make", [binary, real])
def test_a_kept_machine_goes_on_with_the_same_bits(make, options, tmp_path) -> None:
    data = X if make is binary else REAL
    fitted = make(**options).fit(data[:200])
    again = type(fitted).load(fitted.save(tmp_path / "model"))
    assert again.get_params() == fitted.get_params()
    assert np.array_equal(again.transform(data), fitted.transform(data))
    assert np.array_equal(again.score_samples(data), fitted.score_samples(data))
    for _ in range(3):
        fitted.partial_fit(data[200:])
        again.partial_fit(data[200:])
    assert np.array_equal(again.components_, fitted.components_)
    assert np.array_equal(again.gibbs(data, 2), fitted.gibbs(data, 2))
    assert again.history_ == fitted.history_ and again.n_iter_ == fitted.n_iter_


def test_a_rate_set_between_updates_holds() -> None:
    fitted = binary(momentum=0.5).fit(X)
    still = fitted.components_.copy()
    fitted.set_params(learning_rate=0.0).partial_fit(X)
    assert np.array_equal(fitted.components_, still)


def test_the_same_seed_gives_the_same_machine_and_global_generators_are_left_alone() -> None:
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    one, other = binary().fit(X), binary().fit(X)
    assert np.array_equal(one.components_, other.components_)
    assert not np.array_equal(one.components_, binary(random_state=1).fit(X).components_)
    assert np.array_equal(one.sample(5, sweeps=3, random_state=1), other.sample(5, sweeps=3, random_state=1))
    assert np.array_equal(before[0], np.random.get_state()[1]) and torch.equal(before[1], torch.get_rng_state())


def test_a_failed_fit_leaves_the_machine() -> None:
    fitted = binary().fit(X)
    kept = fitted.components_.copy()
    for bad in (np.full((3, 12), np.nan), X[:, 0]):
        with pytest.raises(ValueError):
            fitted.fit(bad)
    with pytest.raises(ConfigError, match="BernoulliRBM: batch_size must be a whole number of at least 1"):
        fitted.set_params(batch_size=0).fit(X)
    assert np.array_equal(fitted.components_, kept)
    with pytest.raises(DivergedError, match="GaussianRBM: the weights are no numbers any more"):
        real(learning_rate=1e6, n_iter=50).fit(REAL)


def test_samples_look_like_the_data() -> None:
    fitted = binary(n_iter=200, n_components=16).fit(X)
    drawn = fitted.sample(200, sweeps=200, random_state=0)
    assert drawn.dtype == bool and drawn.shape == (200, 12)
    away = np.abs(drawn[:, None].astype(float) - KINDS[None]).sum(2).min(1)
    at_random = np.abs((RNG.random((200, 12)) < X.mean(0))[:, None].astype(float) - KINDS[None]).sum(2).min(1)
    assert away.mean() < 0.6 * at_random.mean()
    near = fitted.gibbs(X)
    assert near.dtype == bool and np.abs(near - X).mean() < 0.2
    assert not np.array_equal(near, fitted.gibbs(X))  # the numbers go on


def test_real_columns_are_standardised_and_come_back() -> None:
    data = np.column_stack([REAL, np.full(300, 7.0)])
    fitted = real(n_iter=30, momentum=0.5).fit(data)
    np.testing.assert_allclose(fitted.mean_, data.mean(0))
    np.testing.assert_allclose(fitted.scale_, [*data[:, :12].std(0), 1.0])
    back = fitted.inverse_transform(fitted.transform(data))
    assert ((back - data)[:, :12] ** 2).mean() < 0.7 * data[:, :12].var(0).mean()
    drawn = fitted.sample(400, sweeps=50, random_state=0)
    np.testing.assert_allclose(drawn[:, :12].mean(0), data[:, :12].mean(0), atol=0.6)
    assert fitted.score_samples(data).mean() > fitted.score_samples(data[:, ::-1]).mean()


def test_scores_of_real_rows_are_densities_in_their_own_unit() -> None:
    # One unit without weights: but for log Z a normal density.
    column = RNG.normal(5.0, 3.0, (200, 1))
    fitted = real(n_iter=0, n_components=1).fit(column)
    torch.nn.init.zeros_(fitted.machine_.weight)
    log_z = 0.5 * np.log(2 * np.pi) + np.log(2.0)
    z = (column[:, 0] - column.mean()) / column.std()
    np.testing.assert_allclose(
        fitted.score_samples(column) - log_z,
        -0.5 * z**2 - 0.5 * np.log(2 * np.pi) - np.log(column.std()),
        rtol=1e-6,
    )


def test_variances_are_learnt_where_asked_for() -> None:
    fitted = real(learn_variance=True).fit(REAL)
    variance = fitted.machine_.visible_log_variance
    assert variance is not None and bool((variance != 0).all())
    assert real().fit(REAL).machine_.visible_log_variance is None


@pytest.mark.parametrize("make", ["pandas", "polars"])
def test_frames(make, tmp_path) -> None:
    library = pytest.importorskip(make)
    names = [f"c{k}" for k in range(12)]
    frame = library.DataFrame(dict(zip(names, X.T, strict=True)))
    fitted = binary().fit(frame)
    assert list(fitted.feature_names_in_) == names
    assert np.array_equal(fitted.transform(frame), binary().fit(X).transform(X))
    assert list(BernoulliRBM.load(fitted.save(tmp_path / "m")).feature_names_in_) == names
    out = fitted.set_output(transform=make).transform(frame)
    assert list(out.columns)[:2] == ["bernoullirbm0", "bernoullirbm1"] and type(out) is library.DataFrame
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.transform(frame[names[::-1]])


def test_pipelines_grids_and_clones() -> None:
    pipe = make_pipeline(binary(), LogisticRegression())
    assert pipe.fit(X, Y).score(X, Y) > 0.9
    grid = GridSearchCV(pipe, {"bernoullirbm__n_components": [2, 8]}, cv=2).fit(X, Y)
    assert grid.best_params_ == {"bernoullirbm__n_components": 8}
    assert not hasattr(clone(pipe[0]), "machine_")


def test_numbers_beyond_0_and_1_are_let_through_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="X lies from -1 to 2, and binary units take numbers from 0 to 1"):
        fitted = binary().fit(X * 3 - 1)
    assert np.isfinite(fitted.transform(X)).all()


def test_progress_is_told(capsys) -> None:
    binary(verbose=True, n_iter=2).fit(X)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in lines] == [f"[BernoulliRBM] epoch {k}/2" for k in (1, 2)]


def test_before_fit() -> None:
    for ask in ("transform", "score_samples", "gibbs", "inverse_transform"):
        with pytest.raises(NotFittedError):
            getattr(BernoulliRBM(), ask)(X)
    with pytest.raises(AttributeError, match="no components_ before fit"):
        _ = BernoulliRBM().components_
    with pytest.raises(ValueError, match="H: has 12 columns for 8 hidden units"):
        binary().fit(X).inverse_transform(X)


DAMAGE = {
    "parameter": lambda card: card["parameters"].update(rate=3),
    "sizes": lambda card: card.update(n_hidden="many"),
    "larger": lambda card: card.update(n_hidden=10**9),
    "chains": lambda card: card.update(chains=3),
    "gone": lambda card: card.pop("seed"),
    "names": lambda card: card.update(history=3),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_folders_are_refused(damage, tmp_path) -> None:
    path = binary().fit(X).save(tmp_path / "model")
    files = dict(read_generation(path).files)
    card = json.loads(json.dumps(parse_guarded(files[CARD], KIND, 1, "here")))
    damage(card)
    write_generation(path.parent, path.name, {**files, CARD: guarded_bytes(card, KIND)}, {"kind": KIND})
    with pytest.raises(CheckpointError, match="what it says of the estimator cannot be used"):
        BernoulliRBM.load(path)


def test_other_classes_and_missing_folders_are_refused(tmp_path) -> None:
    path = binary().fit(X).save(tmp_path / "model")
    with pytest.raises(CheckpointError, match="holds a BernoulliRBM, not a GaussianRBM"):
        GaussianRBM.load(path)
    with pytest.raises(CheckpointError):
        BernoulliRBM.load(tmp_path / "nothing")
