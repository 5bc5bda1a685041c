"""What the units of a chain gave, read off the graph of its outputs, and when nothing may be read."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from lamina.nn import MLP
from lamina.nn.noise import WeightNoise
from lamina.penalties._recorded import recorded_values
from lamina.penalties.base import Context
from lamina.penalties.curvature_smoothing import CurvatureSmoothing
from penalties.derivative_problems import Wrapped, context_of, parameter_gradients, rows


def tanh_and_sigmoid(bias: bool = True, last: type[nn.Module] | None = None) -> nn.Sequential:
    torch.manual_seed(2)
    layers = [
        nn.Identity(), nn.Linear(4, 6, bias), nn.Tanh(), nn.Sequential(nn.Linear(6, 5), nn.Sigmoid()),
        nn.Linear(5, 3, bias), *([last()] if last else []),
    ]  # fmt: skip
    return nn.Sequential(*layers).double()


def units_outputs(model: nn.Module, x: Tensor) -> list[Tensor]:
    """The same, noted by hooks."""
    found: list[Tensor] = []
    units = [m for m in model.modules() if isinstance(m, nn.Tanh | nn.Sigmoid)]
    handles = [m.register_forward_hook(lambda module, args, output: found.append(output)) for m in units]
    model(x)
    for handle in handles:
        handle.remove()
    return found


CHAINS: dict[str, Callable[[], nn.Module]] = {
    "tanh and sigmoid": tanh_and_sigmoid,
    "without biases": lambda: tanh_and_sigmoid(bias=False),
    "a unit at the end": lambda: tanh_and_sigmoid(last=nn.Tanh),
    "an affine map": lambda: nn.Sequential(nn.Linear(4, 3)).double(),
    "an MLP": lambda: MLP(4, 3, (6, 5), "tanh", generator=torch.Generator().manual_seed(0)).double(),
}


@pytest.mark.parametrize("name", CHAINS)
def test_values_are_the_units_own_and_part_of_the_graph(name: str) -> None:
    model, x = CHAINS[name](), rows()
    outputs = model(x)
    values = recorded_values(model, outputs)
    assert values is not None
    expected = units_outputs(model, x)
    assert len(values) == len(expected)
    for a, b in zip(values, expected, strict=True):
        assert torch.equal(a, b)
    if values:
        first = sum(v.square().sum() for v in values)
        second = sum(v.square().sum() for v in expected)
        for a, b in zip(parameter_gradients(first, model), parameter_gradients(second, model), strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("along", ["axes", "signs"])
@pytest.mark.parametrize("draws", [1, 2])
@pytest.mark.parametrize("name", CHAINS)
def test_shared_pass_gives_what_a_second_pass_gives(name: str, along: str, draws: int) -> None:
    model, x = CHAINS[name](), rows()
    found = []
    for network in (model, Wrapped(model)):
        context = context_of(network, x)
        penalty = CurvatureSmoothing(along, draws, torch.Generator().manual_seed(5))
        value = penalty(context)
        assert (recorded_values(network, context.outputs) is None) == (network is not model)
        loss = context.outputs.square().sum() + value
        found.append((value, *(parameter_gradients(loss, model) if loss.requires_grad else [])))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_pictures_are_flattened_first() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    x = rows().reshape(5, 1, 2, 2)
    assert recorded_values(model, model(x)) is not None
    shared, own = (CurvatureSmoothing(draws=0)(context_of(network, x)) for network in (model, Wrapped(model)))
    torch.testing.assert_close(shared, own)


def tampered(change: Callable[[nn.Module, Tensor], Tensor]) -> tuple[nn.Module, Tensor]:
    model = tanh_and_sigmoid()
    return model, change(model, rows())


def with_other(name: str, model: nn.Module, x: Tensor) -> Tensor:
    other = {k: 2.0 * p for k, p in model.named_parameters() if k == name}
    assert other
    outputs: Tensor = functional_call(model, other, (x,))
    return outputs


@pytest.mark.parametrize(
    "change",
    [
        lambda model, x: model(x).detach(),
        lambda model, x: 2.0 * model(x),
        lambda model, x: model(x.requires_grad_()),
        lambda model, x: model(x[:, None])[:, 0],
        lambda model, x: model[2:](torch.tanh(model[1](x)) * 1.0),
        lambda model, x: model[3:](torch.sigmoid(model[1](x))),
        lambda model, x: with_other("1.bias", model, x),
        lambda model, x: with_other("3.0.weight", model, x),
        lambda model, x: torch.func.vmap(model)(x),
        lambda model, x: nn.Flatten()(model(x)[:, None]),
    ],
    ids=["constant", "scaled", "input with a gradient", "one axis more", "another start", "another unit",
         "another bias", "another weight", "mapped", "reshaped"],
)  # fmt: skip
def test_nothing_is_read_off_another_graph(change: Callable[[nn.Module, Tensor], Tensor]) -> None:
    model, outputs = tampered(change)
    assert recorded_values(model, outputs) is None


@pytest.mark.parametrize("layer", [nn.Softplus, nn.Dropout, lambda: nn.BatchNorm1d(5), nn.ReLU])
def test_nothing_is_read_off_other_layers(layer: Callable[[], nn.Module]) -> None:
    model = nn.Sequential(nn.Linear(4, 5), layer(), nn.Tanh(), nn.Linear(5, 3)).double()
    assert recorded_values(model, model(rows())) is None


def test_nothing_is_read_where_a_hook_or_frozen_weights_stand() -> None:
    model = tanh_and_sigmoid()
    model[2].register_forward_hook(lambda module, args, output: None)
    assert recorded_values(model, model(rows())) is None
    model = tanh_and_sigmoid()
    model[1].weight.requires_grad_(False)
    assert recorded_values(model, model(rows())) is None


def test_a_noisy_pass_is_not_the_penaltys() -> None:
    """The penalty is a function of the weights, not of their noise."""
    model = tanh_and_sigmoid()
    noisy = WeightNoise(model, 0.5)
    exact = CurvatureSmoothing(draws=0)(context_of(model, rows()))
    torch.testing.assert_close(CurvatureSmoothing(draws=0)(context_of(noisy, rows())), exact)


def test_a_graph_that_was_used_up_is_left_alone() -> None:
    model, x = tanh_and_sigmoid(), rows()
    context = context_of(model, x)
    context.outputs.sum().backward()
    assert recorded_values(model, context.outputs) is None
    fresh = CurvatureSmoothing(draws=0)(Context(model, x, model(x)))
    torch.testing.assert_close(CurvatureSmoothing(draws=0)(context), fresh)


def test_second_derivatives_go_through() -> None:
    """Products of the penalty's Hessian with a vector, of the shared pass and of one of its own."""
    found = []
    for wrap in (lambda m: m, Wrapped):
        model = wrap(tanh_and_sigmoid())
        value = CurvatureSmoothing("signs", 1, torch.Generator().manual_seed(0))(context_of(model, rows()))
        parameters = list(model.parameters())
        slopes = torch.autograd.grad(value, parameters, create_graph=True, materialize_grads=True)
        found.append(
            torch.autograd.grad(torch.stack([s.sin().sum() for s in slopes]).sum(), parameters, materialize_grads=True)
        )
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)
