"""From the layers of a network to the nodes of back-propagation: which layers have one, and how it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from lamina.errors import ConfigError
from lamina.nn.column_embedding import ColumnEmbedding
from lamina.nn.connections.highway import Highway
from lamina.nn.connections.skips import SkipConnections
from lamina.nn.pixels import PixelScaling
from lamina.nn.residual import Residual
from lamina.training.backprop_graph import Carry, Chain, Skips, Sum
from lamina.training.backprop_nodes import (
    Affine,
    Dropout,
    Elu,
    Embedding,
    Flatten,
    Gelu,
    Gradients,
    Identity,
    LeakyRelu,
    Node,
    Relu,
    Scaling,
    Sigmoid,
    Silu,
    Tanh,
    TorchAffine,
)
from lamina.training.products import torch_multiplies

Layers = list[tuple[str, nn.Module]]
"""The layers of a plain stack, in order, with their names in the model."""


@dataclass(frozen=True)
class Builder:
    """Makes nodes for batches of a fixed number of rows.

    Attributes:
        gradients: Where the gradient of a parameter is.
        n: Rows.
        dtype: Of everything.
    """

    gradients: Gradients
    n: int
    dtype: torch.dtype

    def chain(self, layers: Layers, width: int, *, by_columns: bool = False) -> tuple[Chain, int]:
        """Return the chain of layers that ``why_not_stack`` accepts.

        Args:
            layers: What ``stack`` gives.
            width: Numbers an example that it reads.
            by_columns: Whether the last node, where it is affine, lays its result out column after column.

        Returns:
            The chain and the width of its result.
        """
        nodes = []
        for k, (_, layer) in enumerate(layers):
            node, width = self._node(layer, width, by_columns and k == len(layers) - 1)
            nodes.append(node)
        return Chain(nodes), width

    def _node(self, layer: nn.Module, width: int, by_columns: bool) -> tuple[Node, int]:
        match layer:
            case Residual():
                branch, given = self.chain(_layers(layer.branch), width)
                shortcut, straight = self.chain(_layers(layer.shortcut), width)
                _refuse_unequal("Residual", given, straight)
                return Sum(branch, shortcut, self.n, given, self.dtype), given
            case Highway():
                transform, given = self.chain(_layers(layer.transform), width)
                _refuse_unequal("Highway", given, width)
                gate, _ = self.chain([("feed", layer.gate.feed), ("sigmoid", nn.Sigmoid())], width)
                return Carry(gate, transform, self.n, width, self.dtype), width
            case SkipConnections():
                return self._skips(layer, width)
        return build_node(layer, self.gradients, self.n, width, self.dtype, by_columns=by_columns)

    def _skips(self, layer: SkipConnections, width: int) -> tuple[Node, int]:
        widths, chains = [width], []
        for k, module in enumerate(layer.chain, start=1):
            chain, given = self.chain(_layers(module), _met_width(layer, widths, k))
            chains.append(chain)
            widths.append(given)
        return Skips(chains, layer, widths, self.n, self.dtype), _met_width(layer, widths, len(chains) + 1)


def _met_width(layer: SkipConnections, widths: Sequence[int], k: int) -> int:
    met = [widths[k - 1], *(widths[s] for s, to in layer.skips if to == k)]
    if layer.join == "concat":
        return sum(met)
    for other in met[1:]:
        _refuse_unequal("SkipConnections", met[0], other)
    return met[0]


def _refuse_unequal(where: str, width: int, other: int) -> None:
    if width != other:
        raise ConfigError(
            f"{width} numbers an example meet {other}", where=where, mend="let a layer bring them to one width"
        )


def stack(model: nn.Module) -> Layers | str:
    """Return the layers of a plain stack with their names, nested sequences opened; or why it is none."""
    if _hooked(model):
        return f"a hook is registered on {type(model).__name__}"
    if not isinstance(model, nn.Sequential):
        return f"{type(model).__name__} is no nn.Sequential"
    if type(model).forward is not nn.Sequential.forward:
        return f"{type(model).__name__} has a forward function of its own"
    layers: Layers = []
    for name, child in model._modules.items():  # named_children() would pass over a layer that occurs again
        assert child is not None
        if isinstance(child, nn.Sequential):
            inner = stack(child)
            if isinstance(inner, str):
                return inner
            layers += [(f"{name}.{below}", layer) for below, layer in inner]
        elif any(_hooked(one) for one in child.modules()):
            return f'a hook is registered on layer "{name}"'
        else:
            layers.append((name, child))
    return layers


def _layers(module: nn.Module) -> Layers:
    """Return the layers of a part, which may be a single one."""
    found = stack(module) if isinstance(module, nn.Sequential) else [("", module)]
    assert not isinstance(found, str)
    return found


def _parts(layer: nn.Module) -> dict[str, nn.Module] | None:
    """Return the parts of a graph by name, or None where a layer is none."""
    match layer:
        case Residual():
            return {"branch": layer.branch, "shortcut": layer.shortcut}
        case Highway():
            return {"transform": layer.transform}
        case SkipConnections():
            return {f"chain.{k}": module for k, module in enumerate(layer.chain)}
    return None


def why_not_stack(layers: Layers) -> str | None:
    """Return why the layers of a model have no nodes here, or None where all have one."""
    return _why_not(layers, begun=False, shared=False)


def _why_not(layers: Layers, *, begun: bool, shared: bool) -> str | None:
    """Say what stands against some layers.

    Args:
        layers: What ``stack`` gives.
        begun: Whether a layer with weights may come before them.
        shared: Whether others read what they read.

    Returns:
        A phrase, or None.
    """
    first = not begun
    for name, layer in layers:
        title = f'layer "{name}" ({type(layer).__name__})'
        parts = _parts(layer)
        if shared and getattr(layer, "inplace", False):
            return f"{title} overwrites what others read"
        if parts is None:
            reason = why_not(name, layer, first, begun)
        elif type(layer) not in {Residual, Highway, SkipConnections}:
            reason = f"{title} may have a forward function of its own"
        elif isinstance(layer, SkipConnections) and layer.join == "concat" and layer.dim not in {-1, 1}:
            reason = f"{title} concatenates along axis {layer.dim}"
        else:
            reason = next((one for one in _why_not_parts(name, parts) if one is not None), None)
        if reason is not None:
            return reason
        weighs = any(isinstance(one, nn.Linear) for one in layer.modules())
        first, begun, shared = False, begun or weighs, shared and not weighs
    return None


def _why_not_parts(name: str, parts: dict[str, nn.Module]) -> Iterator[str | None]:
    for part, module in parts.items():
        inner = stack(module) if isinstance(module, nn.Sequential) else [("", module)]
        if isinstance(inner, str):
            yield inner
        else:
            named = [(f"{name}.{part}.{below}".rstrip("."), layer) for below, layer in inner]
            yield _why_not(named, begun=True, shared=True)


def width_read(layers: Layers) -> int:
    """Return how many numbers an example the first layer that has weights reads."""
    every = (getattr(one, "in_features", None) for _, layer in layers for one in layer.modules())
    return int(next(width for width in every if width is not None))


def width_given(layers: Layers) -> int | None:
    """Return how many numbers an example the layers give, or None where only their graph would tell."""
    last = next((one for _, one in reversed(layers) if _parts(one) is not None or hasattr(one, "out_features")), None)
    return getattr(last, "out_features", None)


def _hooked(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


def build_node(
    layer: nn.Module, gradients: Gradients, n: int, width: int, dtype: torch.dtype, *, by_columns: bool = False
) -> tuple[Node, int]:
    """Return the node of a layer for ``n`` rows of ``width`` numbers, and the width of its result.

    ``by_columns`` asks an affine node for that layout.

    Returns:
        Node and width; the layer is one that ``why_not`` accepts.
    """
    match layer:
        case nn.Linear():
            kind = TorchAffine if torch_multiplies(n, layer.in_features, layer.out_features) else Affine
            return kind(layer, gradients, n, by_columns=by_columns), layer.out_features
        case ColumnEmbedding():
            return Embedding(layer, gradients, n), layer.out_features
        case nn.LeakyReLU():
            node: Node = LeakyRelu(n, width, dtype, layer.negative_slope)
        case nn.ELU():
            node = Elu(n, width, dtype, layer.alpha)
        case nn.Dropout():
            node = Dropout(layer, n, width, dtype)
        case PixelScaling():
            node = Scaling(layer, dtype)
        case nn.Flatten():
            node = Flatten()
        case nn.Identity():
            node = Identity()
        case _:
            node = _PLAIN[type(layer)](n, width, dtype)
    return node, width


_PLAIN: dict[type[nn.Module], Callable[[int, int, torch.dtype], Node]] = {
    nn.ReLU: Relu,
    nn.Tanh: Tanh,
    nn.Sigmoid: Sigmoid,
    nn.SiLU: Silu,
    nn.GELU: Gelu,
}
_KNOWN = {*_PLAIN, nn.Linear, nn.LeakyReLU, nn.ELU, nn.Dropout, nn.Identity}


def why_not(name: str, layer: nn.Module, first: bool, begun: bool) -> str | None:
    """Return why a layer has no node here, or None where it has one.

    Args:
        name: Its name in the model, for the reason.
        layer: The layer.
        first: Whether it is the first of the stack.
        begun: Whether a layer with weights comes before it.

    Returns:
        A phrase, or None.
    """
    kind, title = type(layer), f'layer "{name}" ({type(layer).__name__})'
    if kind in {ColumnEmbedding, PixelScaling}:
        return None if first else f"{title} does not stand first"
    if kind is nn.Flatten:
        usual = layer.start_dim == 1 and layer.end_dim == -1
        return None if usual and not begun else f"{title} does not stand before all weights"
    if kind not in _KNOWN:
        return f"{title} has no hand-written backward function"
    if isinstance(layer, nn.GELU) and layer.approximate != "none":
        return f"{title} is the tanh approximation"
    return None
