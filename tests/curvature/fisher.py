"""Fisher matrices written out from Jacobians, to hold approximations against."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from lamina.curvature.batch_loss import BatchLoss
from lamina.curvature.kronecker import KroneckerFactors
from lamina.likelihoods import Bernoulli, Categorical


def hessian_of_outputs(likelihood, z: Tensor) -> Tensor:
    """The Fisher matrix of one example's outputs in closed form."""
    if isinstance(likelihood, Categorical):
        p = z.softmax(0)
        return p.diag() - torch.outer(p, p)
    if isinstance(likelihood, Bernoulli):
        p = z.sigmoid()
        return (p * (1 - p)).diag()
    if likelihood.scale is not None:
        return torch.eye(len(z)) / likelihood.scale**2
    raw = z.chunk(2)[1]
    log_s = raw / (1 + (raw / 14) ** 2).sqrt()
    slope = (1 + (raw / 14) ** 2) ** -1.5
    return torch.cat([(-2 * log_s).exp(), 2 * slope**2]).diag()


def exact_fisher(net: nn.Module, likelihood, x: Tensor, names: tuple[str, ...], weights=None) -> Tensor:
    """(1/N) Σ w J^T H J of the named parameters, by one Jacobian an example."""
    values = {name: p.detach() for name, p in net.named_parameters()}
    total = 0.0
    for n in range(len(x)):
        jacobian = jacrev(lambda v, n=n: functional_call(net, v, (x[n : n + 1],))[0])(values)
        j = torch.cat([jacobian[name].flatten(1) for name in names], dim=1)
        h = hessian_of_outputs(likelihood, net(x[n : n + 1])[0].detach())
        total = total + (1.0 if weights is None else weights[n]) * j.T @ h @ j
    return total / len(x)


def measured(net: nn.Module, likelihood, x: Tensor, targets: Tensor, *, weights=None, **options) -> KroneckerFactors:
    options.setdefault("fisher", "exact")
    return KroneckerFactors(net, **options).update(BatchLoss(net, likelihood, x, targets, weights=weights))


def same(a: Tensor, b: Tensor, tolerance: float = 1e-10) -> None:
    a, b = a.detach(), b.detach()
    assert a.shape == b.shape
    assert float((a - b).abs().max()) <= tolerance * max(1.0, float(b.abs().max()))
