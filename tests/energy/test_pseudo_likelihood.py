"""The pseudo-likelihood against conditionals of the enumerated machine, and scikit-learn's score."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neural_network import BernoulliRBM

from energy.machines import arrays, machine
from energy.oracle import Enumerated
from lamina.energy import RBM, Binomial, Gaussian, pseudo_likelihood
from lamina.energy import pseudo_likelihood as exported
from lamina.errors import ConfigError


@pytest.mark.parametrize("numbers", [2**21, 30])  # in one piece, and in pieces of two rows
def test_exact_is_the_product_of_the_conditionals(numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(exported.__wrapped__.__globals__, "_NUMBERS", numbers)
    rbm = machine(5, 3)
    oracle = Enumerated(*arrays(rbm))
    log_p = oracle.log_p(oracle.v)
    expected = np.zeros(len(oracle.v))
    for n, row in enumerate(oracle.v):
        for i in range(5):
            other = row.copy()
            other[i] = 1 - other[i]
            j = int(np.flatnonzero((oracle.v == other).all(1))[0])
            expected[n] += log_p[n] - np.logaddexp(log_p[n], log_p[j])
    ours = rbm.pseudo_likelihood(torch.from_numpy(oracle.v))
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-11)


def test_other_hidden_units() -> None:
    rbm = machine(3, 2, hidden=Binomial(2))
    v = torch.tensor([[1.0, 0.0, 1.0]]).double()
    log_z = rbm.log_partition()
    expected = torch.zeros(1).double()
    for i in range(3):
        flipped = v.clone()
        flipped[:, i] = 1 - flipped[:, i]
        own, other = rbm.log_likelihood(v, log_z), rbm.log_likelihood(flipped, log_z)
        expected += own - torch.logaddexp(own, other)
    torch.testing.assert_close(rbm.pseudo_likelihood(v), expected.detach())


def test_given_flips_it_is_scikit_learns_score() -> None:
    rbm, peer = machine(6, 4), BernoulliRBM(4, random_state=3)
    peer.components_, peer.intercept_visible_, peer.intercept_hidden_ = arrays(rbm)
    peer.n_features_in_ = 6
    v = (np.random.RandomState(0).rand(40, 6) < 0.5).astype(float)
    flips = torch.from_numpy(np.random.RandomState(3).randint(0, 6, 40))
    ours = rbm.pseudo_likelihood(torch.from_numpy(v), flips)
    np.testing.assert_allclose(ours.numpy(), peer.score_samples(v), rtol=1e-11)


def test_one_flip_has_the_exact_mean() -> None:
    rbm = machine(5, 3)
    v = torch.tensor([[1.0, 0.0, 0.0, 1.0, 1.0]]).double()
    every = pseudo_likelihood(rbm, v.expand(5, -1), torch.arange(5))
    torch.testing.assert_close(every.mean(), rbm.pseudo_likelihood(v)[0])
    drawn = rbm.pseudo_likelihood(v.expand(4000, -1), "one", torch.Generator().manual_seed(0))
    assert abs(float(drawn.mean() - every.mean())) < 5 * float(every.std()) / 60
    assert {round(x, 9) for x in drawn.tolist()} == {round(x, 9) for x in every.tolist()}


def test_units_that_do_not_flip_are_refused() -> None:
    with pytest.raises(ConfigError, match="pseudo_likelihood: Gaussian units cannot be flipped"):
        RBM(3, 2, Gaussian()).pseudo_likelihood(torch.zeros(1, 3))
