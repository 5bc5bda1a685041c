"""Outputs of a chain's layers, read off the graph that the objective's own pass has built."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from lamina.penalties._jets import chain

_UNITS = {nn.Tanh: "TanhBackward0", nn.Sigmoid: "SigmoidBackward0"}  # these keep what they gave
_SHAPES = (nn.Flatten, nn.Identity)  # where they change nothing, the graph has no node of theirs


def recorded_values(f: nn.Module, outputs: Tensor) -> list[Tensor] | None:
    """Return what the units of a chain gave in the pass that made ``outputs``, the first unit's first.

    The graph is followed from its end back to the inputs, layer by layer: ``torch.nn.Linear``, known by its weight and
    bias, and ``Tanh`` or ``Sigmoid``; ``Flatten`` and ``Identity`` may stand where they change nothing.

    Returns:
        One tensor a unit, part of that graph. None where it is the graph of anything else: another layer, other weights
        (those of a noisy pass, say), inputs that have a gradient, a pass that was compiled or under autocast, or that
        has already been differentiated.
    """
    values: list[Tensor] = []
    node: Any = outputs.grad_fn
    for layer in reversed(list(chain(f))):
        if layer._forward_hooks or layer._forward_pre_hooks:
            return None
        if type(layer) is nn.Linear and _is_product(node, layer):
            node = node.next_functions[-2][0]
        elif type(layer) in _UNITS and node is not None and node.name() == _UNITS[type(layer)]:
            try:
                values.append(node._saved_result)
            except RuntimeError:  # a backward pass has gone through
                return None
            node = node.next_functions[0][0]
        elif type(layer) not in _SHAPES:
            return None
    return values[::-1] if node is None else None


def _is_product(node: Any, layer: nn.Linear) -> bool:
    if node is None or node.name() != ("MmBackward0" if layer.bias is None else "AddmmBackward0"):
        return False
    (turned, _) = node.next_functions[-1]
    if turned is None or turned.name() != "TBackward0" or _variable(turned.next_functions[0][0]) is not layer.weight:
        return False
    return layer.bias is None or _variable(node.next_functions[0][0]) is layer.bias


def _variable(node: Any) -> Tensor | None:
    return getattr(node, "variable", None)
