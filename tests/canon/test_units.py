"""Hidden units that PyTorch has: held to the courses' definitions by closed forms and float64 differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

Z = torch.linspace(-6, 6, 241, dtype=torch.float64)


def derivative(unit: nn.Module, z: Tensor) -> Tensor:
    """The derivative through autograd."""
    z = z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(unit(z).sum(), z)
    return gradient


def by_hand(function: object, z: Tensor) -> Tensor:
    """A scalar function applied to each element by Python's own mathematics."""
    return torch.tensor([function(x) for x in z.tolist()], dtype=torch.float64)  # type: ignore[operator]


def test_relu_and_its_one_sided_derivative() -> None:
    torch.testing.assert_close(nn.ReLU()(Z), by_hand(lambda z: z if z > 0 else 0.0, Z), rtol=0, atol=0)
    torch.testing.assert_close(derivative(nn.ReLU(), Z), by_hand(lambda z: float(z > 0), Z), rtol=0, atol=0)
    assert derivative(nn.ReLU(), torch.zeros(1, dtype=torch.float64)).item() == 0.0


def test_leaky_relu() -> None:
    for a in (0.1, 0.01, -1.0):  # the courses' constants; -1 is absolute-value rectification
        torch.testing.assert_close(nn.LeakyReLU(a)(Z), by_hand(lambda z, a=a: max(0, z) + a * min(0, z), Z))


def test_elu() -> None:
    torch.testing.assert_close(nn.ELU()(Z), by_hand(lambda z: z if z > 0 else math.exp(z) - 1, Z))
    torch.testing.assert_close(derivative(nn.ELU(), Z), by_hand(lambda z: 1.0 if z > 0 else math.exp(z), Z))


def test_sigmoid_its_derivative_and_its_ends() -> None:
    torch.testing.assert_close(nn.Sigmoid()(Z), by_hand(lambda z: 1 / (1 + math.exp(-z)), Z))
    g = nn.Sigmoid()(Z)
    torch.testing.assert_close(derivative(nn.Sigmoid(), Z), g * (1 - g))
    ends = nn.Sigmoid()(torch.tensor([-1000.0, 1000.0]))
    assert ends.tolist() == [0.0, 1.0]


def test_tanh_identity_derivative_and_scaled_form() -> None:
    g = nn.Tanh()(Z)
    torch.testing.assert_close(g, 2 * torch.sigmoid(2 * Z) - 1)
    torch.testing.assert_close(derivative(nn.Tanh(), Z), 1 - g**2)
    scaled = 1.716 * math.tanh(2 / 3)  # chosen so that +-1 maps to +-1
    assert scaled == pytest.approx(1.00006, abs=5e-6)


def test_softmax_shift_jacobian_and_large_logits() -> None:
    z = torch.tensor([0.3, -1.2, 2.0, 0.0], dtype=torch.float64)
    total = sum(math.exp(x) for x in z.tolist())
    y = nn.Softmax(dim=0)(z)
    torch.testing.assert_close(y, by_hand(lambda x: math.exp(x) / total, z))
    torch.testing.assert_close(nn.Softmax(dim=0)(z + 123.0), y)
    jacobian = torch.autograd.functional.jacobian(nn.Softmax(dim=0), z)
    torch.testing.assert_close(jacobian, torch.diag(y) - torch.outer(y, y))
    assert nn.Softmax(dim=0)(torch.tensor([1e4, -1e4, 0.0])).tolist() == [1.0, 0.0, 0.0]


def test_affine_layer_forward_and_its_three_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(3, 2).double()
    x = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    delta = torch.randn(5, 2, generator=generator, dtype=torch.float64)
    w, b = layer.weight, layer.bias
    out = layer(x)
    for n in range(5):
        for j in range(2):
            assert out[n, j].item() == pytest.approx(
                sum(w[j, i].item() * x[n, i].item() for i in range(3)) + b[j].item()
            )
    dx, dw, db = torch.autograd.grad((out * delta).sum(), (x, w, b))
    for n in range(5):
        for i in range(3):
            assert dx[n, i].item() == pytest.approx(sum(w[j, i].item() * delta[n, j].item() for j in range(2)))
    for j in range(2):
        assert db[j].item() == pytest.approx(sum(delta[n, j].item() for n in range(5)))
        for i in range(3):
            assert dw[j, i].item() == pytest.approx(sum(delta[n, j].item() * x[n, i].item() for n in range(5)))


def test_batch_normalisation_and_its_biased_variance() -> None:
    """The course prints 1/(n - 1); PyTorch normalises with 1/n: the ratio at batch 8 is sqrt(8/7) = 1.06904."""
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(8, 3, generator=generator, dtype=torch.float64)
    norm = nn.BatchNorm1d(3, eps=1e-12).double()
    found = norm(u)
    for k in range(3):
        column = u[:, k].tolist()
        mean = sum(column) / 8
        variance = sum((x - mean) ** 2 for x in column) / 8
        expected = torch.tensor([(x - mean) / math.sqrt(variance) for x in column], dtype=torch.float64)
        torch.testing.assert_close(found[:, k], expected)
        printed = torch.tensor([(x - mean) / math.sqrt(variance * 8 / 7) for x in column], dtype=torch.float64)
        torch.testing.assert_close(found[:, k] / printed, torch.full((8,), 1.0690449676, dtype=torch.float64))
    momentum, unbiased = 0.1, u.var(0)
    torch.testing.assert_close(norm.running_var, (1 - momentum) * torch.ones(3).double() + momentum * unbiased)
    assert torch.autograd.gradcheck(nn.BatchNorm1d(3, track_running_stats=False).double(), (u.requires_grad_(),))


def test_dropout_mask_scale_and_gradient() -> None:
    torch.manual_seed(0)
    layer, x = nn.Dropout(0.2), torch.ones(100_000, dtype=torch.float64, requires_grad=True)
    out = layer(x)
    assert set(out.tolist()) == {0.0, 1.25}
    kept = (out != 0).double().mean().item()
    assert abs(kept - 0.8) < 5 * math.sqrt(0.16 / 100_000)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(gradient, out.detach())  # zero where dropped, 1/keep where kept
    assert torch.equal(layer.eval()(x), x)
