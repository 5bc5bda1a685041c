"""A network linearised where it stands: its Jacobian, ready to be applied either way as often as wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn.attention import SDPBackend, sdpa_kernel

from lamina.curvature._vectors import Tensors
from lamina.errors import ConfigError

_WRONG_TWICE = "WeightNormInterfaceBackward0"


@contextmanager
def twice_differentiable(model: nn.Module) -> Iterator[None]:
    """Choose the operations that can be differentiated again: attention in plain steps, recurrent nets without cuDNN.

    Args:
        model: The network that will be run.

    Yields:
        Nothing.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.enable_grad())
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if any(isinstance(module, nn.RNNBase) for module in model.modules()):
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        yield


class Linearised:
    """J = ∂f/∂θ, from the graph of one pass forward.

    ``pull`` is back-propagation. ``push`` is back-propagation through back-propagation: uᵀJ is linear in u, and its
    derivative by u along v is J v, whatever u is. So J v is exact wherever an operation has a second derivative in
    PyTorch, needs no rule of forward mode, and goes once through the layers that are in the graph already.

    Args:
        outputs: f(θ), with its graph.
        named: θ, the tensors of that graph.
    """

    def __init__(self, outputs: Tensor, named: Mapping[str, Tensor]) -> None:
        self._outputs, self._named = outputs, dict(named)
        self._direction: Tensor | None = None
        self._pulled: list[Tensor | None] = []

    def push(self, vector: Mapping[str, Tensor]) -> Tensor:
        """Return J v, of the outputs' shape."""
        if self._direction is None:  # once: the pass back, as a function of what comes in
            self._direction = torch.zeros_like(self._outputs, requires_grad=True)
            with torch.enable_grad():
                self._pulled = list(
                    torch.autograd.grad(
                        self._outputs,
                        list(self._named.values()),
                        self._direction,
                        create_graph=True,
                        allow_unused=True,
                    )
                )
        pairs = [(g, vector[name]) for name, g in zip(self._named, self._pulled, strict=True) if depends(g)]
        if not pairs:
            return torch.zeros_like(self._outputs)
        (moved,) = torch.autograd.grad([g for g, _ in pairs], self._direction, [v for _, v in pairs], retain_graph=True)
        return moved

    def pull(self, cotangent: Tensor) -> Tensors:
        """Return uᵀ J, one tensor a parameter."""
        return pulled(self._outputs, self._named, cotangent)


def pulled(outputs: Tensor, named: Mapping[str, Tensor], cotangent: Tensor | None = None) -> Tensors:
    """Return the gradient of Σ u ⊙ outputs, 0 for a parameter without effect; the graph is kept."""
    found = torch.autograd.grad(outputs, list(named.values()), cotangent, retain_graph=True, allow_unused=True)
    return filled(found, named)


def filled(found: tuple[Tensor | None, ...], named: Mapping[str, Tensor]) -> Tensors:
    """Return the tensors by name, 0 where there is none."""
    return {name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(named.items(), found, strict=True)}


class SecondDerivative:
    """∇²L of a scalar, from its graph: back-propagation through the gradient.

    Args:
        scalar: L, with its graph.
        named: θ, the tensors of that graph.
        where: Who asks, for the message.

    Raises:
        ConfigError: If the graph holds an operation whose second derivative is wrong in PyTorch.
    """

    def __init__(self, scalar: Tensor, named: Mapping[str, Tensor], where: str) -> None:
        self._named = dict(named)
        self._gradient: list[Tensor | None] = []
        if not depends(scalar):
            return
        _refuse_wrong(scalar, where)
        with torch.enable_grad():
            self._gradient = list(
                torch.autograd.grad(scalar, list(named.values()), create_graph=True, allow_unused=True)
            )

    def __call__(self, vector: Mapping[str, Tensor]) -> Tensors:
        """Return ∇²L v, one tensor a parameter."""
        pairs = [(g, vector[name]) for name, g in zip(self._named, self._gradient, strict=False) if depends(g)]
        if not pairs:
            return {name: torch.zeros_like(p) for name, p in self._named.items()}
        found = torch.autograd.grad(
            [g for g, _ in pairs],
            list(self._named.values()),
            [v for _, v in pairs],
            retain_graph=True,
            allow_unused=True,
        )
        return filled(found, self._named)


def depends(tensor: Tensor | None) -> TypeGuard[Tensor]:
    """Return whether there is a tensor with something to differentiate."""
    return tensor is not None and tensor.requires_grad


def edges_to_leaves(tensor: Tensor) -> dict[Tensor, int]:
    """Return how many operations of a tensor's graph use each of its leaves directly."""
    uses: dict[Tensor, int] = {}
    for node in _nodes(tensor):
        for following, _ in node.next_functions:
            leaf = getattr(following, "variable", None)
            if leaf is not None:
                uses[leaf] = uses.get(leaf, 0) + 1
    return uses


def _nodes(tensor: Tensor) -> Iterator[Node]:
    """Give every operation of a tensor's graph once.

    Yields:
        Nodes, the last operation first.
    """
    seen, waiting = set(), [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting += [following for following, _ in node.next_functions]


def _refuse_wrong(scalar: Tensor, where: str) -> None:
    """Refuse PyTorch's weight normalisation, whose second derivative leaves out how ‖V‖ changes with V (2.13).

    Raises:
        ConfigError: If the graph holds it.
    """
    if any(node.name() == _WRONG_TWICE for node in _nodes(scalar)):
        raise ConfigError(
            "the second derivative of PyTorch's weight normalisation is wrong",
            where=where,
            mend="use lamina.nn.weight_norm, or curvature of kind gauss-newton",
        )
