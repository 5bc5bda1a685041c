"""Contrast normalisation against loops over pictures and windows."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.data.preprocessing import GlobalContrast, LocalContrast
from lamina.errors import CheckpointError, ConfigError, DataError
from lamina.io import pack_arrays, unpack_arrays


def pictures(n: int = 3, c: int = 3, h: int = 7, w: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, (n, c, h, w))


@settings(max_examples=30, deadline=None)
@given(s=st.floats(0.1, 60), lam=st.floats(0, 100), epsilon=st.floats(1e-8, 200), seed=st.integers(0, 99))
def test_I17_global_contrast_is_the_formula(s: float, lam: float, epsilon: float, seed: int) -> None:
    x = pictures(seed=seed)
    ours = GlobalContrast(s, lam, epsilon).transform(x)
    for picture, result in zip(x, ours, strict=True):
        r, c = picture.shape[1:]
        mean = sum(float(v) for v in picture.ravel()) / (3 * r * c)
        spread = sum((float(v) - mean) ** 2 for v in picture.ravel()) / (3 * r * c)
        assert np.allclose(result, s * (picture - mean) / max(epsilon, math.sqrt(lam + spread)), rtol=1e-10, atol=1e-10)


def test_I17_deviation_is_s_without_lambda_and_a_constant_picture_is_zero() -> None:
    x = pictures()
    out = GlobalContrast(s=2.5).transform(x)
    assert np.allclose(out.std((1, 2, 3)), 2.5) and np.allclose(out.mean((1, 2, 3)), 0, atol=1e-12)
    for value in (0.0, 0.1, 255.0, 1e30):
        flat = torch.full((2, 3, 32, 32), value)
        result = GlobalContrast().transform(flat)
        assert result.isfinite().all()
        assert value == 1e30 or result.abs().max().item() < 1e-6
    bytes_ = x.astype(np.uint8)
    assert GlobalContrast().transform(bytes_).dtype == np.float32
    assert GlobalContrast().transform(torch.from_numpy(bytes_)).std((1, 2, 3), correction=0).numpy() == pytest.approx(
        1.0, abs=1e-5
    )


def naive_local(x: np.ndarray, window: int, sigma: float | None, s: float, lam: float, epsilon: float) -> np.ndarray:
    out, half = np.empty_like(x), window // 2
    n, c, h, w = x.shape
    for picture in range(n):
        for i in range(h):
            for j in range(w):
                total = mean = 0.0
                for p in range(max(0, i - half), min(h, i + half + 1)):
                    for q in range(max(0, j - half), min(w, j + half + 1)):
                        g = 1.0 if sigma is None else math.exp(-((p - i) ** 2 + (q - j) ** 2) / (2 * sigma**2))
                        total += g * c
                        mean += g * x[picture, :, p, q].sum()
                mean /= total
                spread = 0.0
                for p in range(max(0, i - half), min(h, i + half + 1)):
                    for q in range(max(0, j - half), min(w, j + half + 1)):
                        g = 1.0 if sigma is None else math.exp(-((p - i) ** 2 + (q - j) ** 2) / (2 * sigma**2))
                        spread += g * ((x[picture, :, p, q] - mean) ** 2).sum()
                contrast = max(epsilon, math.sqrt(lam + spread / total))
                out[picture, :, i, j] = s * (x[picture, :, i, j] - mean) / contrast
    return out


@pytest.mark.parametrize("window", [1, 3, 5, 9])
@pytest.mark.parametrize("sigma", [None, 1.3])
def test_I18_local_contrast_is_a_loop_over_windows(window: int, sigma: float | None) -> None:
    x = pictures()
    for s, lam, epsilon in ((1.0, 0.0, 1e-4), (2.0, 30.0, 1e-4), (1.0, 0.0, 70.0)):
        ours = LocalContrast(window, sigma, s, lam, epsilon).transform(x)
        assert np.allclose(ours, naive_local(x, window, sigma, s, lam, epsilon), rtol=1e-8, atol=1e-8)


def test_I18_one_window_over_everything_is_global_contrast() -> None:
    x = pictures(h=4, w=3)
    assert np.allclose(LocalContrast(7, s=3.0, lam=2.0).transform(x), GlobalContrast(3.0, 2.0).transform(x))


def test_I18_constant_picture_and_edges_in_the_dark() -> None:
    for value in (0.0, 0.1, 255.0):
        assert LocalContrast().transform(torch.full((1, 3, 12, 12), value)).abs().max().item() < 1e-6
    dark = np.zeros((1, 1, 8, 24))
    dark[..., 4:8], dark[..., 12:] = 0.01, 1.0  # a faint edge, and a bright half far from it
    seen_globally = np.ptp(GlobalContrast().transform(dark)[..., :8])
    seen_locally = np.ptp(LocalContrast(5).transform(dark)[..., :7])
    assert seen_locally > 1 > 0.05 > seen_globally
    assert LocalContrast(3).transform(dark.astype(np.float32)).dtype == np.float32


def test_I18_many_pictures_go_in_pieces() -> None:
    x = pictures(40, 3, 100, 100).astype(np.float32)  # more than a million numbers
    whole = LocalContrast(5).transform(x)
    assert np.array_equal(whole[37:], LocalContrast(5).transform(x[37:]))
    assert np.array_equal(GlobalContrast().transform(x)[37:], GlobalContrast().transform(x[37:]))


@pytest.mark.parametrize("ours", [GlobalContrast(2.0, 10.0), LocalContrast(5, 1.5), LocalContrast(3, lam=0.5)])
def test_state_comes_back_and_damage_is_refused(ours: GlobalContrast | LocalContrast) -> None:
    arrays = unpack_arrays(pack_arrays(ours.to_arrays()), name="test")
    assert type(ours).from_arrays(arrays) == ours
    with pytest.raises(CheckpointError):
        type(ours).from_arrays({})
    for name in arrays:
        for bad in (np.array(-1.0), np.array(math.nan), np.zeros(2), np.array("a")):
            with pytest.raises(CheckpointError):
                type(ours).from_arrays({**arrays, name: bad})
    if isinstance(ours, LocalContrast):
        with pytest.raises(CheckpointError):
            LocalContrast.from_arrays({**arrays, "window": np.array(2.5)})


def test_wrong_arguments_are_refused() -> None:
    for call in (
        lambda: GlobalContrast(s=0.0),
        lambda: GlobalContrast(epsilon=0.0),
        lambda: GlobalContrast(lam=-1.0),
        lambda: LocalContrast(4),
        lambda: LocalContrast(5, sigma=0.0),
    ):
        with pytest.raises(ConfigError):
            call()
    with pytest.raises(DataError):
        LocalContrast().transform(np.zeros((3, 4, 5)))
    with pytest.raises(DataError):
        GlobalContrast().transform(np.zeros(3))
