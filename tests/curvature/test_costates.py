"""Co-states: of layers against autograd and differences, in continuous time against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lamina.curvature import continuous_costates, layer_costates
from lamina.errors import ConfigError


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def chain() -> nn.Sequential:
    torch_layers = [nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)]
    made = nn.Sequential(*torch_layers).double()
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(torch.randn(p.shape, generator=seeded(p.numel()), dtype=torch.float64))
    return made


X = torch.randn(6, 3, generator=seeded(1), dtype=torch.float64)
T = torch.randn(6, 2, generator=seeded(2), dtype=torch.float64)


def cost(z: Tensor) -> Tensor:
    return 0.5 * (z - T).square().sum()


def test_C32_costates_are_the_derivatives_by_the_states() -> None:
    net = chain()
    found = layer_costates(net, X, cost)
    states = [X.clone().requires_grad_()]
    for layer in net:
        states.append(layer(states[-1]))
        states[-1].retain_grad()
    loss = cost(states[-1])
    loss.backward()
    torch.testing.assert_close(found.loss, loss.detach())
    assert len(found.states) == len(found.costates) == 6
    for ours, theirs, costate in zip(found.states, states, found.costates, strict=True):
        torch.testing.assert_close(ours, theirs.detach())
        torch.testing.assert_close(costate, theirs.grad)
    assert list(found.gradients) == [name for name, _ in net.named_parameters()]
    for name, p in net.named_parameters():
        torch.testing.assert_close(found.gradients[name], p.grad)
    torch.testing.assert_close(found.costates[-1], found.states[-1] - T)  # λ(L) = ẑ - z


def test_C32_the_courses_recursion() -> None:
    """λ(l-1) = Wᵀ (λ(l) ⊙ g'(ŷ)), written out for the sigmoid pair, and ∂E/∂W = δ zᵀ."""
    net = chain()
    found = layer_costates(net, X, cost)
    g = found.states[2]
    delta = found.costates[2] * g * (1 - g)
    torch.testing.assert_close(delta, found.costates[1])  # δ(l) is the co-state before the unit
    torch.testing.assert_close(found.costates[0], delta @ net[0].weight.detach())
    torch.testing.assert_close(found.gradients["0.weight"], delta.mT @ X)
    torch.testing.assert_close(found.gradients["0.bias"], delta.sum(0))


def test_C32_frozen_parameters_have_no_gradient() -> None:
    net = chain()
    net[0].weight.requires_grad_(False)
    assert list(layer_costates(net, X, cost).gradients) == ["0.bias", "2.weight", "2.bias", "4.weight", "4.bias"]


def growth(steps: int = 200) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return continuous_costates(
        lambda x, p: p["a"] * x,
        {"a": torch.tensor(0.7, dtype=torch.float64)},
        torch.tensor(1.3, dtype=torch.float64),
        lambda x: 2.0 * x,
        duration=1.5,
        steps=steps,
    )


def test_C32_W35_growth() -> None:
    cost_value, times, states, costates, gradients = growth()
    closed = 1.5 * 2.0 * math.exp(0.7 * 1.5) * 1.3
    assert closed == pytest.approx(11.14484, abs=5e-6)
    assert gradients["a"].item() == pytest.approx(closed, rel=1e-9)
    assert gradients["a"].item() == pytest.approx(11.14484, abs=5e-6)
    assert cost_value.item() == pytest.approx(2.0 * math.exp(1.05) * 1.3, rel=1e-9)
    product = costates * states
    torch.testing.assert_close(product, product[:1].expand(201), rtol=1e-8, atol=0)  # constant in time
    torch.testing.assert_close(1.5 * product, torch.full_like(product, closed), rtol=1e-8, atol=0)
    torch.testing.assert_close(states, 1.3 * torch.exp(0.7 * times), rtol=1e-9, atol=0)
    torch.testing.assert_close(costates, 2.0 * torch.exp(0.7 * (1.5 - times)), rtol=1e-9, atol=0)
    ahead, behind = (2.0 * math.exp((0.7 + h) * 1.5) * 1.3 for h in (1e-6, -1e-6))
    assert gradients["a"].item() == pytest.approx((ahead - behind) / 2e-6, rel=1e-8)


def test_C32_error_is_of_fourth_order() -> None:
    closed = 1.5 * 2.0 * math.exp(1.05) * 1.3
    coarse, fine = (abs(growth(steps).gradients["a"].item() - closed) for steps in (8, 16))  # type: ignore[attr-defined]
    assert 12 < coarse / fine < 20


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 1000))
def test_C32_linear_systems_against_the_matrix_exponential(seed: int) -> None:
    g = seeded(seed)
    a, b, start, c = (torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((3, 3), (3,), (3,), (3,)))

    def closed(a: Tensor, b: Tensor) -> Tensor:
        """C · x(1) of dx/dt = A x + b, through the exponential of the extended matrix."""
        extended = torch.zeros(4, 4, dtype=torch.float64)
        extended[:3, :3], extended[:3, 3] = a, b
        return c @ (torch.linalg.matrix_exp(extended) @ torch.cat([start, torch.ones(1, dtype=torch.float64)]))[:3]

    found = continuous_costates(
        lambda x, p: p["A"] @ x + p["b"], {"A": a, "b": b}, start, lambda x: c @ x, duration=1.0, steps=40
    )
    for name, p in {"A": a, "b": b}.items():
        for index in range(p.numel()):
            step = torch.zeros(p.numel(), dtype=torch.float64)
            step[index] = 1e-6
            step = step.reshape(p.shape)
            ends = [closed(a + s * step, b) if name == "A" else closed(a, b + s * step) for s in (1, -1)]
            expected = float(ends[0] - ends[1]) / 2e-6
            assert found.gradients[name].flatten()[index].item() == pytest.approx(expected, rel=1e-4, abs=1e-5)
    torch.testing.assert_close(found.costates[0], torch.linalg.matrix_exp(a).mT @ c, rtol=1e-4, atol=1e-5)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="scalar"):
        layer_costates(chain(), X, lambda z: z)
    one = torch.ones(2)
    with pytest.raises(ConfigError, match="scalar"):
        continuous_costates(lambda x, p: x, {}, one, lambda x: x, duration=1.0)
    for wrong in ({"duration": 0.0}, {"duration": 1.0, "steps": 0}):
        with pytest.raises(ConfigError, match="duration must be above 0"):
            continuous_costates(lambda x, p: x, {}, one, lambda x: x.sum(), **wrong)  # type: ignore[arg-type]
