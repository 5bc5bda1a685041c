"""Frames of any make, mixed columns, names; and the same answers whatever the data came in."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

from lamina.errors import DataError
from lamina.estimators import NeuralClassifier, NeuralRegressor
from lamina.runs.predictor import Predictor

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

N = 200
RNG = np.random.default_rng(0)
NUMBERS = {name: RNG.normal(size=N) for name in ("a", "b", "c")}
COLOUR = RNG.choice(["red", "green", "blue"], N)
Y = np.where((COLOUR == "red") | (NUMBERS["a"] > 0.8), "yes", "no")
MIXED = {
    "size": NUMBERS["a"].tolist(),
    "colour": COLOUR.tolist(),
    "old": [bool(v) for v in NUMBERS["b"] > 0],
    "day": [datetime.date(2024, 1, 1) + datetime.timedelta(days=int(v)) for v in RNG.integers(0, 500, N)],
    "visits": [None if i % 7 == 0 else int(v) for i, v in enumerate(RNG.integers(0, 9, N))],
}
MAKE = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "pyarrow": pa.table,
}


def classifier(**changes):
    return NeuralClassifier(**{"epochs": 15, "hidden": 16, "random_state": 0, "learning_rate": 1e-2, **changes})


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_frames_of_numbers_are_matrices_with_names(make) -> None:
    matrix = np.stack(list(NUMBERS.values()), axis=1)
    frame = make(NUMBERS)
    fitted = classifier().fit(frame, Y)
    assert list(fitted.feature_names_in_) == ["a", "b", "c"]
    assert np.array_equal(fitted.predict_proba(frame), classifier().fit(matrix, Y).predict_proba(matrix))
    with pytest.raises(ValueError, match=r"(?s)feature names should match.*order"):  # C16, scikit-learn's rule
        fitted.predict(make({name: NUMBERS[name] for name in "cba"}))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        fitted.predict(matrix)


@pytest.mark.parametrize("make", MAKE.values(), ids=[f"B35-{name}" for name in MAKE])
def test_mixed_columns(make, tmp_path) -> None:
    fitted = classifier().fit(make(MIXED), Y)
    expected = classifier().fit(pd.DataFrame(MIXED), Y).predict_proba(pd.DataFrame(MIXED))
    said = fitted.predict_proba(make(MIXED))
    assert np.array_equal(said, expected)
    assert fitted.score(make(MIXED), Y) > 0.85
    again = NeuralClassifier.load(fitted.save(tmp_path / "model"))
    assert np.array_equal(again.predict_proba(make(MIXED)), said)
    assert np.array_equal(again.feature_names_in_, fitted.feature_names_in_)


def test_pandas_own_types() -> None:  # B35
    plain = pd.DataFrame(MIXED)
    own = plain.assign(
        colour=pd.Categorical(plain["colour"], categories=["red", "green", "blue", "never"]),
        visits=plain["visits"].astype("Int64"),
        old=plain["old"].astype("boolean"),
        size=plain["size"].astype("Float64"),
        day=pd.to_datetime(plain["day"]).dt.tz_localize("UTC"),
    )
    said = classifier().fit(own, Y).predict_proba(own)
    assert np.array_equal(said, classifier().fit(plain, Y).predict_proba(plain))


def test_nullable_numbers_are_numbers() -> None:
    frame = pd.DataFrame({"a": pd.array([1, None, 3, 4] * 50, "Int64"), "b": pd.array([True, False] * 100, "boolean")})
    fitted = classifier().fit(frame, Y)
    assert fitted._numbers is not None and np.isfinite(fitted.predict_proba(frame)).all()


def test_a_category_of_numbers_is_a_category() -> None:
    codes = RNG.integers(0, 4, N)
    y = np.where(codes % 2 == 0, "even", "odd")
    frame = pd.DataFrame({"code": pd.Categorical(codes), "x": NUMBERS["a"]})
    encoders = classifier().fit(frame, y).predictor_.preparation.encoders
    assert type(encoders["code"]).__name__ == "CategoryEncoder"
    matrix = np.stack([codes, NUMBERS["a"]], axis=1)
    for categorical in ([0], [-2]):
        fitted = classifier(categorical=categorical).fit(matrix, y)
        assert [type(e).__name__ for e in fitted.predictor_.preparation.encoders.values()] == [
            "CategoryEncoder",
            "NumberEncoder",
        ]
        assert fitted.score(matrix, y) > 0.95
    with pytest.raises(ValueError, match="there is no column 'colour'"):
        classifier(categorical=["colour"]).fit(matrix, y)


def test_unseen_category_at_predict() -> None:  # C17
    fitted = classifier().fit(pd.DataFrame(MIXED), Y)
    other = pd.DataFrame(MIXED).assign(colour="violet")
    assert np.isfinite(fitted.predict_proba(other)).all()


def test_objects_and_texts_in_arrays() -> None:
    array = np.stack([COLOUR.astype(object), NUMBERS["a"].astype(object)], axis=1)
    fitted = classifier().fit(array, Y)
    assert fitted.score(array, Y) > 0.85
    assert np.array_equal(fitted.predict(array.tolist()), fitted.predict(array))


def test_names_that_are_no_texts_and_repeated_names() -> None:  # B36
    frame = pd.DataFrame({0: NUMBERS["a"], 1: COLOUR})
    fitted = classifier().fit(frame, Y)
    assert not hasattr(fitted, "feature_names_in_") and fitted.score(frame, Y) > 0.8
    numbers = pd.DataFrame({("x", 1): NUMBERS["a"], ("y", 2): NUMBERS["b"]}, index=[0] * N)
    assert list(classifier().fit(numbers, Y).predictor_.preparation.encoders) == ["x.1", "y.2"]
    frame.columns = ["a", "a"]
    with pytest.raises((DataError, ValueError), match=r'two columns are called "a"|unique column names'):
        classifier().fit(frame, Y)


def test_constant_and_rising_columns_of_numbers_are_kept() -> None:
    matrix = np.stack([np.arange(N), np.ones(N)], axis=1)
    y = np.arange(N) > 100
    for x in (matrix, pd.DataFrame(matrix.astype(int), columns=["a", "b"]).assign(c="z")):
        assert classifier().fit(x, y).score(x, y) > 0.95


def test_text_that_tells_nothing_is_left_out_and_said() -> None:
    frame = pd.DataFrame({"x": NUMBERS["a"], "name": [f"person {i}" for i in range(N)]})
    fitted = classifier().fit(frame, Y)
    assert any('"name" is left out' in note for note in fitted.notes_) and fitted.n_features_in_ == 2


def test_targets_from_frames() -> None:
    frame = pl.DataFrame(NUMBERS)
    both = NeuralRegressor(epochs=3, hidden=4).fit(frame, pl.DataFrame({"u": NUMBERS["a"], "v": NUMBERS["b"]}))
    assert [t.name for t in both.predictor_.targets] == ["u", "v"] and both.predict(frame).shape == (N, 2)
    for y in (pd.Series(Y, name="bought"), pl.Series("bought", Y), pd.Series(Y, name="bought", dtype="category")):
        fitted = classifier(epochs=2).fit(frame, y)
        assert fitted.predictor_.targets[0].name == "bought" and fitted.classes_.tolist() == ["no", "yes"]
    counts = pd.Series(np.arange(N) % 3, dtype="Int64")
    assert classifier(epochs=2).fit(frame, counts).classes_.tolist() == [0, 1, 2]


def test_the_saved_model_is_lamina_s_own(tmp_path) -> None:
    fitted = classifier().fit(pd.DataFrame(MIXED), pd.Series(Y, name="bought"))
    (answer,) = Predictor.load(fitted.save(tmp_path / "model")).predict(pl.DataFrame(MIXED).select(sorted(MIXED)))
    assert answer.target.name == "bought"
    assert np.array_equal(answer.prediction, fitted.predict(pd.DataFrame(MIXED)))
    assert np.allclose(answer.probabilities, fitted.predict_proba(pd.DataFrame(MIXED)), atol=1e-5)
