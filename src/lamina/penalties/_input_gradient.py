"""Gradients by the inputs that can be differentiated again, on the graph that the objective has already built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.autograd.graph import GradientEdge

from lamina.penalties._jets import chain, is_chain
from lamina.penalties._passes import signs
from lamina.penalties.base import Context

Pull = Callable[[Tensor, Tensor], Tensor]
"""``pull(values, cotangents)`` is Σ cotangents · ∂values/∂x, shaped as x."""


def pull_to_inputs(context: Context) -> tuple[Tensor, Pull]:
    """Return outputs of the network, and the function that pulls what is computed from them back to the inputs.

    Where the network is a chain that begins with ``torch.nn.Linear``, the outputs are the objective's own: its graph
    is followed back to that layer's output a, and ∂/∂x = Wᵀ ∂/∂a. The pass forward is then made once for the loss and
    the penalty, and so is the pass back through it: a third of the cost. Any other network makes a pass of its own.

    Returns:
        ``(N, outputs)`` and the function; both keep a graph where gradients are wanted.
    """
    network, x = context.smooth()
    wanted = torch.is_grad_enabled()
    layer = first_linear(network)
    edge = None if layer is None else _edge(context.outputs, layer)
    if layer is not None and edge is not None:
        weight, place = layer.weight, edge

        def through_edge(values: Tensor, cotangents: Tensor) -> Tensor:
            (slope,) = torch.autograd.grad(values, place, cotangents, create_graph=wanted, retain_graph=True)
            return (slope @ weight).reshape(x.shape)

        return context.outputs, through_edge
    return pass_from(network, x)


def pass_from(network: nn.Module, x: Tensor) -> tuple[Tensor, Pull]:
    """Return f(x) by a pass of its own, and the function that pulls back to x.

    Returns:
        ``(N, ...)`` and the function.
    """
    wanted = torch.is_grad_enabled()
    with torch.enable_grad():
        here = x.detach().requires_grad_()
        outputs: Tensor = network(here)

    def through_pass(values: Tensor, cotangents: Tensor) -> Tensor:
        with torch.enable_grad():
            return torch.autograd.grad(values, here, cotangents, create_graph=wanted, retain_graph=True)[0]

    return outputs, through_pass


def squared_jacobian(outputs: Tensor, pull: Pull, draws: int, generator: Generator | None) -> Tensor:
    """Return Σ_k ‖∂f_k/∂x_n‖² of each example.

    With draws m > 0 it is the mean of ‖Jᵀ s‖² over m random sign vectors s, whose expectation that sum is (Hutchinson).

    Returns:
        ``(N,)``.
    """
    flat = outputs.flatten(1)
    total = flat.new_zeros(len(flat))
    if draws:
        for _ in range(draws):
            cotangents = signs(tuple(outputs.shape), outputs, generator)
            total = total + pull(outputs, cotangents).flatten(1).square().sum(1)
        return total / draws
    for k in range(flat.shape[1]):
        cotangents = torch.zeros_like(flat)
        cotangents[:, k] = 1.0
        total = total + pull(outputs, cotangents.reshape(outputs.shape)).flatten(1).square().sum(1)
    return total


def first_linear(network: nn.Module) -> nn.Linear | None:
    """Return the affine layer that a chain begins with, behind ``Flatten`` at most, or None."""
    if not is_chain(network):
        return None
    for layer in chain(network):
        if type(layer) is nn.Linear and not (layer._forward_hooks or layer._forward_pre_hooks):
            return layer
        if not isinstance(layer, nn.Flatten | nn.Identity):
            return None
    return None


def _edge(outputs: Tensor, layer: nn.Linear) -> GradientEdge | None:
    """Return the place in the graph of ``outputs`` where the gradient by the layer's output arrives.

    It is known by the layer's bias, which PyTorch's product-and-sum node adds. None where the graph is another one: the
    pass was compiled, made in pieces, without a bias, or more than once.
    """
    if outputs.grad_fn is None or layer.bias is None:
        return None
    found: list[Any] = []
    seen: set[Any] = {outputs.grad_fn}
    waiting: list[Any] = [outputs.grad_fn]
    while waiting:
        node = waiting.pop()
        for parent, _ in node.next_functions:
            if parent is None:
                continue
            if getattr(parent, "variable", None) is layer.bias:
                found.append(node)
            if parent not in seen:
                seen.add(parent)
                waiting.append(parent)
    if len(found) != 1 or found[0].name() != "AddmmBackward0":
        return None
    return GradientEdge(found[0], 0)
