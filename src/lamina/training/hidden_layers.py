"""The hidden layers of a chain: which modules each consists of."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from lamina.errors import ConfigError


@dataclass(frozen=True, slots=True)
class HiddenLayer:
    """One hidden layer of a chain, made of the chain's own modules.

    Attributes:
        number: 1 for the layer next to the inputs.
        modules: All that belongs to it, by the chain's names: the first module with a weight of two axes or more, and
            what follows it (normalisation, activation, dropout, pooling). What stands before the first layer of all
            (an embedding of columns, input dropout) belongs to that.
        name: The chain's name of the module with the weight.
    """

    number: int
    modules: OrderedDict[str, nn.Module]
    name: str

    @property
    def affine(self) -> nn.Module:
        """The module that holds the weight."""
        return self.modules[self.name]

    @property
    def before(self) -> nn.Sequential:
        """What stands before it, empty in all but the first layer."""
        return nn.Sequential(OrderedDict(list(self.modules.items())[: self._place]))

    @property
    def encoder(self) -> nn.Sequential:
        """The module with the weight and what follows it: what a greedy learner trains."""
        return nn.Sequential(OrderedDict(list(self.modules.items())[self._place :]))

    @property
    def _place(self) -> int:
        return list(self.modules).index(self.name)


def hidden_layers(network: nn.Sequential, owner: str) -> tuple[list[HiddenLayer], str]:
    """Divide a chain into its hidden layers.

    Args:
        network: The chain, its last weight that of the output layer.
        owner: Who asks, for the message.

    Returns:
        The layers, and the name of the output layer.

    Raises:
        ConfigError: If there is no hidden layer.
    """
    children = list(network.named_children())
    starts = [i for i, (_, child) in enumerate(children) if any(p.ndim > 1 for p in child.parameters())]
    if len(starts) < 2:
        raise ConfigError(
            f"needs at least one hidden layer and an output layer, found {len(starts)} layers with weights",
            where=owner,
            mend="give a chain (torch.nn.Sequential, lamina.nn.MLP) of more layers",
        )
    edges = [0, *starts[1:]]
    layers = [
        HiddenLayer(k, OrderedDict(children[a:b]), children[start][0])
        for k, ((a, b), start) in enumerate(zip(pairwise(edges), starts[:-1], strict=True), start=1)
    ]
    return layers, children[starts[-1]][0]
