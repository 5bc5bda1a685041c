"""Principal components against scikit-learn and the autoencoder they are."""

from __future__ import annotations

import pytest
import torch
from sklearn.decomposition import PCA as Peer

from lamina.autoencoders import pca
from lamina.autoencoders.pca import PCA
from lamina.errors import ConfigError

G = torch.Generator


def rows(n: int = 60, d: int = 7) -> torch.Tensor:
    return torch.randn(n, d, generator=G().manual_seed(0), dtype=torch.float64) @ torch.randn(
        d, d, generator=G().manual_seed(1), dtype=torch.float64
    ) + torch.arange(float(d))


@pytest.mark.parametrize("at_once", [4_096, 7])
def test_U14_scikit_learn_finds_the_same(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pca, "_AT_ONCE", at_once)
    x = rows()
    ours, peer = PCA(x, 3), Peer(3, svd_solver="full").fit(x.numpy())
    torch.testing.assert_close(ours.components, torch.from_numpy(peer.components_))
    torch.testing.assert_close(ours.variances, torch.from_numpy(peer.explained_variance_))
    torch.testing.assert_close(ours.encode(x), torch.from_numpy(peer.transform(x.numpy())))
    torch.testing.assert_close(ours(x), torch.from_numpy(peer.inverse_transform(peer.transform(x.numpy()))))
    ratio = ours.variances / ours.total_variance
    torch.testing.assert_close(ratio, torch.from_numpy(peer.explained_variance_ratio_))


def test_what_is_left_is_the_sum_of_the_other_eigenvalues() -> None:
    x = rows()
    ours = PCA(x, 3)
    left = torch.linalg.svdvals(x - x.mean(0))[3:].square().sum()
    torch.testing.assert_close((ours(x) - x).square().sum(), left)
    torch.testing.assert_close(PCA(x, 7)(x), x)


def test_is_an_autoencoder() -> None:
    x = rows().float()
    ours = PCA(x, 2)
    model = ours.autoencoder()
    torch.testing.assert_close(model.encode(x), ours.encode(x), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(model.reconstruct(x), ours(x), atol=1e-4, rtol=1e-4)
    assert model.decoder.get_parameter("weight") is model.encoder.get_parameter("weight")


def test_fewer_examples_than_dimensions_and_a_constant_column() -> None:
    x = rows(4, 7)
    x[:, 2] = 5.0
    ours = PCA(x, 6)
    torch.testing.assert_close(ours(x), x)
    assert (ours.variances[3:] < 1e-9).all() and (ours.variances >= 0).all()


@pytest.mark.parametrize(("n", "k"), [(60, 0), (60, 8), (1, 1)])
def test_refuses(n: int, k: int) -> None:
    with pytest.raises(ConfigError):
        PCA(rows(n), k)
