"""Unrolled machines: their weights on both sides, their passes written out, and better than principal components."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from sklearn.datasets import load_digits

from lamina.autoencoders.deep import pretrain_rbms, unroll_rbms
from lamina.autoencoders.pca import PCA
from lamina.autoencoders.reconstruction import Reconstruction
from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.energy import RBM, Bernoulli, Binomial, Gaussian
from lamina.errors import ConfigError
from lamina.likelihoods import Bernoulli as Logits
from lamina.likelihoods import Gaussian as Means
from lamina.training import GradientStep, fit
from lamina.training.callback import Callback
from lamina.training.run import Run

G = torch.Generator
LINEAR = Gaussian(learn_variance=False)


def filled(rbm: RBM, seed: int) -> RBM:
    with torch.no_grad():
        for k, p in enumerate(rbm.double().parameters()):
            p.copy_(torch.randn(p.shape, generator=G().manual_seed(10 * seed + k)))
    return rbm


def test_U13_weights_and_passes_are_the_machines() -> None:
    rbms = [filled(RBM(6, 5), 1), filled(RBM(5, 4), 2), filled(RBM(4, 2, hidden=LINEAR), 3)]
    model = unroll_rbms(rbms)
    x = torch.rand(7, 6, generator=G().manual_seed(0), dtype=torch.float64)
    h = x
    for rbm in rbms:
        h = rbm.hidden_given(h)
    torch.testing.assert_close(model.encode(x), h)
    for rbm in reversed(rbms):
        h = rbm.visible_given(h)
    torch.testing.assert_close(model.reconstruct(x), h)
    assert model.likelihood == Logits(6)
    for k, rbm in enumerate(rbms, start=1):
        assert torch.equal(model.encoder.get_parameter(f"linear{k}.weight"), rbm.weight)
        assert torch.equal(model.decoder.get_parameter(f"linear{k}.weight"), rbm.weight.T)
        assert torch.equal(model.encoder.get_parameter(f"linear{k}.bias"), rbm.hidden_bias)
        assert torch.equal(model.decoder.get_parameter(f"linear{k}.bias"), rbm.visible_bias)
    assert [name for name, _ in model.encoder.named_children()][-2:] == ["sigmoid2", "linear3"]
    with torch.no_grad():
        rbms[0].weight.zero_()  # its own weights, on each side
    torch.testing.assert_close(model.reconstruct(x), h)


def test_gaussian_visible_units_with_learnt_variances() -> None:
    rbms = [filled(RBM(6, 5, Gaussian()), 1), filled(RBM(5, 3), 2)]
    model = unroll_rbms(rbms)
    x = torch.randn(7, 6, generator=G().manual_seed(0), dtype=torch.float64)
    h = rbms[1].hidden_given(rbms[0].hidden_given(x))
    torch.testing.assert_close(model.encode(x), h)
    torch.testing.assert_close(model.reconstruct(x), rbms[0].visible_given(rbms[1].visible_given(h)))
    assert model.likelihood == Means(6, scale=1.0)


@pytest.mark.parametrize(
    ("rbms", "words"),
    [([], "no machines"), ([RBM(4, 3), RBM(2, 2)], "visible units"), ([RBM(4, 3, hidden=Binomial(2))], "Binomial")],
)
def test_refuses_to_unroll(rbms: Sequence[RBM], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        unroll_rbms(rbms)


class _Told(Callback):
    def __init__(self, k: int, told: list[int]) -> None:
        self.k, self.told = k, told

    def on_epoch(self, run: Run) -> None:
        self.told.append(self.k)


@pytest.mark.parametrize(("code", "hidden"), [("linear", LINEAR), ("binary", Bernoulli())])
@pytest.mark.parametrize("sizes", [[5, 3], [3]])
def test_U13_pretrains_a_machine_a_layer(code: str, hidden: object, sizes: list[int]) -> None:
    x = torch.rand(40, 8, generator=G().manual_seed(0))
    told: list[int] = []

    def train() -> list[RBM]:
        stream = InMemory(Batch(x), 10)
        return pretrain_rbms(
            stream,
            sizes,
            epochs=2,
            code=code,
            generator=G().manual_seed(1),
            callbacks=lambda k: [_Told(k, told)],  # type: ignore
        )

    rbms = train()
    assert [(rbm.n_visible, rbm.n_hidden) for rbm in rbms] == list(zip([8, *sizes], sizes, strict=False))
    assert rbms[-1].hidden == hidden and all(rbm.hidden == Bernoulli() for rbm in rbms[:-1])
    assert told == [k for k in range(1, len(sizes) + 1) for _ in range(2)]
    assert torch.equal(rbms[-1].weight, train()[-1].weight)


def test_refuses_to_pretrain() -> None:
    stream = InMemory(Batch(torch.rand(4, 3)), 2)
    with pytest.raises(ConfigError, match="sizes"):
        pretrain_rbms(stream, [])
    with pytest.raises(ConfigError, match="epochs"):
        pretrain_rbms(stream, [2], epochs=0)


def test_U13_better_than_principal_components_with_as_many_numbers() -> None:
    x = torch.from_numpy(load_digits().data).float()[:600] / 16.0
    generator = G().manual_seed(0)
    rbms = pretrain_rbms(InMemory(Batch(x), 20), [40, 3], epochs=4, code_rate=0.005, generator=generator)
    model = unroll_rbms(rbms)

    def error() -> float:
        with torch.no_grad():
            return float((model.reconstruct(x) - x).square().sum(1).mean())

    start = error()
    step = GradientStep(model, Reconstruction(Logits(64)), torch.optim.Adam(model.parameters(), lr=0.01))
    fit(step, InMemory(Batch(x), 20), max_epochs=15)
    baseline = float((PCA(x, 3)(x) - x).square().sum(1).mean())
    assert error() < 0.9 * baseline < start
