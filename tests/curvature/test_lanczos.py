"""Lanczos' method against numpy's eigenvalues: of a network's Hessian and of matrices with known spectra."""

from __future__ import annotations

import gc
import inspect
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from curvature import net
from lamina.curvature import hessian_vector, lanczos
from lamina.errors import ConfigError


def matrix_with(values: Tensor, seed: int = 0) -> Tensor:
    """A symmetric matrix with these eigenvalues and random eigenvectors."""
    q = torch.linalg.qr(torch.randn(len(values), len(values), generator=net.seeded(seed), dtype=torch.float64))[0]
    return q @ torch.diag(values.double()) @ q.mT


def expected(matrix: Tensor, k: int, which: str) -> np.ndarray:
    values = np.linalg.eigvalsh(matrix.numpy())
    order = {"largest": np.argsort(-values), "smallest": np.argsort(values), "magnitude": np.argsort(-np.abs(values))}
    return values[order[which][:k]]


@pytest.mark.parametrize("which", ["largest", "smallest", "magnitude"])
@pytest.mark.parametrize("basis", [None, 9])
def test_C33_eigenpairs_of_a_networks_hessian(which: str, basis: int | None) -> None:
    function, parameters = net.loss()
    matrix = net.hessian(net.loss())
    found = lanczos(
        lambda v: hessian_vector(function, parameters, v),
        parameters,
        4,
        which=which,  # type: ignore[arg-type]
        basis=basis,
        tolerance=1e-9,
        generator=net.seeded(0),
    )
    assert found.converged
    np.testing.assert_allclose(found.values.numpy(), expected(matrix, 4, which), rtol=1e-6, atol=1e-7)
    vectors = torch.stack([net.flat({n: t[i] for n, t in found.vectors.items()}) for i in range(4)])
    torch.testing.assert_close(vectors @ vectors.mT, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-9)
    away = (matrix @ vectors.mT - vectors.mT * found.values).norm(dim=0)
    assert away.max() < 1e-6
    assert all(t.shape == (4, *parameters[n].shape) for n, t in found.vectors.items())


@settings(max_examples=20, deadline=None)
@given(
    size=st.integers(1, 60),
    k=st.integers(1, 4),
    seed=st.integers(0, 1000),
    which=st.sampled_from(["largest", "smallest"]),
)
def test_C33_random_spectra(size: int, k: int, seed: int, which: str) -> None:
    k = min(k, size)
    matrix = matrix_with(torch.randn(size, generator=net.seeded(seed)), seed)
    like = {"w": torch.zeros(size, dtype=torch.float64)}
    found = lanczos(lambda v: {"w": matrix @ v["w"]}, like, k, which=which, tolerance=1e-8, generator=net.seeded(seed))  # type: ignore[arg-type]
    assert found.converged
    np.testing.assert_allclose(found.values.numpy(), expected(matrix, k, which), atol=1e-6)
    assert (torch.stack([matrix @ v for v in found.vectors["w"]]) - found.values[:, None] * found.vectors["w"]).norm(
        dim=1
    ).max() <= found.residuals.max() + 1e-10


def test_C33_many_restarts_of_a_small_basis_reach_a_crowded_end() -> None:
    """Eigenvalues k² of a string: close together at the small end, so that the basis must be restarted often."""
    values = torch.arange(1, 201).double() / 200
    matrix = matrix_with(values)
    like = {"w": torch.zeros(200, dtype=torch.float64)}
    found = lanczos(
        lambda v: {"w": matrix @ v["w"]}, like, 3, which="largest", basis=8, max_products=3000, tolerance=1e-7
    )
    assert found.converged
    assert found.products > 50
    np.testing.assert_allclose(found.values.numpy(), [1.0, 0.995, 0.99], atol=1e-7)


def test_C33_low_rank_and_zero_matrices() -> None:
    like = {"w": torch.zeros(30, dtype=torch.float64)}
    matrix = matrix_with(torch.cat([torch.tensor([5.0, -3.0]), torch.zeros(28)]))
    found = lanczos(lambda v: {"w": matrix @ v["w"]}, like, 3, which="magnitude", generator=net.seeded(0))
    np.testing.assert_allclose(found.values.numpy(), [5, -3, 0], atol=1e-10)
    nothing = lanczos(lambda v: {"w": 0 * v["w"]}, like, 2, generator=net.seeded(0))
    assert nothing.values.tolist() == [0, 0]
    assert nothing.converged


def test_C33_single_precision_and_an_early_stop() -> None:
    matrix = matrix_with(torch.linspace(1, 2, 80)).float()
    like = {"a": torch.zeros(4, 10), "b": torch.zeros(40)}

    def product(v: dict[str, Tensor]) -> dict[str, Tensor]:
        turned = matrix @ torch.cat([v["a"].reshape(-1), v["b"]])
        return {"a": turned[:40].reshape(4, 10), "b": turned[40:]}

    found = lanczos(product, like, 1, tolerance=1e-4, max_products=2000, generator=net.seeded(0))
    assert found.converged
    assert found.values.dtype == torch.float32
    assert found.values.item() == pytest.approx(2.0, abs=1e-4)
    early = lanczos(product, like, 1, tolerance=0.0, max_products=20, generator=net.seeded(0))
    assert not early.converged
    assert early.products == 20
    assert early.values.item() < 2.0 + 1e-5


def held() -> int:
    """Numbers in the tensors that are alive, of those with whole vectors of 300."""
    return sum(t.numel() for t in gc.get_objects() if type(t) is Tensor and t.numel() % 300 == 0)


def test_C33_memory_does_not_grow_with_the_number_of_products() -> None:
    matrix = matrix_with(torch.arange(1, 301).double())
    like = {"w": torch.zeros(300, dtype=torch.float64)}
    before = held()  # with what other tests keep
    alive: list[int] = []
    products = itertools.count(1)

    def product(v: dict[str, Tensor]) -> dict[str, Tensor]:
        if next(products) in {5, 30, 58}:
            alive.append(held() - before)
        return {"w": matrix @ v["w"]}

    lanczos(product, like, 2, basis=6, max_products=60, tolerance=0.0, generator=net.seeded(0))
    assert len(alive) == 3
    assert max(alive) <= alive[0] + 3 * 300  # a vector more or less between two looks, not one a product
    assert max(alive) < 30 * 300


def test_refusals() -> None:
    like = {"w": torch.zeros(5)}
    for wrong in ({"k": 0}, {"k": 6}, {"k": 2, "basis": 2}, {"which": "middle"}, {"max_products": 0}):
        with pytest.raises(ConfigError, match="k must be in 1 … 5"):
            inspect.unwrap(lanczos)(lambda v: v, like, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="the product differs"):
        lanczos(lambda v: {"w": v["w"][:2]}, like)
    with pytest.raises(ConfigError, match="no parameters"):
        lanczos(lambda v: v, {})
