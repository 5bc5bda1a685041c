"""Bootstrap samples of rows: every row equally likely, and what each sample lacks."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.data.bootstrap import bootstrap_rows, out_of_bag
from lamina.errors import ConfigError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_R15_samples_are_uniform_and_a_pure_function_of_the_generator() -> None:
    n, sets = 50, 2000
    samples = bootstrap_rows(n, sets, generator())
    assert samples.shape == (sets, n)
    assert torch.equal(samples, bootstrap_rows(n, sets, generator()))
    counts = torch.bincount(samples.flatten(), minlength=n).double()
    chi2 = ((counts - sets) ** 2 / sets).sum().item()  # n - 1 = 49 degrees of freedom
    assert chi2 < 49 + 5 * math.sqrt(2 * 49)
    share = (~out_of_bag(samples, n)).double().mean().item()
    assert share == pytest.approx(1 - (1 - 1 / n) ** n, abs=0.005)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 5), st.integers(0, 100))
def test_R15_out_of_bag_is_the_complement_row_by_row(n: int, sets: int, seed: int) -> None:
    samples = bootstrap_rows(n, sets, generator(seed))
    lacks = out_of_bag(samples, n)
    for sample, mask in zip(samples, lacks, strict=True):
        assert set(mask.nonzero().flatten().tolist()) == set(range(n)) - set(sample.tolist())


def test_refusals() -> None:
    for n, sets in ((0, 1), (1, 0)):
        with pytest.raises(ConfigError, match="at least 1"):
            bootstrap_rows(n, sets)
