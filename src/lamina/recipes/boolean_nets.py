"""Many small networks at once on a truth table: how many starts end with every row right?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


@dataclass(frozen=True, slots=True)
class Trained:
    """What became of each start.

    Attributes:
        wrong: ``(R,)`` rows of the table that are wrong at the end.
        first: ``(R,)`` updates after which every row was right for the first time; -1 where that never was.
        loss: ``(R,)`` cross-entropy at the end, nats a row.
        weights: The networks: ``W`` (R, H, n), ``b`` (R, H), ``v`` (R, H), ``c`` (R,).
    """

    wrong: Tensor
    first: Tensor
    loss: Tensor
    weights: tuple[Tensor, Tensor, Tensor, Tensor]


def logits(weights: tuple[Tensor, Tensor, Tensor, Tensor], inputs: Tensor) -> Tensor:
    """Return the outputs of R networks n-H-1 before the output's sigmoid.

        z = v · σ(W x + b) + c,   output σ(z)

    Args:
        weights: ``W`` (R, H, n), ``b`` (R, H), ``v`` (R, H), ``c`` (R,).
        inputs: ``(N, n)``.

    Returns:
        ``(R, N)``.
    """
    w, b, v, c = weights
    hidden = torch.sigmoid(inputs @ w.mT + b.unsqueeze(1))  # (R, N, H)
    return (hidden @ v.unsqueeze(-1)).squeeze(-1) + c.unsqueeze(1)


def train_many(
    inputs: Tensor, target: Tensor, *, units: int, starts: int, updates: int, rate: float, generator: Generator
) -> Trained:
    """Train networks n-H-1 of sigmoid units from many starts, each by itself, on the whole table at each update.

    Starting weights are N(0, 1), the loss is the cross-entropy, the updates are Adam's. The networks share nothing:
    the sum of their losses has the gradient of each in its own weights.

    Args:
        inputs: ``(N, n)`` of 0 and 1.
        target: ``(N,)`` of 0 and 1.
        units: H.
        starts: R.
        updates: How many.
        rate: Adam's step size.
        generator: Source of the starting weights.

    Returns:
        What became of each start.
    """
    n = inputs.shape[1]
    shapes = ((starts, units, n), (starts, units), (starts, units), (starts,))
    w, b, v, c = (torch.randn(shape, generator=generator).requires_grad_() for shape in shapes)
    weights = (w, b, v, c)
    optimizer = torch.optim.Adam(weights, lr=rate, foreach=False, fused=True)
    wanted = target.expand(starts, -1)
    first = torch.full((starts,), -1)
    for update in range(updates + 1):
        z = logits(weights, inputs)
        right = ((z > 0) == (wanted > 0.5)).all(-1)
        first = torch.where((first < 0) & right, update, first)
        if update == updates:
            break
        for weight in weights:
            weight.grad = None
        binary_cross_entropy_with_logits(z, wanted, reduction="sum").div(len(inputs)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        wrong = ((z > 0) != (wanted > 0.5)).sum(-1)
        loss = binary_cross_entropy_with_logits(z, wanted, reduction="none").mean(-1)
    return Trained(wrong, first, loss, (w.detach(), b.detach(), v.detach(), c.detach()))
