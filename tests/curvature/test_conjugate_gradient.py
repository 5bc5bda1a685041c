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
from lamina.curvature import Solution, conjugate_gradient, hessian_vector
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


def test_O23_preconditioned_steps_are_those_of_the_transformed_system() -> None:
    """With M = C Cᵀ it is the plain method for C⁻¹ A C⁻ᵀ, whose solution is Cᵀ x."""
    matrix, weight = definite(12, 0), definite(12, 1)
    b = torch.randn(12, generator=net.seeded(2), dtype=torch.float64)
    c = torch.linalg.cholesky(weight)
    inner = torch.linalg.solve(c, matrix) @ torch.linalg.inv(c).mT
    for steps in (1, 3, 6):
        found = conjugate_gradient(
            lambda v: {"w": matrix @ v["w"]},
            {"w": b},
            precondition=lambda v: {"w": torch.linalg.solve(weight, v["w"])},
            max_steps=steps,
            tolerance=0.0,
        )
        plain = conjugate_gradient(
            lambda v: {"w": inner @ v["w"]}, {"w": torch.linalg.solve(c, b)}, max_steps=steps, tolerance=0.0
        )
        torch.testing.assert_close(c.mT @ found.vector["w"], plain.vector["w"], rtol=1e-9, atol=1e-11)
        true = (b - matrix @ found.vector["w"]).norm() / b.norm()
        assert found.residual == pytest.approx(float(true))
    exact = conjugate_gradient(
        lambda v: {"w": matrix @ v["w"]}, {"w": b}, precondition=lambda v: {"w": torch.linalg.solve(matrix, v["w"])}
    )
    assert exact.steps == 1 and exact.converged


def test_O23_a_start_is_gone_on_from() -> None:
    matrix = definite(10, 0)
    b = torch.randn(10, generator=net.seeded(1), dtype=torch.float64)
    start = torch.randn(10, generator=net.seeded(2), dtype=torch.float64)
    kept = start.clone()
    found = conjugate_gradient(
        lambda v: {"w": matrix @ v["w"]}, {"w": b}, damping=0.3, start={"w": start}, max_steps=4, tolerance=0.0
    )
    damped = matrix + 0.3 * torch.eye(10, dtype=torch.float64)
    other = conjugate_gradient(lambda v: {"w": damped @ v["w"]}, {"w": b - damped @ start}, max_steps=4, tolerance=0.0)
    torch.testing.assert_close(found.vector["w"], start + other.vector["w"], rtol=1e-9, atol=1e-11)
    assert torch.equal(start, kept)
    solution = torch.linalg.solve(matrix, b)
    there = conjugate_gradient(lambda v: {"w": matrix @ v["w"]}, {"w": b}, start={"w": solution})
    assert there.steps == 0 and there.converged


def test_O23_iterates_are_kept_at_growing_distances_with_their_values() -> None:
    matrix = definite(60, 0, least=1e-4)
    b = torch.randn(60, generator=net.seeded(1), dtype=torch.float64)

    def solve(steps: int, keep: float | None) -> Solution:
        return conjugate_gradient(
            lambda v: {"w": matrix @ v["w"]}, {"w": b}, damping=0.01, max_steps=steps, tolerance=0.0, keep=keep
        )

    found = solve(25, 1.5)
    assert [i.step for i in found.iterates] == [1, 2, 3, 4, 6, 8, 12, 18, 25]
    damped = matrix + 0.01 * torch.eye(60, dtype=torch.float64)
    for iterate in found.iterates:
        x = iterate.vector["w"]
        torch.testing.assert_close(x, solve(iterate.step, None).vector["w"], rtol=1e-12, atol=1e-14)
        assert iterate.value == pytest.approx(float(0.5 * x @ damped @ x - b @ x), rel=1e-9)
    assert torch.equal(found.iterates[-1].vector["w"], found.vector["w"])
    assert solve(5, None).iterates == ()


def test_O23_stops_where_the_model_falls_too_little() -> None:
    matrix = definite(200, 0, least=0.05)
    b = torch.randn(200, generator=net.seeded(1), dtype=torch.float64)

    def solve(steps: int, progress: float = 0.0) -> Solution:
        return conjugate_gradient(
            lambda v: {"w": matrix @ v["w"]}, {"w": b}, max_steps=steps, tolerance=0.0, progress=progress, keep=1.3
        )

    values = [0.0] + [solve(i).iterates[-1].value for i in range(1, 60)]
    expected = next(i for i in range(11, 60) if values[i] < 0 and (values[i] - values[i - 10]) / values[i] < 10 * 5e-3)
    assert 11 < expected < 59
    assert solve(60, 5e-3).steps == expected


def test_C33_nothing_to_solve() -> None:
    solved = conjugate_gradient(lambda v: v, {"w": torch.zeros(3)})
    assert (solved.steps, solved.converged, solved.residual) == (0, True, 0.0)
    assert solved.vector["w"].tolist() == [0, 0, 0]


def held() -> int:
    """Numbers in the tensors that are alive, of those with whole vectors of 300."""
    return sum(t.numel() for t in gc.get_objects() if type(t) is Tensor and t.numel() % 300 == 0)


def test_C33_memory_does_not_grow_with_the_number_of_steps() -> None:
    matrix = definite(300, 0, least=1e-3)
    before = held()  # with what other tests keep
    alive: list[int] = []
    steps = itertools.count(1)

    def product(v: dict[str, Tensor]) -> dict[str, Tensor]:
        if next(steps) in {5, 20, 40}:
            alive.append(held() - before)
        return {"w": matrix @ v["w"]}

    conjugate_gradient(product, {"w": torch.ones(300, dtype=torch.float64)}, tolerance=0.0, max_steps=40)
    assert alive[2] == alive[1] == alive[0] < 15 * 300


def test_refusals() -> None:
    b = {"w": torch.ones(3)}
    for wrong in ({"damping": -1.0}, {"tolerance": float("nan")}, {"max_steps": 0}, {"progress": -1.0}, {"keep": 1.0}):
        with pytest.raises(ConfigError, match="max_steps at least 1"):
            conjugate_gradient(lambda v: v, b, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="the product differs"):
        conjugate_gradient(lambda v: {"u": v["w"]}, b)
