"""Kernel principal components against scikit-learn, PCA as the linear case, and layers that help nearest neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.decomposition import KernelPCA as Theirs
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from lamina.autoencoders.arc_cosine_kernel import ArcCosine
from lamina.autoencoders.kernel_pca import KernelPCA, stacked_kernel_pca
from lamina.data.batch import Batch
from lamina.data.generated.rectangles import rectangles
from lamina.errors import ConfigError


def points(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(x: Tensor, y: Tensor) -> Tensor:
    return x @ y.mT


def close_up_to_sign(found: Tensor, expected: np.ndarray, **given: float) -> None:
    signs = np.sign((found.numpy() * expected).sum(0))
    np.testing.assert_allclose(found.numpy(), expected * signs, **given)


@pytest.mark.parametrize("degrees", [(0,), (1,), (2, 1)])
def test_U11_scikit_learns_components_of_the_same_kernel(degrees: tuple[int, ...]) -> None:
    x, new, kernel = points(60, 5) / 2, points(30, 5, 1) / 2, ArcCosine(degrees)
    theirs = Theirs(8, kernel="precomputed").fit(kernel(x, x).numpy())
    mine = KernelPCA.fit(x, kernel, 8)
    close_up_to_sign(mine(x), theirs.transform(kernel(x, x).numpy()), rtol=1e-7, atol=1e-9)
    close_up_to_sign(mine(new), theirs.transform(kernel(new, x).numpy()), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(mine(x).square().sum(0).numpy(), theirs.eigenvalues_, rtol=1e-9)


def test_U11_the_linear_kernel_is_pca() -> None:
    x, new = points(50, 6) * torch.arange(1, 7) + 3, points(20, 6, 1)
    mine, pca = KernelPCA.fit(x, linear), PCA().fit(x.numpy())
    assert mine.coefficients.shape == (50, 6)  # all in which the data vary, and no more
    close_up_to_sign(mine(new), pca.transform(new.numpy()), rtol=1e-8, atol=1e-9)


def test_U11_some_of_the_points_stand_for_all_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x, kernel = points(300, 4), ArcCosine((1,))
    mine = KernelPCA.fit(x, kernel, 5, at_most=40, generator=torch.Generator().manual_seed(2))
    assert mine.points.shape == (40, 4) and (mine.points[:, None] == x).all(2).any(1).all()
    assert len(mine.points.unique(dim=0)) == 40
    whole = mine(x)
    again = KernelPCA.fit(mine.points, kernel, 5)(x)
    torch.testing.assert_close(whole, again)
    monkeypatch.setattr("lamina.autoencoders.kernel_pca._AT_ONCE", 7 * 40)
    torch.testing.assert_close(mine(x), whole, rtol=1e-12, atol=1e-12)


def test_U11_single_precision_agrees_and_the_state_rebuilds_it() -> None:
    x, kernel = points(80, 5), ArcCosine((1, 1))
    wide = KernelPCA.fit(x.float().double(), kernel, 20)
    narrow = KernelPCA.fit(x.float(), kernel, 20)
    z = wide(x.float().double())
    found = narrow(x.float())
    assert found.dtype == torch.float32
    assert (found.double() - z).abs().max() < 1e-5 * z[:, -1].abs().max()
    rebuilt = KernelPCA(**narrow.state_dict(), kernel=kernel)
    assert torch.equal(rebuilt(x.float()), found)
    some = narrow.select(torch.tensor([3, 0]))
    torch.testing.assert_close(some(x.float()), found[:, [3, 0]])


def test_U11_what_all_values_have_in_common_costs_no_digits() -> None:
    """A constant in the kernel changes no component, in single precision either."""
    x = points(60, 5).float()

    def shifted(a: Tensor, b: Tensor) -> Tensor:
        return linear(a, b) + 1e5

    plain, found = (KernelPCA.fit(x, kernel, 5)(points(20, 5, 1).float()) for kernel in (linear, shifted))
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-4)


def test_U11_layers_serve_nearest_neighbours_better_than_pixels_on_rectangles() -> None:
    train, valid, test = (
        part._replace(inputs=part.inputs.flatten(1)) for part in rectangles(train=500, valid=250, test=1_500)
    )

    def error(features: torch.nn.Module) -> float:
        knn = KNeighborsClassifier(5).fit(features(train.inputs).numpy(), train.targets)
        return float((knn.predict(features(test.inputs).numpy()) != test.targets.numpy()).mean())

    network = stacked_kernel_pca(train, [ArcCosine((0,))] * 2, valid=valid)
    assert [name for name, _ in network.named_children()] == ["layer1", "layer2"]
    assert all(part.coefficients.shape[1] < 499 for part in network)
    raw, stacked = error(torch.nn.Identity()), error(network)
    assert stacked < raw - 0.01
    everything = stacked_kernel_pca(train._replace(targets=None), [ArcCosine((1,))], components=30)
    assert everything(test.inputs).shape == (1_500, 30)
    alone = KernelPCA.fit(train.inputs, ArcCosine((1,)), 30)
    torch.testing.assert_close(everything(test.inputs[:9]), alone(test.inputs[:9]))


def test_refusals() -> None:
    x = points(10, 3)
    with pytest.raises(ConfigError, match="two points"):
        KernelPCA.fit(x[:1], linear)
    for components in (0, 4):
        with pytest.raises(ConfigError, match="vary in 3 components"):
            KernelPCA.fit(x, linear, components)
    with pytest.raises(ConfigError, match="vary in 0"):
        KernelPCA.fit(torch.ones(5, 3), linear)
    with pytest.raises(ConfigError, match="no kernel"):
        stacked_kernel_pca(Batch(x), [])
