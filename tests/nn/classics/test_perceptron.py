"""Rosenblatt's rule: against a plain Python loop, Novikoff's bound, and what no hyperplane separates."""

from __future__ import annotations

import inspect
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lamina.errors import ConfigError
from lamina.nn.classics import Perceptron, perceptron_rule

BITS = torch.tensor(list(itertools.product((0.0, 1.0), repeat=2)))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def separable(seed: int, n: int, d: int, margin: float = 0.05) -> tuple[Tensor, Tensor, Tensor]:
    """Examples on both sides of a known hyperplane (its normal and offset have length 1 together), none nearer."""
    g = seeded(seed)
    plane = torch.randn(d + 1, generator=g, dtype=torch.float64)
    plane /= plane.norm()
    x = torch.randn(20 * n, d, generator=g, dtype=torch.float64)
    height = x @ plane[:-1] + plane[-1]
    kept = (height.abs() > margin).nonzero().squeeze(1)[:n]
    return x[kept], (height[kept] > 0).long(), plane


def by_hand(x: Tensor, target: Tensor, max_epochs: int) -> tuple[list[float], int, int]:
    """The rule, example by example, in Python's own numbers."""
    w = [0.0] * (x.shape[1] + 1)
    mistakes = 0
    for epoch in range(1, max_epochs + 1):
        before = mistakes
        for row, t in zip(x.tolist(), target.tolist(), strict=True):
            extended = [*row, 1.0]
            y = 1 if sum(a * b for a, b in zip(w, extended, strict=True)) >= 0 else 0
            if y != t:
                w = [a + (t - y) * b for a, b in zip(w, extended, strict=True)]
                mistakes += 1
        if mistakes == before:
            return w, mistakes, epoch
    return w, mistakes, max_epochs


@pytest.mark.parametrize(("n", "d"), [(5, 1), (40, 2), (700, 3)])  # 700: more than one block
def test_C35_is_the_rule_example_by_example(n: int, d: int) -> None:
    x, target, _ = separable(n, n, d)
    fit = perceptron_rule(x, target, max_epochs=500)
    w, mistakes, epochs = by_hand(x, target, 500)
    assert (fit.mistakes, fit.epochs, fit.converged) == (mistakes, epochs, True)
    torch.testing.assert_close([*fit.perceptron.weight.tolist(), fit.perceptron.bias.item()], w, rtol=1e-9, atol=1e-9)
    assert torch.equal(fit.perceptron(x), target.double())


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 60), d=st.integers(1, 6))
def test_C35_mistakes_stay_within_R_over_gamma_squared(seed: int, n: int, d: int) -> None:
    x, target, plane = separable(seed, n, d)
    extended = torch.cat([x, torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
    radius = extended.norm(dim=1).max()
    gamma = ((2 * target - 1) * (extended @ plane)).min()
    fit = perceptron_rule(x, target, max_epochs=100_000)
    assert fit.converged
    assert fit.mistakes <= (radius / gamma) ** 2


def test_C35_xor_is_never_learnt_and_the_gates_are() -> None:
    gates = {"and": [0, 0, 0, 1], "or": [0, 1, 1, 1], "xor": [0, 1, 1, 0]}
    for name, table in gates.items():
        fit = perceptron_rule(BITS, torch.tensor(table), max_epochs=300)
        assert fit.converged is (name != "xor")
        assert (fit.perceptron(BITS).tolist() == table) is (name != "xor")
        if name == "xor":
            assert fit.mistakes >= fit.epochs == 300  # at least one in each pass, for ever


def test_C35_unit_fires_at_zero_and_keeps_any_leading_axes() -> None:
    unit = Perceptron(3)
    assert unit(torch.zeros(2, 5, 3)).tolist() == [[1.0] * 5] * 2  # U(0) = 1
    unit.weight.copy_(torch.tensor([1.0, -1.0, 0.0]))
    unit.bias.copy_(torch.tensor(-0.5))
    assert unit(torch.tensor([[1.0, 0.0, 9.0], [0.0, 1.0, 9.0], [0.5, 0.0, 0.0]])).tolist() == [1.0, 0.0, 1.0]
    assert not any(p.requires_grad for p in unit.parameters())


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="hold 0 and 1 only"):
        perceptron_rule(BITS, torch.tensor([1, -1, 1, 1]))
    with pytest.raises(ConfigError, match="with N = 4"):
        inspect.unwrap(perceptron_rule)(BITS, torch.tensor([1, 0, 1]))  # the annotations would refuse it before
    with pytest.raises(ConfigError, match="x must be finite"):
        perceptron_rule(BITS / 0, torch.tensor([1, 0, 1, 1]))
    with pytest.raises(ConfigError, match="max_epochs"):
        perceptron_rule(BITS, torch.tensor([1, 0, 1, 1]), max_epochs=0)
    with pytest.raises(ConfigError, match="in_features"):
        Perceptron(0)
