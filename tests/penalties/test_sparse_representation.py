"""The penalty on hidden activities: by hand, watched and not watched alike, and a forward pass saved."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from lamina.data.batch import Batch
from lamina.errors import ConfigError
from lamina.likelihoods import Gaussian
from lamina.nn import MLP
from lamina.nn.units import MaxPoolUnits
from lamina.penalties.base import Context
from lamina.penalties.sparse_representation import SparseRepresentation
from lamina.training import GradientStep, Supervised


def network(seed: int = 0) -> MLP:
    return MLP(4, 2, (6, 5), "tanh", generator=torch.Generator().manual_seed(seed)).double()


X = torch.randn(7, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def by_hand(model: nn.Module, layers: tuple[int, ...] = (1, 2)) -> float:
    state = {name: p.detach().numpy() for name, p in model.named_parameters()}
    h, total = X.numpy(), 0.0
    for k in (1, 2):
        h = np.tanh(h @ state[f"linear{k}.weight"].T + state[f"linear{k}.bias"])
        total += np.abs(h).sum() / len(h) if k in layers else 0.0
    return total


@pytest.mark.parametrize(("pattern", "layers"), [("", (1, 2)), ("tanh*", (1, 2)), ("tanh2", (2,))])
def test_R23_is_the_mean_norm_of_the_activities(pattern: str, layers: tuple[int, ...]) -> None:
    model, penalty = network(), SparseRepresentation(pattern)
    assert penalty(Context(model, X, model(X))).item() == pytest.approx(by_hand(model, layers), rel=1e-12)
    with penalty.watch(model):
        assert penalty(Context(model, X, model(X))).item() == pytest.approx(by_hand(model, layers), rel=1e-12)


def test_R23_gradient_by_finite_differences() -> None:
    model, penalty = network(), SparseRepresentation()
    parameters = dict(model.named_parameters())
    for watched in (False, True):
        model.zero_grad()
        if watched:
            with penalty.watch(model):
                penalty(Context(model, X, model(X))).backward()  # type: ignore[no-untyped-call]
        else:
            penalty(Context(model, X, model(X))).backward()  # type: ignore[no-untyped-call]
        for name in ("linear1.weight", "linear2.bias"):
            p = parameters[name]
            assert p.grad is not None
            flat, gradient = p.detach().view(-1), p.grad.view(-1)
            for i in range(0, len(flat), 3):
                kept, step = flat[i].item(), 1e-6
                flat[i] = kept + step
                above = by_hand(model)
                flat[i] = kept - step
                below = by_hand(model)
                flat[i] = kept
                assert gradient[i].item() == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-8)


def count_passes(model: nn.Module) -> Callable[[], int]:
    passes: list[int] = []
    model.register_forward_hook(lambda *_: passes.append(1))
    return lambda: len(passes)


def test_R23_watching_saves_the_second_forward_pass_and_updates_are_the_same() -> None:
    after = []
    for watched in (False, True):
        model, penalty = network(), SparseRepresentation()
        passes = count_passes(model.linear1)
        step = GradientStep(
            model,
            Supervised(Gaussian(2, scale=1.0), 0.1 * penalty),
            torch.optim.SGD(model.parameters(), lr=0.1),
        )
        batch = Batch(X, torch.zeros(7, 2, dtype=torch.float64))
        if watched:
            with penalty.watch(model):
                for _ in range(3):
                    step(batch)
        else:
            for _ in range(3):
                step(batch)
        assert passes() == (3 if watched else 6)
        after.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        assert len(model.tanh1._forward_hooks) == 0
    torch.testing.assert_close(after[0], after[1], rtol=1e-12, atol=1e-14)


def test_another_forward_pass_between_does_not_mislead_it() -> None:
    model, penalty = network(), SparseRepresentation()
    with penalty.watch(model):
        outputs = model(X)
        model(10 * X)
        assert penalty(Context(model, X, outputs)).item() == pytest.approx(by_hand(model), rel=1e-12)
        model(10 * X)
        outputs = model(X)  # only the last pass counts
        assert penalty(Context(model, X, outputs)).item() == pytest.approx(by_hand(model), rel=1e-12)
        with torch.no_grad():
            evaluated = model(X)
        assert penalty(Context(model, X, evaluated)).item() == pytest.approx(by_hand(model), rel=1e-12)


def test_second_pass_counts_a_batch_once_in_batch_normalisation() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)).double()
    penalty = SparseRepresentation()
    outputs = model(X)
    mean = model[1].running_mean.clone()  # type: ignore[union-attr, operator]
    penalty(Context(model, X, outputs))
    assert torch.equal(model[1].running_mean, mean)  # type: ignore[arg-type]
    assert model[1].num_batches_tracked == 1


def test_an_output_unit_does_not_count_and_a_unit_used_twice_counts_twice() -> None:
    torch.manual_seed(0)
    unit = nn.Sigmoid()
    model = nn.Sequential(nn.Linear(4, 3), unit, nn.Linear(3, 3), unit, nn.Linear(3, 2), nn.Sigmoid()).double()
    h1 = torch.sigmoid(model[0](X))
    h2 = torch.sigmoid(model[2](h1))
    expected = (h1.sum() + h2.sum()).item() / len(X)
    assert SparseRepresentation()(Context(model, X, model(X))).item() == pytest.approx(expected, rel=1e-12)


def test_laminas_own_units_count() -> None:
    model = nn.Sequential(nn.Linear(4, 6), MaxPoolUnits(2), nn.Linear(3, 2)).double()
    expected = model[:2](X).abs().sum().item() / len(X)
    assert SparseRepresentation()(Context(model, X, model(X))).item() == pytest.approx(expected, rel=1e-12)


def test_refusals() -> None:
    model = network()
    with pytest.raises(ConfigError, match="no module is named"):
        SparseRepresentation("relu1")(Context(model, X, model(X)))
    linear = nn.Linear(4, 2).double()
    with pytest.raises(ConfigError, match="no activation modules"):
        SparseRepresentation()(Context(linear, X, linear(X)))
    with pytest.raises(ConfigError), SparseRepresentation().watch(linear):
        pass
    assert not linear._forward_hooks
