"""RBF units and the softmax selector against loops and limits."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.errors import ConfigError
from lamina.nn.units import RBF, SoftmaxSelector


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 4), st.floats(0.3, 4.0))
def test_C17_rbf_is_the_closed_form(d: int, h: int, n: int, sigma: float) -> None:
    layer = RBF(d, h, sigma, generator=generator(h)).double()
    with torch.no_grad():
        layer.log_sigma.add_(torch.randn(h, generator=generator(d), dtype=torch.float64) / 3)
    x = torch.randn(n, d, generator=generator(n), dtype=torch.float64)
    spread = layer.log_sigma.exp().tolist()
    expected = [
        [
            math.exp(-sum((a - b) ** 2 for a, b in zip(w, row, strict=True)) / s**2)
            for w, s in zip(layer.weight.tolist(), spread, strict=True)
        ]
        for row in x.tolist()
    ]
    torch.testing.assert_close(layer(x), torch.tensor(expected, dtype=torch.float64).reshape(n, h))
    torch.testing.assert_close(layer(x.expand(2, 3, n, d))[1, 2], layer(x))


def test_C17_one_at_the_centre_and_at_most_one() -> None:
    layer = RBF(20, 30, generator=generator())
    at = layer(layer.weight.detach())
    torch.testing.assert_close(at.diagonal(), torch.ones(30), rtol=0, atol=1e-5)
    assert at.max() <= 1.0
    assert (at - torch.eye(30)).abs().max() < 1e-2


def test_C17_data_far_from_zero_lose_nothing() -> None:
    """Measured from the mean of the centres: a shift of everything by 1000 leaves h, in float32."""
    layer = RBF(10, 5, 3.0, generator=generator())
    x = torch.randn(50, 10, generator=generator(1))
    near = layer(x)
    with torch.no_grad():
        layer.weight += 1000
    torch.testing.assert_close(layer(x + 1000), near, rtol=0, atol=2e-3)


def test_C17_sigma_is_where_h_falls_to_a_tenth_of_e() -> None:
    layer = RBF(1, 1, 2.0)
    with torch.no_grad():
        layer.weight.zero_()
    assert layer(torch.tensor([[2.0]])).item() == pytest.approx(math.exp(-1))
    assert layer(torch.tensor([[4.0]])).item() == pytest.approx(math.exp(-4))


def test_C17_memory_is_that_of_the_result() -> None:
    """No tensor of N H D numbers: the largest that is made has max(N H, N D, H D)."""
    n, h, d = 64, 48, 40
    largest = 0

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            out = function(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                largest = max(largest, out.numel())
            return out

    layer, x = RBF(d, h), torch.randn(n, d)
    with Watch():
        layer(x)
    assert 0 < largest <= max(n * h, n * d, h * d)


def test_C17_gradient_at_the_centre_is_zero() -> None:
    layer = RBF(3, 2).double()
    x = layer.weight.detach()[:1].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(layer(x)[0, 0], x)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)


def test_C17_start_and_refusals() -> None:
    a, b = (RBF(3, 4, generator=generator(2)) for _ in range(2))
    assert torch.equal(a.weight, b.weight)
    assert repr(a) == "RBF(in_features=3, out_features=4)"
    with pytest.raises(ConfigError, match="RBF: sigma must be"):
        RBF(3, 4, 0.0)
    with pytest.raises(ConfigError, match="RBF: out_features"):
        RBF(3, 0)


# The selector


def test_C07_selector_mixes_by_softmax() -> None:
    scores, options = torch.randn(5, 3, generator=generator()).double(), torch.randn(5, 3, 4).double()
    for temperature in (0.5, 1.0, 3.0):
        got = SoftmaxSelector(temperature)(scores, options)
        for n in range(5):
            raw = [math.exp(s / temperature) for s in scores[n].tolist()]
            for d in range(4):
                expected = sum(r * v for r, v in zip(raw, options[n, :, d].tolist(), strict=True)) / sum(raw)
                assert got[n, d].item() == pytest.approx(expected)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-10_000, 10_000), min_size=1, max_size=6), st.sampled_from([1e-40, 1e-10, 1e-3]))
def test_C07_no_temperature_is_the_largest_score(values: list[int], temperature: float) -> None:
    scores = torch.tensor(values, dtype=torch.float32, requires_grad=True)
    options = torch.randn(len(values), 2, generator=generator())
    best = [i for i, v in enumerate(values) if v == max(values)]
    got = SoftmaxSelector(temperature)(scores, options)
    torch.testing.assert_close(got, options[best].mean(0))
    (gradient,) = torch.autograd.grad(SoftmaxSelector(1e-3)(scores, options).sum(), scores)
    assert gradient.isfinite().all()


def test_C07_high_temperature_is_the_mean_and_minus_infinity_is_out() -> None:
    options = torch.randn(3, 2, generator=generator())
    scores = torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(SoftmaxSelector(1e8)(scores, options), options.mean(0))
    out = torch.tensor([1.0, -math.inf, 1.0])
    torch.testing.assert_close(SoftmaxSelector()(out, options), options[[0, 2]].mean(0))
    assert SoftmaxSelector(0.1).weights(out).tolist() == [0.5, 0.0, 0.5]


def test_C07_one_temperature_for_a_batch_and_refusals() -> None:
    weights = SoftmaxSelector(0.3).weights(torch.randn(2, 5, 4, generator=generator()))
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 5))
    assert repr(SoftmaxSelector(0.3)) == "SoftmaxSelector(temperature=0.3)"
    with pytest.raises(ConfigError, match="SoftmaxSelector: temperature"):
        SoftmaxSelector(0.0)
