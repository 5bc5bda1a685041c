"""Embedded categories against one-hot codes times a matrix, which is what they are."""

from dataclasses import dataclass

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import one_hot

from lamina.errors import ConfigError
from lamina.nn import ColumnEmbedding, embedding_width


@dataclass(frozen=True)
class Shape:
    n_numeric: int
    cardinalities: tuple[int, ...]


def layer(numeric: int, cards: tuple[int, ...], widths: tuple[int, ...] | None = None) -> ColumnEmbedding:
    made = ColumnEmbedding(Shape(numeric, cards), widths, torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        made.weight.normal_(generator=torch.Generator().manual_seed(1))
    return made


def rows(numeric: int, cards: tuple[int, ...], n: int, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    codes = [torch.randint(0, k, (n, 1), generator=g).double() for k in cards]
    return torch.cat([torch.randn(n, numeric, generator=g).double(), *codes], dim=1)


def by_one_hot(made: ColumnEmbedding, x: torch.Tensor, tables: list[torch.Tensor]) -> torch.Tensor:
    numeric = made.n_numeric
    parts = [one_hot(x[:, numeric + j].long(), len(t)).double() @ t for j, t in enumerate(tables)]
    return torch.cat([x[:, :numeric], *parts], dim=1)


@given(
    numeric=st.integers(0, 3),
    sizes=st.lists(st.tuples(st.integers(1, 7), st.integers(1, 4)), min_size=1, max_size=4),
    n=st.integers(0, 6),
)
@settings(max_examples=50, deadline=None)
def test_lookup_is_one_hot_times_table(numeric: int, sizes: list[tuple[int, int]], n: int) -> None:
    cards, widths = tuple(k for k, _ in sizes), tuple(d for _, d in sizes)
    made, x = layer(numeric, cards, widths), rows(numeric, cards, n)
    # cut the tables out of the weights here, by hand, in the documented order
    pieces = made.weight.detach().split([k * d for k, d in sizes])
    tables = [piece.view(k, d) for piece, (k, d) in zip(pieces, sizes, strict=True)]
    assert torch.equal(made(x), by_one_hot(made, x, tables))
    assert all(torch.equal(made.table(j), table) for j, table in enumerate(tables))
    assert made(x).shape == (n, made.out_features) and made.weight.numel() == sum(k * d for k, d in sizes)


@pytest.mark.parametrize("mutant", [False, True])
def test_weight_gradient_by_hand_is_autograds(mutant: bool) -> None:
    cards = (3, 5, 2)
    made, x = layer(2, cards), rows(2, cards, 20)
    delta = torch.randn(20, made.out_features, generator=torch.Generator().manual_seed(3)).double()
    made(x).backward(delta)
    ours = made.weight_gradient(x, delta.flip(0) if mutant else delta)
    assert torch.allclose(ours, made.weight.grad, rtol=1e-12, atol=1e-12) is (not mutant)


def test_gradcheck() -> None:
    made, x = layer(1, (3, 2), (2, 1)), rows(1, (3, 2), 4)
    weight = made.weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda w: torch.func.functional_call(made, {"weight": w}, (x,)), (weight,))


@pytest.mark.parametrize("code", [-1.0, 3.0, 1.5, 1e30, -1e30, float("nan"), float("inf"), float("-inf")])
def test_an_unknown_code_is_read_as_unseen(code: float) -> None:
    made = layer(1, (3, 4))
    strange, unseen = torch.tensor([[0.5, code, 2.0]]).double(), torch.tensor([[0.5, 0.0, 2.0]]).double()
    assert torch.equal(made(strange), made(unseen))


def test_the_unseen_category_starts_at_zero_and_the_others_do_not() -> None:
    made = ColumnEmbedding(Shape(0, (200, 3)), generator=torch.Generator().manual_seed(0))
    assert all(made.table(j)[0].abs().max() == 0 for j in (0, 1))
    assert abs(made.table(0)[1:].std().item() - 0.1) < 0.005


@pytest.mark.parametrize(("k", "width"), [(1, 2), (2, 3), (10, 6), (100, 22), (1000, 50), (10**6, 50)])
def test_customary_widths(k: int, width: int) -> None:
    assert embedding_width(k) == width


def test_M1_wrong_width_is_refused() -> None:
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        for bad in (torch.zeros(4, 2), torch.zeros(4, 4), torch.zeros(3), torch.zeros(1, 4, 3)):
            with pytest.raises(ConfigError, match=r"^ColumnEmbedding: x must have shape \(N, 3\).* got \("):
                layer(1, (3, 4)).float()(bad)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def test_only_the_weights_are_state() -> None:
    assert list(layer(1, (3,)).state_dict()) == ["weight"]
