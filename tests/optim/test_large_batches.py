"""Why second-order steps want large batches: the inverse of the curvature magnifies the noise of the gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lamina.curvature import BatchLoss
from lamina.likelihoods import Gaussian
from lamina.optim import Newton

CURVATURES = np.array([1.0, 0.01])  # variances of the two inputs
NOISE = 0.5


def spreads(n: int, draws: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Variances, over batches of n examples, of the gradient and of Newton's step at the true weights."""
    generator = torch.Generator().manual_seed(n)
    model = nn.Linear(2, 1, bias=False).double()
    truth = torch.tensor([[2.0, -1.0]], dtype=torch.float64)
    gradients, steps = [], []
    for _ in range(draws):
        x = torch.randn(n, 2, generator=generator, dtype=torch.float64) * torch.tensor(CURVATURES).sqrt()
        y = x @ truth.T + NOISE * torch.randn(n, 1, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            model.weight.copy_(truth)
        batch = BatchLoss(model, Gaussian(scale=1.0), x, y)
        Newton(model.parameters()).step(batch)
        gradients.append(model.weight.grad.flatten().numpy().copy())  # type: ignore[union-attr]
        steps.append((model.weight.detach() - truth).flatten().numpy())
    return np.var(gradients, axis=0), np.var(steps, axis=0)


@pytest.mark.parametrize("n", [20, 80])
def test_O31_the_noise_of_a_step_is_that_of_the_gradient_over_the_squared_curvature(n: int) -> None:
    """x'e/N has variance s^2 h/N; (X'X)^-1 X'e has s^2/h times 1/(N - p - 1), the mean of an inverse Wishart matrix."""
    gradient, step = spreads(n)
    np.testing.assert_allclose(gradient, NOISE**2 * CURVATURES / n, rtol=0.2)
    np.testing.assert_allclose(step, NOISE**2 / CURVATURES / (n - 3), rtol=0.2)
