"""The reconstruction criterion: clean targets, the linear denoising autoencoder's form, Jacobians."""

from __future__ import annotations

import torch
from torch import nn

from lamina.autoencoders.autoencoder import Autoencoder, autoencoder
from lamina.autoencoders.corruption import GaussianCorruption, Masking
from lamina.autoencoders.reconstruction import CodeContext, Reconstruction
from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.likelihoods import Bernoulli, Gaussian
from lamina.penalties import Contractive, Penalty, SparseRepresentation
from lamina.penalties.base import Context
from lamina.training import GradientStep, fit
from lamina.training.callback import Callback
from lamina.training.fit import full_state
from lamina.training.run import Run

G = torch.Generator


def rows(n: int = 7, d: int = 6, seed: int = 1) -> torch.Tensor:
    return torch.rand(n, d, generator=G().manual_seed(seed), dtype=torch.float64)


def model(d: int = 6) -> Autoencoder:
    return autoencoder([d, 4], generator=G().manual_seed(0)).double()


def test_L16_is_the_cross_entropy_of_clean_inputs_for_corrupted_ones() -> None:
    net, x, weights = model(), rows(), torch.linspace(0.5, 1.5, 7, dtype=torch.float64)
    loss = Reconstruction(Bernoulli(6), Masking(0.4), generator=G().manual_seed(3))(net, Batch(x, None, weights))
    p = torch.sigmoid(net(Masking(0.4)(x, G().manual_seed(3))))
    by_hand = -(x * p.log() + (1 - x) * (1 - p).log()).sum(1) @ weights / 7
    torch.testing.assert_close(loss.total, by_hand)


def test_corrupts_only_while_training_and_reads_pictures_flat() -> None:
    net = model()
    pictures = Autoencoder(nn.Sequential(nn.Flatten(), net.encoder), net.decoder).eval()
    x = rows().reshape(7, 1, 2, 3)
    noisy = Reconstruction(Gaussian(6, scale=1.0), GaussianCorruption(1.0))
    clean = Reconstruction(Gaussian(6, scale=1.0))
    assert torch.equal(noisy(pictures, Batch(x)).total, clean(pictures, Batch(x)).total)
    assert not torch.equal(noisy(pictures.train(), Batch(x)).total, clean(pictures, Batch(x)).total)
    error = (net(x.flatten(1)) - x.flatten(1)).square().sum(1).mean()
    constant = 3 * torch.log(torch.tensor(2 * torch.pi, dtype=torch.float64))
    torch.testing.assert_close(clean(pictures, Batch(x)).total, 0.5 * error + constant)


def test_U08_the_linear_denoising_autoencoder_is_ridge_regression_of_x_on_itself() -> None:
    # argmin E‖x - A (x + σ ε) - b‖²: A = Σ (Σ + σ² I)⁻¹, b = (I - A) μ
    x = torch.randn(400, 4, generator=G().manual_seed(2), dtype=torch.float64) @ rows(4, 4) + 0.5
    std = 0.6
    mean, centred = x.mean(0), x - x.mean(0)
    sigma = centred.T @ centred / len(x)
    best = sigma @ torch.linalg.inv(sigma + std**2 * torch.eye(4, dtype=torch.float64))
    net = Autoencoder(nn.Identity(), nn.Linear(4, 4).double())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
    objective = Reconstruction(Gaussian(4, scale=1.0), GaussianCorruption(std), generator=G().manual_seed(0))
    step = GradientStep(net, objective, optimizer)
    fit(step, InMemory(Batch(x), 400), max_epochs=200)
    net.train()
    total, n = torch.zeros(4, 5, dtype=torch.float64), 500
    for _ in range(n):  # the mean of the iterates, as their noise is that of one batch
        step(Batch(x))
        total += torch.cat([net.decoder.weight.detach(), net.decoder.bias.detach()[:, None]], 1)  # type: ignore
    found = total / n
    torch.testing.assert_close(found[:, :4], best, atol=0.02, rtol=0.0)
    torch.testing.assert_close(found[:, 4], mean - best @ mean, atol=0.02, rtol=0.0)


def test_U06_the_contractive_penalty_is_that_of_the_encoder_alone() -> None:
    net, x = model(), rows()
    loss = Reconstruction(Bernoulli(6), penalty=0.3 * Contractive())(net, Batch(x))
    jacobians = torch.stack([torch.autograd.functional.jacobian(net.encode, row[None]).reshape(4, 6) for row in x])
    by_hand = jacobians.square().sum((1, 2)).mean()
    torch.testing.assert_close(loss.parts["penalty"], 0.3 * by_hand)
    torch.testing.assert_close(loss.total, Reconstruction(Bernoulli(6))(net, Batch(x)).total + 0.3 * by_hand)


def test_l1_sparsity_costs_no_second_pass() -> None:
    net, x = model(), rows()
    passes: list[int] = []
    net.encoder.register_forward_hook(lambda *_: passes.append(1))
    loss = Reconstruction(Bernoulli(6), penalty=0.1 * SparseRepresentation("encoder.sigmoid1"))(net, Batch(x))
    assert len(passes) == 1
    torch.testing.assert_close(loss.parts["penalty"], 0.1 * net.encode(x).abs().sum(1).mean())


class _Noting(Penalty):
    def __init__(self) -> None:
        self.contexts: list[Context] = []

    def __call__(self, context: Context) -> torch.Tensor:
        self.contexts.append(context)
        return context.outputs.new_zeros(())


def test_a_penalty_sees_what_the_model_saw_and_the_code_of_the_same_pass() -> None:
    net, x, noting = model(), rows(), _Noting()
    Reconstruction(Bernoulli(6), Masking(0.5), noting, G().manual_seed(4))(net, Batch(x))
    (context,) = noting.contexts
    seen = Masking(0.5)(x, G().manual_seed(4))
    assert isinstance(context, CodeContext) and context.code is not None
    torch.testing.assert_close(context.inputs, seen)
    torch.testing.assert_close(context.code, net.encode(seen))
    torch.testing.assert_close(context.targets, x)
    assert not net.encoder._forward_hooks
    Reconstruction(Bernoulli(6), penalty=noting)(nn.Linear(6, 6).double(), Batch(x))
    assert isinstance(noting.contexts[1], CodeContext) and noting.contexts[1].code is None


class _Keep(Callback):
    def on_end(self, run: Run) -> None:
        self.state = full_state(run, [self])


def test_resumes_to_the_bit_with_the_default_generator() -> None:
    x = rows(20)
    states = []
    for stops in ((4,), (2, 4)):
        torch.manual_seed(7)
        net, state = model(), None
        for stop in stops:
            objective = Reconstruction(Bernoulli(6), Masking(0.25))
            step, keep = GradientStep(net, objective, torch.optim.SGD(net.parameters(), lr=0.1)), _Keep()
            fit(step, InMemory(Batch(x), 5), max_epochs=stop, callbacks=[keep], state=state)
            state = keep.state
            torch.rand(3)
        states.append(net.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
