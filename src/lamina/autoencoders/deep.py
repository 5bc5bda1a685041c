"""The deep autoencoder: a stack of restricted Boltzmann machines, unrolled."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn
from torch.optim import SGD

from lamina.autoencoders.autoencoder import Autoencoder, reading
from lamina.data.stream import Stream
from lamina.energy.contrastive_divergence import ContrastiveDivergence
from lamina.energy.rbm import RBM
from lamina.energy.rbm_layer import RBMLayer
from lamina.energy.units import Bernoulli, Gaussian, Units
from lamina.errors import ConfigError
from lamina.nn._checks import at_least
from lamina.nn.mlp import MLP
from lamina.training.callback import Callback
from lamina.training.fit import fit
from lamina.training.gradient_step import GradientStep
from lamina.training.greedy import encoded, pretrain_greedy

Code = Literal["linear", "binary"]


def unroll_rbms(rbms: Sequence[RBM]) -> Autoencoder:
    """Return the deep autoencoder that a stack of machines starts.

        encoder:  hᵏ = g_k(Wᵏ hᵏ⁻¹ + cᵏ),  k = 1 … L          decoder:  x̂ᵏ⁻¹ = m_k(Wᵏᵀ x̂ᵏ + bᵏ),  k = L … 1

    g and m are the means of the hidden and the visible units: σ for Bernoulli ones, nothing for Gaussian ones. The
    last layer, of the inputs, has no m: outputs are logits or means. Encoder and decoder have weights of their own,
    equal at the start, and share none with the machines. A machine that learns variances sees v / σ²: the factor goes
    into the encoder's weights.

    Args:
        rbms: From the inputs up; each has as many visible units as the one before it hidden ones.

    Returns:
        An autoencoder with its likelihood, to be fine-tuned with ``Reconstruction``.

    Raises:
        ConfigError: If there are none, the sizes do not fit, or a unit is neither Bernoulli nor Gaussian.

    Reference: Hinton & Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks", Science 313, 2006.
    """
    if not rbms:
        raise ConfigError("there are no machines to unroll", where="unroll_rbms")
    encoder: OrderedDict[str, nn.Module] = OrderedDict()
    decoder: list[tuple[str, nn.Module]] = []
    for k, rbm in enumerate(rbms, start=1):
        if k > 1 and rbm.n_visible != rbms[k - 2].n_hidden:
            raise ConfigError(
                f"machine {k} has {rbm.n_visible} visible units, the one below it {rbms[k - 2].n_hidden} hidden ones",
                where="unroll_rbms",
            )
        weight = rbm.weight.detach()
        variance = rbm.visible_log_variance
        scaled = weight if variance is None else weight * torch.exp(-variance.detach())
        encoder[f"linear{k}"] = _affine(scaled, rbm.hidden_bias)
        if not _is_linear(rbm.hidden, k):
            encoder[f"sigmoid{k}"] = nn.Sigmoid()
        if not _is_linear(rbm.visible, k) and k > 1:
            decoder.append((f"sigmoid{k - 1}", nn.Sigmoid()))
        decoder.append((f"linear{k}", _affine(weight.t(), rbm.visible_bias)))
    first = rbms[0]
    likelihood = reading("gaussian" if _is_linear(first.visible, 1) else "bernoulli", first.n_visible, "unroll_rbms")
    return Autoencoder(nn.Sequential(encoder), nn.Sequential(OrderedDict(reversed(decoder))), likelihood)


def pretrain_rbms(
    data: Stream,
    sizes: Sequence[int],
    *,
    epochs: int = 10,
    rate: float = 0.1,
    code: Code = "linear",
    code_rate: float = 0.001,
    momentum: float = 0.9,
    weight_decay: float = 2e-4,
    callbacks: Callable[[int], Sequence[Callback]] | None = None,
    generator: Generator | None = None,
) -> list[RBM]:
    """Train the machines of a deep autoencoder, each on the hidden means of the one below it.

    CD-1 with sampled hidden units and mean reconstructions; inputs between 0 and 1. Weights start as an MLP's. The
    top machine's hidden units are the code: "linear" makes them Gaussian with variance 1, so that it can use the whole
    line.

    Args:
        data: The examples; rows of numbers between 0 and 1.
        sizes: Hidden units of each machine; the last is the code.
        epochs: Passes of each machine.
        rate: Learning rate of machines with binary hidden units.
        code: "linear" or "binary" (for hashing).
        code_rate: Learning rate of a linear code's machine, about a hundredth of the others': nothing bounds its units.
        momentum: In [0, 1).
        weight_decay: Of the weights, not the biases.
        callbacks: What to tell while machine k = 1 … L learns.
        generator: Source of all that is drawn; None is PyTorch's default generator.

    Returns:
        The machines, from the inputs up.

    Raises:
        ConfigError: If there are no sizes, or ``code`` is unknown.

    Reference: Hinton & Salakhutdinov, Science 313, 2006, supporting online material (learning rates, momentum, decay).
    """
    if not sizes or code not in ("linear", "binary"):
        raise ConfigError(
            f'sizes must not be empty and code be "linear" or "binary", got {list(sizes)} and {code!r}',
            where="pretrain_rbms",
        )
    at_least(1, owner="pretrain_rbms", epochs=epochs)
    some = next(iter(data.batches(0))).inputs
    binary = list(sizes) if code == "binary" else list(sizes[:-1])
    with torch.device(some.device):
        network = MLP(some.shape[1], 1, binary, "sigmoid", generator=generator)
    rbms: list[RBM] = []
    if binary:
        learner = RBMLayer(rate, reconstruction="mean", momentum=momentum, weight_decay=weight_decay)
        tell = (lambda layer: callbacks(layer.number)) if callbacks else None
        done = pretrain_greedy(network, data, learner, epochs=epochs, callbacks=tell, generator=generator)
        rbms = [each.model for each in done if isinstance(each.model, RBM)]
    if code == "linear":
        inputs = encoded(network[:-1].eval(), data)
        with torch.device(some.device):
            top = RBM(
                binary[-1] if binary else some.shape[1],
                sizes[-1],
                hidden=Gaussian(learn_variance=False),
                generator=generator,
            )
        top.set_visible_bias(torch.cat([batch.inputs for batch in inputs.batches(0)]))
        groups: list[dict[str, Any]] = [
            {"params": [top.weight], "weight_decay": weight_decay},
            {"params": [top.visible_bias, top.hidden_bias]},
        ]
        objective = ContrastiveDivergence(reconstruction="mean", generator=generator)
        step = GradientStep(top, objective, SGD(groups, lr=code_rate, momentum=momentum))
        fit(step, inputs, max_epochs=epochs, callbacks=callbacks(len(sizes)) if callbacks else ())
        rbms.append(top)
    return rbms


@torch.no_grad()
def _affine(weight: Tensor, bias: Tensor) -> nn.Linear:
    n_out, n_in = weight.shape
    layer: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        nn.Linear, n_in, n_out, device=weight.device, dtype=weight.dtype
    )
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
    return layer


def _is_linear(units: Units, k: int) -> bool:
    if isinstance(units, Bernoulli | Gaussian):
        return isinstance(units, Gaussian)
    raise ConfigError(
        f"machine {k} has {units} units, and only Bernoulli and Gaussian ones are those of a network",
        where="unroll_rbms",
    )
