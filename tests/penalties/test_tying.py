"""Soft tying: squared distances, their gradients, and the minimum between two tied quadratics."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.penalties.base import Context, Penalty
from lamina.penalties.tying import Tying, TyingTo


def network(seed: int = 0) -> nn.ModuleDict:
    torch.manual_seed(seed)
    return nn.ModuleDict({"a": nn.Linear(3, 2), "b": nn.Linear(3, 2), "c": nn.Linear(2, 2)}).double()


def value(penalty: Penalty, model: nn.Module) -> Tensor:
    return penalty(Context(model, torch.zeros(1, 3), torch.zeros(1, 2)))


def test_R21_is_the_squared_distance_with_opposite_gradients() -> None:
    model = network()
    a, b = model["a"], model["b"]
    apart = (a.weight - b.weight).detach()
    assert value(Tying("a.weight", "b.weight"), model).item() == pytest.approx(apart.square().sum().item(), rel=1e-12)
    value(Tying("a.weight", "b.weight"), model).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(a.weight.grad, 2 * apart)
    torch.testing.assert_close(b.weight.grad, -2 * apart)
    assert a.bias.grad is None


def test_R21_layers_with_their_biases() -> None:
    model = network()
    parts = [(model["a"].weight - model["b"].weight), (model["a"].bias - model["b"].bias)]
    expected = sum(part.square().sum().item() for part in parts)
    assert value(Tying("a", "b"), model).item() == pytest.approx(expected, rel=1e-12)


def test_R21_tied_quadratics_meet_between_their_minima() -> None:
    """½(a-1)² + ½(b+1)² + c (a-b)²: a = -b = 1/(1 + 4c), and one point as c grows, which is hard sharing."""
    for c in (0.0, 0.5, 100.0):
        model = nn.ModuleDict({"a": nn.Linear(1, 1, bias=False), "b": nn.Linear(1, 1, bias=False)}).double()
        optimizer = torch.optim.LBFGS(model.parameters(), max_iter=100, tolerance_grad=1e-13, tolerance_change=0)

        def closure(model: nn.ModuleDict = model, c: float = c, optimizer: torch.optim.LBFGS = optimizer) -> Tensor:
            optimizer.zero_grad()
            a, b = model["a"].weight, model["b"].weight
            loss = 0.5 * ((a - 1) ** 2 + (b + 1) ** 2).sum() + value(c * Tying("a", "b"), model)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimizer.step(closure)  # type: ignore[arg-type]
        assert model["a"].weight.item() == pytest.approx(1 / (1 + 4 * c), rel=1e-6)
        assert model["b"].weight.item() == pytest.approx(-1 / (1 + 4 * c), rel=1e-6)


def test_R21_to_a_reference_state_which_stays_as_it_is() -> None:
    model, other = network(0), network(1)
    reference = other.state_dict()
    kept = {name: t.clone() for name, t in reference.items()}
    pairs = [(p, reference[name]) for name, p in model.named_parameters()]
    expected = sum((p - q).square().sum().item() for p, q in pairs)
    assert value(TyingTo(reference), model).item() == pytest.approx(expected, rel=1e-12)
    a = (model["a"].weight - reference["a.weight"]).square().sum() + (
        model["a"].bias - reference["a.bias"]
    ).square().sum()
    assert value(TyingTo(reference, "a"), model).item() == pytest.approx(a.item(), rel=1e-12)
    assert value(TyingTo({"a.weight": reference["a.weight"].float()}), model).item() > 0
    value(TyingTo(dict(other.named_parameters())), model).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in other.parameters())
    assert all(torch.equal(t, kept[name]) for name, t in reference.items())


def test_refusals() -> None:
    model = network()
    for wrong in (
        Tying("a", "c"),
        Tying("a", "d"),
        Tying("a.weight", "a.bias"),
        TyingTo({}),
        TyingTo({"x": torch.ones(1)}),
    ):
        with pytest.raises(ConfigError):
            value(wrong, model)
    with pytest.raises(ConfigError, match="in the reference"):
        value(TyingTo({"a.weight": torch.zeros(3, 3)}), model)
