"""Blocks against those of the explicit matrix."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import jaxtyping
import pytest
import torch
from torch import Tensor, nn

from curvature import net
from curvature.test_batch_loss import batch, explicit
from lamina.curvature.batch_loss import BatchLoss
from lamina.curvature.blocks import block_places, curvature_blocks
from lamina.errors import ConfigError
from lamina.likelihoods import Gaussian


def mask(groups: list[list[int]], size: int) -> Tensor:
    found = torch.zeros(size, size, dtype=torch.bool)
    for group in groups:
        found[torch.tensor(group)[:, None], torch.tensor(group)] = True
    return found


# Of Linear(4, 5), Tanh, Linear(5, 4), ReLU, Linear(4, 3), element by element as named_parameters has them.
def first(by: str) -> list[list[int]]:
    layers, start = [], 0
    for inputs, units in ((4, 5), (5, 4), (4, 3)):
        weight = [[start + u * inputs + i for i in range(inputs)] for u in range(units)]
        bias = [start + units * inputs + u for u in range(units)]
        start += units * (inputs + 1)
        if by == "unit":
            layers += [[*row, b] for row, b in zip(weight, bias, strict=True)]
        elif by == "parameter":
            layers += [list(itertools.chain(*weight)), bias]
        else:
            layers.append([*itertools.chain(*weight), *bias])
    return layers


@pytest.mark.parametrize("by", ["unit", "parameter", "layer"])
@pytest.mark.parametrize("kind", ["gauss-newton", "empirical-fisher"])
def test_O21_blocks_are_those_of_the_explicit_matrix(by: str, kind: str) -> None:
    loss = batch("mlp", penalty=False)
    found, whole = curvature_blocks(loss, kind, by=by), explicit(loss, kind)
    size = len(whole)
    expected = whole * mask(first(by), size)
    units = torch.eye(size, dtype=torch.float64)
    dense = torch.stack([net.flat(found.product(net.unflat(unit, loss.parameters))) for unit in units], 1)
    torch.testing.assert_close(dense, expected, rtol=1e-9, atol=1e-13)
    assert sum(m.numel() for m in found.matrices) == mask(first(by), size).sum()  # storage of the blocks alone
    v = torch.randn(size, generator=net.seeded(0), dtype=torch.float64)
    damped = expected + 0.1 * torch.eye(size, dtype=torch.float64)
    solution = torch.linalg.solve(damped, v)
    named = net.unflat(v, loss.parameters)
    torch.testing.assert_close(net.flat(found.solve(named, 0.1)), solution, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(net.flat(found.inverse(0.1).product(named)), solution, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(net.flat(found.diagonal()), expected.diagonal())


@pytest.mark.parametrize("by", ["unit", "parameter", "layer"])
def test_O21_every_element_is_in_one_block(by: str) -> None:
    for name in ("convolutional", "lstm", "transformer", "mlp"):
        like = batch(name).parameters
        places = torch.cat([place.flatten() for place in block_places(like, by)])
        assert torch.equal(places.sort().values, torch.arange(len(net.flat(like))))


@pytest.fixture
def unhooked() -> Iterator[None]:
    """Switch the shape hook of the test run off, to see what a user without it sees."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def test_misfits_are_refused(unhooked: None) -> None:
    loss = batch("mlp", penalty=False)
    with pytest.raises(ConfigError, match="positive definite"):
        curvature_blocks(loss).solve(loss.parameters)
    with pytest.raises(ConfigError, match="by must be"):
        block_places(loss.parameters, "row")  # type: ignore[arg-type]
    wide = BatchLoss(nn.Linear(40_000, 1), Gaussian(scale=1.0), torch.zeros(1, 40_000), torch.zeros(1))
    with pytest.raises(ConfigError, match="numbers"):
        curvature_blocks(wide)
