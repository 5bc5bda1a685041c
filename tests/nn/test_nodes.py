"""The nodes of a computation graph: what each hands back, by the table of the course and by central differences."""

from collections.abc import Callable

import torch
from torch import Tensor


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


A, B, DELTA = drawn(3, 4), drawn(3, 4, seed=1), drawn(3, 4, seed=2)


def handed_back(node: Callable[..., Tensor], inputs: tuple[Tensor, ...], delta: Tensor) -> tuple[Tensor, ...]:
    inputs = tuple(x.clone().requires_grad_() for x in inputs)
    return torch.autograd.grad(node(*inputs), inputs, delta)


def by_differences(node: Callable[..., Tensor], inputs: tuple[Tensor, ...], delta: Tensor) -> tuple[Tensor, ...]:
    """Σ δ · dz/dx by central differences, an element at a time."""
    results, h = [], 1e-6
    for k, x in enumerate(inputs):
        result = torch.zeros_like(x)
        for i in range(x.numel()):
            ends = []
            for step in (h, -h):
                moved = [t.clone() for t in inputs]
                moved[k].view(-1)[i] += step
                ends.append((node(*moved) * delta).sum())
            result.view(-1)[i] = (ends[0] - ends[1]) / (2 * h)
        results.append(result)
    return tuple(results)


def check(node: Callable[..., Tensor], inputs: tuple[Tensor, ...], delta: Tensor, table: tuple[Tensor, ...]) -> None:
    found = handed_back(node, inputs, delta)
    for ours, rule, differences in zip(found, table, by_differences(node, inputs, delta), strict=True):
        torch.testing.assert_close(ours, rule)
        torch.testing.assert_close(ours, differences, rtol=1e-6, atol=1e-8)


def test_C30_add_passes_delta_to_both() -> None:
    check(torch.add, (A, B), DELTA, (DELTA, DELTA))


def test_C30_mul_passes_the_other_factor_times_delta() -> None:
    check(torch.mul, (A, B), DELTA, (B * DELTA, A * DELTA))


def test_C30_sum_passes_delta_to_every_term() -> None:
    delta = drawn(3, seed=3)
    check(lambda a: a.sum(1), (A,), delta, (delta[:, None] * torch.ones(1, 4, dtype=torch.float64),))


def test_C30_max_passes_delta_to_the_argmax_only() -> None:
    delta = drawn(3, seed=3)
    rule = torch.zeros(3, 4, dtype=torch.float64)
    for row, values in enumerate(A.tolist()):
        rule[row, values.index(max(values))] = delta[row]
    check(lambda a: torch.max(a, dim=1).values, (A,), delta, (rule,))
    check(lambda a: a.amax(1), (A,), delta, (rule,))
    larger = (A > B).double()
    check(torch.maximum, (A, B), DELTA, (larger * DELTA, (1 - larger) * DELTA))


def test_C30_at_a_tie_max_picks_one_and_amax_divides() -> None:
    tie = torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    (picked,) = handed_back(lambda a: torch.max(a, dim=1).values, (tie,), one)
    assert sorted(picked[0].tolist()) == [0.0, 0.0, 1.0]
    (divided,) = handed_back(lambda a: a.amax(1), (tie,), one)
    assert divided[0].tolist() == [0.5, 0.5, 0.0]
