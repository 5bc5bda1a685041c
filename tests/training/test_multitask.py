"""Several heads on a shared trunk: the loss and the trunk's gradient are sums over the tasks."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from lamina.data.batch import Batch
from lamina.likelihoods import Bernoulli, Categorical, Gaussian, Heads
from lamina.likelihoods.base import Likelihood
from lamina.nn import MLP
from lamina.training import Supervised


class Slice(nn.Module):
    """A task alone: the shared network cut down to one head's outputs."""

    def __init__(self, model: nn.Module, part: slice) -> None:
        super().__init__()
        self.model, self.part = model, part

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.model(x)[:, self.part]
        return outputs


def test_R17_the_loss_and_the_gradient_of_the_trunk_are_sums_over_the_tasks() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    kinds: dict[str, Likelihood] = {"kind": Categorical(3), "size": Gaussian(scale=1.0), "fails": Bernoulli()}
    targets = torch.stack(
        (
            torch.arange(9.0, dtype=torch.float64) % 3,
            torch.randn(9, generator=generator, dtype=torch.float64),
            torch.arange(9.0, dtype=torch.float64) % 2,
        ),
        dim=1,
    )
    heads = Heads(tuple(kinds.values()), tuple(kinds))
    model = MLP(4, heads.n_outputs, (6, 5), "tanh", generator=generator).double()
    weights = torch.rand(9, generator=generator, dtype=torch.float64)

    def gradient(module: nn.Module, likelihood: Likelihood, target: torch.Tensor) -> tuple[float, list[torch.Tensor]]:
        loss = Supervised(likelihood)(module, Batch(x, target, weights)).total
        return loss.item(), list(torch.autograd.grad(loss, list(model.parameters())))

    whole, of_whole = gradient(model, heads, targets)
    parts = []
    for t, (name, part) in enumerate(heads.slices().items()):
        target = targets[:, t].long() if name == "kind" else targets[:, t]
        parts.append(gradient(Slice(model, part), kinds[name], target))
    np.testing.assert_allclose(whole, sum(loss for loss, _ in parts), rtol=1e-12)
    for i, together in enumerate(of_whole):
        torch.testing.assert_close(together, sum(gradients[i] for _, gradients in parts), rtol=1e-10, atol=1e-14)
    trunk = [gradients[0] for _, gradients in parts]
    assert all((g != 0).any() for g in trunk), "every task teaches the trunk"
    rows = [gradients[-2] for _, gradients in parts]  # the output layer: each task has rows of its own
    for (_, part), g in zip(heads.slices().items(), rows, strict=True):
        outside = torch.ones(len(g), dtype=torch.bool)
        outside[part] = False
        assert (g[outside] == 0).all()
