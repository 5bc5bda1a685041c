"""Margin ranking: hand values, PyTorch's multi-class margin loss, finite differences."""

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import multi_margin_loss

from lamina.errors import ConfigError
from lamina.likelihoods.ranking import margin_ranking

SCORES = torch.tensor([[2.0, 1.5, 0.0], [0.0, 3.0, 3.5], [5.0, 1.0, 2.0]], dtype=torch.float64)
Y = torch.tensor([0, 1, 0])


def test_L13_hand_values() -> None:
    assert margin_ranking(SCORES, Y).tolist() == [0.5, 1.5, 0.0]
    assert margin_ranking(SCORES, Y, margin=4.0).tolist() == [3.5 + 2.0, 1.0 + 4.5, 1.0]


def test_L13_gradient_is_zero_beyond_the_margin() -> None:
    scores = SCORES.clone().requires_grad_()
    (slope,) = torch.autograd.grad(margin_ranking(scores, Y).sum(), scores)
    assert slope.tolist() == [[-1.0, 1.0, 0.0], [0.0, -1.0, 1.0], [0.0, 0.0, 0.0]]


@given(n=st.integers(1, 5), k=st.integers(2, 6), margin=st.floats(0.1, 5), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_L13_is_torchs_without_the_division(n: int, k: int, margin: float, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    scores, y = torch.randn(n, k, generator=g, dtype=torch.float64), torch.randint(0, k, (n,), generator=g)
    theirs = multi_margin_loss(scores, y, margin=margin, reduction="none") * k
    torch.testing.assert_close(margin_ranking(scores, y, margin), theirs, rtol=1e-12, atol=1e-12)


def test_L13_derivatives_are_finite_differences() -> None:
    assert torch.autograd.gradcheck(lambda a: margin_ranking(a, Y), SCORES.clone().requires_grad_())


def test_L13_far_scores_stay_finite() -> None:
    scores = torch.tensor([[1e4, -1e4]], requires_grad=True)
    value = margin_ranking(scores, torch.tensor([1]))
    value.sum().backward()
    assert value.item() == 20001.0 and scores.grad.tolist() == [[1.0, -1.0]]


@pytest.mark.parametrize(
    ("scores", "y", "margin"), [(SCORES, Y[:2], 1.0), (SCORES[0], Y, 1.0), (SCORES.long(), Y, 1.0), (SCORES, Y, 0.0)]
)
def test_what_cannot_be_ranked_is_refused(scores: torch.Tensor, y: torch.Tensor, margin: float) -> None:
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ConfigError) as caught:
            margin_ranking(scores, y, margin)
        assert caught.value.mend
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
