"""The energy-based coder: energy and rule by hand, inference that only goes down, sparse codes of planted parts."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lamina.autoencoders.sparse_coder import SparseCoder, SparseCoding
from lamina.data.batch import Batch
from lamina.errors import ConfigError
from lamina.training import GradientStep

G = torch.Generator


def coder(**options: float) -> SparseCoder:
    made = SparseCoder(5, 4, generator=G().manual_seed(0), **{"eta": 0.2, "beta": 1.3, **options}).double()
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(torch.randn(p.shape, generator=G().manual_seed(p.numel())))
        made.logistic.log_zeta.copy_(torch.randn(4, generator=G().manual_seed(8)))
    return made


def rows(n: int = 6) -> torch.Tensor:
    return torch.randn(n, 5, generator=G().manual_seed(1), dtype=torch.float64)


def by_hand(made: SparseCoder, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    p = {name: value.detach() for name, value in made.state_dict().items()}
    e = 0.2 * torch.exp(1.3 * z)
    bar = e / (e + 0.8 * p["decoder.logistic.log_zeta"].exp())
    code = z - x @ p["encoder.weight"].T - p["encoder.bias"]
    error = x - bar @ p["decoder.linear.weight"].T - p["decoder.linear.bias"]
    return 0.5 * (code**2).sum(1) + 0.5 * (error**2).sum(1)


def test_U09_energy_by_hand() -> None:
    made, x = coder(), rows()
    z = torch.randn(6, 4, generator=G().manual_seed(2), dtype=torch.float64)
    torch.testing.assert_close(made.energy(x, z), by_hand(made, x, z))
    torch.testing.assert_close(made.features(x), made.logistic(made.encoder(x)))


def test_inference_is_descent_from_the_encoders_code() -> None:
    made, x = coder(), rows()
    start = made.encode(x).detach()
    assert torch.equal(made.infer(x, 0), start)
    slope = torch.func.grad(lambda z: by_hand(made, x, z).sum())(start)
    torch.testing.assert_close(made.infer(x, 1, 0.01), start - 0.01 * slope)
    energies = torch.stack([made.energy(x, made.infer(x, k, 0.5)) for k in range(12)])
    assert (energies.diff(dim=0) <= 0).all() and (energies[-1] < energies[0]).all()
    assert torch.equal(made.infer(x, 1, 1e9), start)  # a step that would go up is not made
    best = made.infer(x, 400)
    slope = torch.func.grad(lambda z: by_hand(made, x, z).sum())(best)
    assert slope.abs().max() < 1e-6


def test_U09_a_step_draws_both_sides_to_the_inferred_codes_and_then_moves_zeta() -> None:
    made, x, rate = coder(), rows(), 0.01
    before = {name: value.clone() for name, value in made.state_dict().items()}
    z = made.infer(x, 7, 0.2)
    bar = made.logistic(z)
    code = made.encode(x).detach() - z
    error = made.decode(z).detach() - x
    loss = GradientStep(made.train(), SparseCoding(7, 0.2), torch.optim.SGD(made.parameters(), lr=rate))(Batch(x))
    expected = {
        "encoder.weight": code.T @ x,
        "encoder.bias": code.sum(0),
        "decoder.linear.weight": error.T @ bar,
        "decoder.linear.bias": error.sum(0),
    }
    for name, gradient in expected.items():
        torch.testing.assert_close(made.state_dict()[name], before[name] - rate * gradient / 6)
    zeta = before["decoder.logistic.log_zeta"].exp()
    for row in z:
        zeta = 0.2 * torch.exp(1.3 * row) + 0.8 * zeta
    torch.testing.assert_close(made.logistic.log_zeta.exp(), zeta)
    torch.testing.assert_close(loss["loss"], 0.5 * ((code**2).sum(1) + (error**2).sum(1)).mean())
    torch.testing.assert_close(loss["code"] + loss["reconstruction"], loss["loss"])


def test_weights_count_and_evaluation_leaves_zeta_alone() -> None:
    made, x = coder().eval(), rows()
    before = made.logistic.log_zeta.clone()
    weights = torch.tensor([6.0, 0, 0, 0, 0, 0], dtype=torch.float64)
    loss = SparseCoding(3)(made, Batch(x, None, weights)).total
    torch.testing.assert_close(loss, made.energy(x[:1], made.infer(x[:1], 3))[0])
    assert torch.equal(made.logistic.log_zeta, before)


def test_U09_codes_of_planted_parts_are_sparse_and_rebuild_them() -> None:
    parts = torch.eye(8)[torch.randint(8, (800,), generator=G().manual_seed(0))] * 3.0
    made = SparseCoder(8, 12, eta=0.15, beta=2.0, generator=G().manual_seed(1))
    step = GradientStep(made.train(), SparseCoding(10, 0.2), torch.optim.SGD(made.parameters(), lr=0.3))
    losses = [float(step(Batch(parts[k : k + 10]))["reconstruction"]) for k in range(0, 800, 10)]
    features = made.eval().features(parts).detach()
    assert sum(losses[-20:]) < 0.2 * sum(losses[:20])
    assert float(features.mean()) < 0.15 and float((features > 0.5).double().mean()) < 0.15


def test_refuses() -> None:
    with pytest.raises(ConfigError, match="Linear"):
        SparseCoding()(nn.Linear(5, 5), Batch(rows()))
    for arguments in ((-1, 0.1), (3, 0.0), (3, math.nan)):
        with pytest.raises(ConfigError):
            SparseCoding(*arguments)
    with pytest.raises(ConfigError):
        SparseCoder(5, 0)
