"""Fixed convolutions by loops over maps, windows and pixels; kernels stay as they are; few labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lamina.autoencoders.random_convolution import FixedConvolution, random_kernels
from lamina.errors import ConfigError


def by_loops(x: np.ndarray, stage: FixedConvolution) -> np.ndarray:
    w = stage.weight.numpy()
    n_maps, channels, k, _ = w.shape
    height, width = x.shape[1] - k + 1, x.shape[2] - k + 1
    y = np.zeros((n_maps, height, width))
    for m in range(n_maps):
        for i in range(height):
            for j in range(width):
                y[m, i, j] = sum((w[m, c] * x[c, i : i + k, j : j + k]).sum() for c in range(channels))
    r = {
        "absolute": np.abs(y),
        "relu": np.maximum(y, 0),
        "tanh-absolute": np.abs(np.tanh(y)),
        "none": y,
    }[stage.rectification]
    if stage.contrast:
        half = stage.contrast // 2

        def local(values: np.ndarray) -> np.ndarray:
            out = np.zeros((height, width))
            for i in range(height):
                for j in range(width):
                    total = weight = 0.0
                    for p in range(-half, half + 1):
                        for q in range(-half, half + 1):
                            if 0 <= i + p < height and 0 <= j + q < width:
                                g = np.exp(-0.5 * (p * p + q * q) / (stage.contrast / 4) ** 2)
                                total += g * values[:, i + p, j + q].mean()
                                weight += g
                    out[i, j] = total / weight
            return out

        v = r - local(r)
        sigma = np.sqrt(local(v**2))
        r = v / np.maximum(sigma, sigma.mean())
    size, stride = stage.pool, stage.pool_stride
    rows, columns = range(0, height - size + 1, stride), range(0, width - size + 1, stride)
    out = np.zeros((n_maps, len(rows), len(columns)))
    for a, i in enumerate(rows):
        for b, j in enumerate(columns):
            window = r[:, i : i + size, j : j + size].reshape(n_maps, -1)
            out[:, a, b] = {
                "average": window.mean(1),
                "max": window.max(1),
                "root-mean-square": np.sqrt((window**2).mean(1)),
            }[stage.pooling]
    return out


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"rectification": "tanh-absolute", "contrast": 3, "pooling": "max", "pool": 3, "pool_stride": 2},
        {"rectification": "none", "contrast": 0, "pooling": "root-mean-square"},
        {"rectification": "relu", "contrast": 5, "pool": 1},
    ],
    ids=["Jarrett", "tanh", "Saxe", "relu"],
)
def test_V16_stage_by_loops(given: dict[str, object]) -> None:
    g = torch.Generator().manual_seed(0)
    stage = FixedConvolution(random_kernels(5, 2, 3, g), **given).double()  # type: ignore[arg-type]
    x = torch.randn(2, 2, 12, 11, generator=g, dtype=torch.float64)
    for picture, found in zip(x, stage(x), strict=True):
        np.testing.assert_allclose(found.numpy(), by_loops(picture.numpy(), stage), rtol=1e-9, atol=1e-9)


def test_V16_frozen_kernels_unchanged() -> None:
    g = torch.Generator().manual_seed(0)
    stage = FixedConvolution(random_kernels(6, 1, 3, g), contrast=3, pool=3)
    before = stage.weight.clone()
    network = torch.nn.Sequential(stage, torch.nn.Flatten(), torch.nn.Linear(24, 2))
    assert sum(p.numel() for p in network.parameters()) == 50 and list(stage.state_dict()) == ["weight"]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5, weight_decay=0.1)
    x = torch.randn(8, 1, 8, 8, generator=g, requires_grad=True)
    for _ in range(3):
        optimizer.zero_grad()
        network(x).square().sum().backward()
        optimizer.step()
    assert torch.equal(stage.weight, before)
    assert x.grad is not None and x.grad.isfinite().all() and x.grad.any()
    flat = FixedConvolution(random_kernels(6, 1, 3, g), pooling="root-mean-square")
    zeros = torch.zeros(2, 1, 9, 9, requires_grad=True)
    flat(zeros).sum().backward()
    assert not flat(zeros).abs().gt(1e-6).any() and zeros.grad is not None and zeros.grad.isfinite().all()


def test_V16_kernels_of_length_one_from_the_generator() -> None:
    a, b = (random_kernels(4_000, 2, 2, torch.Generator().manual_seed(s)).flatten(1) for s in (0, 1))
    torch.testing.assert_close(a.norm(dim=1), torch.ones(4_000))
    assert not torch.equal(a, b)
    torch.testing.assert_close(a.mT @ a / 4_000, torch.eye(8) / 8, rtol=0, atol=0.012)  # in all directions alike


def test_V16_random_kernels_serve_few_labels_better_than_pixels() -> None:
    digits, codes = load_digits(return_X_y=True)
    x = torch.tensor(digits / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    kernels = random_kernels(64, 1, 3, torch.Generator().manual_seed(0))
    z = FixedConvolution(kernels, contrast=5, pool=3)(x).flatten(1).numpy()
    errors = []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(codes))
        few, rest = order[:100], order[100:]
        for inputs in (digits, z):
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
            errors.append(1 - model.fit(inputs[few], codes[few]).score(inputs[rest], codes[rest]))
    pixels, features = np.reshape(errors, (3, 2)).T
    assert features.mean() < 0.85 * pixels.mean()


def test_refusals() -> None:
    kernels = random_kernels(2, 1, 3)
    for given in ({"contrast": 4}, {"contrast": -1}, {"pool": 0}, {"pool_stride": 0}):
        with pytest.raises(ConfigError, match="contrast must be odd"):
            FixedConvolution(kernels, **given)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="sizes must be"):
        random_kernels(0, 1, 3)
