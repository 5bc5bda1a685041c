"""Memory tasks: answers worked out again step by step, and the losses of answers that remember nothing."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch.nn import functional

from lamina.data.generated.memory_tasks import (
    ADDING_CHANCE,
    ORDER_CHANCE,
    adding_problem,
    copy_chance,
    copy_memory,
    temporal_order,
)
from lamina.errors import ConfigError


def test_adding_marks_one_step_of_each_half_and_asks_for_the_sum() -> None:
    x, y, _ = adding_problem(5_000, 7)
    assert x.shape == (5_000, 7, 2)
    assert y is not None
    assert y.shape == (5_000, 1)
    for (value, mark), answer in zip(x[:200].transpose(1, 2).tolist(), y[:200, 0].tolist(), strict=True):
        first, second = (t for t, m in enumerate(mark) if m == 1.0)
        assert first < 3 <= second
        assert answer == pytest.approx(value[first] + value[second], abs=1e-6)
        assert sum(mark) == 2.0
    counts = x[:, :, 1].sum(0)
    assert stats.chisquare(counts[:3].numpy()).pvalue > 1e-3
    assert stats.chisquare(counts[3:].numpy()).pvalue > 1e-3
    assert stats.kstest(x[:, 4, 0].numpy(), "uniform").pvalue > 1e-3
    assert (y - 1).square().mean().item() == pytest.approx(ADDING_CHANCE, rel=0.06)
    one = (x[:, :3, 0] * x[:, :3, 1]).sum(1, keepdim=True) + 0.5
    assert (y - one).square().mean().item() == pytest.approx(1 / 12, rel=0.06)


def test_copy_says_again_what_was_given_and_its_chance_is_the_loss_of_guessing() -> None:
    x, y, _ = copy_memory(2_000, 5, symbols=4, memory=3)
    assert y is not None
    assert x.shape == y.shape == (2_000, 11)
    for given, wanted in zip(x[:50].tolist(), y[:50].tolist(), strict=True):
        said = given[:3]
        assert given == [*said, 4, 4, 4, 4, 5, 4, 4, 4]
        assert wanted == [4] * 8 + said
    assert stats.chisquare(torch.bincount(x[:, :3].flatten(), minlength=4).numpy()).pvalue > 1e-3
    guess = torch.full((11, 5), -1e9)
    guess[:8, 4] = 0.0
    guess[8:, :4] = 0.0
    loss = functional.cross_entropy(guess.expand(2_000, 11, 5).transpose(1, 2), y).item()
    assert loss == pytest.approx(copy_chance(5, symbols=4, memory=3), rel=1e-5)
    assert copy_chance(100) == pytest.approx(10 * math.log(8) / 120)


def test_order_is_which_symbols_came_and_when() -> None:
    x, y, _ = temporal_order(4_000, 43)
    assert y is not None
    for row, answer in zip(x[:300].tolist(), y[:300].tolist(), strict=True):
        first, second = (t for t, symbol in enumerate(row) if symbol < 2)
        assert 4 <= first < 8
        assert 17 <= second < 21
        assert answer == 2 * row[first] + row[second]
    assert stats.chisquare(torch.bincount(y, minlength=4).numpy()).pvalue > 1e-3
    assert stats.chisquare(torch.bincount(x[x > 1] - 2, minlength=4).numpy()).pvalue > 1e-3
    places = torch.bincount((x < 2).nonzero()[:, 1], minlength=43)
    assert stats.chisquare(places[4:8].numpy()).pvalue > 1e-3
    assert stats.chisquare(places[17:21].numpy()).pvalue > 1e-3
    even = functional.cross_entropy(torch.zeros(4_000, 4), y).item()
    assert even == pytest.approx(ORDER_CHANCE)


def test_sequences_do_not_depend_on_how_many_and_too_small_numbers_are_refused() -> None:
    for make in (lambda n, s: adding_problem(n, 20, seed=s), lambda n, s: copy_memory(n, 20, seed=s),
                 lambda n, s: temporal_order(n, 20, seed=s)):  # fmt: skip
        few, many, other = make(5, 0), make(50, 0), make(5, 1)
        assert torch.equal(few.inputs, many.inputs[:5])
        assert torch.equal(few.targets, many.targets[:5])
        assert not torch.equal(few.inputs, other.inputs)
        with pytest.raises(ConfigError, match="at least"):
            make(0, 0)
    for wrong in (lambda: adding_problem(1, 1), lambda: copy_memory(1, 0), lambda: temporal_order(1, 9),
                  lambda: copy_memory(1, 5, symbols=1), lambda: copy_memory(1, 5, memory=0)):  # fmt: skip
        with pytest.raises(ConfigError, match="at least"):
            wrong()
