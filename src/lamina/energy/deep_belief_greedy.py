"""Greedy training of a deep belief network: each layer as a machine of what the layers below it infer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Generator, nn

from lamina.data.batch import Batch
from lamina.data.stream import Stream
from lamina.energy._greedy import PreparedStep, first_inputs, flat, generator_on
from lamina.energy.cd_step import ContrastiveDivergenceStep
from lamina.energy.deep_belief import DeepBeliefNetwork, alternates, tied_machine
from lamina.energy.rbm import RBM
from lamina.errors import ConfigError
from lamina.training.callback import Callback
from lamina.training.greedy import GreedyLayer, Passing, pretrain_greedy
from lamina.training.hidden_layers import HiddenLayer
from lamina.training.step import Step

Learn = Callable[[RBM, Generator], Step]
"""How a machine learns: takes it and a source of draws, returns the step."""


def pretrain_deep_belief(
    network: DeepBeliefNetwork,
    data: Stream,
    learn: Learn | None = None,
    *,
    epochs: int | Sequence[int],
    passing: Passing = "samples",
    tied: bool = False,
    callbacks: Callable[[HiddenLayer], Sequence[Callback]] | None = None,
    generator: Generator | None = None,
) -> list[GreedyLayer]:
    """Train the layers one after the other from below, each as an RBM; the last one is the network's top.

        for k = 1 … L:   train a machine of Dᵏ⁻¹,   R^k = W, G^k = Wᵀ with its biases,   Dᵏ = q(hᵏ | hᵏ⁻¹) of Dᵏ⁻¹

    It is ``lamina.training.greedy.pretrain_greedy`` with machines, which tells more of what ``passing`` does. Samples
    are what the bound is about: it rises with the likelihood of samples of q under the new layer. Means are less noisy
    and usual where the network only starts a classifier.

    A machine starts with the network's own weights and visible biases that give its inputs' means. With ``tied`` it
    starts instead as the machine below turned over (``tied_machine``), at which the bound is tight, and cannot fall
    below that network's likelihood while the new layer's likelihood rises; layers must then be as wide as those two
    below.

    Args:
        network: Changed in place.
        data: Examples; with ``n_classes`` their targets are class codes, joined to the top's visible units.
        learn: How a machine learns; None is ``ContrastiveDivergenceStep(rbm, 0.05)``. Persistent chains: set
            ``rbm.chains`` there.
        epochs: Passes of every layer, or of each.
        passing: "samples" or "means".
        tied: Start each machine but the first from the one below.
        callbacks: What to tell while a layer learns.
        generator: Source of what is drawn; None is PyTorch's default generator.

    Returns:
        A record a layer; ``model`` is the machine.

    Raises:
        ConfigError: If tied layers have other widths, or labels are missing.

    Reference: Hinton, Osindero & Teh, "A Fast Learning Algorithm for Deep Belief Nets", Neural Computation 18, 2006,
    sections 4 and 5.
    """
    if tied and (not alternates(network.sizes) or network.n_classes):
        raise ConfigError(
            f"tied layers are as wide as those two below and have no labels, got sizes {network.sizes}",
            where="pretrain_deep_belief",
            mend="use sizes as (784, 500, 784), or tied=False",
        )
    learner = _Machines(network, learn or _default, tied)
    chain: OrderedDict[str, nn.Module] = OrderedDict()
    for k, up in enumerate(network.layers.up, start=1):
        chain[f"linear{k}"], chain[f"sigmoid{k}"] = up, nn.Sigmoid()
    # The top is passed on to nobody: a layer of its shape only marks its place in the chain.
    top = network.top
    last = nn.utils.skip_init(nn.Linear, network.sizes[-2], top.n_hidden, device="meta")  # type: ignore[no-untyped-call]
    chain["top"], chain["output"] = last, nn.utils.skip_init(nn.Linear, top.n_hidden, 1, device="meta")  # type: ignore[no-untyped-call]
    return pretrain_greedy(
        nn.Sequential(chain),
        data,
        learner,
        epochs=epochs,
        passing=passing,
        callbacks=callbacks,
        generator=generator,
    )


def _default(rbm: RBM, generator: Generator) -> Step:
    return cast(Step, ContrastiveDivergenceStep(rbm, 0.05, generator=generator))  # its model is of a narrower type


@dataclass
class _Machines:
    """A ``LayerLearner`` that makes each layer a machine and gives the network what it learnt."""

    network: DeepBeliefNetwork
    learn: Learn
    tied: bool
    made: list[RBM] = field(default_factory=list)

    def step(self, layer: HiddenLayer, inputs: Stream, generator: Generator) -> Step:
        network, k = self.network, layer.number
        top = k == network.depth
        prepare = self._with_labels if top and network.n_classes else flat
        if self.tied and k > 1:
            rbm = tied_machine(self.made[-1])
        else:
            rbm = self._machine(k)
            rbm.set_visible_bias(first_inputs(inputs, prepare).to(rbm.weight))
        if top:
            network.top.load_state_dict(rbm.state_dict(), strict=False)
            rbm = network.top
        self.made.append(rbm)
        return PreparedStep(self.learn(rbm, generator_on(rbm.weight.device, generator)), prepare)

    def adopt(self, model: nn.Module, layer: HiddenLayer) -> None:
        assert isinstance(model, RBM)
        if model is not self.network.top:
            self.network.set_layer(layer.number, model)

    def _machine(self, k: int) -> RBM:
        """Return the k-th layer as a machine with the network's weights."""
        network = self.network
        if k == network.depth:
            return network.top
        up, down = network.layers.up[k - 1], network.layers.down[k - 1]
        rbm = RBM(up.in_features, up.out_features, down.units, std=0.0).to(up.weight)
        with torch.no_grad():
            rbm.weight.copy_(up.weight)
            rbm.hidden_bias.copy_(up.bias)
        return rbm

    def _with_labels(self, batch: Batch) -> Batch:
        if batch.targets is None:
            raise ConfigError("the network has labels, and the data have none", where="pretrain_deep_belief")
        return batch._replace(inputs=self.network.joined(batch.inputs.flatten(1), batch.targets))
