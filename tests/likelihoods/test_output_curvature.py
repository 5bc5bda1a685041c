"""Second derivatives by the outputs against automatic differentiation, enumeration of targets and quadrature."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from lamina.errors import ConfigError
from lamina.likelihoods import (
    Bernoulli,
    Categorical,
    FullGaussian,
    Gaussian,
    GaussianMixture,
    Heads,
    Laplace,
    Likelihood,
    Poisson,
    Power,
    Rejecting,
    Strings,
    StudentT,
)
from likelihoods.records import RECORDS, seeded

every = pytest.mark.parametrize("name", list(RECORDS))
closed = pytest.mark.parametrize("name", [name for name in RECORDS if "mixture" not in name])


def case(name: str, n: int = 5, dtype: torch.dtype = torch.float64) -> tuple[Likelihood, Tensor, Tensor]:
    record, g = RECORDS[name], seeded(0)
    outputs = torch.randn(n, record.likelihood.n_outputs, generator=g, dtype=torch.float64)
    return record.likelihood, outputs.to(dtype), record.target(n, g)


def matrices(product: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    """(N, K, K), a column for each unit vector."""
    units = torch.eye(like.shape[1], dtype=like.dtype)
    return torch.stack([product(unit.expand_as(like)) for unit in units], dim=2)


def score(likelihood: Likelihood, outputs: Tensor, target: Tensor) -> Tensor:
    """The gradient of the log-probability of one example, by automatic differentiation."""
    at = outputs.detach().clone().requires_grad_()
    (found,) = torch.autograd.grad(likelihood.log_prob(at[None], target[None]).sum(), at)
    return found


@every
def test_O16_hessian_is_the_second_derivative_of_the_loss(name: str) -> None:
    likelihood, outputs, target = case(name)
    found = matrices(lambda v: likelihood.hessian_product(outputs, target, v), outputs)
    for n in range(len(outputs)):

        def loss(o: Tensor, n: int = n) -> Tensor:
            return -likelihood.log_prob(o[None], target[n : n + 1]).sum()

        expected = torch.autograd.functional.hessian(loss, outputs[n])
        torch.testing.assert_close(found[n], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_O16_weighting_of_a_learnt_spread_is_a_constant_of_the_curvature(beta: float) -> None:
    plain, weighted = Gaussian(2), Gaussian(2, beta=beta)
    outputs = torch.randn(4, 4, generator=seeded(0), dtype=torch.float64)
    target = torch.randn(4, 2, generator=seeded(1), dtype=torch.float64)
    factor = torch.cat([plain.spread(outputs)] * 2, 1).pow(2 * beta)
    v = torch.randn(4, 4, generator=seeded(2), dtype=torch.float64)
    torch.testing.assert_close(
        weighted.hessian_product(outputs, target, v), factor * plain.hessian_product(outputs, target, v)
    )
    torch.testing.assert_close(weighted.fisher_product(outputs, v), factor * plain.fisher_product(outputs, v))


def support(likelihood: Likelihood) -> list[Tensor]:
    """Every target there is."""
    if isinstance(likelihood, Bernoulli):
        return [torch.tensor(y) for y in itertools.product((0, 1), repeat=likelihood.n_targets)]
    if isinstance(likelihood, Categorical):
        return [torch.tensor(y) for y in range(likelihood.n_classes)]
    if isinstance(likelihood, Poisson):
        return [torch.tensor(y) for y in itertools.product(range(60), repeat=likelihood.n_targets)]
    assert isinstance(likelihood, Strings)
    lengths = range(likelihood.length + 1) if likelihood.variable else (likelihood.length,)
    return [
        torch.tensor(y + (-1,) * (likelihood.length - length))
        for length in lengths
        for y in itertools.product(range(likelihood.n_symbols), repeat=length)
    ]


COUNTABLE = [
    Bernoulli(),
    Bernoulli(3),
    Categorical(4),
    Poisson(),
    Strings(3, 3),
    Strings(3, 3, variable=True),
    Strings(1, 4),
]


@pytest.mark.parametrize("likelihood", COUNTABLE, ids=repr)
def test_O17_fisher_is_the_expected_outer_product_by_enumeration(likelihood: Likelihood) -> None:
    outputs = torch.randn(2, likelihood.n_outputs, generator=seeded(3), dtype=torch.float64)
    found = matrices(lambda v: likelihood.fisher_product(outputs, v), outputs)
    for n, row in enumerate(outputs):
        expected, total = torch.zeros_like(found[n]), 0.0
        for y in support(likelihood):
            p = float(likelihood.log_prob(row[None], y[None]).exp())
            s = score(likelihood, row, y)
            expected += p * torch.outer(s, s)
            total += p
        assert abs(total - 1) < 1e-9
        torch.testing.assert_close(found[n], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("likelihood", "density"),
    [
        (Gaussian(), stats.norm),
        (Gaussian(scale=0.7), stats.norm),
        (Laplace(), stats.laplace),
        (Laplace(scale=0.7), stats.laplace),
        (StudentT(freedom=4.0), stats.t(4.0)),
        (StudentT(freedom=9.0, scale=0.7), stats.t(9.0)),
        (Power(1.0), stats.gennorm(1.0)),
        (Power(1.3), stats.gennorm(1.3)),
        (Power(1.7, scale=0.7), stats.gennorm(1.7)),
        (Power(2.0), stats.gennorm(2.0)),
    ],
    ids=lambda one: repr(one) if isinstance(one, Likelihood) else "",
)
def test_O17_fisher_is_the_expected_outer_product_by_quadrature(likelihood: Likelihood, density: object) -> None:
    outputs = torch.tensor([[0.4, 6.0]], dtype=torch.float64)[:, : likelihood.n_outputs]
    found = matrices(lambda v: likelihood.fisher_product(outputs, v), outputs)[0]
    scale = 0.7 if likelihood.n_outputs == 1 else math.exp(float(_log_scale(outputs[0, 1])))

    def outer(z: Tensor) -> Tensor:
        at = outputs.expand(len(z), -1).clone().requires_grad_()
        (s,) = torch.autograd.grad(likelihood.log_prob(at, outputs[0, 0] + scale * z).sum(), at)
        p = torch.from_numpy(density.pdf(z.numpy()))  # type: ignore[attr-defined]
        return torch.einsum("z,zi,zj->zij", p, s, s)

    torch.testing.assert_close(found, _line(outer), rtol=1e-7, atol=1e-9)


def _log_scale(raw: Tensor) -> Tensor:
    return Gaussian().spread(torch.stack([torch.zeros_like(raw), raw])[None])[0].log()


def _line(f: Callable[[Tensor], Tensor]) -> Tensor:
    """The integral over the real line, broken at 0, by Gauss's rule in u = log |z|."""
    nodes, weights = np.polynomial.legendre.leggauss(400)
    u = torch.from_numpy(20 * nodes - 4)  # |z| from 4e-11 to 9e6
    z, step = u.exp(), torch.from_numpy(20 * weights)
    return torch.einsum("z,zij->ij", step * z, f(z) + f(-z))


def test_O17_fisher_of_a_full_gaussian_by_quadrature() -> None:
    """Five Hermite points a direction integrate polynomials of degree 9 exactly; the outer product is of degree 4."""
    likelihood = FullGaussian(3)
    outputs = torch.randn(1, likelihood.n_outputs, generator=seeded(5), dtype=torch.float64)
    found = matrices(lambda v: likelihood.fisher_product(outputs, v), outputs)[0]
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    factor = torch.linalg.cholesky(likelihood.covariance(outputs))[0]
    expected = torch.zeros_like(found)
    for place in itertools.product(range(5), repeat=3):
        white = torch.tensor(nodes[list(place)])
        p = float(np.prod(weights[list(place)])) / (2 * math.pi) ** 1.5
        s = score(likelihood, outputs[0], likelihood.mean(outputs)[0] + factor @ white)
        expected += p * torch.outer(s, s)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("make", [Gaussian, Laplace, lambda t: Power(1.4, t), StudentT, Bernoulli, Poisson])
def test_O17_targets_do_not_mix(make: Callable[[int], Likelihood]) -> None:
    both, one = make(2), make(1)
    outputs = torch.randn(3, both.n_outputs, generator=seeded(1), dtype=torch.float64)
    v = torch.randn(outputs.shape, generator=seeded(2), dtype=torch.float64)
    found = both.fisher_product(outputs, v)
    for t in range(2):
        torch.testing.assert_close(found[:, t::2], one.fisher_product(outputs[:, t::2], v[:, t::2]))


def test_O17_heads_rejecting_and_smoothing_have_the_fisher_of_what_is_inside() -> None:
    heads = Heads((Categorical(3), Gaussian(), Poisson()), ("a", "b", "c"))
    outputs = torch.randn(4, 6, generator=seeded(1), dtype=torch.float64)
    v = torch.randn(4, 6, generator=seeded(2), dtype=torch.float64)
    found = heads.fisher_product(outputs, v)
    torch.testing.assert_close(found[:, :3], Categorical(3).fisher_product(outputs[:, :3], v[:, :3]))
    torch.testing.assert_close(found[:, 3:5], Gaussian().fisher_product(outputs[:, 3:5], v[:, 3:5]))
    torch.testing.assert_close(found[:, 5:], Poisson().fisher_product(outputs[:, 5:], v[:, 5:]))
    inside = Categorical(6)
    for same in (replace(inside, smoothing=0.3), Rejecting(inside, 0.5)):
        torch.testing.assert_close(same.fisher_product(outputs, v), inside.fisher_product(outputs, v))


def test_O17_poisson_above_its_knee() -> None:
    likelihood, outputs = Poisson(), torch.tensor([[25.0]], dtype=torch.float64)
    rate = math.exp(20) * 6
    (found,) = likelihood.fisher_product(outputs, torch.ones_like(outputs)).flatten()
    torch.testing.assert_close(float(found), rate / 36, rtol=1e-12, atol=0.0)  # Var(y) (d log λ/dη)²
    turned = likelihood.hessian_product(outputs, torch.tensor([7e8]), torch.ones_like(outputs))
    torch.testing.assert_close(float(turned), 7e8 / 36, rtol=1e-12, atol=0.0)


@closed
def test_O16_fisher_is_symmetric_and_not_negative(name: str) -> None:
    likelihood, outputs, _ = case(name, n=20)
    found = matrices(lambda v: likelihood.fisher_product(2 * outputs, v), outputs)
    torch.testing.assert_close(found, found.mT, rtol=1e-12, atol=1e-12)
    values = torch.linalg.eigvalsh(found)
    assert (values >= -1e-12 * values.abs().amax(1, keepdim=True)).all()


@closed
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_M11_products_are_finite_at_extremes(name: str, dtype: torch.dtype) -> None:
    likelihood, outputs, target = case(name, n=40, dtype=dtype)
    target = target.to(dtype) if target.is_floating_point() else target
    outputs = torch.tensor([-1e4, -50.0, 0.0, 50.0, 1e4], dtype=dtype)[
        torch.randint(0, 5, outputs.shape, generator=seeded(1))
    ]
    v = torch.ones_like(outputs)
    assert torch.isfinite(likelihood.hessian_product(outputs, target, v)).all()
    if "full-gaussian, 3" not in name:  # whose covariance may leave the range of float32, as its docstring says
        assert torch.isfinite(likelihood.fisher_product(outputs, v)).all()


@pytest.mark.parametrize("make", [Bernoulli, Categorical, Poisson, lambda k: Gaussian(k, scale=1.0)])
def test_O16_no_matrix_of_outputs_by_outputs_is_formed(make: Callable[[int], Likelihood]) -> None:
    likelihood, outputs = make(200_000), torch.zeros(1, 200_000)  # squared it would be 160 GB
    assert likelihood.fisher_product(outputs, torch.ones_like(outputs)).shape == outputs.shape


@every
def test_vectors_of_another_shape_are_refused(name: str) -> None:
    likelihood, outputs, _ = case(name)
    with pytest.raises((ConfigError, TypeError), match=r"vector|outputs"):
        likelihood.fisher_product(outputs, outputs[:, :-1])


def test_a_mixture_has_no_closed_form_and_says_what_to_do() -> None:
    likelihood = GaussianMixture(2)
    outputs = torch.zeros(1, likelihood.n_outputs)
    with pytest.raises(ConfigError, match="closed form") as caught:
        likelihood.fisher_product(outputs, outputs)
    assert "draws" in str(caught.value.mend)
