"""Categorical against PyTorch's own losses and closed forms."""

import math

import pytest
import torch
from torch.nn import functional

from lamina.likelihoods import Categorical


def logits(n: int, k: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_L05_cross_entropy_is_torchs() -> None:
    z, y = logits(40, 7), torch.arange(40) % 7
    expected = functional.cross_entropy(z, y, reduction="none")
    torch.testing.assert_close(-Categorical(7).log_prob(z, y), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("torchs", "same"), [(0.1 * 10 / 9, True), (0.1, False)])
def test_W20_smoothing_is_the_courses_not_torchs(torchs: float, same: bool) -> None:
    z, y = logits(60, 10), torch.arange(60) % 10
    expected = functional.cross_entropy(z, y, label_smoothing=torchs, reduction="none")
    ours = -Categorical(10, smoothing=0.1).log_prob(z, y)
    assert torch.allclose(ours, expected, rtol=1e-12, atol=1e-12) is same


def test_smoothed_codes_and_smoothed_one_hot_rows_agree() -> None:
    z, y = logits(9, 4), torch.arange(9) % 4
    smoothed, rows = Categorical(4, smoothing=0.3), functional.one_hot(y, 4).double()
    torch.testing.assert_close(smoothed.log_prob(z, y), smoothed.log_prob(z, rows), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(smoothed.nll_gradient(z, y), smoothed.nll_gradient(z, rows), rtol=1e-12, atol=1e-12)


def test_L05_minimum_is_the_targets_entropy_not_zero() -> None:
    t = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64)
    entropy = -sum(p * math.log(p) for p in (0.5, 0.3, 0.2))
    best = Categorical(3)
    assert math.isclose(-best.log_prob(t.log(), t).item(), entropy, rel_tol=1e-14)
    assert best.nll_gradient(t.log(), t).abs().max() < 1e-15
    assert -best.log_prob(t.log() + 0.1 * logits(1, 3), t).item() > entropy


def test_a_row_that_does_not_sum_to_one_weights_the_example() -> None:
    z, t = logits(4, 3).requires_grad_(), 2.5 * logits(4, 3, seed=1).softmax(1)
    (-Categorical(3).log_prob(z, t)).sum().backward()
    torch.testing.assert_close(Categorical(3).nll_gradient(z.detach(), t), z.grad, rtol=1e-12, atol=1e-12)


def test_C06_shift_invariance() -> None:
    z, y = logits(5, 3), torch.arange(5) % 3
    torch.testing.assert_close(Categorical(3).log_prob(z + 1e4, y), Categorical(3).log_prob(z, y), rtol=0, atol=1e-11)


def test_decision_and_probabilities() -> None:
    z = torch.tensor([[0.0, 2.0, 2.0], [3.0, 1.0, 0.0]])
    assert Categorical(3).predict(z).tolist() == [1, 0]
    torch.testing.assert_close(Categorical(3).probabilities(z).sum(1), torch.ones(2))


def test_torch_compile_and_vmap() -> None:
    z, y = logits(6, 3), torch.arange(6) % 3
    one = Categorical(3)
    mapped = torch.func.vmap(lambda a, b: one.log_prob(a[None], b[None])[0])(z, y)
    torch.testing.assert_close(mapped, one.log_prob(z, y))
