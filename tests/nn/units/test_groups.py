"""Maxout, soft-maxout and p-norm units against loops of Python numbers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.nn.units import Maxout, MaxPoolUnits, PNorm, PNormPoolUnits, SoftMaxout, SoftMaxPoolUnits
from lamina.nn.units.maxout import second_moment_of_largest

LAYERS = {
    "maxout": (Maxout, max),
    "soft-maxout": (SoftMaxout, lambda values: math.log(sum(math.exp(v) for v in values))),
    "p-norm": (PNorm, lambda values: math.sqrt(sum(v * v for v in values))),
    "3-norm": (
        lambda *sizes, **more: PNorm(*sizes, 3.0, **more),
        lambda values: sum(abs(v) ** 3 for v in values) ** (1 / 3),
    ),
}
POOLS = [MaxPoolUnits, SoftMaxPoolUnits, PNormPoolUnits]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def looped(layer: nn.Module, x: Tensor, pool) -> Tensor:
    """Every unit by Python sums: piece j of unit i is row j H + i."""
    w, b = layer.affine.weight.tolist(), layer.affine.bias.tolist()
    pieces = layer.pool.pieces
    units = len(w) // pieces
    return torch.tensor(
        [
            [
                pool([sum(a * c for a, c in zip(w[j * units + i], row, strict=True)) + b[j * units + i]
                      for j in range(pieces)])
                for i in range(units)
            ]
            for row in x.tolist()
        ],
        dtype=x.dtype,
    )  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 5), st.integers(0, 3))
def test_C14_C15_C16_layers_equal_loops(name: str, d: int, h: int, k: int, n: int) -> None:
    make, pool = LAYERS[name]
    layer = make(d, h, k, generator=generator(d)).double()
    with torch.no_grad():
        layer.affine.bias.normal_(generator=generator(h))
    x = torch.randn(n, d, generator=generator(n), dtype=torch.float64)
    assert layer(x).shape == (n, h)
    torch.testing.assert_close(layer(x), looped(layer, x, pool).reshape(n, h))
    torch.testing.assert_close(layer(x.expand(2, 3, n, d))[1, 2], layer(x))


def test_C14_two_pieces_one_zero_is_relu() -> None:
    layer, plain = Maxout(4, 3, 2).double(), nn.Linear(4, 3).double()
    with torch.no_grad():
        layer.affine.weight.zero_()
        layer.affine.bias.zero_()
        layer.affine.weight[:3], layer.affine.bias[:3] = plain.weight, plain.bias
    x = torch.randn(50, 4, generator=generator(), dtype=torch.float64)
    torch.testing.assert_close(layer(x), torch.relu(plain(x)))
    with torch.no_grad():
        layer.affine.weight[3:], layer.affine.bias[3:] = -plain.weight, -plain.bias
    torch.testing.assert_close(layer(x), plain(x).abs())


def test_C14_one_piece_is_a_linear_layer() -> None:
    for layer in (Maxout(4, 3, 1), SoftMaxout(4, 3, 1)):
        x = torch.randn(5, 4, generator=generator())
        torch.testing.assert_close(layer(x), layer.affine(x))


def test_C14_tangents_of_a_convex_function_are_maxout_pieces() -> None:
    """k tangents of x² on [-1, 1] come within (1/k)² of it."""
    for k in (4, 16, 64):
        layer = Maxout(1, 1, k).double()
        points = torch.arange(k, dtype=torch.float64).mul(2).add(1).div(k).sub(1)
        with torch.no_grad():
            layer.affine.weight[:, 0], layer.affine.bias[:] = 2 * points, -(points**2)
        x = torch.linspace(-1, 1, 1001, dtype=torch.float64)[:, None]
        gap = x**2 - layer(x)
        assert gap.min() > -1e-12
        assert gap.max().item() == pytest.approx((1 / k) ** 2, rel=0.05)


def test_C14_gradient_goes_to_the_largest() -> None:
    z = torch.tensor([[1.0, 5.0, 3.0, 4.0, 2.0, 3.0]], requires_grad=True)  # groups (1, 3, 2) and (5, 4, 3)
    out = MaxPoolUnits(3)(z)
    (gradient,) = torch.autograd.grad((out * torch.tensor([10.0, 100.0])).sum(), z)
    assert out.tolist() == [[3.0, 5.0]]
    assert gradient.tolist() == [[0.0, 100.0, 10.0, 0.0, 0.0, 0.0]]
    tied = torch.ones(1, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(MaxPoolUnits(2)(tied).sum(), tied)
    assert gradient.tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize("k, exact", [
    (1, 1.0), (2, 1.0), (3, 1 + math.sqrt(3) / (2 * math.pi)), (4, 1 + math.sqrt(3) / math.pi), (5, 1.80002),
])  # fmt: skip
def test_C14_start_keeps_the_second_moment(k: int, exact: float) -> None:
    assert second_moment_of_largest(k) == pytest.approx(exact, abs=2e-5)
    x = torch.randn(500, 200, generator=generator())
    h = Maxout(200, 2000, k, generator=generator(1))(x)
    assert h.square().mean().item() == pytest.approx(1.0, abs=0.03)


def test_C16_start_keeps_the_second_moment() -> None:
    x = torch.randn(500, 200, generator=generator())
    assert PNorm(200, 2000, 5, generator=generator(1))(x).square().mean().item() == pytest.approx(1.0, abs=0.03)
    assert SoftMaxout(200, 500, 3).affine.weight.var().item() * 200 == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("make", [make for make, _ in LAYERS.values()], ids=LAYERS.keys())
def test_starts_are_a_function_of_the_generator(make) -> None:
    state = torch.random.get_rng_state()
    a, b = (make(4, 3, 2, generator=generator(7)).affine.weight for _ in range(2))
    assert torch.equal(a, b)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not torch.equal(a, make(4, 3, 2, generator=generator(8)).affine.weight)
    assert make(4, 3, 2, bias=False).affine.bias is None


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=8))
def test_C15_soft_maxout_lies_between_max_and_max_plus_log_k(values: list[float]) -> None:
    z = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    h = SoftMaxPoolUnits(len(values))(z)
    assert max(values) - 1e-9 <= h.item() <= max(values) + math.log(len(values)) + 1e-9
    (gradient,) = torch.autograd.grad(h.sum(), z)
    expected = [math.exp(v - h.item()) for v in values]
    torch.testing.assert_close(gradient, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-12)


def test_C15_equal_pieces_give_log_k() -> None:
    torch.testing.assert_close(SoftMaxPoolUnits(3)(torch.zeros(3)).item(), math.log(3))


def test_E02_the_inner_power_is_there() -> None:
    assert PNormPoolUnits(3)(torch.tensor([1.0, 2.0, 3.0])).item() == pytest.approx(3.7416574, abs=1e-6)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 2.5, 3.0, 7.0, math.inf])
def test_C16_value_and_gradient_are_torchs(p: float) -> None:
    z = torch.randn(6, 4, 5, generator=generator(), dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        z[0, 2, 0] = 0.0
    delta = torch.randn(6, 5, generator=generator(1), dtype=torch.float64)
    expected = torch.linalg.vector_norm(z, p, dim=1)
    got = PNormPoolUnits(4, p)(z.reshape(6, 20))
    torch.testing.assert_close(got, expected)
    mine, theirs = (torch.autograd.grad((h * delta).sum(), z, retain_graph=True)[0] for h in (got, expected))
    torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, 7.0])
@pytest.mark.parametrize("size", [1e-30, 1e-4, 1e4, 1e30], ids=str)
def test_C16_no_overflow_and_no_underflow(p: float, size: float) -> None:
    z = (size * torch.tensor([3.0, -4.0, 0.0])).requires_grad_()
    h = PNormPoolUnits(3, p)(z)
    norm = (3**p + 4**p) ** (1 / p)
    assert h.item() == pytest.approx(size * norm, rel=1e-5)
    (gradient,) = torch.autograd.grad(h.sum(), z)
    assert gradient.tolist() == pytest.approx([(3 / norm) ** (p - 1), -((4 / norm) ** (p - 1)), 0.0], rel=1e-5)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, math.inf])
def test_C16_gradient_is_zero_where_the_group_is(p: float) -> None:
    z = torch.zeros(2, 6, requires_grad=True)
    h = PNormPoolUnits(3, p)(z)
    (gradient,) = torch.autograd.grad(h.sum(), z)
    assert 0 <= h.min() <= h.max() <= (torch.finfo(h.dtype).tiny if p == 2 else 0)
    assert torch.equal(gradient, torch.zeros(2, 6))


def test_C16_large_p_gives_the_largest() -> None:
    z = torch.randn(10, 6, generator=generator())
    largest = z.reshape(10, 3, 2).abs().amax(1)
    assert torch.equal(PNormPoolUnits(3, math.inf)(z), largest)
    torch.testing.assert_close(PNormPoolUnits(3, 2000.0)(z), largest, rtol=1e-3, atol=0)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # PyTorch's own, from jvp
@pytest.mark.parametrize("p", [2.0, 3.0])
def test_C16_forward_over_reverse_and_vmap(p: float) -> None:
    """The Hessian of ‖z‖_p by three roads: two of autograd, one by differences."""
    z = torch.randn(4, generator=generator(), dtype=torch.float64)
    unit = PNormPoolUnits(4, p)

    def total(z: Tensor) -> Tensor:
        return unit(z).sum()

    forward = torch.func.jacfwd(torch.func.grad(total))(z)
    torch.testing.assert_close(forward, torch.func.jacrev(torch.func.grad(total))(z))
    step = 1e-6
    rows = []
    for i in range(4):
        move = torch.zeros(4, dtype=torch.float64)
        move[i] = step
        rows.append((torch.func.grad(total)(z + move) - torch.func.grad(total)(z - move)) / (2 * step))
    torch.testing.assert_close(forward, torch.stack(rows), rtol=0, atol=1e-8)
    _, tangent = torch.func.jvp(total, (z,), (torch.ones_like(z),))
    torch.testing.assert_close(tangent, torch.func.grad(total)(z).sum())
    many = torch.randn(5, 8, generator=generator(), dtype=torch.float64)
    torch.testing.assert_close(torch.func.vmap(PNormPoolUnits(2, p))(many), PNormPoolUnits(2, p)(many))


@pytest.mark.parametrize("p", [1.0, 1.5, 2.5, 3.0, 7.0])
def test_C16_many_cotangents_at_once_and_a_second_derivative(p: float) -> None:
    z = torch.randn(3, 8, generator=generator(), dtype=torch.float64, requires_grad=True)
    h = PNormPoolUnits(4, p)(z).flatten()
    one_by_one = torch.stack([torch.autograd.grad(one, z, retain_graph=True)[0] for one in h])
    (together,) = torch.autograd.grad(h, z, torch.eye(6, dtype=h.dtype), is_grads_batched=True)
    torch.testing.assert_close(together, one_by_one)
    assert torch.autograd.gradcheck(PNormPoolUnits(4, p), z, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(PNormPoolUnits(4, p), z)


@pytest.mark.parametrize("make", POOLS)
def test_the_axis_of_channels(make) -> None:
    pictures = torch.randn(2, 6, 4, 5, generator=generator())
    expected = make(3)(pictures.movedim(1, -1)).movedim(-1, 1)
    assert expected.shape == (2, 2, 4, 5)
    for dim in (1, -3):
        torch.testing.assert_close(make(3, dim=dim)(pictures), expected)


@pytest.mark.parametrize("make", POOLS)
def test_sizes_that_do_not_fit(make) -> None:
    with pytest.raises(ConfigError, match=f"{make.__name__}: axis -1 of an input of shape \\(2, 5\\)"):
        make(2)(torch.zeros(2, 5))
    with pytest.raises(ConfigError, match="axis 2"):
        make(2, dim=2)(torch.zeros(2, 4))
    with pytest.raises(ConfigError, match="pieces must be"):
        make(0)


@pytest.mark.parametrize("make", [Maxout, SoftMaxout, PNorm])
@pytest.mark.parametrize("sizes", [(0, 1, 1), (1, 0, 1), (1, 1, 0)], ids=str)
def test_layers_refuse_sizes_below_one(make, sizes) -> None:
    with pytest.raises(ConfigError, match=f"{make.__name__}: .* must be a whole number of at least 1"):
        make(*sizes)


@pytest.mark.parametrize("p", [0.5, 0.0, math.nan])
def test_C16_p_below_one_is_no_norm(p: float) -> None:
    with pytest.raises(ConfigError, match="p must be at least 1"):
        PNorm(2, 2, 2, p)


def test_what_is_printed() -> None:
    assert repr(MaxPoolUnits(3)) == "MaxPoolUnits(pieces=3, dim=-1)"
    assert repr(SoftMaxPoolUnits(3)) == "SoftMaxPoolUnits(pieces=3, dim=-1)"
    assert repr(PNormPoolUnits(3, math.inf)) == "PNormPoolUnits(pieces=3, p=inf, dim=-1)"
