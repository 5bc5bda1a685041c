"""Weight normalisation: W = g V/‖V‖ in NumPy, ∇V ⟂ V, and PyTorch's own, whose first derivatives it shares."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from lamina.errors import ConfigError
from lamina.nn.normalisation import weight_norm

X = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Norm = Callable[..., nn.Module]
BOTH = pytest.mark.parametrize("norm", [weight_norm, parametrizations.weight_norm], ids=["ours", "torch"])


def filled(layer: nn.Module) -> nn.Module:
    for k, p in enumerate(layer.parameters()):
        p.data.normal_(generator=torch.Generator().manual_seed(k + 1))
    return layer


@BOTH
def test_C29_weight_is_g_times_the_direction_of_v(norm: Norm) -> None:
    layer = filled(norm(nn.Linear(4, 3).double()))
    parts = layer.parametrizations.weight
    g, v = (p.detach().numpy() for p in (parts.original0, parts.original1))
    w = g * v / np.sqrt((v**2).sum(1, keepdims=True))
    np.testing.assert_allclose(layer.weight.detach(), w, rtol=1e-12)
    np.testing.assert_allclose(layer(X).detach(), X.numpy() @ w.T + layer.bias.detach().numpy(), rtol=1e-12)


@BOTH
def test_C29_gradient_of_v_is_orthogonal_to_v(norm: Norm) -> None:
    layer = filled(norm(nn.Linear(4, 3).double()))
    layer(X).pow(3).sum().backward()
    v = layer.parametrizations.weight.original1
    assert v.grad.norm() > 0.1
    torch.testing.assert_close((v.grad * v).sum(1), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-10)


@BOTH
def test_C29_the_function_stays_when_the_norm_is_put_on(norm: Norm) -> None:
    plain = nn.Linear(4, 3).double()
    before = plain(X)
    torch.testing.assert_close(norm(plain)(X), before)
    torch.testing.assert_close(plain.parametrizations.weight.original0.squeeze(1), plain.weight.norm(dim=1))


@pytest.mark.parametrize(
    ("make", "shape", "dim"),
    [
        (lambda: nn.Linear(4, 3), (2, 4), 0),
        (lambda: nn.Conv2d(2, 3, 2), (2, 2, 4, 4), 0),
        (lambda: nn.ConvTranspose1d(2, 3, 2), (2, 2, 4), 1),
    ],
)
def test_C29_pytorchs_value_gradient_and_state(make: Callable[[], nn.Module], shape: tuple[int, ...], dim: int) -> None:
    ours = filled(weight_norm(make().double(), dim=dim))
    theirs = parametrizations.weight_norm(make().double(), dim=dim)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x))
    for a, b in zip(
        torch.autograd.grad(ours(x).pow(3).sum(), list(ours.parameters())),
        torch.autograd.grad(theirs(x).pow(3).sum(), list(theirs.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_C29_second_derivative() -> None:
    """A penalty on the gradient by x, differentiated by V, against central differences."""
    layer = filled(weight_norm(nn.Linear(4, 3).double()))
    v = layer.parametrizations.weight.original1

    def penalty() -> torch.Tensor:
        x = X.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(layer(x).tanh().sum(), x, create_graph=True)
        return gradient.square().sum()

    (found,) = torch.autograd.grad(penalty(), v)
    for i, j in [(0, 0), (1, 2), (2, 3)]:
        ends = []
        for step in (1e-6, -1e-6):
            v.data[i, j] += step
            ends.append(penalty().item())
            v.data[i, j] -= step
        assert found[i, j].item() == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6, abs=1e-7)


def test_taken_off_and_refused() -> None:
    layer = weight_norm(nn.Linear(4, 3))
    w = layer.weight.detach().clone()
    parametrize.remove_parametrizations(layer, "weight")
    assert isinstance(layer.weight, nn.Parameter) and torch.equal(layer.weight, w)
    for module, name in ((nn.ReLU(), "weight"), (nn.Linear(2, 2), "bias"), (nn.BatchNorm1d(3), "weight")):
        with pytest.raises(ConfigError, match="has no weight"):
            weight_norm(module, name)
