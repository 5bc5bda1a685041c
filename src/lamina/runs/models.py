"""The closed registry of models: a network is rebuilt from a name and checked arguments, never from code in a file."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from lamina.data.spec import ImageSpec, VectorSpec
from lamina.errors import CheckpointError, ConfigError, LaminaError, nearest, shown
from lamina.nn import MLP, Ensemble, PixelScaling
from lamina.runs.features import feature_layers
from lamina.vision import ConvNet, small_resnet

Spec = VectorSpec | ImageSpec
MOST_MEMBERS = 1000


@dataclass(frozen=True)
class ModelCard:
    """What a network is built from.

    Attributes:
        name: Key of the registry.
        spec: What its inputs look like.
        n_outputs: How many numbers the likelihood reads.
        arguments: Keyword arguments of the builder, plain values.
        members: Networks that answer as one; above 1 it is an ``Ensemble`` of them.
        combine: How their outputs become one, as ``Ensemble`` calls it.
    """

    name: str
    spec: Spec
    n_outputs: int
    arguments: Mapping[str, Any]
    members: int = 1
    combine: str = "mean"

    def build(
        self, generator: torch.Generator | None = None, pixels: tuple[Sequence[float], Sequence[float]] | None = None
    ) -> nn.Module:
        """Build the network.

        Args:
            generator: Source of the weights.
            pixels: Mean and standard deviation of each channel of the training pictures; the neutral ones if not given
                (then they come with the weights).

        Returns:
            The network in training mode, on the CPU.

        Raises:
            ConfigError: If the name is unknown, or the network does not read such inputs or take such arguments.
        """
        if self.members > 1:
            one = replace(self, members=1)
            return Ensemble([one.build(generator, pixels) for _ in range(self.members)], self.combine)
        builder = find(self.name)
        if isinstance(self.spec, ImageSpec):
            if builder.pictures is None:
                raise ConfigError(
                    f'"{self.name}" does not read pictures', where="--model", mend="use resnet, convnet, mlp or linear"
                )
            zeros, ones = [0.0] * self.spec.channels, [1.0] * self.spec.channels
            layers = OrderedDict[str, nn.Module](pixels=PixelScaling(*(pixels or (zeros, ones))))
            layers.update(builder.pictures(self.spec, self.n_outputs, generator, **self.arguments))
            return nn.Sequential(layers)
        if builder.vectors is None:
            raise ConfigError(f'"{self.name}" does not read tables', where="--model", mend="use mlp or linear")
        return builder.vectors(self.spec, self.n_outputs, generator, **self.arguments)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        spec: dict[str, Any]
        if isinstance(self.spec, ImageSpec):
            spec = {"channels": self.spec.channels, "height": self.spec.height, "width": self.spec.width}
        else:
            spec = {"n_numeric": self.spec.n_numeric, "cardinalities": list(self.spec.cardinalities)}
        card = {"name": self.name, "spec": spec, "n_outputs": self.n_outputs, "arguments": dict(self.arguments)}
        return card | ({"members": self.members, "combine": self.combine} if self.members > 1 else {})

    @classmethod
    def from_json(cls, value: Any, *, where: str) -> ModelCard:
        """Read a card back and check it by building the network without memory.

        Args:
            value: What ``to_json`` returned, from a file.
            where: The file, for messages.

        Returns:
            The card.

        Raises:
            CheckpointError: If anything in it cannot be.
            ConfigError: Never reaches the caller.
        """
        try:
            spec = {key: tuple(v) if isinstance(v, list) else v for key, v in value["spec"].items()}
            numbers = [n for v in spec.values() for n in (v if isinstance(v, tuple) else (v,))]
            if not all(type(n) is int and 0 <= n <= 10**8 for n in [*numbers, value["n_outputs"]]):
                raise ConfigError("sizes must be whole numbers")
            arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in value["arguments"].items()}
            shape: Spec = ImageSpec(**spec) if "channels" in spec else VectorSpec(**spec)  # type: ignore[arg-type]
            members = value.get("members", 1)
            if type(members) is not int or not 1 <= members <= MOST_MEMBERS:
                raise ConfigError("members must be a number of networks")
            card = cls(
                str(value["name"]), shape, value["n_outputs"], arguments, members, str(value.get("combine", "mean"))
            )
            with torch.device("meta"):
                card.build()
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, LaminaError) as error:
            raise CheckpointError(
                f"the description of the network cannot be used: {shown(error)}",
                where=where,
                mend="use an intact copy of the run",
            ) from None
        return card


@dataclass(frozen=True)
class Builder:
    """How a model of one name is built for vectors and for pictures; None where it does not read such inputs."""

    vectors: Callable[..., nn.Module] | None
    pictures: Callable[..., Mapping[str, nn.Module]] | None
    help: str


def _mlp(
    spec: VectorSpec, n_outputs: int, generator: torch.Generator | None, features: str | None = None, **arguments: Any
) -> nn.Module:
    if features is None:
        return MLP(spec, n_outputs, generator=generator, **arguments)
    layers, width = feature_layers(features, spec)
    layers.update(MLP(width, n_outputs, generator=generator, **arguments).named_children())
    return nn.Sequential(layers)


def _flat_mlp(
    spec: ImageSpec, n_outputs: int, generator: torch.Generator | None, features: str | None = None, **arguments: Any
) -> Mapping[str, nn.Module]:
    if features is not None:
        layers, width = feature_layers(features, spec)
        layers.update(MLP(width, n_outputs, generator=generator, **arguments).named_children())
        return layers
    chain = MLP(spec.channels * spec.height * spec.width, n_outputs, generator=generator, **arguments)
    return OrderedDict([("flatten", nn.Flatten()), *chain.named_children()])


def _linear(
    spec: VectorSpec, n_outputs: int, generator: torch.Generator | None, features: str | None = None
) -> nn.Module:
    return _mlp(spec, n_outputs, generator, features, hidden=())


def _flat_linear(
    spec: ImageSpec, n_outputs: int, generator: torch.Generator | None, features: str | None = None
) -> Mapping[str, nn.Module]:
    return _flat_mlp(spec, n_outputs, generator, features, hidden=())


def _convnet(
    spec: ImageSpec, n_outputs: int, generator: torch.Generator | None, **arguments: Any
) -> Mapping[str, nn.Module]:
    network = ConvNet(spec.channels, spec.height, spec.width, n_outputs, generator=generator, **arguments)
    return OrderedDict(network.named_children())


def _resnet(
    spec: ImageSpec, n_outputs: int, generator: torch.Generator | None, **arguments: Any
) -> Mapping[str, nn.Module]:
    network = small_resnet(spec.channels, spec.height, spec.width, n_outputs, generator=generator, **arguments)
    return OrderedDict(network=network)


MODELS: dict[str, Builder] = {
    "convnet": Builder(None, _convnet, "convolutions, units and pooling in one chain, then dense layers, for pictures"),
    "linear": Builder(_linear, _flat_linear, "one affine map: linear or logistic regression"),
    "mlp": Builder(_mlp, _flat_mlp, "multilayer perceptron, categories embedded"),
    "resnet": Builder(None, _resnet, "small residual convolutional network, for pictures"),
}


def find(name: str) -> Builder:
    """Return the builder of a name.

    Returns:
        The builder.

    Raises:
        ConfigError: If there is none of that name; names the nearest and lists all.
    """
    if name not in MODELS:
        raise ConfigError(
            f'there is no model "{shown(name)}"{nearest(name, list(MODELS))}',
            where="--model",
            mend="models: " + ", ".join(MODELS),
        )
    return MODELS[name]
