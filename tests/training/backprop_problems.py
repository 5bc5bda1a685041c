"""Networks, batches and a comparison with autograd, for the tests of back-propagation by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from lamina.data.batch import Batch
from lamina.likelihoods import Bernoulli, Categorical, Gaussian, Heads, Likelihood, Poisson
from lamina.training import GradientStep, Supervised
from lamina.training.backprop import BackpropStep, parameter_groups

N, D = 12, 5
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu in place": lambda: nn.ReLU(inplace=True),
    "leaky": lambda: nn.LeakyReLU(0.2),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "elu": lambda: nn.ELU(0.7),
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "identity": nn.Identity,
    "dropout, evaluating": lambda: nn.Dropout(0.4).eval(),
}
LIKELIHOODS: dict[str, Likelihood] = {
    "categorical": Categorical(3),
    "smoothed": Categorical(3, smoothing=0.1),
    "bernoulli": Bernoulli(),
    "bernoulli 2": Bernoulli(2),
    "gaussian": Gaussian(scale=0.7),
    "gaussian learnt": Gaussian(),
    "gaussian 2 learnt": Gaussian(2),
    "poisson": Poisson(),
    "heads": Heads((Categorical(3), Gaussian()), ("kind", "size")),
}


def targets_for(likelihood: Likelihood, n: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    match likelihood:
        case Categorical():
            return torch.randint(0, likelihood.n_classes, (n,), generator=generator)
        case Bernoulli(n_targets=1):
            return torch.randint(0, 2, (n,), generator=generator)
        case Bernoulli():
            return torch.randint(0, 2, (n, likelihood.n_targets), generator=generator)
        case Poisson():
            return torch.randint(0, 9, (n,), generator=generator)
        case Heads():
            kinds = torch.randint(0, 3, (n, 1), generator=generator)
            return torch.cat([kinds.to(dtype), torch.randn(n, 1, generator=generator, dtype=dtype)], 1)
        case Gaussian():
            return torch.randn(n, likelihood.n_targets, generator=generator, dtype=dtype)
    raise AssertionError(likelihood)


def batches_for(
    likelihood: Likelihood, dtype: torch.dtype, *, weighted: bool = False, sizes: tuple[int, ...] = (N, N, N - 5, N + 1)
) -> list[Batch]:
    g = torch.Generator().manual_seed(1)
    return [
        Batch(
            torch.randn(n, D, generator=g, dtype=dtype),
            targets_for(likelihood, n, g, dtype),
            2 * torch.rand(n, generator=g, dtype=dtype) if weighted else None,
        )
        for n in sizes
    ]


def compare(
    model: nn.Sequential, objective: Supervised, batches: list[Batch], *, optimizer: str = "sgd", **clips: float
) -> float:
    """Train two copies, one by hand and one through autograd; return the largest relative difference of anything."""

    def make(groups: list[dict]) -> torch.optim.Optimizer:
        if optimizer == "sgd":
            return torch.optim.SGD(groups, lr=0.03, momentum=0.9)
        return torch.optim.AdamW(groups, lr=1e-2, fused=True)

    theirs = copy.deepcopy(model)
    slow = GradientStep(theirs, objective, make(parameter_groups(theirs.parameters(), 0.03)), **clips)
    fast = BackpropStep(model, objective, make, weight_decay=0.03, **clips)
    worst = 0.0
    for batch in batches:
        expected, found = slow(batch), fast(batch)
        assert expected.keys() == found.keys()
        pairs = [(expected[name], found[name]) for name in expected]
        pairs += [(joined(theirs.parameters()), joined(model.parameters()))]
        pairs += [(joined(p.grad for p in theirs.parameters()), joined(p.grad for p in model.parameters()))]
        worst = max(worst, *(float((a - b).norm() / a.norm().clamp_min(1e-3)) for a, b in pairs))
    return worst


def joined(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([t.detach().flatten() for t in tensors])


def limit(dtype: torch.dtype) -> float:
    return 1e-6 if dtype is torch.float32 else 1e-10
