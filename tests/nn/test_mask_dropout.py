"""Dropout with plain masks: statistics, gradient, and how it relates to PyTorch's inverted form."""

import math

import pytest
import torch
from torch import nn

from lamina.errors import ConfigError
from lamina.nn.mask_dropout import MaskDropout


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("keep", [0.8, 0.5])
def test_W38_masks_keep_the_given_share(keep: float) -> None:
    x = torch.full((500, 400), 3.0, dtype=torch.float64)
    for layer in (MaskDropout(keep=keep, generator=seeded()), MaskDropout(drop=1 - keep, generator=seeded())):
        y = layer(x)
        assert set(y.unique().tolist()) == {0.0, 3.0}
        assert abs((y != 0).double().mean().item() - keep) < 5 * math.sqrt(keep * (1 - keep) / x.numel())
        rows = (y != 0).double().mean(1)
        assert abs(rows.std().item() / math.sqrt(keep * (1 - keep) / 400) - 1) < 0.2  # units are independent


def test_W38_in_torchs_words() -> None:
    """Keep 0.8 of the inputs, 0.5 of the hidden units: torch.nn.Dropout takes the probability of dropping."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for keep in (0.8, 0.5):
            y = nn.Dropout(1 - keep)(torch.ones(200_000, dtype=torch.float64))
            assert abs((y != 0).double().mean().item() - keep) < 5 * math.sqrt(keep * (1 - keep) / 200_000)
            assert y.max().item() == pytest.approx(1 / keep)


def test_R12_gradient_is_zero_at_dropped_units_and_one_at_kept() -> None:
    x = torch.full((1000,), 2.0, dtype=torch.float64, requires_grad=True)
    y = MaskDropout(keep=0.5, generator=seeded())(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, (y != 0).double())
    assert 0 < gradient.sum() < 1000


def test_R13_evaluation_is_the_expectation_of_the_masks_and_scales_the_next_weights() -> None:
    x = torch.randn(50_000, 3, generator=seeded(1), dtype=torch.float64)[:1].repeat(50_000, 1)
    layer, after = MaskDropout(keep=0.8, generator=seeded()), nn.Linear(3, 2).double()
    mean = layer(x).mean(0)
    layer.eval()
    torch.testing.assert_close(layer(x)[0], mean, rtol=0.02, atol=0)
    scaled = x @ (0.8 * after.weight).T + after.bias  # the weights that lead out of the units, times keep
    torch.testing.assert_close(after(layer(x)), scaled)


def test_R13_the_inverted_form_differs_by_one_over_keep_in_both_modes() -> None:
    x = torch.randn(4, 3, dtype=torch.float64)
    ours, theirs = MaskDropout(drop=0.2).eval(), nn.Dropout(0.2).eval()
    torch.testing.assert_close(ours(x) / 0.8, theirs(x))
    kept = MaskDropout(drop=0.2, generator=seeded())(x)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        inverted = nn.Dropout(0.2)(x)
    both = (kept != 0) & (inverted != 0)
    torch.testing.assert_close(kept[both] / 0.8, inverted[both])


def test_keep_all_is_the_identity_and_the_generator_decides() -> None:
    x = torch.randn(4, 3)
    assert MaskDropout(keep=1.0)(x) is x and MaskDropout(drop=0.0).eval()(x) is x
    assert torch.equal(MaskDropout(keep=0.5, generator=seeded(2))(x), MaskDropout(keep=0.5, generator=seeded(2))(x))


@pytest.mark.parametrize("given", [{}, {"keep": 0.5, "drop": 0.5}, {"keep": 0.0}, {"drop": 1.0}, {"keep": 1.1}])
def test_refusals(given: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="keep"):
        MaskDropout(**given)
