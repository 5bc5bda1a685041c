"""A restricted Boltzmann machine as the teacher of a hidden layer, for greedy layer-wise pre-training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, nn
from torch.nn.utils import parametrize

from lamina.data.stream import Stream
from lamina.energy._greedy import first_inputs, flat, generator_on
from lamina.energy.cd_step import ContrastiveDivergenceStep
from lamina.energy.contrastive_divergence import Reconstruction, check_sweeps
from lamina.energy.rbm import RBM
from lamina.energy.units import Bernoulli, Gaussian, Units
from lamina.errors import ConfigError
from lamina.training.hidden_layers import HiddenLayer
from lamina.training.step import Step


@dataclass(frozen=True)
class RBMLayer:
    """Trains a machine whose visible units are a layer's inputs and whose hidden units are the layer's units.

        h = σ(W v + b_layer)   is   P(h = 1 | v) = σ(W v + c)   with   c = b_layer

    The machine starts with the layer's own W and b, or with the b that gives the wanted mean where there is a
    ``sparsity``, and with the visible biases that give the means of the inputs (Hinton 2010, section 8; of the first
    10,000 examples). It learns by ``ContrastiveDivergenceStep``; then its W and c are the layer's.
    Stacked by ``pretrain_greedy`` this is how a deep belief network is trained, all but its visible biases, which the
    record of each layer keeps in its ``model``.

    The layer must be ``Linear`` with a bias, then ``Sigmoid``; dropout behind it is off while the machine learns. Batch
    normalisation is refused: W and c would not be what the layer computes.

    Args:
        rate: η, of the machines with Bernoulli visible units; one with Gaussian units takes a tenth of it.
        sweeps: k of CD-k, at least 1.
        persistent: Persistent chains, as many as a batch has examples.
        reconstruction: "sample" or "mean", see ``ContrastiveDivergenceStep``.
        momentum: In [0, 1).
        weight_decay: Of the weights.
        sparsity: Wanted mean of the hidden units, or None.
        centred: Take the statistics about running means.
        draw_data: Draw binary units with the inputs as probabilities, in every pass; inputs of the first layer that are
            "gaussian" are not drawn.
        first_visible: What the inputs of the first layer are: "bernoulli" for numbers from 0 to 1, read as
            probabilities; "gaussian" for standardised numbers. Later layers see probabilities.

    Raises:
        ConfigError: If an option is out of range; from ``step`` also if the layer is another, or its inputs are no
            probabilities.

    References: Hinton, Osindero & Teh, "A Fast Learning Algorithm for Deep Belief Nets", Neural Computation 18, 2006;
    Bengio, Lamblin, Popovici & Larochelle, "Greedy Layer-Wise Training of Deep Networks", NeurIPS 2006 (Gaussian
    inputs); Hinton, "A Practical Guide to Training Restricted Boltzmann Machines", 2010.
    """

    rate: float = 0.05
    sweeps: int = 1
    persistent: bool = False
    reconstruction: Reconstruction = "sample"
    momentum: float = 0.0
    weight_decay: float = 0.0
    sparsity: float | None = None
    centred: bool = False
    draw_data: bool = False
    first_visible: Literal["bernoulli", "gaussian"] = "bernoulli"

    def __post_init__(self) -> None:
        if self.first_visible not in ("bernoulli", "gaussian"):
            raise ConfigError(
                f'first_visible must be "bernoulli" or "gaussian", got {self.first_visible!r}', where="RBMLayer"
            )
        check_sweeps("RBMLayer", self.sweeps, self.persistent, self.reconstruction)
        self._teach(RBM(1, 1, chains=int(self.persistent), generator=Generator()), None)  # checks the numbers

    def step(self, layer: HiddenLayer, inputs: Stream, generator: Generator) -> Step:
        """Return the step that trains the machine.

        Returns:
            A ``ContrastiveDivergenceStep`` whose ``model`` is the machine.

        Raises:
            ConfigError: If the layer is another, or its inputs are no probabilities.
        """
        affine = _affine(layer)
        gaussian = self.first_visible == "gaussian" and layer.number == 1
        some = first_inputs(inputs, flat)
        if not gaussian and not bool(((some >= 0) & (some <= 1)).all()):
            raise ConfigError(
                f'the inputs of "{layer.name}" lie from {float(some.min()):g} to {float(some.max()):g}, and Bernoulli '
                "units take numbers from 0 to 1",
                where="RBMLayer",
                mend='scale them, or standardise them and use first_visible="gaussian"',
            )
        weight = affine.weight
        visible: Units = Gaussian(learn_variance=False) if gaussian else Bernoulli()
        chains = len(next(iter(inputs.batches(0))).inputs) if self.persistent else 0
        drawn = generator_on(weight.device, generator)
        rbm = RBM(affine.in_features, affine.out_features, visible, std=0.0, chains=chains, generator=generator)
        rbm = rbm.to(weight.device, weight.dtype)
        with torch.no_grad():
            rbm.weight.copy_(weight)
            rbm.hidden_bias.copy_(affine.bias)
            if self.sparsity is not None:
                rbm.hidden_bias.fill_(math.log(self.sparsity / (1.0 - self.sparsity)))
        rbm.set_visible_bias(some.to(weight))
        return self._teach(rbm, drawn)

    def _teach(self, rbm: RBM, generator: Generator | None) -> ContrastiveDivergenceStep:
        return ContrastiveDivergenceStep(
            rbm,
            0.1 * self.rate if isinstance(rbm.visible, Gaussian) else self.rate,
            sweeps=self.sweeps,
            persistent=self.persistent,
            reconstruction=self.reconstruction,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            sparsity=self.sparsity,
            centred=self.centred,
            draw_data=self.draw_data and isinstance(rbm.visible, Bernoulli),
            generator=generator,
        )

    @torch.no_grad()
    def adopt(self, model: nn.Module, layer: HiddenLayer) -> None:
        """Copy the machine's weights and hidden biases into the layer."""
        affine = _affine(layer)
        assert isinstance(model, RBM)
        affine.weight.copy_(model.weight)
        affine.bias.copy_(model.hidden_bias)


def _affine(layer: HiddenLayer) -> nn.Linear:
    """Return the affine module of a layer of logistic units.

    Returns:
        It.

    Raises:
        ConfigError: If it is another kind of layer.
    """
    affine, *rest = layer.encoder.children()
    named = ", ".join(type(module).__name__ for module in layer.encoder.children())
    plain = isinstance(affine, nn.Linear) and affine.bias is not None and not parametrize.is_parametrized(affine)
    known = rest and type(rest[0]) is nn.Sigmoid and all(isinstance(m, (nn.Dropout, nn.Identity)) for m in rest[1:])
    if not (plain and known):
        raise ConfigError(
            f'layer "{layer.name}" is {named}, and a machine of binary units teaches Linear with a bias, then Sigmoid',
            where="RBMLayer",
            mend='use activation="sigmoid" without batch normalisation, or autoencoders',
        )
    assert isinstance(affine, nn.Linear)
    return affine
