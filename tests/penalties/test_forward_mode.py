"""Derivatives forwards: PyTorch's own rules are wrong the second time for some layers, and ours are not."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.func import jvp

from lamina.penalties._jets import first_order, second_order
from lamina.penalties._passes import running_statistics_held

LAYERS = {
    "batch norm": (nn.BatchNorm1d(4), (5, 4)),
    "batch norm of pictures": (nn.BatchNorm2d(2), (3, 2, 2, 3)),
    "batch norm in evaluation": (nn.BatchNorm1d(4).eval(), (5, 4)),
    "batch norm without scale": (nn.BatchNorm1d(4, affine=False), (5, 4)),
    "layer norm": (nn.LayerNorm(4), (5, 4)),
    "layer norm over two axes": (nn.LayerNorm([2, 3]), (5, 2, 3)),
    "instance norm": (nn.InstanceNorm1d(4, affine=True), (5, 4, 3)),
    "group norm": (nn.GroupNorm(2, 4), (5, 4, 3)),
    "gated linear": (nn.GLU(), (5, 4)),
    "tanh": (nn.Tanh(), (5, 4)),
    "sigmoid": (nn.Sigmoid(), (5, 4)),
    "softplus": (nn.Softplus(), (5, 4)),
    "softmax": (nn.Softmax(-1), (5, 4)),
    "GELU": (nn.GELU(), (5, 4)),
}


def differences(f: nn.Module, x: Tensor, v: Tensor, h: float) -> tuple[Tensor, Tensor]:
    before, here, after = f(x - h * v), f(x), f(x + h * v)
    return (after - before) / (2 * h), (after - 2 * here + before) / h**2


@pytest.mark.parametrize("name", list(LAYERS))
def test_first_and_second_derivatives_and_their_gradients(name: str) -> None:
    layer, shape = LAYERS[name]
    g = torch.Generator().manual_seed(0)
    layer = layer.double()
    with torch.no_grad():
        for p in layer.parameters():
            p.normal_(generator=g)
    x = torch.randn(shape, generator=g, dtype=torch.float64).requires_grad_()
    v = torch.randn(shape, generator=g, dtype=torch.float64)
    with running_statistics_held(layer):
        value, first, second = second_order(layer, x, v)
        torch.testing.assert_close(value, layer(x))
        by_difference = differences(layer, x, v, 1e-3)[0], differences(layer, x, v, 1e-3)[1]
        torch.testing.assert_close(first, by_difference[0], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(second, by_difference[1], rtol=1e-3, atol=1e-3)
        _, moved = first_order(layer, x, torch.stack([v, 2.0 * v]))
        torch.testing.assert_close(moved, torch.stack([first, 2.0 * first]))
        cotangent = torch.randn(first.shape, generator=g, dtype=torch.float64)
        wanted = [x, *layer.parameters()]
        for found, other in ((moved[0], by_difference[0]), (second, by_difference[1])):
            exact = torch.autograd.grad((found * cotangent).sum(), wanted, retain_graph=True, materialize_grads=True,
                                        allow_unused=True)  # fmt: skip
            near = torch.autograd.grad((other * cotangent).sum(), wanted, retain_graph=True, materialize_grads=True,
                                       allow_unused=True)  # fmt: skip
            for a, b in zip(exact, near, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-2, atol=2e-3)


def test_pytorchs_own_rule_is_still_the_reason() -> None:
    """Where this fails, PyTorch has mended its rule, and the table in ``_forward_mode`` can go."""
    x, v = (torch.randn(5, 4, generator=torch.Generator().manual_seed(s), dtype=torch.float64) for s in (0, 1))

    def slope(x: Tensor) -> Tensor:
        out: Tensor = jvp(lambda x: torch.nn.functional.layer_norm(x, (4,)), (x,), (v,))[1]  # type: ignore[no-any-return]
        return out

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        second = jvp(slope, (x,), (v,))[1]
    layer = nn.LayerNorm(4).double()
    assert (second - differences(layer, x, v, 1e-4)[1]).abs().max() > 0.1


def test_a_layer_that_stands_twice_counts_twice() -> None:
    torch.manual_seed(0)
    shared = nn.Linear(4, 4)
    chain = nn.Sequential(shared, nn.Tanh(), shared).double()
    x, v = torch.randn(3, 4, dtype=torch.float64), torch.randn(1, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(first_order(chain, x, v)[1][0], differences(chain, x, v[0], 1e-5)[0])


def test_a_hook_on_a_layer_is_obeyed() -> None:
    torch.manual_seed(0)
    chain = nn.Sequential(nn.Linear(4, 3), nn.Tanh()).double()
    for layer in chain:
        layer.register_forward_hook(lambda module, args, output: 2.0 * output)
    x, v = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    value, first, second = second_order(chain, x, v)
    torch.testing.assert_close(value, chain(x))
    torch.testing.assert_close(first, differences(chain, x, v, 1e-5)[0])
    torch.testing.assert_close(second, differences(chain, x, v, 1e-4)[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first_order(chain, x, v[None])[1][0], first)
