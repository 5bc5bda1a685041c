"""Exclusive or and parity: the truth table by Python's own bits, and examples against their closed forms."""

import math

import pytest
import torch

from lamina.data.generated.parity import all_bits, parity, parity_examples, xor
from lamina.errors import ConfigError


def test_D01_the_table_is_that_of_pythons_bits() -> None:
    bits = all_bits(4)
    rows = [tuple(int(b) for b in row) for row in bits.tolist()]
    assert rows == [tuple(int(c) for c in f"{n:04b}") for n in range(16)]
    assert parity(bits).tolist() == [n.bit_count() % 2 for n in range(16)]
    assert parity(all_bits(2)).tolist() == [a ^ b for a in (0, 1) for b in (0, 1)]


def test_D01_examples_are_rows_of_the_table_all_as_often() -> None:
    n = 16_000
    made = parity_examples(n, bits=3, seed=1)
    codes = (made.inputs @ torch.tensor([4.0, 2.0, 1.0])).long()
    counts = torch.bincount(codes, minlength=8).double()
    assert float((counts - n / 8).abs().max()) < 5 * math.sqrt(n / 8)
    assert made.targets is not None
    assert made.targets.tolist() == [int(c).bit_count() % 2 for c in codes]


@pytest.mark.parametrize(("bits", "noise"), [(2, 0.3), (5, 0.4)])
def test_D01_rounding_blurred_bits_errs_as_often_as_said(bits: int, noise: float) -> None:
    n = 40_000
    made = xor(n, noise=noise, seed=2) if bits == 2 else parity_examples(n, bits=bits, noise=noise, seed=2)
    wrong = parity((made.inputs > 0.5).float()).long() != made.targets
    q = 0.5 * math.erfc(0.5 / noise / math.sqrt(2))
    expected = 0.5 * (1 - (1 - 2 * q) ** bits)
    assert float(wrong.double().mean()) == pytest.approx(expected, abs=4 * math.sqrt(expected / n))


def test_D01_fewer_are_the_first_of_more_and_numbers_out_of_range_are_refused() -> None:
    few, many = parity_examples(10, noise=0.1), parity_examples(50, noise=0.1)
    assert torch.equal(few.inputs, many.inputs[:10])
    assert not torch.equal(few.inputs, parity_examples(10, noise=0.1, seed=1).inputs)
    for options in ({"n": 0}, {"n": 5, "bits": 0}, {"n": 5, "bits": 21}, {"n": 5, "noise": -1.0}):
        with pytest.raises(ConfigError, match="parity_examples"):
            parity_examples(**options)  # type: ignore[arg-type]
