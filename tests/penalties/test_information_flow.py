"""The information-flow regulariser: zero for an orthogonal recurrence, the paper's formula for any other."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.likelihoods import Categorical
from lamina.penalties.base import Context
from lamina.penalties.information_flow import InformationFlow, information_flow
from penalties.derivative_problems import codes


class Recurrent(nn.Module):
    """h_t = g(W h_{t-1} + U x_t), the smallest recurrent network that keeps its states."""

    def __init__(self, size: int = 4, *, tanh: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.recur, self.enter = nn.Linear(size, size, bias=False), nn.Linear(2, size)
        self.output, self.tanh = nn.Linear(size, 3), tanh
        self.hidden_states: list[Tensor] = []
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), self.recur.in_features).requires_grad_()
        self.hidden_states = [h]
        for x_t in x.unbind(1):
            a = self.recur(h) + self.enter(x_t)
            h = torch.tanh(a) if self.tanh else a
            self.hidden_states.append(h)
        y: Tensor = self.output(h)
        return y


def sequences(n: int = 3, steps: int = 5) -> Tensor:
    return torch.randn(n, steps, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def penalty_of(model: Recurrent, x: Tensor, weights: Tensor | None = None) -> Tensor:
    return InformationFlow()(Context(model, x, model(x), codes(len(x)), Categorical(3), weights))


def test_R31_zero_for_an_orthogonal_linear_recurrence() -> None:
    model = Recurrent(tanh=False)
    with torch.no_grad():
        model.recur.weight.copy_(torch.linalg.qr(model.recur.weight).Q)
    assert penalty_of(model, sequences()).item() < 1e-28
    with torch.no_grad():
        model.recur.weight.mul_(0.9)  # every step now shortens the gradient by a tenth
    assert math.isclose(penalty_of(model, sequences()).item(), 5 * 0.1**2, rel_tol=1e-10)


def test_R31_value_is_the_formula_with_written_out_jacobians() -> None:
    """dh_t/dh_{t-1} = diag(1 - h_t^2) W, and delta goes backwards by its transpose."""
    model, x = Recurrent(), sequences()
    value = penalty_of(model, x)
    states, t = [h.detach() for h in model.hidden_states], codes(3)
    w, v = model.recur.weight.detach(), model.output.weight.detach()
    p = torch.softmax(model.output(states[-1]), 1).detach()
    delta = ((p - torch.eye(3, dtype=torch.float64)[t]) / 3) @ v
    expected = 0.0
    for h in reversed(states[1:]):
        before = (delta * (1 - h.square())) @ w
        expected += ((before.norm(dim=1) / delta.norm(dim=1) - 1) ** 2).mean().item()
        delta = before
    assert math.isclose(value.item(), expected, rel_tol=1e-10)


def test_R31_gradient_with_the_deltas_held() -> None:
    """Central differences of the formula in W, with delta frozen at the values of the unmoved network."""
    model, x = Recurrent(), sequences()
    loss = -Categorical(3).log_prob(model(x), codes(3)).mean()
    deltas = [d.detach() for d in torch.autograd.grad(loss, model.hidden_states[1:])]

    def formula() -> float:
        model(x)
        total = 0.0
        for h, delta in zip(model.hidden_states[1:], deltas, strict=True):
            reached = (delta * (1 - h.detach().square())) @ model.recur.weight.detach()
            total += ((reached.norm(dim=1) / delta.norm(dim=1) - 1) ** 2).mean().item()
        return total

    (got,) = torch.autograd.grad(penalty_of(model, x), model.recur.weight)
    expected, h = torch.zeros_like(got), 1e-6
    for i in range(4):
        for j in range(4):
            ends = []
            for step in (h, -2 * h):
                with torch.no_grad():
                    model.recur.weight[i, j] += step
                ends.append(formula())
            with torch.no_grad():
                model.recur.weight[i, j] += h
            expected[i, j] = (ends[0] - ends[1]) / (2 * h)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-8)


def test_rows_of_weight_zero_add_nothing_and_give_no_nan() -> None:
    model, x = Recurrent(), sequences()
    weights = torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64)
    value = penalty_of(model, x, weights)
    value.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.recur.parameters())
    alone = InformationFlow()(Context(model, x[1:], model(x[1:]), codes(3)[1:], Categorical(3)))
    assert math.isclose(value.item() * 3, alone.item() * 2, rel_tol=1e-10)


def test_refusals() -> None:
    model, x = Recurrent(), sequences()
    loss = model(x).sum()
    with pytest.raises(ConfigError, match="at least two"):
        information_flow(loss, model.hidden_states[:1])
    with pytest.raises(ConfigError, match="does not depend"):
        information_flow(loss, [*reversed(model.hidden_states)])
    plain = nn.Linear(2, 3).double()
    with pytest.raises(ConfigError, match='leaves no "hidden_states"'):
        InformationFlow()(Context(plain, x[:, 0], plain(x[:, 0]), codes(3), Categorical(3)))


def test_R31_of_a_chain_is_the_formula_over_its_layers() -> None:
    """Depth stands for time: the hidden layers' Jacobians written out, of widths that differ."""
    torch.manual_seed(2)
    model = nn.Sequential(
        nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)
    )
    model.double()
    x, t = sequences()[:, 0], codes(3)
    value = InformationFlow()(Context(model, x, model(x), t, Categorical(3)))
    states = [model[:2](x), model[:4](x), model[:6](x)]
    p = torch.softmax(model(x), 1).detach()
    delta = ((p - torch.eye(3, dtype=torch.float64)[t]) / 3) @ model[6].weight
    expected = 0.0
    for h, w in ((states[2], model[4].weight), (states[1], model[2].weight)):
        before = (delta * (1 - h.square())) @ w
        expected += ((before.norm(dim=1) / delta.norm(dim=1) - 1) ** 2).mean().item()
        delta = before
    assert math.isclose(value.item(), expected, rel_tol=1e-10)
    value.backward()
    assert model[2].weight.grad.abs().max() > 0
    with pytest.raises(ConfigError, match="at least two hidden states"):
        InformationFlow()(Context(model[:4], x, model[:4](x), t, Categorical(4)))
