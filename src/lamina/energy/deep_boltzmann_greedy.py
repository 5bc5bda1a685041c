"""Greedy pre-training of a deep Boltzmann machine by machines whose outer sides are doubled."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Generator, nn
from torch.optim import SGD

from lamina.data.batch import Batch
from lamina.data.stream import Stream
from lamina.energy._greedy import PreparedStep, first_inputs, flat, generator_on
from lamina.energy.contrastive_divergence import ContrastiveDivergence
from lamina.energy.deep_belief_greedy import Learn
from lamina.energy.deep_boltzmann import DeepBoltzmannMachine
from lamina.energy.rbm import RBM
from lamina.energy.units import Bernoulli, Binomial
from lamina.training.callback import Callback
from lamina.training.gradient_step import GradientStep
from lamina.training.greedy import GreedyLayer, Passing, pretrain_greedy
from lamina.training.hidden_layers import HiddenLayer
from lamina.training.step import Step


def pretrain_deep_boltzmann(
    machine: DeepBoltzmannMachine,
    data: Stream,
    learn: Learn | None = None,
    *,
    epochs: int | Sequence[int],
    passing: Passing = "means",
    callbacks: Callable[[HiddenLayer], Sequence[Callback]] | None = None,
    generator: Generator | None = None,
) -> list[GreedyLayer]:
    """Train each layer as an RBM that stands for what its neighbours will send later.

        first:    two copies of x, tied:     P(h¹ | x) = σ(c + 2 W¹ x),    P(x | h¹) = σ(b + W¹ᵀ h¹)
        between:  as usual, W halved after:  P(hᵏ | hᵏ⁻¹) = σ(c + 2 Wᵏ hᵏ⁻¹),  P(hᵏ⁻¹ | hᵏ) = σ(b + 2 Wᵏᵀ hᵏ)
        last:     two copies of hᴸ, tied:    P(hᴸ | hᴸ⁻¹) = σ(c + Wᴸ hᴸ⁻¹),  P(hᴸ⁻¹ | hᴸ) = σ(b + 2 Wᴸᵀ hᴸ)

    In the machine, a layer between hears half of what it heard from each side, and its bias is the mean of its two. Two
    tied copies are one ``Binomial(2)`` unit, so the layers are RBMs as they are elsewhere and learn by contrastive
    divergence; ``lamina.training.greedy.pretrain_greedy`` leads from one to the next.

    Args:
        machine: Changed in place, its persistent chains apart.
        data: Examples, rows of x between 0 and 1.
        learn: How a machine learns; None is CD-1 by SGD with rate 0.05.
        epochs: Passes of every layer, or of each.
        passing: "means" or "samples" of the layers below; see ``pretrain_greedy``.
        callbacks: What to tell while a layer learns.
        generator: Source of what is drawn; None is PyTorch's default generator.

    Returns:
        A record a layer; ``model`` is the RBM.

    Reference: Salakhutdinov & Hinton, "Deep Boltzmann Machines", AISTATS 2009, section 3.2.
    """
    chain: OrderedDict[str, nn.Module] = OrderedDict()
    for k, weight in enumerate(machine.weights, start=1):
        linear = nn.Linear(weight.shape[1], weight.shape[0]).to(weight)
        with torch.no_grad():
            linear.weight.copy_(2.0 * weight if k < machine.depth else weight)
            linear.bias.copy_(machine.biases[k])
        chain[f"linear{k}"], chain[f"sigmoid{k}"] = linear, nn.Sigmoid()
    chain["output"] = nn.Linear(machine.sizes[-1], 1)
    learner = _Doubled(machine, learn or _default)
    layers = pretrain_greedy(
        nn.Sequential(chain),
        data,
        learner,
        epochs=epochs,
        passing=passing,
        callbacks=callbacks,
        generator=generator,
    )
    with torch.no_grad():
        rbms = learner.made
        for k, rbm in enumerate(rbms):
            between = 0 < k < len(rbms) - 1
            machine.weights[k].copy_(0.5 * rbm.weight if between else rbm.weight)
        machine.biases[0].copy_(rbms[0].visible_bias)
        machine.biases[-1].copy_(rbms[-1].hidden_bias)
        for k, (below, above) in enumerate(pairwise(rbms), start=1):
            machine.biases[k].copy_(0.5 * (below.hidden_bias + above.visible_bias))
    return layers


def _default(rbm: RBM, generator: Generator) -> Step:
    return GradientStep(rbm, ContrastiveDivergence(generator=generator), SGD(rbm.parameters(), 0.05))


@dataclass
class _Doubled:
    """A ``LayerLearner``: the layer's linear map is what the machine infers with, doubled where it must be."""

    machine: DeepBoltzmannMachine
    learn: Learn
    made: list[RBM] = field(default_factory=list)

    def step(self, layer: HiddenLayer, inputs: Stream, generator: Generator) -> Step:
        k, depth = layer.number, self.machine.depth
        weight, bias = self.machine.weights[k - 1], self.machine.biases[k]
        visible = Binomial(2) if k == 1 else Bernoulli()
        hidden = Binomial(2) if k == depth else Bernoulli()
        rbm = RBM(weight.shape[1], weight.shape[0], visible, hidden, std=0.0).to(weight)
        prepare = _twice if k == 1 else flat
        with torch.no_grad():
            rbm.weight.copy_(2.0 * weight if 1 < k < depth else weight)
            rbm.hidden_bias.copy_(bias)
        rbm.set_visible_bias(first_inputs(inputs, prepare).to(weight))
        self.made.append(rbm)
        return PreparedStep(self.learn(rbm, generator_on(weight.device, generator)), prepare)

    @torch.no_grad()
    def adopt(self, model: nn.Module, layer: HiddenLayer) -> None:
        assert isinstance(model, RBM) and isinstance(layer.affine, nn.Linear)
        layer.affine.weight.copy_(2.0 * model.weight if layer.number == 1 else model.weight)
        layer.affine.bias.copy_(model.hidden_bias)


def _twice(batch: Batch) -> Batch:
    return batch._replace(inputs=2.0 * batch.inputs.flatten(1))
