"""Back-propagation on a directed acyclic graph: nodes that are made of nodes.

A result that several nodes read gets the sum of what they send back,

    ∂L/∂y = Σ_{j reads y} (∂y_j/∂y)ᵀ δ_j

and that is all a graph needs beyond a chain. Here that is written out for the graphs that networks are: chains, sums of
a branch and a shortcut, gates that choose between two, and skips over several layers.
"""

# ruff: noqa: D102 - what each method returns is said by its class and by Node

from __future__ import annotations

from collections.abc import Sequence

import torch

from lamina.nn.connections.skips import SkipConnections
from lamina.training.backprop_nodes import Node, Sheet, empty


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
