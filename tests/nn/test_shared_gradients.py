"""Shared parameters: PyTorch's gradient is the sum over the uses, and the mean on request."""

import pytest
import torch
from torch import nn

from lamina.errors import ConfigError
from lamina.nn.shared_gradients import average_shared_gradients

X = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def tied(n: int) -> nn.Sequential:
    """n affine layers with one weight and biases of their own."""
    net = nn.Sequential(*(nn.Linear(3, 3) for _ in range(n))).double()
    for layer in net[1:]:
        layer.weight = net[0].weight
    return net


def untied(net: nn.Sequential) -> list[torch.Tensor]:
    """The gradient of each use, from a network of the same weights, each a parameter of its own."""
    apart = nn.Sequential(*(nn.Linear(3, 3) for _ in net)).double()
    apart.load_state_dict(net.state_dict())
    return list(torch.autograd.grad(apart(X).square().sum(), [layer.weight for layer in apart]))


@pytest.mark.parametrize("n", [2, 3])
def test_R22_sum_against_average(n: int) -> None:
    net = tied(n)
    each = untied(net)
    net(X).square().sum().backward()
    torch.testing.assert_close(net[0].weight.grad, sum(each))
    bias = net[1].bias.grad.clone()
    net.zero_grad()
    handles = average_shared_gradients(net)
    assert len(handles) == 1
    net(X).square().sum().backward()
    torch.testing.assert_close(net[0].weight.grad, sum(each) / n)
    torch.testing.assert_close(net[1].bias.grad, bias)  # used once: untouched
    handles[0].remove()
    net.zero_grad()
    net(X).square().sum().backward()
    torch.testing.assert_close(net[0].weight.grad, sum(each))


def test_R22_a_module_that_stands_twice() -> None:
    layer = nn.Linear(3, 3).double()
    net = nn.Sequential(layer, nn.Tanh(), layer)
    (whole,) = torch.autograd.grad(net(X).sum(), layer.weight)
    average_shared_gradients(net)
    net(X).sum().backward()
    torch.testing.assert_close(layer.weight.grad, whole / 2)


def test_R22_uses_that_the_tree_does_not_show() -> None:
    """A kernel is used at each place: the mean over its places is the sum over them divided by their number."""
    kernel = nn.Conv1d(1, 1, 2, bias=False).double()
    x = torch.randn(1, 1, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    average_shared_gradients(kernel, {"weight": 5})
    kernel(x).sum().backward()
    expected = torch.stack([x[0, 0, :5].mean(), x[0, 0, 1:].mean()])
    torch.testing.assert_close(kernel.weight.grad[0, 0], expected)


def test_nothing_shared_nothing_done_and_refusals() -> None:
    net = nn.Linear(3, 3)
    assert average_shared_gradients(net) == []
    frozen = tied(2)
    frozen[0].weight.requires_grad_(False)
    assert average_shared_gradients(frozen) == []
    with pytest.raises(ConfigError, match="did you mean"):
        average_shared_gradients(net, {"weigth": 2})
    with pytest.raises(ConfigError, match="uses"):
        average_shared_gradients(net, {"weight": 0})
