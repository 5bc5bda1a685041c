"""Pairwise similarity: hand values, finite differences, and the point where two outputs meet."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.errors import ConfigError
from lamina.likelihoods.pairwise import pairwise_similarity

A = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
B = torch.tensor([[3.0, 4.0], [1.0, 0.5], [0.6, 0.8], [3.0, 4.0]], dtype=torch.float64)  # distances 5, ½, 1, 5
S = torch.tensor([1, 0, 0, 0])


def test_L14_hinge_holds_the_squared_distance() -> None:
    assert pairwise_similarity(A, B, S, margin=2.0).tolist() == pytest.approx([25.0, 1.75, 1.0, 0.0])


def test_L14_hadsell_squares_the_hinge_of_the_distance() -> None:
    assert pairwise_similarity(A, B, S, 2.0, form="hadsell").tolist() == pytest.approx([25.0, 2.25, 1.0, 0.0])


@pytest.mark.parametrize("form", ["hinge", "hadsell"])
def test_L14_derivatives_are_finite_differences(form: str) -> None:
    arguments = (A.clone().requires_grad_(), B.clone().requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b: pairwise_similarity(a, b, S, 2.0, form), arguments)
    assert torch.autograd.gradgradcheck(lambda a, b: pairwise_similarity(a, b, S, 2.0, form), arguments)


@pytest.mark.parametrize("form", ["hinge", "hadsell"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_L14_gradient_is_finite_where_the_two_meet_and_far_apart(form: str, dtype: torch.dtype) -> None:
    a = torch.tensor([[1.0, 2.0], [1e4, -1e4], [1e-30, 0.0]], dtype=dtype, requires_grad=True)
    b = torch.tensor([[1.0, 2.0], [-1e4, 1e4], [0.0, 0.0]], dtype=dtype)
    for similar in (0, 1):
        value = pairwise_similarity(a, b, torch.full((3,), similar), 1.0, form)
        (slope,) = torch.autograd.grad(value.sum(), a)
        assert torch.isfinite(value).all() and torch.isfinite(slope).all() and (slope[0] == 0).all()


@given(n=st.integers(0, 5), d=st.integers(1, 4), margin=st.floats(0.1, 10), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_L14_symmetric_never_negative_and_at_most_the_margin_for_unlike(
    n: int, d: int, margin: float, seed: int
) -> None:
    g = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, n, d, generator=g, dtype=torch.float64)
    for form, most in (("hinge", margin), ("hadsell", margin**2)):
        unlike = pairwise_similarity(a, b, torch.zeros(n, dtype=torch.bool), margin, form)
        assert torch.equal(unlike, pairwise_similarity(b, a, torch.zeros(n, dtype=torch.bool), margin, form))
        assert ((unlike >= 0) & (unlike <= most)).all()


@pytest.fixture
def unhooked():
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize(
    ("a", "b", "s", "margin"),
    [
        (A, B[:3], S, 1.0),
        (A[0], B[0], S, 1.0),
        (A.long(), B.long(), S, 1.0),
        (A, B, S[:3], 1.0),
        (A, B, S, 0.0),
        (A, B, S, float("inf")),
    ],
)
def test_what_cannot_be_paired_is_refused(
    a: torch.Tensor, b: torch.Tensor, s: torch.Tensor, margin: float, unhooked
) -> None:
    with pytest.raises(ConfigError) as caught:
        pairwise_similarity(a, b, s, margin)
    assert caught.value.mend


def test_an_unknown_form_is_refused(unhooked: None) -> None:
    with pytest.raises(ConfigError, match='"hinge" or "hadsell"'):
        pairwise_similarity(A, B, S, 1.0, form="cosine")


def test_a_pair_of_unknown_kind_is_not_passed_over() -> None:
    value = pairwise_similarity(A, B, torch.tensor([1.0, 0.5, 0.0, -1.0]), 2.0)
    assert value.isnan().tolist() == [False, True, False, True]
