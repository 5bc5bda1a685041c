"""Strings of independent softmaxes against the enumeration of all strings."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from lamina.errors import DataError
from lamina.likelihoods.categorical import Categorical
from lamina.likelihoods.strings import Strings


def every_string(likelihood: Strings) -> Tensor:
    n, k = likelihood.length, likelihood.n_symbols
    lengths = range(n + 1) if likelihood.variable else [n]
    strings = [list(s) + [-1] * (n - size) for size in lengths for s in itertools.product(range(k), repeat=size)]
    return torch.tensor(strings)


def table(likelihood: Strings, n: int = 30) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, all strings, and log p of each string under each row of outputs."""
    g = torch.Generator().manual_seed(0)
    outputs = 1.5 * torch.randn(n, likelihood.n_outputs, generator=g, dtype=torch.float64)
    strings = every_string(likelihood)
    log_p = torch.stack([likelihood.log_prob(outputs, s.expand(n, -1)) for s in strings], dim=1)
    return outputs, strings, log_p


shapes = pytest.mark.parametrize(
    "likelihood", [Strings(n, k, v) for n in (1, 2, 3) for k in (2, 3) for v in (False, True)]
)


@shapes
def test_L18_all_strings_have_probability_one(likelihood: Strings) -> None:
    _, strings, log_p = table(likelihood)
    n, k = likelihood.length, likelihood.n_symbols
    assert len(strings) == (sum(k**i for i in range(n + 1)) if likelihood.variable else k**n)
    np.testing.assert_allclose(log_p.exp().sum(1), 1.0, rtol=1e-12)


@shapes
def test_L18_decision_is_the_most_probable_of_all_strings(likelihood: Strings) -> None:
    outputs, strings, log_p = table(likelihood)
    assert torch.equal(likelihood.predict(outputs).view(30, -1), strings[log_p.argmax(1)])


@shapes
def test_L18_mean_is_the_expected_one_hot(likelihood: Strings) -> None:
    outputs, strings, log_p = table(likelihood)
    hot = torch.stack([(strings == k).double() for k in range(likelihood.n_symbols)], dim=2)
    expected = torch.einsum("ns,sik->nik", log_p.exp(), hot)
    torch.testing.assert_close(likelihood.mean(outputs), expected, rtol=1e-12, atol=1e-14)


def test_L18_is_the_sum_of_one_softmax_a_character() -> None:
    outputs, y = table(Strings(3, 5), n=6)[0], torch.randint(0, 5, (6, 3), generator=torch.Generator().manual_seed(1))
    heads = [Categorical(5).log_prob(outputs[:, 5 * i : 5 * i + 5], y[:, i]) for i in range(3)]
    torch.testing.assert_close(Strings(3, 5).log_prob(outputs, y), heads[0] + heads[1] + heads[2])


def test_L18_a_long_probable_string_can_lose_against_a_short_one() -> None:
    outputs = torch.zeros(1, 7, dtype=torch.float64)  # two places of two even symbols, three lengths
    outputs[0, 4:] = torch.tensor([0.0, 0.0, 0.5])  # length 2 is the likeliest alone, but has four even strings
    assert Strings(2, 2, variable=True).predict(outputs).tolist() == [[-1, -1]]


def test_L18_symbols_behind_the_end_have_no_part() -> None:
    likelihood, y = Strings(3, 4, variable=True), torch.tensor([[2, -1, -1]])
    outputs = table(likelihood, n=1)[0].requires_grad_()
    (slope,) = torch.autograd.grad(likelihood.log_prob(outputs, y).sum(), outputs)
    assert (slope[0, 4:12] == 0).all() and (slope[0, :4] != 0).all() and (slope[0, 12:] != 0).all()


def test_L18_constant_network_finds_the_frequencies() -> None:
    likelihood = Strings(2, 3, variable=True)
    y = torch.tensor([[0, 1], [0, -1], [2, 1], [2, 2], [-1, -1], [0, 0]])
    frequencies = [np.array([3, 0.0, 2]) / 5, np.array([1.0, 2, 1]) / 4, np.array([1.0, 1, 4]) / 6]
    best = torch.from_numpy(np.log(np.concatenate(frequencies) + 1e-300))[None]
    assert likelihood.nll_gradient(best.expand(6, -1), y).mean(0).abs().max() < 1e-12


def test_symbols_behind_an_end_are_refused() -> None:
    with pytest.raises(DataError, match=r"behind the end.* in row 1 \(1 in all\)"):
        Strings(2, 3, variable=True).check_target(torch.tensor([[0, -1], [-1, 0]]))
    with pytest.raises((RuntimeError, IndexError)):
        Strings(2, 3).log_prob(torch.zeros(1, 6), torch.tensor([[0, -1]]))
    with pytest.raises(DataError, match="from 0 to 2, got -1"):
        Strings(2, 3).check_target(torch.tensor([[0, -1]]))


def test_far_logits_give_exact_certainty() -> None:
    outputs = torch.tensor([[1e4, 0.0, 0.0, 1e4]])
    assert Strings(2, 2).log_prob(outputs, torch.tensor([[0, 1]])).item() == 0.0
    assert math.isclose(Strings(2, 2).log_prob(outputs, torch.tensor([[1, 1]])).item(), -1e4)
