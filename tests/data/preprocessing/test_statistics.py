"""Standardisation, range scaling and sphering against scikit-learn and NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.decomposition import PCA
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from lamina.data.preprocessing import SIGMOID_RANGE, TANH_RANGE, RangeScaling, Sphering, Standardisation
from lamina.errors import CheckpointError, ConfigError, DataError
from lamina.io import pack_arrays, unpack_arrays


def table(n: int = 300, d: int = 5, seed: int = 0) -> np.ndarray:
    """Correlated features of different sizes."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) * 10.0 ** np.arange(-2, d - 2) + rng.normal(size=d) * 50


def stored(preparation: object) -> object:
    """Return the preparation after a way through a file's bytes."""
    arrays = unpack_arrays(pack_arrays(preparation.to_arrays()), name="test")  # type: ignore[attr-defined]
    return type(preparation).from_arrays(arrays)  # type: ignore[attr-defined]


TABLES = hnp.arrays(
    np.float64, st.tuples(st.integers(2, 9), st.integers(1, 4)), elements=st.integers(-1000, 1000).map(float)
)


@settings(max_examples=60, deadline=None)
@given(x=TABLES)
def test_I13_standardisation_is_scikit_learns(x: np.ndarray) -> None:
    ours = Standardisation.fit(x)
    theirs = StandardScaler().fit(x)
    z = ours.transform(x)
    assert np.allclose(z, theirs.transform(x), rtol=1e-9, atol=1e-9)
    assert np.allclose(ours.inverse(z), x, rtol=1e-9, atol=1e-9)


def test_I13_moments_by_channel_and_by_feature() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (20, 3, 5, 4)).astype(np.uint8)
    z = Standardisation.fit(pictures, axis=1).transform(pictures)
    assert z.dtype == np.float32 and z.shape == pictures.shape
    assert np.allclose(z.mean((0, 2, 3)), 0, atol=1e-5) and np.allclose(z.std((0, 2, 3)), 1, atol=1e-5)
    assert not np.allclose(z.mean((1, 2, 3)), 0, atol=1e-2)
    series = torch.from_numpy(table(60, 5)).reshape(10, 6, 5)
    last = Standardisation.fit(series, axis=-1)
    assert last.mean.shape == (1, 5)
    z2 = last.transform(series[:, :4])  # another length of the series
    assert isinstance(z2, torch.Tensor) and torch.allclose(z2, last.transform(series)[:, :4])
    assert Standardisation.fit(pictures).mean.shape == (3, 5, 4)
    assert Standardisation.fit(np.arange(4.0)).transform(np.arange(4.0)).std() == pytest.approx(1.0)


def test_I13_large_data_in_pieces_and_far_from_zero() -> None:
    x = np.random.default_rng(0).normal(size=(3000, 1000)).astype(np.float32) + np.float32(1000)
    z = Standardisation.fit(x, axis=1)
    assert np.allclose(z.mean, x.astype(np.float64).mean(0), rtol=1e-12)
    assert np.allclose(z.std, x.astype(np.float64).std(0), rtol=1e-9)


def test_I13_constant_feature_becomes_zero() -> None:
    x = np.stack([np.full(7, 0.1), np.arange(7.0)], 1)
    assert np.abs(Standardisation.fit(x).transform(x)[:, 0]).max() < 1e-15


@pytest.mark.parametrize("interval", [SIGMOID_RANGE, TANH_RANGE])
@settings(max_examples=40, deadline=None)
@given(x=TABLES)
def test_I15_range_scaling_is_scikit_learns(interval: tuple[float, float], x: np.ndarray) -> None:
    ours = RangeScaling.fit(x, interval)
    z = ours.transform(x)
    vary = np.ptp(x, axis=0) > 0
    theirs = MinMaxScaler(interval).fit(x).transform(x)
    assert np.allclose(z[:, vary], theirs[:, vary], rtol=1e-9, atol=1e-9)
    assert np.allclose(z.min(0)[vary], interval[0]) and np.allclose(z.max(0)[vary], interval[1])
    assert np.allclose(z[:, ~vary], sum(interval) / 2)
    assert np.allclose(ours.inverse(z), x, rtol=1e-9, atol=1e-9)


def test_W37_I15_the_courses_intervals() -> None:
    assert SIGMOID_RANGE == (0.15, 0.85) and TANH_RANGE == (-1.716, 1.716)
    x = torch.tensor([[2.0], [4.0], [3.0], [5.0]])
    assert RangeScaling.fit(x[:3]).transform(x).flatten().tolist() == pytest.approx([0.15, 0.85, 0.5, 1.2])
    pictures = torch.rand(5, 3, 4, 4, dtype=torch.float64)
    z = RangeScaling.fit(pictures, TANH_RANGE, axis=1).transform(pictures)
    assert torch.allclose(z.amax((0, 2, 3)), torch.full((3,), 1.716, dtype=torch.float64))
    huge = np.array([[-1.7e308], [1.7e308]])
    assert np.allclose(RangeScaling.fit(huge).transform(huge), [[0.15], [0.85]])


@pytest.mark.parametrize("k", [None, 3])
def test_I14_pca_is_scikit_learns_up_to_sign(k: int | None) -> None:
    x = table()
    ours = Sphering.fit(x, components=k)
    theirs = PCA(k, whiten=True, svd_solver="full").fit(x)
    z = ours.transform(x)
    expected = theirs.transform(x)
    signs = np.sign((z * expected).sum(0))
    assert np.allclose(z, expected * signs, rtol=1e-6, atol=1e-8)
    assert np.allclose(ours.variances, theirs.explained_variance_, rtol=1e-9)
    assert np.allclose(ours.inverse(z), theirs.inverse_transform(expected), rtol=1e-6, atol=1e-8)
    largest = np.abs(ours.components).argmax(1)
    assert (ours.components[np.arange(len(largest)), largest] > 0).all()


@pytest.mark.parametrize("kind", ["pca", "zca"])
def test_I14_covariance_is_the_identity_and_back_again(kind: str) -> None:
    x = table()
    ours = Sphering.fit(x, kind)  # type: ignore[arg-type]
    z = ours.transform(x)
    assert np.allclose(np.cov(z.T), np.eye(5), atol=1e-8) and np.allclose(z.mean(0), 0, atol=1e-9)
    assert np.allclose(ours.inverse(z), x, rtol=1e-9)
    other = table(50, seed=1)
    assert np.allclose(ours.inverse(ours.transform(other)), other, rtol=1e-8)


def test_I14_zca_is_the_inverse_root_of_the_covariance() -> None:
    x = table()
    values, vectors = np.linalg.eigh(np.cov(x.T))
    for epsilon in (0.0, 0.3):
        root = vectors @ np.diag((values + epsilon) ** -0.5) @ vectors.T
        z = Sphering.fit(x, "zca", epsilon=epsilon).transform(x)
        assert np.allclose(z, (x - x.mean(0)) @ root, atol=1e-7)


def test_I14_epsilon_leaves_each_component_its_share() -> None:
    x = table()
    ours = Sphering.fit(x, epsilon=0.5)
    z = ours.transform(x)
    assert np.allclose(np.cov(z.T), np.diag(ours.variances / (ours.variances + 0.5)), atol=1e-8)
    assert np.allclose(ours.inverse(z), x, rtol=1e-9)


def test_I14_directions_without_spread_are_left_out() -> None:
    x = table(40, 3)
    wide = np.concatenate([x, x[:, :1] * 2 - x[:, 1:2], np.full((40, 1), 7.0)], 1)
    ours = Sphering.fit(wide)
    assert ours.components.shape == (3, 5)
    assert np.allclose(np.cov(ours.transform(wide).T), np.eye(3), atol=1e-6)
    few = np.random.default_rng(0).normal(size=(6, 50))
    z = Sphering.fit(few, "zca").transform(few)
    assert z.shape == (6, 50) and np.linalg.matrix_rank(np.cov(z.T)) == 5
    theirs = PCA(5, whiten=True, svd_solver="full").fit(few).transform(few)
    assert np.allclose(np.abs(Sphering.fit(few).transform(few)), np.abs(theirs))
    pictures = torch.rand(90, 1, 4, 5)
    whole = Sphering.fit(pictures, "zca")
    assert whole.transform(pictures).shape == pictures.shape
    assert torch.allclose(whole.inverse(whole.transform(pictures)), pictures, atol=1e-4)


PREPARED = {
    "standardisation": lambda x: Standardisation.fit(x),
    "range": lambda x: RangeScaling.fit(x, TANH_RANGE),
    "pca": lambda x: Sphering.fit(x, components=2, epsilon=0.1),
    "zca": lambda x: Sphering.fit(x, "zca"),
}


@pytest.mark.parametrize("kind", list(PREPARED))
def test_state_comes_back_and_types_stay(kind: str) -> None:
    x = table()
    ours = PREPARED[kind](x)
    again = stored(ours)
    assert np.array_equal(ours.transform(x), again.transform(x))  # type: ignore[attr-defined]
    small = torch.from_numpy(x).float()
    z = ours.transform(small)
    assert isinstance(z, torch.Tensor) and z.dtype == torch.float32
    assert np.allclose(z.numpy(), ours.transform(x), atol=1e-2)
    assert ours.transform(x[:0]).shape[0] == 0
    backwards = x[::-1]
    backwards.flags.writeable = False
    assert np.allclose(ours.transform(backwards), ours.transform(x)[::-1], rtol=1e-9, atol=1e-9)
    assert np.allclose(ours.transform(x.astype(">f8")), ours.transform(x))


@pytest.mark.parametrize("kind", list(PREPARED))
def test_damaged_state_and_unfit_data_are_refused(kind: str) -> None:
    ours = PREPARED[kind](table())
    arrays = ours.to_arrays()
    with pytest.raises(CheckpointError):
        type(ours).from_arrays({})
    for name, array in arrays.items():
        for bad in (np.full(np.shape(array), np.nan), np.array(["a"]), np.zeros((2, 3, 4))):
            with pytest.raises(CheckpointError):
                type(ours).from_arrays({**arrays, name: bad})
    for name in {"std", "variances", "epsilon", "components", "maximum"} & set(arrays):
        with pytest.raises(CheckpointError):
            type(ours).from_arrays({**arrays, name: -np.abs(arrays[name]) - 1e9})
    if "interval" in arrays:
        with pytest.raises(CheckpointError):
            type(ours).from_arrays({**arrays, "interval": np.array([1.0, 1.0])})
    with pytest.raises(DataError, match="do not fit"):
        ours.transform(np.zeros((3, 4)))
    with pytest.raises(DataError, match="cannot prepare"):
        ours.transform(np.array([["a"]]))


def test_wrong_arguments_are_refused() -> None:
    x = table()
    for call in (
        lambda: Standardisation.fit(x, axis=0),
        lambda: Standardisation.fit(x, axis=2),
        lambda: RangeScaling.fit(x, (1.0, 1.0)),
        lambda: Sphering.fit(x, components=6),
        lambda: Sphering.fit(x, components=0),
        lambda: Sphering.fit(x, epsilon=-1.0),
        lambda: Sphering.fit(x, "ica"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigError):
            call()
    for bad in (x[:0], np.array([[np.nan], [1.0]]), np.float64(3.0), np.ones((5, 2))[:1]):
        with pytest.raises(DataError):
            Sphering.fit(np.asarray(bad))
    with pytest.raises(DataError, match="same"):
        Sphering.fit(np.full((5, 2), 0.1))


def test_I14_the_largest_weight_of_every_component_is_positive() -> None:
    for seed in range(8):
        rows = Sphering.fit(table(seed=seed)).components
        assert (np.take_along_axis(rows, np.abs(rows).argmax(1)[:, None], 1) > 0).all()
