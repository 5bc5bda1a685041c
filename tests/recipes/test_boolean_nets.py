"""Many small nets at once do what each does by itself."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from lamina.data.generated.parity import all_bits, parity
from lamina.recipes.boolean_nets import logits, train_many
from lamina.training.threads import threads


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the runner does: more threads only wait for one another on so little work."""
    with threads(1):
        yield


def test_logits_are_the_sum_written_out() -> None:
    generator = torch.Generator().manual_seed(1)
    w, b, v, c = (torch.randn(s, generator=generator) for s in ((3, 2, 4), (3, 2), (3, 2), (3,)))
    x = torch.randn(5, 4, generator=generator)
    found = logits((w, b, v, c), x)
    for r in range(3):
        for n in range(5):
            z = float(c[r])
            for h in range(2):
                a = float(b[r, h]) + sum(float(w[r, h, j]) * float(x[n, j]) for j in range(4))
                z += float(v[r, h]) / (1 + math.exp(-a))
            assert math.isclose(float(found[r, n]), z, rel_tol=1e-5, abs_tol=1e-5)


def test_each_start_is_trained_as_if_it_were_alone() -> None:
    """Against PyTorch's modules and loss, one net at a time, from the same starting weights."""
    inputs, units, starts, updates = all_bits(2), 3, 4, 60
    target = parity(inputs)
    found = train_many(
        inputs, target, units=units, starts=starts, updates=updates, rate=0.05,
        generator=torch.Generator().manual_seed(7),
    )  # fmt: skip
    drawing = torch.Generator().manual_seed(7)
    shapes = ((starts, units, 2), (starts, units), (starts, units), (starts,))
    first = [torch.randn(shape, generator=drawing) for shape in shapes]
    for r in range(starts):
        net = nn.Sequential(nn.Linear(2, units), nn.Sigmoid(), nn.Linear(units, 1))
        with torch.no_grad():
            for place, value in zip(net.parameters(), (first[0][r], first[1][r], first[2][r][None], first[3][r][None]),
                                    strict=True):  # fmt: skip
                place.copy_(value)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
        right_at = -1
        for update in range(updates):
            z = net(inputs).squeeze(1)
            if right_at < 0 and bool(((z > 0) == (target == 1)).all()):
                right_at = update
            optimizer.zero_grad()
            nn.BCEWithLogitsLoss()(z, target).backward()
            optimizer.step()
        z = net(inputs).squeeze(1)
        if right_at < 0 and bool(((z > 0) == (target == 1)).all()):
            right_at = updates
        torch.testing.assert_close(found.weights[0][r], net[0].weight.detach(), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(found.weights[2][r], net[2].weight.detach()[0], rtol=1e-3, atol=1e-4)
        assert int(found.wrong[r]) == int(((z > 0) != (target == 1)).sum())
        assert int(found.first[r]) == right_at
        assert math.isclose(float(found.loss[r]), nn.BCEWithLogitsLoss()(z, target).item(), rel_tol=1e-3)


def test_two_units_solve_exclusive_or_and_one_does_not() -> None:
    inputs = all_bits(2)
    for units, least, most in ((1, 0, 0), (2, 5, 39), (12, 40, 40)):
        found = train_many(
            inputs, parity(inputs), units=units, starts=40, updates=800, rate=0.03,
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        assert least <= int((found.wrong == 0).sum()) <= most
