"""Small problems for optimisers that take a closure, each as a module under a likelihood."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from lamina.curvature.batch_loss import BatchLoss
from lamina.likelihoods import Categorical, Gaussian

LOG_2PI = math.log(2 * math.pi)


class Linear(nn.Module):
    """Outputs A θ, whatever the inputs: with the Gaussian likelihood of scale 1, ½ ‖A θ - b‖² and a constant."""

    def __init__(self, a: np.ndarray, dtype: torch.dtype = torch.float64, start: np.ndarray | None = None) -> None:
        super().__init__()
        self.register_buffer("a", torch.tensor(a, dtype=dtype))
        first = np.zeros(a.shape[1]) if start is None else start
        self.x = nn.Parameter(torch.tensor(first, dtype=dtype))

    def forward(self, _: Tensor) -> Tensor:
        return (self.a @ self.x).unsqueeze(0)


def fixed(model: nn.Module, targets: np.ndarray | list[float], **options: object) -> BatchLoss:
    """One example that the model does not look at: ½ ‖outputs - targets‖² and n/2 log 2π."""
    dtype = next(model.parameters()).dtype
    t = torch.tensor(np.asarray(targets), dtype=dtype).unsqueeze(0)
    return BatchLoss(model, Gaussian(t.shape[1], scale=1.0), torch.zeros(1, 1, dtype=dtype), t, **options)  # type: ignore[arg-type]


class QuadraticProblem:
    """½ ‖A θ - b‖² of n parameters with eigenvalues from 1 to ``condition``."""

    def __init__(self, n: int, seed: int = 0, condition: float = 30.0, dtype: torch.dtype = torch.float64) -> None:
        rng = np.random.default_rng(seed)
        q, _ = np.linalg.qr(rng.standard_normal((n, n)))
        a = np.diag(np.sqrt(np.geomspace(1.0, condition, n))) @ q
        self.b = rng.standard_normal(n) * 3
        self.hessian = a.T @ a
        self.minimum = np.linalg.solve(a, self.b)
        self.start = rng.standard_normal(n)
        self.model = Linear(a, dtype, self.start)
        self.loss = fixed(self.model, self.b)

    def gradient(self, theta: np.ndarray) -> np.ndarray:
        """By hand."""
        return self.hessian @ (theta - self.minimum)

    @property
    def theta(self) -> np.ndarray:
        """Where the parameters are."""
        return self.model.x.detach().numpy().copy()


class Saddle(nn.Module):
    """Outputs θ itself: with ``saddle_penalty`` the loss is x² - y² and a constant."""

    def __init__(self, x: float, y: float) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor([x, y], dtype=torch.float64))

    def forward(self, _: Tensor) -> Tensor:
        return self.x.unsqueeze(0)


def saddle(x: float, y: float) -> tuple[Saddle, BatchLoss]:
    """x² - y², at a point."""
    model = Saddle(x, y)
    loss = fixed(model, [0.0, 0.0], penalty=lambda outputs: 0.5 * outputs[0, 0] ** 2 - 1.5 * outputs[0, 1] ** 2)
    return model, loss


class Rosenbrock(nn.Module):
    """Outputs √2 (1 - x_i) and √2 · 10 (x_{i+1} - x_i²): half their squares are Rosenbrock's function."""

    def __init__(self, start: list[float], dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(start, dtype=dtype))

    def forward(self, _: Tensor) -> Tensor:
        x = self.x
        return math.sqrt(2.0) * torch.cat([1 - x[:-1], 10 * (x[1:] - x[:-1] ** 2)]).unsqueeze(0)


def rosenbrock(start: list[float], dtype: torch.dtype = torch.float64) -> tuple[Rosenbrock, BatchLoss]:
    """Rosenbrock's function and (n - 1) log 2π, at a point."""
    model = Rosenbrock(start, dtype)
    return model, fixed(model, [0.0] * (2 * len(start) - 2))


def regression(
    n: int = 60, seed: int = 0, dtype: torch.dtype = torch.float64, hidden: int = 4
) -> tuple[nn.Sequential, BatchLoss]:
    """A small net on a noisy sine of two inputs."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 2, generator=generator, dtype=dtype)
    y = torch.sin(2 * x[:, :1]) + 0.5 * x[:, 1:] + 0.1 * torch.randn(n, 1, generator=generator, dtype=dtype)
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, 1)).to(dtype)
    return model, BatchLoss(model, Gaussian(1, scale=1.0), x, y)


def classification(n: int = 90, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[nn.Sequential, BatchLoss]:
    """A small net on three overlapping blobs in five dimensions."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (n,), generator=generator)
    centres = 1.5 * torch.randn(3, 5, generator=generator, dtype=dtype)
    x = centres[y] + torch.randn(n, 5, generator=generator, dtype=dtype)
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).to(dtype)
    return model, BatchLoss(model, Categorical(3), x, y)


def weights_of(model: nn.Module) -> Tensor:
    """All parameters, copied, as one vector."""
    return torch.cat([p.detach().reshape(-1).clone() for p in model.parameters()])
