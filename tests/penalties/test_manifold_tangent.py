"""Manifold tangents: the leading right singular vectors of an encoder's written-out Jacobian."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lamina.errors import ConfigError
from lamina.penalties.manifold_tangent import ManifoldTangents
from lamina.penalties.tangent_prop import TangentProp
from penalties.derivative_problems import context_of, normalised_network, rows, smooth_network


def encoder() -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Sigmoid()).double()


def test_R30_tangents_are_the_top_singular_vectors_of_the_jacobian() -> None:
    model, x = encoder(), rows(4, 6)
    tangents = ManifoldTangents(model, 2, 60, torch.Generator().manual_seed(0))(x)
    assert tangents.shape == (2, 4, 6) and not tangents.requires_grad
    for n, row in enumerate(x):
        jacobian = torch.autograd.functional.jacobian(lambda r: model(r[None])[0], row)
        _, values, axes = torch.linalg.svd(jacobian)
        assert values[1] > 1.05 * values[2], "the oracle's singular values must lie apart"
        for k in range(2):
            assert math.isclose((tangents[k, n] @ axes[k]).abs().item(), 1.0, rel_tol=1e-5)
            length = (jacobian @ tangents[k, n]).norm()
            assert math.isclose(length.item(), values[k].item(), rel_tol=1e-5)


def test_R30_one_iteration_is_enough_for_a_block_of_all_directions() -> None:
    """The block then spans everything at once, and what is left is to turn it onto the singular vectors."""
    model, x = encoder(), rows(4, 6)
    tangents = ManifoldTangents(model, 4, 1, torch.Generator().manual_seed(0))(x)
    for n, row in enumerate(x):
        jacobian = torch.autograd.functional.jacobian(lambda r: model(r[None])[0], row)
        _, values, axes = torch.linalg.svd(jacobian)
        assert values[2] > 1.02 * values[3], "the oracle's singular values must lie apart"
        inner = tangents[:, n] @ axes[:4].T  # the code has four units: the rest of the inputs moves nothing
        torch.testing.assert_close(inner.abs(), torch.eye(4, dtype=x.dtype), rtol=0, atol=1e-6)


def test_R30_few_iterations_come_near() -> None:
    model, x = encoder(), rows(4, 6)
    found = ManifoldTangents(model, 2, generator=torch.Generator().manual_seed(0))(x)
    best = ManifoldTangents(model, 2, 80, torch.Generator().manual_seed(1))(x)
    inner = torch.einsum("kni,lni->nkl", found, best)
    assert (torch.linalg.svdvals(inner).amin(1) > 0.98).all()  # cosines of the angles between the planes


def test_R30_with_tangent_prop_it_is_the_manifold_tangent_classifier() -> None:
    """A decoder of one direction: the tangent is that direction, and the penalty the squared slope along it."""
    code = nn.Linear(4, 1, bias=False).double()
    along = code.weight.detach()[0] / code.weight.detach().norm()
    model, x = smooth_network(), rows()
    value = TangentProp(ManifoldTangents(code, 1), draws=0)(context_of(model, x))
    h = 1e-5
    expected = ((model(x + h * along) - model(x - h * along)) / (2 * h)).square().sum() / len(x)
    assert math.isclose(value.item(), expected.item(), rel_tol=1e-7)


def test_the_encoder_is_left_as_it_was() -> None:
    model = normalised_network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    one, other = (ManifoldTangents(model, 1, 30, torch.Generator().manual_seed(s))(rows()) for s in (0, 1))
    torch.testing.assert_close(one.abs(), other.abs(), rtol=1e-4, atol=1e-6)
    assert model.training and all(layer.training for layer in model)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(p.grad is None for p in model.parameters())


def test_pictures_keep_their_shape() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten())
    tangents = ManifoldTangents(model, 3)(torch.rand(2, 1, 6, 6))
    assert tangents.shape == (3, 2, 1, 6, 6)
    gram = torch.einsum("kni,lni->nkl", tangents.flatten(2), tangents.flatten(2))
    torch.testing.assert_close(gram, torch.eye(3).expand(2, 3, 3), rtol=0, atol=1e-5)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="rank"):
        ManifoldTangents(nn.Linear(2, 2), 0)
