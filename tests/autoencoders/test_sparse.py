"""The divergence from a wanted activity by hand, and exactly k units."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lamina.autoencoders.autoencoder import Autoencoder, autoencoder
from lamina.autoencoders.reconstruction import CodeContext, Reconstruction
from lamina.autoencoders.sparse import KSparse, SparseTarget
from lamina.data.batch import Batch
from lamina.errors import ConfigError
from lamina.likelihoods import Bernoulli
from lamina.penalties.base import Context

G = torch.Generator


def context(code: torch.Tensor, weights: torch.Tensor | None = None) -> CodeContext:
    return CodeContext(nn.Identity(), code, code, weights=weights, code=code)


def test_U09_the_divergence_by_hand() -> None:
    code = torch.tensor([[0.1, 0.9], [0.3, 0.7]], dtype=torch.float64)  # means 0.2 and 0.8
    kl = [0.05 * math.log(0.05 / m) + 0.95 * math.log(0.95 / (1 - m)) for m in (0.2, 0.8)]
    assert float(SparseTarget(0.05)(context(code))) == pytest.approx(sum(kl), rel=1e-12)
    weights = torch.tensor([2.0, 0.0], dtype=torch.float64)  # the first example alone
    kl = [0.3 * math.log(0.3 / m) + 0.7 * math.log(0.7 / (1 - m)) for m in (0.1, 0.9)]
    assert float(SparseTarget(0.3)(context(code, weights))) == pytest.approx(sum(kl), rel=1e-12)
    at_target = torch.full((3, 2), 0.3, dtype=torch.float64)
    assert float(SparseTarget(0.3)(context(at_target))) == pytest.approx(0.0, abs=1e-15)


def test_its_gradient_and_the_edges() -> None:
    code = torch.rand(4, 3, generator=G().manual_seed(0), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda h: SparseTarget(0.1)(context(h)), (code,))
    for value in (0.0, 1.0):
        silent = torch.full((3, 2), value, requires_grad=True)
        penalty = SparseTarget(0.1)(context(silent))
        penalty.backward()
        assert penalty.isfinite() and penalty > 0.2
        assert silent.grad is not None and silent.grad.isfinite().all()
    assert SparseTarget(0.1)(context(torch.full((3, 2), 1.5))).isnan()
    assert SparseTarget(0.1)(context(torch.full((3, 2), -0.5))).isnan()


def test_takes_the_code_of_the_models_own_pass_or_makes_one() -> None:
    net = autoencoder([6, 4], generator=G().manual_seed(0)).double()
    x = torch.rand(7, 6, generator=G().manual_seed(1), dtype=torch.float64)
    passes: list[int] = []
    net.encoder.register_forward_hook(lambda *_: passes.append(1))
    inside = Reconstruction(Bernoulli(6), penalty=2.0 * SparseTarget(0.2))(net, Batch(x)).parts["penalty"]
    assert len(passes) == 1
    outside = SparseTarget(0.2)(Context(net, x, net(x)))
    named = SparseTarget(0.2, encoder="encoder")(Context(net, x, net(x)))
    torch.testing.assert_close(inside, 2.0 * outside)
    torch.testing.assert_close(outside, named)


def test_training_with_it_makes_the_activity_the_wanted_one() -> None:
    x = torch.rand(60, 10, generator=G().manual_seed(1))
    shares = []
    for factor in (0.0, 20.0):
        net = autoencoder([10, 8], generator=G().manual_seed(0))
        optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
        objective = Reconstruction(Bernoulli(10), penalty=factor * SparseTarget(0.05))
        for _ in range(60):
            optimizer.zero_grad()
            objective(net, Batch(x)).total.backward()
            optimizer.step()
        shares.append(net.encode(x).mean(0).detach())
    assert (shares[1] - 0.05).abs().max() < 0.02 < (shares[0] - 0.05).abs().max()


def test_U09_exactly_k_units_the_largest_and_alpha_k_in_use() -> None:
    a = torch.randn(50, 12, generator=G().manual_seed(0), dtype=torch.float64)
    unit = KSparse(3, alpha=1.7)
    for mode, k in ((True, 3), (False, 5)):
        h = unit.train(mode)(a)
        assert ((h != 0).sum(1) == k).all()
        floor = a.sort(1, descending=True).values[:, k - 1 : k]
        assert torch.equal(h, torch.where(a >= floor, a, 0.0))
    assert torch.equal(KSparse(20)(a), a)


def test_the_gradient_of_k_sparse_goes_through_the_chosen_units() -> None:
    a = torch.randn(4, 6, generator=G().manual_seed(0), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(KSparse(2), (a,))
    net = Autoencoder(nn.Sequential(nn.Linear(6, 5), KSparse(2)), nn.Linear(5, 6)).double()
    Reconstruction(Bernoulli(6))(net, Batch(a.detach().sigmoid())).total.backward()
    assert all(p.grad is not None for p in net.parameters())


def test_refuses() -> None:
    for make in (lambda: KSparse(0), lambda: KSparse(2, 0.5), lambda: KSparse(2, math.inf)):
        with pytest.raises(ConfigError):
            make()
    for target in (0.0, 1.0, math.nan):
        with pytest.raises(ConfigError, match="between 0 and 1"):
            SparseTarget(target)
