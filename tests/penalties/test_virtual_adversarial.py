"""Virtual adversarial training: its step against the dense eigenvector of the divergence's Hessian."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Normal, kl_divergence

from lamina.errors import ConfigError
from lamina.likelihoods import Bernoulli, Categorical, Gaussian
from lamina.likelihoods.base import Likelihood
from lamina.penalties.base import Context
from lamina.penalties.virtual_adversarial import VirtualAdversarial
from penalties.derivative_problems import (
    codes,
    context_of,
    normalised_network,
    parameter_gradients,
    rows,
    smooth_network,
)  # fmt: skip


def divergences(kind: str, p: Tensor, q: Tensor) -> Tensor:
    """The divergence of each row by torch.distributions, which shares no code with ours."""
    if kind == "categorical":
        return kl_divergence(TorchCategorical(logits=p), TorchCategorical(logits=q))
    if kind == "bernoulli":
        return kl_divergence(TorchBernoulli(logits=p), TorchBernoulli(logits=q)).sum(1)
    return kl_divergence(Normal(p, 1.0), Normal(q, 1.0)).sum(1)


CASES: dict[str, Likelihood] = {
    "categorical": Categorical(3),
    "bernoulli": Bernoulli(3),
    "gaussian": Gaussian(3, scale=1.0),
}


def dense_eigenvectors(kind: str, model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Top eigenvector and the eigenvalues of each example's Hessian, written out entry by entry."""
    vectors, values = [], []
    for row in x:
        p = model(row[None]).detach()
        hessian = torch.autograd.functional.hessian(
            lambda r, row=row, p=p: divergences(kind, p, model((row + r)[None])).sum(), torch.zeros_like(row)
        )
        eigenvalues, axes = torch.linalg.eigh(hessian)
        vectors.append(axes[:, -1])
        values.append(eigenvalues)
    return torch.stack(vectors), torch.stack(values)


@pytest.mark.parametrize("kind", list(CASES))
@pytest.mark.parametrize("xi", [0.0, 1e-5])
def test_R26_power_iteration_finds_the_dense_top_eigenvector(kind: str, xi: float) -> None:
    model, x = smooth_network(), rows()
    top, values = dense_eigenvectors(kind, model, x)
    assert (values[:, -2] < 0.8 * values[:, -1]).all(), "the oracle's own eigenvalues must lie apart"
    penalty = VirtualAdversarial(1.5, iterations=150, xi=xi, generator=torch.Generator().manual_seed(0))
    step = penalty.step(context_of(model, x, likelihood=CASES[kind]))
    torch.testing.assert_close(step.norm(dim=1), torch.full((5,), 1.5, dtype=torch.float64))
    torch.testing.assert_close((step * top).sum(1).abs() / 1.5, torch.ones(5, dtype=torch.float64), rtol=1e-6, atol=0)


def test_R26_one_exact_iteration_is_the_product_with_the_dense_hessian() -> None:
    model, x = smooth_network(), rows()
    start = torch.empty_like(x).normal_(generator=torch.Generator().manual_seed(7))
    start = start / start.norm(dim=1, keepdim=True)
    p = model(x).detach()
    expected = []
    for n in range(len(x)):
        hessian = torch.autograd.functional.hessian(
            lambda r, n=n: divergences("categorical", p[n : n + 1], model((x[n] + r)[None])).sum(),
            torch.zeros_like(x[n]),
        )
        expected.append(hessian @ start[n])
    wanted = torch.stack(expected)
    wanted = 0.5 * wanted / wanted.norm(dim=1, keepdim=True)
    penalty = VirtualAdversarial(0.5, 1, xi=0.0, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(penalty.step(context_of(model, x)), wanted, rtol=1e-9, atol=1e-12)
    near = VirtualAdversarial(0.5, 1, xi=1e-6, generator=torch.Generator().manual_seed(7)).step(context_of(model, x))
    torch.testing.assert_close(near, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", list(CASES))
def test_R26_value_and_gradient_are_those_of_the_divergence_at_the_step(kind: str) -> None:
    model, x = smooth_network(), rows()
    context = context_of(model, x, likelihood=CASES[kind])

    def penalty() -> VirtualAdversarial:
        return VirtualAdversarial(0.7, generator=torch.Generator().manual_seed(3))

    moved = x + penalty().step(context)
    expected = divergences(kind, model(x).detach(), model(moved)).mean()
    value = penalty()(context)
    assert math.isclose(value.item(), expected.item(), rel_tol=1e-10)
    for a, b in zip(parameter_gradients(value, model), parameter_gradients(expected, model), strict=True):
        torch.testing.assert_close(a, b)


def test_R26_unlabelled_rows_count_as_labelled_ones() -> None:
    model, x = smooth_network(), rows()
    weights = torch.tensor([5.0, 0, 0, 0, 0], dtype=torch.float64)
    values = [
        VirtualAdversarial(0.7, generator=torch.Generator().manual_seed(3))(context)
        for context in (context_of(model, x, codes(), weights=weights), context_of(model, x))
    ]
    assert values[0].item() == values[1].item()


def test_a_step_in_float32_points_where_float64_does() -> None:
    model, x = smooth_network(20), rows(6, 20)
    exact = VirtualAdversarial(1.0, 60, xi=0.0).step(context_of(model, x))
    short = VirtualAdversarial(1.0, 60).step(context_of(smooth_network(20).float(), x.float()))
    cosine = (exact * short.double()).sum(1).abs()
    assert (cosine > 0.999).all()


def test_extra_passes_leave_the_running_statistics_and_the_gradients() -> None:
    model, x = normalised_network(), rows()
    context = context_of(model, x)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for xi in (0.0, 0.01):
        VirtualAdversarial(0.5, 2, xi)(context).backward()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    VirtualAdversarial(0.5).step(context)
    assert all(layer.track_running_stats for layer in model if isinstance(layer, nn.BatchNorm1d))


def test_without_iterations_the_direction_is_random() -> None:
    model, x = smooth_network(), rows(400)
    step = VirtualAdversarial(2.0, 0).step(context_of(model, x))
    torch.testing.assert_close(step.norm(dim=1), torch.full((400,), 2.0, dtype=torch.float64))
    assert step.mean(0).abs().max() < 0.25  # 5 standard deviations of a mean over 400 directions


@pytest.mark.parametrize("bad", [{"epsilon": 0.0}, {"iterations": -1}, {"xi": -1.0}])
def test_refusals(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="VirtualAdversarial"):
        VirtualAdversarial(**bad)  # type: ignore[arg-type]


def test_needs_a_likelihood() -> None:
    model, x = smooth_network(), rows()
    with pytest.raises(ConfigError, match="likelihood"):
        VirtualAdversarial()(Context(model, x, model(x)))
