"""Jacobian and Hessian products against matrices of central differences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from curvature import net
from lamina.curvature import hessian_vector, jacobian_vector, loss_at, outputs_at, vector_jacobian
from lamina.errors import ConfigError
from lamina.likelihoods import Gaussian


def test_C33_jacobian_products_are_those_of_the_explicit_jacobian() -> None:
    function, parameters = net.outputs()
    at = net.flat(parameters)
    jacobian = net.differences(lambda v: function(net.unflat(v, parameters)).detach(), at)  # (N, K, P)
    v = torch.randn(len(at), generator=net.seeded(3), dtype=torch.float64)
    u = torch.randn(10, 3, generator=net.seeded(4), dtype=torch.float64)
    forward = jacobian_vector(function, parameters, net.unflat(v, parameters))
    torch.testing.assert_close(forward, jacobian @ v, rtol=1e-7, atol=1e-8)
    backward = vector_jacobian(function, parameters, u)
    torch.testing.assert_close(net.flat(backward), torch.einsum("nk,nkp->p", u, jacobian), rtol=1e-7, atol=1e-8)
    assert [(n, t.shape) for n, t in backward.items()] == [(n, t.shape) for n, t in parameters.items()]


def test_C33_hessian_product_is_that_of_the_explicit_hessian() -> None:
    function, parameters = net.loss()
    matrix = net.hessian(net.loss())
    for seed in range(3):
        v = torch.randn(len(matrix), generator=net.seeded(seed), dtype=torch.float64)
        turned = hessian_vector(function, parameters, net.unflat(v, parameters))
        torch.testing.assert_close(net.flat(turned), matrix @ v, rtol=1e-6, atol=1e-8)
        assert list(turned) == list(parameters)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_C33_symmetry_and_linearity(seed: int) -> None:
    function, parameters = net.loss()
    g = net.seeded(seed)
    v, w = ({n: torch.randn(t.shape, generator=g, dtype=t.dtype) for n, t in parameters.items()} for _ in range(2))
    hv, hw = (net.flat(hessian_vector(function, parameters, some)) for some in (v, w))
    torch.testing.assert_close(net.flat(w) @ hv, net.flat(v) @ hw, rtol=1e-9, atol=1e-11)
    both = hessian_vector(function, parameters, {n: 2 * v[n] - w[n] for n in v})
    torch.testing.assert_close(net.flat(both), 2 * hv - hw, rtol=1e-9, atol=1e-11)
    out, at = net.outputs()
    u = torch.randn(10, 3, generator=g, dtype=torch.float64)
    left = (u * jacobian_vector(out, at, v)).sum()
    torch.testing.assert_close(left, net.flat(vector_jacobian(out, at, u)) @ net.flat(v), rtol=1e-9, atol=1e-11)


def test_C33_hessian_of_linear_regression_is_the_inputs_second_moment() -> None:
    model = nn.Linear(3, 1, bias=False).double()
    x = torch.randn(8, 3, generator=net.seeded(0), dtype=torch.float64)
    function, parameters = loss_at(model, Gaussian(scale=1.0), x, torch.zeros(8, 1, dtype=torch.float64))
    v = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)
    turned = hessian_vector(function, parameters, {"weight": v})["weight"]
    torch.testing.assert_close(turned, v @ (x.mT @ x / 8))


def test_functions_stand_at_the_trainable_parameters_and_leave_the_module_alone() -> None:
    model, x, _ = net.small()
    model.output.bias.requires_grad_(False)
    function, parameters = outputs_at(model, x)
    assert "output.bias" not in parameters
    assert set(parameters) == {n for n, p in model.named_parameters() if p.requires_grad}
    torch.testing.assert_close(function(parameters), model(x))
    moved = function({n: t + 1 for n, t in parameters.items()})
    assert not torch.allclose(moved, model(x))
    assert all(p.grad is None for p in model.parameters())
    assert parameters["output.weight"].data_ptr() == model.output.weight.data_ptr()


def test_order_of_the_vector_does_not_matter_and_misfits_are_refused() -> None:
    function, parameters = net.loss()
    v = {n: torch.randn(t.shape, generator=net.seeded(0), dtype=t.dtype) for n, t in parameters.items()}
    other = dict(reversed(v.items()))
    torch.testing.assert_close(
        net.flat(hessian_vector(function, parameters, other)), net.flat(hessian_vector(function, parameters, v))
    )
    first = next(iter(v))
    with pytest.raises(ConfigError, match=f'"{first}"'):
        hessian_vector(function, parameters, {n: t for n, t in v.items() if n != first})
    with pytest.raises(ConfigError, match="vector differs"):
        jacobian_vector(function, parameters, v | {first: v[first][:1]})
    with pytest.raises(ConfigError, match="cotangent"):
        vector_jacobian(*net.outputs(), torch.zeros(10, 2, dtype=torch.float64))
    with pytest.raises(ConfigError, match="no parameters"):
        hessian_vector(function, {}, {})
