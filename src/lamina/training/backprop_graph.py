"""Back-propagation on a directed acyclic graph: nodes that are made of nodes.

A result that several nodes read gets the sum of what they send back,

    ∂L/∂y = Σ_{j reads y} (∂y_j/∂y)ᵀ δ_j

and that is all a graph needs beyond a chain. Here that is written out for the graphs that networks are: chains, sums of
a branch and a shortcut, gates that choose between two, and skips over several layers.
"""

# ruff: noqa: D102 - what each method returns is said by its class and by Node

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from lamina.errors import ConfigError
from lamina.nn.connections.highway import Highway
from lamina.nn.connections.skips import SkipConnections
from lamina.nn.residual import Residual
from lamina.training.backprop_nodes import Gradients, Node, Sheet, build_node, empty, why_not

Layers = list[tuple[str, nn.Module]]
"""The layers of a plain stack, in order, with their names in the model."""


class Graph(Node):
    """A node made of nodes: ``backward`` writes their parameters' gradients too, on its way down.

    ``parameter_gradient`` is the same without ∂L/∂x, and stands in its place in the lowest node, below which nobody
    asks.
    """


class Chain(Graph):
    """y = f_K(… f_2(f_1(x)))."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self.forwards = [node.forward for node in nodes]
        self.backwards = [
            (node.parameter_gradient if learns(node) and not isinstance(node, Graph) else None, node.backward)
            for node in reversed(nodes)
        ]
        lowest = next((k for k, node in enumerate(nodes) if learns(node)), None)
        self.above = [] if lowest is None else self.backwards[: len(nodes) - 1 - lowest]
        self.last_gradient = None if lowest is None else nodes[lowest].parameter_gradient

    def forward(self, x: Sheet) -> Sheet:
        for forward in self.forwards:
            x = forward(x)
        return x

    def backward(self, delta: Sheet) -> Sheet:
        for parameter_gradient, backward in self.backwards:
            if parameter_gradient is not None:
                parameter_gradient(delta)
            delta = backward(delta)
        return delta

    def parameter_gradient(self, delta: Sheet) -> None:
        if self.last_gradient is None:
            return
        for parameter_gradient, backward in self.above:
            if parameter_gradient is not None:
                parameter_gradient(delta)
            delta = backward(delta)
        self.last_gradient(delta)


class Sum(Graph):
    """y = S(x) + F(x);   ∂L/∂x = (∂S/∂x)ᵀ δ + (∂F/∂x)ᵀ δ: an add node, which passes δ to both."""

    def __init__(self, branch: Chain, shortcut: Chain, n: int, width: int, dtype: torch.dtype) -> None:
        self.branch, self.shortcut = branch, shortcut
        self.y, self.copy = empty(n, width, dtype), empty(n, width, dtype)

    def forward(self, x: Sheet) -> Sheet:
        torch.add(self.shortcut.forward(x).tensor, self.branch.forward(x).tensor, out=self.y.tensor)
        return self.y

    def backward(self, delta: Sheet) -> Sheet:
        self.copy.tensor.copy_(delta.tensor)  # a node may overwrite the δ that it is given
        through = self.branch.backward(self.copy)
        through.tensor.add_(self.shortcut.backward(delta).tensor)
        return through

    def parameter_gradient(self, delta: Sheet) -> None:
        self.copy.tensor.copy_(delta.tensor)
        self.branch.parameter_gradient(self.copy)
        self.shortcut.parameter_gradient(delta)


class Carry(Graph):
    """y = g ⊙ T + (1 - g) ⊙ x with the gate g = σ(W x + b) and T = T(x): two mul nodes and an add node.

    δ_T = g ⊙ δ,   δ_g = (T - x) ⊙ δ,   ∂L/∂x = (1 - g) ⊙ δ + (∂T/∂x)ᵀ δ_T + (∂g/∂x)ᵀ δ_g.
    """

    def __init__(self, gate: Chain, transform: Chain, n: int, width: int, dtype: torch.dtype) -> None:
        self.gate, self.transform = gate, transform
        self.y, self.to_transform, self.to_gate = (empty(n, width, dtype) for _ in range(3))

    def forward(self, x: Sheet) -> Sheet:
        self.x, self.t, self.g = x.tensor, self.transform.forward(x).tensor, self.gate.forward(x).tensor
        torch.lerp(self.x, self.t, self.g, out=self.y.tensor)
        return self.y

    def backward(self, delta: Sheet) -> Sheet:
        self._part(delta)
        straight = delta.tensor.sub_(self.to_transform.tensor)  # (1 - g) ⊙ δ
        straight.add_(self.gate.backward(self.to_gate).tensor)
        straight.add_(self.transform.backward(self.to_transform).tensor)
        return delta

    def parameter_gradient(self, delta: Sheet) -> None:
        self._part(delta)
        self.gate.parameter_gradient(self.to_gate)
        self.transform.parameter_gradient(self.to_transform)

    def _part(self, delta: Sheet) -> None:
        torch.mul(delta.tensor, self.g, out=self.to_transform.tensor)
        torch.sub(self.t, self.x, out=self.to_gate.tensor).mul_(delta.tensor)


class Skips(Graph):
    """hᵏ = Fᵏ(join(hᵏ⁻¹, hˢ, …)) as ``lamina.nn.SkipConnections`` has it: every h may be read by several.

    A concatenation hands each part its own columns of δ, a sum hands all of δ to each; what reaches an h from its
    readers, all of which lie above it, is added up before its own node is gone through.
    """

    def __init__(
        self, chains: Sequence[Chain], layer: SkipConnections, widths: Sequence[int], n: int, dtype: torch.dtype
    ) -> None:
        self.chains, self.widths, self.concat = chains, widths, layer.join == "concat"
        last = len(chains) + 1
        self.met = {k: [k - 1, *(s for s, to in layer.skips if to == k)] for k in range(1, last + 1)}
        joined = {k: sum(widths[s] for s in met) if self.concat else widths[k - 1] for k, met in self.met.items()}
        self.joined = {k: empty(n, width, dtype) for k, width in joined.items() if len(self.met[k]) > 1}
        self.deltas = [empty(n, width, dtype) for width in widths]

    def forward(self, x: Sheet) -> Sheet:
        self.h = [x]
        for k, chain in enumerate(self.chains, start=1):
            self.h.append(chain.forward(self._join(k)))
        return self._join(len(self.chains) + 1)

    def _join(self, k: int) -> Sheet:
        met = [self.h[s].tensor for s in self.met[k]]
        if len(met) == 1:
            return self.h[k - 1]
        into = self.joined[k]
        if self.concat:
            torch.cat(met, 1, out=into.tensor)
            return into
        torch.add(met[0], met[1], out=into.tensor)
        for other in met[2:]:
            into.tensor.add_(other)
        return into

    def backward(self, delta: Sheet) -> Sheet:
        self._to_second(delta)
        self._hand_out(1, self.chains[0].backward(self.deltas[1]))
        return self.deltas[0]

    def parameter_gradient(self, delta: Sheet) -> None:
        self._to_second(delta)
        self.chains[0].parameter_gradient(self.deltas[1])

    def _to_second(self, delta: Sheet) -> None:
        for own in self.deltas:
            own.tensor.zero_()
        self._hand_out(len(self.chains) + 1, delta)
        for k in range(len(self.chains), 1, -1):
            self._hand_out(k, self.chains[k - 1].backward(self.deltas[k]))

    def _hand_out(self, k: int, delta: Sheet) -> None:
        start = 0
        for s in self.met[k]:
            part = delta.tensor
            if self.concat:
                part = part[:, start : start + self.widths[s]]
                start += self.widths[s]
            self.deltas[s].tensor.add_(part)


def learns(node: Node) -> bool:
    """Return whether a node may have parameters."""
    return type(node).parameter_gradient is not Node.parameter_gradient


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
