"""The variational bound of any joint and any q, against the definitions written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lamina.energy.variational import enumerated_bound, enumerated_log_sum, variational_bound


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_W29_U17_the_gap_is_the_divergence_of_any_q_from_the_posterior(bits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    joint = rng.dirichlet(np.ones(3 * 2**bits)).reshape(3, 2**bits)  # three x, all h
    q = rng.dirichlet(np.ones(2**bits), 3)
    q[0, 0] = 0.0  # a state that q excludes
    q[0] /= q[0].sum()
    with np.errstate(divide="ignore"):
        found = variational_bound(torch.from_numpy(np.log(joint)), torch.from_numpy(np.log(q)))
    posterior = joint / joint.sum(1, keepdims=True)
    divergence = [sum(a * np.log(a / b) for a, b in zip(q[n], posterior[n], strict=True) if a > 0) for n in range(3)]
    np.testing.assert_allclose(found.gap.numpy(), divergence, atol=1e-13)
    np.testing.assert_allclose(found.log_likelihood.numpy(), np.log(joint.sum(1)), atol=1e-13)
    assert bool((found.gap > 0).all())
    tight = variational_bound(torch.from_numpy(np.log(joint)), torch.from_numpy(np.log(posterior)))
    assert float(tight.gap.abs().max()) < 1e-14


def test_pieces_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import lamina.energy.variational as module

    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    table = torch.randn(3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    seen: list[int] = []

    def joint(h: torch.Tensor) -> torch.Tensor:
        seen.append(len(h))
        return table @ h.t() + x.sum(1, keepdim=True)

    def log_q(h: torch.Tensor) -> torch.Tensor:
        return torch.distributions.Bernoulli(logits=table[:, None]).log_prob(h[None]).sum(-1)

    whole = enumerated_bound(joint, log_q, 5, x, 7)
    assert seen == [32]
    monkeypatch.setattr(module, "_NUMBERS", 7 * 3 * 5)
    pieces = enumerated_bound(joint, log_q, 5, x, 7)
    assert seen[1:] == [5] * 6 + [2]
    torch.testing.assert_close(pieces, whole)
    torch.testing.assert_close(enumerated_log_sum(joint, 5, x, 7), whole.log_likelihood)
    torch.testing.assert_close(whole.log_likelihood, (1 + table.exp()).log().sum(1) + x.sum(1))
