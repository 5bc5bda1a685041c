"""Conjugate gradients against numpy's solution, on matrices and on a network's Hessian."""

from __future__ import annotations

import gc
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from curvature import net
from lamina.curvature import conjugate_gradient, hessian_vector
from lamina.errors import ConfigError


def definite(size: int, seed: int, least: float = 0.5) -> Tensor:
    a = torch.randn(size, size, generator=net.seeded(seed), dtype=torch.float64)
    return a @ a.mT / size + least * torch.eye(size, dtype=torch.float64)


@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 30), seed=st.integers(0, 1000), damping=st.floats(0, 3))
def test_C33_numpys_solution(size: int, seed: int, damping: float) -> None:
    matrix = definite(size, seed)
    b = torch.randn(size, generator=net.seeded(seed + 1), dtype=torch.float64)
    kept = b.clone()
    solved = conjugate_gradient(
        lambda v: {"w": matrix @ v["w"]}, {"w": b}, damping=damping, tolerance=1e-12, max_steps=200
    )
    expected = np.linalg.solve(matrix.numpy() + damping * np.eye(size), b.numpy())
    np.testing.assert_allclose(solved.vector["w"].numpy(), expected, rtol=1e-8, atol=1e-9)
    assert solved.converged
    assert torch.equal(b, kept)


def test_C33_inverse_of_a_networks_damped_hessian() -> None:
    function, parameters = net.loss()
    matrix = net.hessian(net.loss())
    damping = 0.3 - float(torch.linalg.eigvalsh(matrix)[0])  # the network is at no minimum
    matrix = matrix + damping * torch.eye(len(matrix), dtype=torch.float64)
    gradient = torch.func.grad(function)(parameters)
    solved = conjugate_gradient(
        lambda v: hessian_vector(function, parameters, v), gradient, damping=damping, tolerance=1e-10
    )
    expected = np.linalg.solve(matrix.numpy(), net.flat(gradient).numpy())
    np.testing.assert_allclose(net.flat(solved.vector).numpy(), expected, rtol=1e-5, atol=1e-8)
    assert {n: t.shape for n, t in solved.vector.items()} == {n: t.shape for n, t in parameters.items()}
    true = np.linalg.norm(matrix.numpy() @ net.flat(solved.vector).numpy() - net.flat(gradient).numpy())
    assert true / np.linalg.norm(net.flat(gradient).numpy()) == pytest.approx(solved.residual, abs=1e-6)


def test_C33_as_many_steps_as_there_are_different_eigenvalues() -> None:
    q = torch.linalg.qr(torch.randn(20, 20, generator=net.seeded(0), dtype=torch.float64))[0]
    matrix = q @ torch.diag(torch.tensor([1.0, 3.0, 10.0, 20.0]).double().repeat(5)) @ q.mT
    b = torch.ones(20, dtype=torch.float64)
    solved = conjugate_gradient(lambda v: {"w": matrix @ v["w"]}, {"w": b}, tolerance=1e-10)
    assert solved.steps == 4
    three = conjugate_gradient(lambda v: {"w": matrix @ v["w"]}, {"w": b}, tolerance=1e-10, max_steps=3)
    assert (three.steps, three.converged) == (3, False)
    # The iterate is the best of its Krylov space: least (x - x*)ᵀ A (x - x*), by least squares over b, A b, A² b.
    space = torch.stack([b, matrix @ b, matrix @ matrix @ b], dim=1).numpy()
    a = matrix.numpy()
    best = space @ np.linalg.solve(space.T @ a @ space, space.T @ b.numpy())
    np.testing.assert_allclose(three.vector["w"].numpy(), best, rtol=1e-8)


def test_C33_stops_where_the_curvature_is_negative() -> None:
    matrix = torch.diag(torch.tensor([2.0, 1.0, -1.0]))
    solved = conjugate_gradient(lambda v: {"w": matrix @ v["w"]}, {"w": torch.tensor([1.0, 1.0, 1.9])})
    assert solved.negative_curvature
    assert not solved.converged
    fine = conjugate_gradient(lambda v: {"w": matrix @ v["w"]}, {"w": torch.ones(3)}, damping=1.5)
    assert fine.converged
    assert fine.vector["w"].tolist() == pytest.approx([1 / 3.5, 1 / 2.5, 2.0], rel=1e-4)


def test_C33_nothing_to_solve() -> None:
    solved = conjugate_gradient(lambda v: v, {"w": torch.zeros(3)})
    assert (solved.steps, solved.converged, solved.residual) == (0, True, 0.0)
    assert solved.vector["w"].tolist() == [0, 0, 0]


def test_C33_memory_does_not_grow_with_the_number_of_steps() -> None:
    matrix = definite(300, 0, least=1e-3)
    alive: list[int] = []
    steps = itertools.count(1)

    def product(v: dict[str, Tensor]) -> dict[str, Tensor]:
        if next(steps) in {5, 20, 40}:
            alive.append(sum(t.numel() for t in gc.get_objects() if type(t) is Tensor and t.numel() % 300 == 0))
        return {"w": matrix @ v["w"]}

    conjugate_gradient(product, {"w": torch.ones(300, dtype=torch.float64)}, tolerance=0.0, max_steps=40)
    assert alive[2] == alive[1] == alive[0] < 300 * 300 + 15 * 300


def test_refusals() -> None:
    b = {"w": torch.ones(3)}
    for wrong in ({"damping": -1.0}, {"tolerance": float("nan")}, {"max_steps": 0}):
        with pytest.raises(ConfigError, match="max_steps at least 1"):
            conjugate_gradient(lambda v: v, b, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="the product differs"):
        conjugate_gradient(lambda v: {"u": v["w"]}, b)
