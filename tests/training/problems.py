"""Small problems for the tests of the loop."""

import torch
from torch import nn

from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.likelihoods import Categorical
from lamina.training import GradientStep, Supervised


def blobs(n: int = 200, seed: int = 0) -> Batch:
    """Three Gaussian blobs in five dimensions."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (n,), generator=generator)
    centres = 2.0 * torch.randn(3, 5, generator=generator)
    return Batch(centres[y] + torch.randn(n, 5, generator=generator), y)


def network(seed: int = 0, dropout: float = 0.0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 3))


def make_step(seed: int = 0, lr: float = 1e-2, dropout: float = 0.0, **options: object) -> GradientStep:
    model = network(seed, dropout)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    return GradientStep(model, Supervised(Categorical(3)), optimizer, **options)  # type: ignore[arg-type]


def stream(data: Batch | None = None, batch_size: int = 32, seed: int = 0) -> InMemory:
    return InMemory(data if data is not None else blobs(), batch_size, seed=seed)


def weights_of(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten().clone() for p in model.parameters()])
