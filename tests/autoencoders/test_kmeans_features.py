"""K-means features by loops over places, cells and centroids; the clusterings against their definitions; few labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from lamina.autoencoders.kmeans_features import KMeansFeatures
from lamina.errors import ConfigError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int = 30, seed: int = 0) -> Tensor:
    return torch.rand(n, 2, 9, 8, generator=generator(seed), dtype=torch.float64)


def fitted(**given: object) -> KMeansFeatures:
    return KMeansFeatures.fit(
        pictures(), 7, 3, contrast=0.01, whitening=0.05, n_patches=500, generator=generator(1), **given
    )


def at(features: KMeansFeatures, patch: np.ndarray) -> np.ndarray:
    """f of one raw patch, as the docstring says."""
    p = (patch - patch.mean()) / np.sqrt(patch.var() + features.contrast)
    z = features.whitening.numpy() @ (p - features.mean.numpy())
    c = features.centroids.numpy()
    if features.encoding == "threshold":
        return np.array([max(0.0, float(row @ z) - features.threshold) for row in c])
    d = np.array([np.sqrt(((z - row) ** 2).sum()) for row in c])
    if features.encoding == "hard":
        return np.eye(len(c))[d.argmin()]
    return np.array([max(0.0, d.mean() - one) for one in d])


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"encoding": "hard", "grid": 1},
        {"encoding": "threshold", "clustering": "spherical", "threshold": 0.4},
        {"stride": 2, "grid": 3},
    ],
    ids=["triangle", "hard", "threshold", "strided"],
)
def test_V16_features_by_loops(given: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    features, x = fitted(**given), pictures(4, seed=5)
    found = features(x)
    height, width = (9 - 3) // features.stride + 1, (8 - 3) // features.stride + 1
    rows, columns = (np.array_split(np.arange(n), features.grid) for n in (height, width))
    expected = np.zeros((4, 7, features.grid, features.grid))
    for n in range(4):
        for a, some_rows in enumerate(rows):
            for b, some_columns in enumerate(columns):
                for i in some_rows:
                    for j in some_columns:
                        top, left = i * features.stride, j * features.stride
                        patch = x[n, :, top : top + 3, left : left + 3].numpy().ravel()
                        expected[n, :, a, b] += at(features, patch)
    assert found.shape == (4, features.n_features)
    np.testing.assert_allclose(found.numpy(), expected.reshape(4, -1), rtol=1e-9, atol=1e-9)
    monkeypatch.setattr("lamina.autoencoders.kmeans_features._AT_ONCE", 1)
    torch.testing.assert_close(features(x), found)


def test_V16_about_half_the_triangle_is_zero_and_the_hard_code_counts_places() -> None:
    x = pictures(5)
    share = (fitted(grid=1).encode(torch.randn(400, 18, generator=generator(), dtype=torch.float64)) == 0).double()
    assert 0.25 < share.mean() < 0.75
    torch.testing.assert_close(
        fitted(encoding="hard").forward(x).sum(1), torch.full((5,), 7.0 * 6, dtype=torch.float64)
    )


def clusters(n: int = 3_000) -> tuple[Tensor, Tensor]:
    """Pictures of one patch of nine numbers each: one of four patterns, of either sign, and noise."""
    g = generator(3)
    patterns = torch.linalg.qr(torch.randn(9, 9, generator=g, dtype=torch.float64))[0]
    patterns -= patterns.mean(1, keepdim=True)
    patterns = patterns[:4] / patterns[:4].norm(dim=1, keepdim=True)
    sign = 1.0 - 2.0 * torch.randint(2, (n, 1), generator=g)
    x = sign * patterns[torch.randint(4, (n,), generator=g)] + 0.05 * torch.randn(n, 9, generator=g)
    return x.view(n, 1, 3, 3), patterns


@pytest.mark.parametrize("clustering", ["euclidean", "spherical"])
def test_V16_patterns_of_patches_become_centroids(clustering: str) -> None:
    x, patterns = clusters()
    k = 8 if clustering == "euclidean" else 4  # the spherical one takes both signs together
    features = KMeansFeatures.fit(
        x, k, 3, grid=1, clustering=clustering, n_patches=3_000, whitening=1.0, generator=generator(2)
    )
    seen = (3.0 * patterns - features.mean) @ features.whitening  # a normalised patch has length √9
    directions = seen / seen.norm(dim=1, keepdim=True)
    c = features.centroids / features.centroids.norm(dim=1, keepdim=True)
    match = directions @ c.mT
    for signed in (match, -match) if clustering == "euclidean" else (match.abs(),):
        assert signed.max(1).values.min() > 0.97
        assert len(set(signed.argmax(1).tolist())) == 4
    if clustering == "spherical":
        torch.testing.assert_close(features.centroids.norm(dim=1), torch.ones(4, dtype=torch.float64))


def test_V16_whitened_patches_are_white_and_state_rebuilds_it() -> None:
    x = pictures(200, seed=7)
    features = KMeansFeatures.fit(
        pictures(200, seed=8), 7, 3, contrast=0.01, whitening=1e-6, n_patches=8_000, generator=generator()
    )
    patches = torch.nn.functional.unfold(x, 3).mT.reshape(-1, 18)
    patches = patches - patches.mean(1, keepdim=True)
    patches = patches / (patches.square().mean(1, keepdim=True) + 0.01).sqrt()
    z = (patches - features.mean) @ features.whitening
    values = torch.linalg.eigvalsh(torch.cov(z.mT))[1:]  # one direction is gone with the patch's mean
    assert values.min() > 0.8 and values.max() < 1.2
    again = KMeansFeatures(**features.state_dict(), size=3, contrast=0.01)
    assert torch.equal(again(x), features(x))
    assert not list(features.parameters()) and not features(x.clone().requires_grad_()).requires_grad
    narrow = features.float()(x.float())
    torch.testing.assert_close(narrow.double(), features.double()(x), rtol=1e-4, atol=1e-3)


def test_V16_few_labels_go_farther_than_with_pixels() -> None:
    """Digits of 8 × 8 pixels, 100 labels, logistic regression on standardised features; three draws of the labels."""
    digits, codes = load_digits(return_X_y=True)
    x = torch.tensor(digits / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    z = KMeansFeatures.fit(x, 80, 4, n_patches=10_000, generator=generator())(x).numpy()
    errors = []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(codes))
        few, rest = order[:100], order[100:]
        for inputs in (digits, z):
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
            errors.append(1 - model.fit(inputs[few], codes[few]).score(inputs[rest], codes[rest]))
    pixels, features = np.reshape(errors, (3, 2)).T
    assert (features < pixels).all()
    assert features.mean() < 0.75 * pixels.mean()


def test_refusals() -> None:
    for given in ({"encoding": "soft"}, {"contrast": 0.0}, {"threshold": -1.0}, {"size": 0}, {"grid": 0}, {"size": 4}):
        with pytest.raises(Exception, match="KMeansFeatures"):
            KMeansFeatures(**fitted().state_dict(), **{"size": 3, **given})
    for centroids, given in ((501, {}), (0, {}), (3, {"stride": 0})):
        with pytest.raises(ConfigError, match="KMeansFeatures"):
            KMeansFeatures.fit(pictures(), centroids, 3, n_patches=500, **given)
    with pytest.raises(ConfigError, match="places for patches"):
        fitted()(pictures()[:, :, :3])
