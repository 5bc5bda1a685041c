"""Double back-propagation: against finite differences, on the shared graph and on one of its own."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.likelihoods import Categorical
from lamina.penalties import _input_gradient
from lamina.penalties.base import Context
from lamina.penalties.double_backprop import DoubleBackprop
from penalties.derivative_problems import (
    Wrapped,
    codes,
    context_of,
    normalised_network,
    parameter_gradients,
    rows,
    smooth_network,
)  # fmt: skip


def jacobians(model: nn.Module, x: Tensor, h: float = 1e-5) -> Tensor:
    """(N, outputs, D) by central differences, one input at a time."""
    axes = h * torch.eye(x.shape[1], dtype=x.dtype)
    return torch.stack([(model(x + axis) - model(x - axis)) / (2 * h) for axis in axes], dim=-1)


def loss_slopes(model: nn.Module, x: Tensor, t: Tensor, h: float = 1e-5) -> Tensor:
    """(N, D) by central differences of each example's loss, written out."""

    def losses(x: Tensor) -> Tensor:
        z = model(x)
        return torch.logsumexp(z, 1) - z[torch.arange(len(z)), t]

    axes = h * torch.eye(x.shape[1], dtype=x.dtype)
    return torch.stack([(losses(x + axis) - losses(x - axis)) / (2 * h) for axis in axes], dim=-1)


def test_R29_several_draws_are_the_mean_of_single_ones() -> None:
    context = context_of(smooth_network(), rows())
    together = DoubleBackprop("outputs", 3, torch.Generator().manual_seed(5))(context)
    one = DoubleBackprop("outputs", 1, torch.Generator().manual_seed(5))
    assert math.isclose(together.item(), sum(one(context).item() for _ in range(3)) / 3, rel_tol=1e-12)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_R29_loss_form_is_that_of_finite_differences(wrapped: bool, weighted: bool) -> None:
    model, x, t = smooth_network(), rows(), codes()
    model = Wrapped(model) if wrapped else model
    weights = torch.tensor([1.5, 0.0, 0.5, 2.0, 1.0], dtype=torch.float64) if weighted else None
    value = DoubleBackprop()(context_of(model, x, t, weights=weights))
    squares = loss_slopes(model, x, t).square().sum(1)
    expected = (squares if weights is None else weights * squares).mean()
    assert math.isclose(value.item(), expected.item(), rel_tol=1e-7)
    for a, b in zip(parameter_gradients(value, model), parameter_gradients(expected, model), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("wrapped", [False, True])
def test_R29_outputs_form_is_the_squared_jacobian(wrapped: bool) -> None:
    model, x = smooth_network(), rows()
    model = Wrapped(model) if wrapped else model
    value = DoubleBackprop("outputs", draws=0)(context_of(model, x))
    expected = jacobians(model, x).square().sum((1, 2)).mean()
    assert math.isclose(value.item(), expected.item(), rel_tol=1e-7)
    for a, b in zip(parameter_gradients(value, model), parameter_gradients(expected, model), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-8)


def test_R29_random_directions_are_unbiased() -> None:
    """One example and three outputs have four unlike sign vectors; their mean is the exact sum."""
    model, x = smooth_network(), rows(1)
    exact = DoubleBackprop("outputs", draws=0)(context_of(model, x)).item()
    found = {
        round(DoubleBackprop("outputs", 1, torch.Generator().manual_seed(seed))(context_of(model, x)).item(), 10)
        for seed in range(40)
    }
    assert len(found) == 4
    assert math.isclose(sum(found) / 4, exact, rel_tol=1e-6)


def test_the_shared_graph_is_found_where_it_should_be_and_nowhere_else() -> None:
    x = rows()
    chained = smooth_network()
    assert _input_gradient.pull_to_inputs(context_of(chained, x))[0].grad_fn is not None
    for model, shared in {
        chained: True,
        nn.Sequential(nn.Flatten(), *chained): True,
        nn.Sequential(nn.Sequential(*chained[:2]), chained[2:]): True,
        Wrapped(chained): False,
        nn.Sequential(nn.Tanh(), *chained): False,
        nn.Sequential(nn.Linear(4, 6, bias=False).double(), *chained[1:]): False,
    }.items():
        context = context_of(model, x)
        assert (_input_gradient.pull_to_inputs(context)[0] is context.outputs) is shared, model
    pieces = Context(chained, x, torch.cat([chained(x[:2]), chained(x[2:])]))  # two passes: no one place
    assert _input_gradient.pull_to_inputs(pieces)[0] is not pieces.outputs


def test_the_objectives_own_gradient_is_untouched() -> None:
    model, x, t = smooth_network(), rows(), codes()
    alone = parameter_gradients(-Categorical(3).log_prob(model(x), t).mean(), model)
    context = context_of(model, x, t)
    nll = -Categorical(3).log_prob(context.outputs, t).mean()
    whole = parameter_gradients(nll + 0.0 * DoubleBackprop()(context), model)
    for a, b in zip(alone, whole, strict=True):
        torch.testing.assert_close(a, b)
    assert x.grad is None and not x.requires_grad


@pytest.mark.parametrize("of", ["loss", "outputs"])
def test_extra_passes_leave_the_running_statistics(of: str) -> None:
    model = nn.Sequential(nn.Tanh(), *normalised_network())
    context = context_of(model, rows(), codes())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    DoubleBackprop(of)(context).backward()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("of", ["loss", "outputs"])
def test_value_without_a_graph(of: str) -> None:
    model, x, t = smooth_network(), rows(), codes()
    wanted = DoubleBackprop(of, 0)(context_of(model, x, t))
    with torch.no_grad():
        value = DoubleBackprop(of, 0)(context_of(model, x, t))
    assert not value.requires_grad
    torch.testing.assert_close(value, wanted.detach())


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="loss or outputs"):
        DoubleBackprop("both")
    with pytest.raises(ConfigError, match="targets"):
        DoubleBackprop()(context_of(smooth_network(), rows()))
