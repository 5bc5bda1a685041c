"""Independent subspace analysis: planted subspaces are recovered, rows stay orthonormal, the gradient is the slope."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from lamina.autoencoders.subspace_analysis import SubspaceAnalysis, _grouped, orthonormal_rows, subspace_energy
from lamina.errors import ConfigError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def planted(n: int, groups: int, size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Sources whose length is exponential and whose direction is even in each subspace, mixed by A; x = A s + 5."""
    g = generator(seed)
    direction = torch.randn(n, groups, size, generator=g, dtype=torch.float64)
    length = torch.empty(n, groups, 1, dtype=torch.float64).exponential_(generator=g)
    s = (length * direction / direction.norm(dim=2, keepdim=True)).flatten(1)
    a = torch.randn(groups * size + 3, groups * size, generator=g, dtype=torch.float64)
    return s @ a.mT + 5, a * s.std(0)


def blocks(found: SubspaceAnalysis, a: Tensor) -> Tensor:
    """Return how much of each planted subspace each found group takes: a permutation where all were found."""
    m = found.size
    return (found.filters @ a).unflatten(0, (-1, m)).unflatten(2, (-1, m)).square().sum((1, 3)) / m


@pytest.mark.parametrize(("groups", "size"), [(6, 2), (4, 3), (1, 3), (5, 1)])
def test_U12_planted_subspaces_are_recovered(groups: int, size: int) -> None:
    x, a = planted(4_000, groups, size)
    found = SubspaceAnalysis.fit(x, groups, size, generator=generator())
    share = blocks(found, a)
    assert sorted(share.argmax(1).tolist()) == list(range(groups))
    assert share.max(1).values.min() > 0.9
    assert share.sum(1).allclose(torch.ones(groups, dtype=torch.float64), atol=0.1)
    torch.testing.assert_close(found.weight @ found.weight.mT, torch.eye(groups * size, dtype=torch.float64))


def test_U12_descent_from_random_filters_ends_in_divided_subspaces() -> None:
    """What the grouped start is for: the references' method alone, on the same data, is higher in J."""
    x, a = planted(3_000, 5, 2, seed=1)
    z = (x - x.mean(0)) @ SubspaceAnalysis.fit(x, max_steps=0).whitening.mT
    values = {}
    for grouped in (True, False):
        found = SubspaceAnalysis.fit(x, 5, 2, grouped_start=grouped, generator=generator(2))
        values[grouped] = subspace_energy(found.weight, z, 2, 1e-4)[0].item()
        if grouped:
            assert blocks(found, a).max(1).values.min() > 0.9
    assert values[True] < values[False] - 0.05


def test_U12_filters_are_grouped_until_no_exchange_lowers_the_energy() -> None:
    g = generator(5)
    length = (
        torch.empty(600, 4, 1, dtype=torch.float64).exponential_(generator=g)
        * torch.tensor([1.0, 3.0, 1.0, 2.0])[:, None]
    )
    responses = (length * torch.randn(600, 4, 3, generator=g, dtype=torch.float64)).flatten(1)
    responses += 0.3 * torch.randn(600, 12, generator=g, dtype=torch.float64)

    def energy(order: Tensor) -> float:
        return (responses[:, order].view(600, 4, 3).square().sum(2) + 0.01).sqrt().sum(1).mean().item()

    shuffled = torch.randperm(12, generator=g)
    order = _grouped(responses[:, shuffled], 3, 0.01)
    reached = shuffled[order]
    assert sorted(order.tolist()) == list(range(12))
    assert energy(reached) < energy(shuffled)
    for i in range(12):
        for j in range(i):
            other = reached.clone()
            other[[i, j]] = other[[j, i]]
            assert energy(other) > energy(reached) - 1e-5
    assert energy(reached) == pytest.approx(energy(torch.arange(12)), rel=1e-9)  # the planted one


def test_U12_energy_and_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    z = torch.randn(50, 7, generator=generator(), dtype=torch.float64)
    w = orthonormal_rows(torch.randn(6, 7, generator=generator(1), dtype=torch.float64))
    value, gradient = subspace_energy(w, z, 3, 0.01)
    by_hand = 0.0
    for row in z.numpy():
        r = w.numpy() @ row
        by_hand += sum(np.sqrt(0.01 + (r[g : g + 3] ** 2).sum()) for g in (0, 3)) / 50
    assert value.item() == pytest.approx(by_hand, rel=1e-12)
    for j, k in ((0, 0), (2, 6), (3, 1), (5, 5)):
        step = torch.zeros_like(w)
        step[j, k] = 1e-5
        slope = (subspace_energy(w + step, z, 3, 0.01)[0] - subspace_energy(w - step, z, 3, 0.01)[0]) / 2e-5
        assert gradient[j, k].item() == pytest.approx(slope.item(), rel=1e-7)
    monkeypatch.setattr("lamina.autoencoders.subspace_analysis._AT_ONCE", 6 * 8)
    for part, whole in zip(subspace_energy(w, z, 3, 0.01), (value, gradient), strict=True):
        torch.testing.assert_close(part, whole, rtol=1e-12, atol=1e-14)


def test_U12_projection_is_the_inverse_root() -> None:
    a = torch.randn(4, 6, generator=generator(), dtype=torch.float64)
    expected = np.linalg.inv(sqrtm((a @ a.mT).numpy())) @ a.numpy()
    np.testing.assert_allclose(orthonormal_rows(a).numpy(), expected, rtol=1e-9, atol=1e-12)


def test_U12_every_step_lowers_the_energy_and_whitening_is_whole() -> None:
    x, _ = planted(800, 3, 2)
    z, values = None, []
    for steps in (0, 3, 10, 40):
        found = SubspaceAnalysis.fit(x, 3, 2, max_steps=steps, grouped_start=False, generator=generator(3))
        z = (x - found.mean) @ found.whitening.mT
        values.append(subspace_energy(found.weight, z, 2, 1e-4)[0].item())
    assert values == sorted(values, reverse=True) and len(set(values)) == 4
    assert z is not None
    torch.testing.assert_close(torch.cov(z.mT), torch.eye(6, dtype=torch.float64))


def test_U12_responses_by_hand_and_state() -> None:
    x, _ = planted(300, 3, 2)
    found = SubspaceAnalysis.fit(x.float(), 2, 2, components=5, epsilon=0.25, max_steps=5, generator=generator())
    p = found(x[:4].float())
    assert p.shape == (4, 2) and p.dtype == torch.float32 and found.weight.shape == (4, 5)
    for row, got in zip(x[:4].float(), p, strict=True):
        r = found.weight @ (found.whitening @ (row - found.mean))
        expected = [float((0.25 + r[g] ** 2 + r[g + 1] ** 2).sqrt()) for g in (0, 2)]
        assert got.tolist() == pytest.approx(expected, rel=1e-4)
    again = SubspaceAnalysis(**found.state_dict(), size=2, epsilon=0.25)
    assert torch.equal(again(x.float()), found(x.float()))
    flat = found(found.mean[None])
    torch.testing.assert_close(flat, torch.full((1, 2), 0.5))


def test_refusals() -> None:
    x = torch.randn(40, 6, generator=generator())
    for groups, size in ((4, 2), (0, 2), (1, 0), (7, 1)):
        with pytest.raises(ConfigError, match="components"):
            SubspaceAnalysis.fit(x, groups, size)
    for size, epsilon in ((4, 0.1), (0, 0.1), (2, 0.0)):
        with pytest.raises(ConfigError, match="size must divide"):
            SubspaceAnalysis(torch.zeros(6), torch.eye(6), torch.eye(6), size, epsilon)
