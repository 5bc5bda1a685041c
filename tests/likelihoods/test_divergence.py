"""Divergences against torch.distributions, worked numbers and the definition."""

import math

import pytest
import torch
from torch import Tensor, distributions

from lamina.errors import ConfigError
from lamina.likelihoods import Bernoulli, Categorical, Gaussian, Heads, Likelihood, Poisson
from lamina.likelihoods.divergence import kl_divergence
from lamina.likelihoods.full_gaussian import FullGaussian
from lamina.likelihoods.gaussian_mixture import GaussianMixture
from lamina.likelihoods.laplace import Laplace
from lamina.likelihoods.power import Power
from lamina.likelihoods.rejecting import Rejecting
from lamina.likelihoods.strings import Strings
from lamina.likelihoods.student_t import StudentT


def two(n_outputs: int, n: int = 6, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    p, q = scale * torch.randn(2, n, n_outputs, generator=g, dtype=torch.float64)
    return p, q


def spread(raw: Tensor) -> Tensor:
    return torch.exp(raw / (1 + (raw / 14) ** 2) ** 0.5)


def learnt(o: Tensor, t: int) -> distributions.Distribution:
    return distributions.Independent(distributions.Normal(o[:, :t], spread(o[:, t:])), 1)


def laplace(o: Tensor, t: int) -> distributions.Distribution:
    return distributions.Independent(distributions.Laplace(o[:, :t], spread(o[:, t:])), 1)


def full(o: Tensor) -> distributions.Distribution:
    """Two correlated targets, by the covariance written out."""
    s, a = spread(o[:, 2:4]), o[:, 4]
    below = -a * s[:, 0] * s[:, 1]  # of the inverse of [[1/s0, 0], [a, 1/s1]]
    zero = torch.zeros_like(below)
    factor = torch.stack([torch.stack([s[:, 0], zero], 1), torch.stack([below, s[:, 1]], 1)], 1)
    return distributions.MultivariateNormal(o[:, :2], scale_tril=factor)


CLOSED = {
    "categorical": (Categorical(4), lambda o: distributions.Categorical(logits=o)),
    "categorical, smoothed": (Categorical(4, 0.1), lambda o: distributions.Categorical(logits=o)),
    "bernoulli": (Bernoulli(3), lambda o: distributions.Independent(distributions.Bernoulli(logits=o), 1)),
    "gaussian": (Gaussian(2), lambda o: learnt(o, 2)),
    "gaussian, beta": (Gaussian(beta=0.5), lambda o: learnt(o, 1)),
    "gaussian, fixed": (
        Gaussian(2, scale=0.3),
        lambda o: distributions.Independent(distributions.Normal(o, torch.tensor(0.3, dtype=torch.float64)), 1),
    ),
    "laplace": (Laplace(2), lambda o: laplace(o, 2)),
    "laplace, fixed": (
        Laplace(scale=0.3),
        lambda o: distributions.Independent(distributions.Laplace(o, torch.tensor(0.3, dtype=torch.float64)), 1),
    ),
    "full-gaussian": (FullGaussian(2), full),
    "strings": (
        Strings(2, 3),
        lambda o: distributions.Independent(distributions.Categorical(logits=o.view(-1, 2, 3)), 1),
    ),
    "rejecting": (Rejecting(Categorical(4, 0.1), 0.5), lambda o: distributions.Categorical(logits=o)),
    "poisson": (Poisson(2), lambda o: distributions.Independent(distributions.Poisson(o.exp()), 1)),
}
every = pytest.mark.parametrize("name", list(CLOSED))


@every
def test_divergence_is_torchs(name: str) -> None:
    likelihood, build = CLOSED[name]
    p, q = two(likelihood.n_outputs)
    expected = distributions.kl_divergence(build(p), build(q))
    torch.testing.assert_close(kl_divergence(likelihood, p, q), expected, rtol=1e-10, atol=1e-12)


@every
def test_divergence_is_zero_with_zero_slope_where_both_say_the_same(name: str) -> None:
    likelihood, _ = CLOSED[name]
    p, q = two(likelihood.n_outputs)
    same = p.clone().requires_grad_()
    value = kl_divergence(likelihood, p, same)
    (slope,) = torch.autograd.grad(value.sum(), same)
    assert value.abs().max() < 1e-14 and slope.abs().max() < 1e-12
    assert (kl_divergence(likelihood, p, q) > 0).all()


@every
def test_divergence_has_two_derivatives(name: str) -> None:
    likelihood, _ = CLOSED[name]
    p, q = two(likelihood.n_outputs, n=3, scale=1.0)
    arguments = (p.requires_grad_(), q.requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b: kl_divergence(likelihood, a, b), arguments)
    assert torch.autograd.gradgradcheck(lambda a, b: kl_divergence(likelihood, a, b), arguments)


@every
def test_divergence_is_finite_at_extremes(name: str) -> None:
    likelihood, _ = CLOSED[name]
    # Couplings of 1e4 between targets of scale 1e6 give divergences of 1e44: no float32 holds them.
    dtype = torch.float64 if name == "full-gaussian" else torch.float32
    values = torch.tensor([-1e4, -50.0, 0.0, 50.0, 1e4], dtype=dtype)
    g = torch.Generator().manual_seed(1)
    p, q = (values[torch.randint(0, 5, (64, likelihood.n_outputs), generator=g)].requires_grad_() for _ in range(2))
    value = kl_divergence(likelihood, p, q)
    slopes = torch.autograd.grad(value.sum(), (p, q), create_graph=True)
    curvatures = torch.autograd.grad(sum(s.sum() for s in slopes), (p, q))
    assert all(torch.isfinite(part).all() for part in (value, *slopes, *curvatures))


def test_W30_divergence_to_the_standard_normal() -> None:
    log_s = 0.5 * math.log(0.5)
    raw = log_s / math.sqrt(1 - (log_s / 14) ** 2)
    outputs = torch.tensor([[0.3, raw]], dtype=torch.float64)
    value = kl_divergence(Gaussian(), outputs, torch.zeros(1, 2).double()).item()
    assert abs(value - 0.1415736) < 5e-8
    assert math.isclose(value, 0.5 * (0.5 + 0.3**2 - 1 - math.log(0.5)), rel_tol=1e-12)


def test_poisson_rates_near_each_other_do_not_cancel() -> None:
    p, q = torch.tensor([[19.0]]), torch.tensor([[19.0 + 2.0**-10]])  # 1.8e8 events, in float32
    d = 2.0**-10
    expected = math.exp(19.0) * (math.expm1(d) - d)
    assert math.isclose(kl_divergence(Poisson(), p, q).item(), expected, rel_tol=1e-3)


def test_heads_add_up() -> None:
    heads = Heads((Categorical(3), Gaussian(), Poisson()), ("a", "b", "c"))
    p, q = two(6)
    parts = [
        kl_divergence(head, p[:, part], q[:, part])
        for head, part in zip(heads.likelihoods, heads.slices().values(), strict=True)
    ]
    torch.testing.assert_close(kl_divergence(heads, p, q), parts[0] + parts[1] + parts[2], rtol=1e-14, atol=0)


@pytest.mark.parametrize("likelihood", [GaussianMixture(2), StudentT(), Power(1.5), Heads((StudentT(),), ("a",))])
def test_a_likelihood_without_a_closed_form_is_refused(likelihood: Likelihood) -> None:
    outputs = torch.zeros(1, likelihood.n_outputs)
    with pytest.raises(ConfigError, match="has no divergence in closed form") as caught:
        kl_divergence(likelihood, outputs, outputs)
    assert caught.value.mend


def test_L18_divergence_of_strings_of_any_length_by_enumeration() -> None:
    likelihood, (p, q) = Strings(2, 2, variable=True), two(7, n=4)
    strings = torch.tensor([[-1, -1], [0, -1], [1, -1], [0, 0], [0, 1], [1, 0], [1, 1]])
    expected = torch.zeros(4, dtype=torch.float64)
    for string in strings:
        log_p, log_q = (likelihood.log_prob(o, string.expand(4, 2)) for o in (p, q))
        expected += log_p.exp() * (log_p - log_q)
    torch.testing.assert_close(kl_divergence(likelihood, p, q), expected, rtol=1e-12, atol=1e-12)


def test_laplace_keeps_its_curvature_where_the_medians_meet() -> None:
    p, scale = torch.tensor([[0.7]], dtype=torch.float64), 0.4
    hessian = torch.autograd.functional.hessian(
        lambda q: kl_divergence(Laplace(scale=scale), p, q).sum(), p.clone(), strict=True
    )
    assert math.isclose(hessian.item(), 1 / scale**2, rel_tol=1e-12)


@every
def test_divergence_is_the_expectation_of_the_log_ratio(name: str) -> None:
    likelihood, _ = CLOSED[name]
    if "beta" in name or "smoothed" in name or name == "rejecting":
        return  # there log_prob is a loss and no log-probability
    p, q = two(likelihood.n_outputs, n=1, scale=0.5)
    n = 20_000
    draws = likelihood.sample(p.expand(n, -1), torch.Generator().manual_seed(2))
    ratio = likelihood.log_prob(p.expand(n, -1), draws) - likelihood.log_prob(q.expand(n, -1), draws)
    assert (ratio.mean() - kl_divergence(likelihood, p, q)).abs() < 5 * ratio.std() / math.sqrt(n)


def test_shapes_that_differ_are_refused() -> None:
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ConfigError, match="same shape"):
            kl_divergence(Bernoulli(), torch.zeros(2, 1), torch.zeros(1, 1))
        with pytest.raises(ConfigError, match="must have shape"):
            kl_divergence(Bernoulli(), torch.zeros(2, 1), torch.zeros(2, 2))
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
