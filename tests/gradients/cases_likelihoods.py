"""Derivatives of the likelihoods, of their divergences, and of the losses that are no likelihoods."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gradients.case import GradientCase
from lamina.likelihoods import Bernoulli, Categorical, Gaussian, Heads, Likelihood, Poisson
from lamina.likelihoods.divergence import kl_divergence
from lamina.likelihoods.full_gaussian import FullGaussian
from lamina.likelihoods.gaussian_mixture import GaussianMixture
from lamina.likelihoods.laplace import Laplace
from lamina.likelihoods.pairwise import pairwise_similarity
from lamina.likelihoods.power import Power
from lamina.likelihoods.ranking import margin_ranking
from lamina.likelihoods.rejecting import Rejecting
from lamina.likelihoods.sequence import sequence_log_prob
from lamina.likelihoods.strings import Strings
from lamina.likelihoods.student_t import StudentT

NOT_DIFFERENTIABLE: dict[str, str] = {"lamina.likelihoods.REFUSED": "a code"}

Made = tuple[Callable[..., Tensor], tuple[Tensor, ...]]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def of(likelihood: Likelihood, target: Tensor) -> Callable[[], Made]:
    """The log-probability as a function of the outputs."""
    outputs = normal(len(target), likelihood.n_outputs)
    return lambda: (lambda o: likelihood.log_prob(o, target), (outputs.clone().requires_grad_(),))


def between(likelihood: Likelihood) -> Callable[[], Made]:
    """The divergence as a function of both output matrices."""
    p, q = normal(3, likelihood.n_outputs), normal(3, likelihood.n_outputs, seed=1)
    return lambda: (
        lambda a, b: kl_divergence(likelihood, a, b),
        (p.clone().requires_grad_(), q.clone().requires_grad_()),
    )


REAL, TWO, CODES, COUNTS = (
    normal(5, seed=2),
    normal(5, 2, seed=3),
    torch.tensor([0, 2, 1, 2, 0]),
    torch.tensor([0, 3, 1, 7, 2]),
)
RAGGED = torch.tensor([[0, 1], [2, -1], [-1, -1], [1, 1], [2, 0]])
HEADS = Heads((Categorical(3), Laplace(), Poisson()), ("kind", "size", "count"))
MASK = torch.tensor([[True, True, False], [True, False, False]])
SIMILAR = torch.tensor([1, 0, 1, 0, 0])

LIKELIHOODS: dict[str, tuple[Likelihood, Tensor]] = {
    "bernoulli": (Bernoulli(), CODES.clamp(max=1)),
    "categorical": (Categorical(3), CODES),
    "categorical-smoothed": (Categorical(3, smoothing=0.2), CODES),
    "categorical-soft": (Categorical(3), normal(5, 3, seed=4).softmax(1)),
    "full-gaussian": (FullGaussian(2), TWO),
    "gaussian": (Gaussian(), REAL),
    "gaussian-fixed": (Gaussian(2, scale=0.5), TWO),
    "gaussian-mixture": (GaussianMixture(3, 2), TWO),
    "gaussian-mixture-shared": (GaussianMixture(3, 2, "shared"), TWO),
    "gaussian-mixture-isotropic": (GaussianMixture(3, 2, "isotropic"), TWO),
    "heads": (HEADS, torch.stack([CODES, REAL, COUNTS], 1)),
    "laplace": (Laplace(2), TWO),
    "poisson": (Poisson(), COUNTS),
    "power": (Power(1.5), REAL),
    "rejecting": (Rejecting(Categorical(3), 0.5), CODES),
    "strings": (Strings(2, 3), RAGGED.abs()),
    "strings-variable": (Strings(2, 3, variable=True), RAGGED),
    "student-t": (StudentT(2), TWO),
}
CLOSED = ["bernoulli", "categorical", "full-gaussian", "gaussian", "gaussian-fixed", "heads", "laplace", "poisson"]

CASES = [
    *(
        GradientCase(name, (f"lamina.likelihoods.{type(likelihood).__name__}",), of(likelihood, target), True)
        for name, (likelihood, target) in LIKELIHOODS.items()
    ),
    *(
        GradientCase(f"kl-{name}", ("lamina.likelihoods.kl_divergence",), between(LIKELIHOODS[name][0]), True)
        for name in [*CLOSED, "strings-variable"]
    ),
    *(
        GradientCase(
            f"pairwise-{form}",
            ("lamina.likelihoods.pairwise_similarity",),
            lambda form=form: (
                lambda a, b: pairwise_similarity(a, b, SIMILAR, 6.0, form),
                (normal(5, 2).requires_grad_(), normal(5, 2, seed=1).requires_grad_()),
            ),
            True,
        )
        for form in ("hinge", "hadsell")
    ),
    GradientCase(
        "margin-ranking",
        ("lamina.likelihoods.margin_ranking",),
        lambda: (lambda a: margin_ranking(a, CODES), (normal(5, 3).requires_grad_(),)),
        True,
    ),
    GradientCase(
        "sequence",
        ("lamina.likelihoods.sequence_log_prob",),
        lambda: (
            lambda o: sequence_log_prob(Gaussian(), o, normal(2, 3, seed=5), MASK),
            (normal(2, 3, 2).requires_grad_(),),
        ),
        True,
    ),
]
