"""Learnt dictionaries: planted atoms are found again."""

import pytest
import torch

from lamina.autoencoders.dictionary import learn_dictionary
from lamina.autoencoders.matching_pursuit import orthogonal_matching_pursuit
from lamina.errors import ConfigError


def test_R24_planted_atoms_are_found_again() -> None:
    chance = torch.Generator().manual_seed(0)
    planted = torch.nn.functional.normalize(torch.randn(12, 6, generator=chance, dtype=torch.float64), dim=0)
    which = torch.randint(6, (1500,), generator=chance)
    amount = 1 + torch.rand(1500, generator=chance, dtype=torch.float64)
    x = planted.T[which] * amount[:, None] * (2 * torch.randint(2, (1500, 1), generator=chance) - 1)
    found = learn_dictionary(x, 6, 1, generator=torch.Generator().manual_seed(1))
    assert found.dtype == torch.float64 and torch.allclose(found.norm(dim=0), torch.ones(6, dtype=torch.float64))
    assert (planted.T @ found).abs().amax(1).min() > 0.98
    codes = orthogonal_matching_pursuit(x, found, 1)
    assert (x - codes @ found.T).square().sum() < 0.05 * x.square().sum()


def test_two_atoms_at_a_time_represent_better_round_by_round() -> None:
    chance = torch.Generator().manual_seed(0)
    planted = torch.randn(10, 15, generator=chance, dtype=torch.float64)
    h = torch.zeros(800, 15, dtype=torch.float64)
    for row in h:
        row[torch.randperm(15, generator=chance)[:2]] = torch.randn(2, generator=chance, dtype=torch.float64)
    x = h @ planted.T
    left = []
    for rounds in (1, 5, 40):
        w = learn_dictionary(x, 15, 2, rounds=rounds, generator=torch.Generator().manual_seed(2))
        left.append((x - orthogonal_matching_pursuit(x, w, 2) @ w.T).square().sum() / x.square().sum())
    assert left[0] > left[1] > left[2] and left[2] < 0.1


def test_more_atoms_than_examples_are_all_of_length_one_and_numbers_are_checked() -> None:
    found = learn_dictionary(torch.randn(5, 4), 9, 2)
    assert found.shape == (4, 9) and torch.allclose(found.norm(dim=0), torch.ones(9), atol=1e-5)
    with pytest.raises(ConfigError, match="cannot be"):
        learn_dictionary(torch.randn(5, 4), 9, 5)
