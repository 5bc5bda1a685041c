"""Hand-wired networks: every input of every truth table."""

from __future__ import annotations

import inspect
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lamina.errors import ConfigError
from lamina.nn.classics import boolean_network, parity_network, xor_network


def bits(n: int) -> Tensor:
    """All 2^n inputs, counting upwards, the first the highest bit."""
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=n)))


def test_C37_W02_xor_by_differences() -> None:
    net = xor_network("difference")
    assert net[:2](bits(2)).tolist() == [[0, 1], [1, 1], [0, 0], [0, 1]]
    assert net(bits(2)).flatten().tolist() == [0, 1, 1, 0]


def test_C37_W03_xor_by_sums() -> None:
    net = xor_network("sum")
    assert net[:2](bits(2)).tolist() == [[0, 0], [0, 1], [0, 1], [1, 1]]
    assert net(bits(2)).flatten().tolist() == [0, 1, 1, 0]


def test_C37_W05_xor_with_rectified_units() -> None:
    net = xor_network("relu")
    assert net[:2](bits(2)).tolist() == [[0, 0], [1, 0], [1, 0], [2, 1]]
    assert net(bits(2)).flatten().tolist() == [0, 1, 1, 0]
    middle = torch.tensor([[0.25, 0.25], [1.0, 0.5]])
    assert net(middle).flatten().tolist() == [0.5, 0.5]  # straight between the corners: z₁ - 2 z₂


def test_C37_the_weights_are_the_printed_ones() -> None:
    first, _, last, _ = xor_network("difference")
    assert first.weight.tolist() == [[-1, 1], [-1, 1]]
    assert (first.bias.tolist(), last.weight.tolist(), last.bias.tolist()) == ([-0.5, 0.5], [[1, -1]], [0.5])
    first, _, last, _ = xor_network("sum")
    assert first.weight.tolist() == [[1, 1], [1, 1]]
    assert (first.bias.tolist(), last.weight.tolist(), last.bias.tolist()) == ([-1.5, -0.5], [[-2, 1]], [-0.5])


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 10])
def test_C37_parity_of_all_inputs(n: int) -> None:
    net = parity_network(n)
    expected = [sum(row) % 2 for row in itertools.product((0, 1), repeat=n)]
    assert net(bits(n)).flatten().tolist() == expected
    assert net[0].out_features == n  # hidden units grow with n, not with 2^n
    counts = net[1](net[0](bits(n))).sum(1)
    assert torch.equal(counts, bits(n).sum(1))  # as many units fire as bits are set


@pytest.mark.parametrize("table", list(itertools.product((0, 1), repeat=4)))
def test_C37_every_function_of_two_bits(table: tuple[int, ...]) -> None:
    net = boolean_network(table)
    assert net(bits(2)).flatten().tolist() == list(table)
    assert net[0].out_features == max(1, min(sum(table), 4 - sum(table)))


@settings(max_examples=40, deadline=None)
@given(data=st.data(), n=st.integers(1, 6))
def test_C37_any_function_of_n_bits(data: st.DataObject, n: int) -> None:
    table = data.draw(st.lists(st.booleans(), min_size=2**n, max_size=2**n))
    assert boolean_network(table)(bits(n)).flatten().bool().tolist() == table


def test_double_precision_default_and_leading_axes() -> None:
    assert parity_network(3)(bits(3).reshape(2, 4, 3)).shape == (2, 4, 1)
    assert parity_network(3).double()(bits(3).double()).dtype == torch.float64


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="form"):
        inspect.unwrap(xor_network)("and")  # the annotations, checked in test runs, would refuse it before
    with pytest.raises(ConfigError, match="n_bits"):
        parity_network(0)
    for wrong in ([0], [0, 1, 1], [0, 2], []):
        with pytest.raises(ConfigError, match="truth table"):
            boolean_network(wrong)
