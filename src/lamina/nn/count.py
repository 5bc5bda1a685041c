"""Parameters, multiply-adds and activation memory of any module, layer by layer, without computing anything."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from lamina.errors import ConfigError


@dataclass(frozen=True)
class LayerCount:
    """What one module of a network has and does itself, its sub-modules left out.

    Attributes:
        name: As in ``named_modules()``; empty for the network itself.
        kind: The class.
        output_shape: Of the last call's first tensor; None if it was not called or returned no tensor.
        parameters: Numbers to learn; one that several modules share counts at the first.
        weights: Those of them in matrices and kernels: neither biases nor scales of normalisation.
        multiply_adds: Of matrix products and convolutions, for the whole batch.
        connections: Multiply-adds and the additions of their biases.
        elementwise: Elements that all other arithmetic (units, sums, normalisation, pooling) reads or writes, whichever
            is more.
        activation_bytes: What the layer keeps for the backward pass, parameters, the network's inputs and what an
            earlier layer keeps already left out.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...] | None
    parameters: int
    weights: int
    multiply_adds: int
    connections: int
    elementwise: int
    activation_bytes: int


@dataclass(frozen=True)
class Count:
    """The counts of a network: a row a module, and their sums as attributes; ``print`` shows a table.

    Attributes:
        layers: Modules that have parameters, do arithmetic, or have no sub-modules, in the order of
            ``named_modules()``.
    """

    layers: tuple[LayerCount, ...]

    @property
    def parameters(self) -> int:
        """All numbers to learn."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def weights(self) -> int:
        """Parameters without biases and scales: for a perceptron d·N¹ + Σ_k Nᵏ Nᵏ⁺¹ + K·Nᴸ."""
        return sum(layer.weights for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Of the forward pass of the batch; the backward pass takes about twice as many again."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def connections(self) -> int:
        """Multiply-adds and additions of biases: the connections of the drawn network, for a batch of one."""
        return sum(layer.connections for layer in self.layers)

    @property
    def elementwise(self) -> int:
        """Elements that the rest of the arithmetic reads or writes."""
        return sum(layer.elementwise for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        """What a training step keeps between the forward and the backward pass, beside parameters and inputs."""
        return sum(layer.activation_bytes for layer in self.layers)

    def __str__(self) -> str:
        head = ("layer", "kind", "output", "parameters", "multiply-adds", "elementwise", "kept bytes")
        rows = [
            (
                layer.name or "(itself)",
                layer.kind,
                "×".join(map(str, layer.output_shape)) if layer.output_shape is not None else "",
                *(f"{n:,}" for n in (layer.parameters, layer.multiply_adds, layer.elementwise, layer.activation_bytes)),
            )
            for layer in self.layers
        ]
        sums = (self.parameters, self.multiply_adds, self.elementwise, self.activation_bytes)
        table = [head, *rows, ("sum", "", "", *(f"{n:,}" for n in sums))]
        widths = [max(len(row[i]) for row in table) for i in range(len(head))]
        aligned = [
            "  ".join(cell.ljust(w) if i < 3 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths)))  # noqa: B905
            for row in table
        ]
        return "\n".join(line.rstrip() for line in aligned)


def count(module: nn.Module, example_inputs: Tensor | Sequence[Any] | Mapping[str, Any]) -> Count:
    """Count what a module has and what one forward pass of a batch does and keeps.

    The module is copied to PyTorch's ``meta`` device, where shapes are followed and nothing is computed, so that a
    network of any size is counted at once and left as it is. A module that reads its own numbers (``.item()``, packed
    sequences) cannot be followed there: a copy of it is run for real instead.

    Counted are the operations as PyTorch writes them out, without fused kernels: a recurrent layer or attention is the
    products that it is made of. The mode of the module counts (dropout keeps a mask only while training); what is kept
    is what autograd saves with gradients switched on.

    Args:
        module: Any module.
        example_inputs: A batch: the one argument, a tuple or list of them, or a mapping of keywords. Use a batch of one
            for the figures of one example.

    Returns:
        The counts, which ``print`` shows as a table.

    Raises:
        ConfigError: If the module cannot be run on these inputs.
    """
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    if isinstance(example_inputs, Mapping):
        kwargs = dict(example_inputs)
    else:
        args = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    try:
        meta_args, meta_kwargs = tree_map_only(Tensor, lambda t: t.to("meta"), (args, kwargs))
        return _followed(_copy(module, "meta"), meta_args, meta_kwargs)
    except (RuntimeError, NotImplementedError, TypeError, ValueError):  # what has no numbers cannot be read or decide
        pass
    devices = {p.device.index for p in module.parameters() if p.is_cuda}
    try:
        with torch.random.fork_rng(sorted(devices)), _unfused():
            return _followed(_copy(module, None), args, kwargs)
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        shapes = [tuple(leaf.shape) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        raise ConfigError(
            f"{type(module).__name__} cannot be run on inputs of shapes {shapes}: {str(error).splitlines()[0]}",
            where="count",
            mend="give a batch as the module takes it",
        ) from error


def _copy(module: nn.Module, device: str | None) -> nn.Module:
    """Return a deep copy with its parameters and buffers on a device, whose numbers are not copied to ``meta``."""
    memo: dict[int, Any] = {}
    if device is not None:
        for parameter in module.parameters():
            memo[id(parameter)] = nn.Parameter(parameter.detach().to(device), parameter.requires_grad)
        for buffer in module.buffers():
            memo[id(buffer)] = buffer.to(device)
    return copy.deepcopy(module, memo)


@contextmanager
def _unfused() -> Iterator[None]:
    """Let recurrent layers and attention run as the products that they are made of."""
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        stack.enter_context(torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH))
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)


@dataclass
class _Tally:
    """What a module did so far."""

    multiply_adds: int = 0
    bias_adds: int = 0
    elementwise: int = 0
    kept: int = 0
    output_shape: tuple[int, ...] | None = None


@dataclass
class _Ledger:
    """Where the pass is, and what each module did."""

    tallies: dict[str, _Tally]
    inside: list[str] = field(default_factory=lambda: [""])
    seen: dict[int, Any] = field(default_factory=dict)  # storages by address, held so that none is used again

    @property
    def now(self) -> _Tally:
        return self.tallies[self.inside[-1]]

    def keep(self, tensor: Tensor) -> Tensor:
        """Note a tensor that autograd saves.

        Returns:
            The tensor.
        """
        storage = tensor.untyped_storage()
        if storage._cdata not in self.seen:
            self.seen[storage._cdata] = storage
            self.now.kept += storage.nbytes()
        return tensor


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees each operation as it is dispatched."""

    def __init__(self, ledger: _Ledger) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ledger = ledger

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        packet, tally = func.overloadpacket, self.ledger.now
        if packet in _PRODUCTS:
            products, bias = _PRODUCTS[packet](args, out)
            tally.multiply_adds += products
            tally.bias_adds += bias
        elif not (func.is_view or packet in _MOVES or func.namespace != "aten"):
            tensors = (leaf for leaf in tree_leaves((args, out)) if isinstance(leaf, Tensor))
            tally.elementwise += max((t.numel() for t in tensors if t.is_floating_point()), default=0)
        return out


def _followed(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Count:
    """Run a copy of the module under watch.

    Returns:
        Its counts.
    """
    named = dict(module.named_modules())
    ledger = _Ledger({name: _Tally() for name in named})
    for tensor in (*module.parameters(), *module.buffers(), *tree_leaves((args, kwargs))):
        if isinstance(tensor, Tensor):
            ledger.seen[tensor.untyped_storage()._cdata] = tensor.untyped_storage()

    def enter(name: str) -> Callable[..., None]:
        return lambda *_: ledger.inside.append(name)

    def leave(_: nn.Module, inputs: Any, output: Any) -> None:
        first = next((leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)), None)
        ledger.now.output_shape = None if first is None else tuple(first.shape)
        ledger.inside.pop()

    for name, part in named.items():
        part.register_forward_pre_hook(enter(name), prepend=False)
        part.register_forward_hook(leave, prepend=True)
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(ledger.keep, lambda t: t), _Watch(ledger):
        module(*args, **kwargs)

    counted: set[int] = set()
    rows = []
    for name, part in named.items():
        own = [p for p in part.parameters(recurse=False) if id(p) not in counted]
        counted |= {id(p) for p in own}
        tally = ledger.tallies[name]
        if own or tally.multiply_adds or tally.elementwise or not any(part.children()):
            rows.append(
                LayerCount(
                    name,
                    type(part).__name__,
                    tally.output_shape,
                    sum(p.numel() for p in own),
                    sum(p.numel() for p in own if p.ndim > 1),
                    tally.multiply_adds,
                    tally.multiply_adds + tally.bias_adds,
                    tally.elementwise,
                    tally.kept,
                )
            )
    return Count(tuple(rows))


def _mm(args: Any, out: Tensor) -> tuple[int, int]:
    return out.numel() * args[0].shape[-1], 0


def _addmm(args: Any, out: Tensor) -> tuple[int, int]:
    return out.numel() * args[1].shape[-1], out.numel()


def _convolution(args: Any, out: Tensor) -> tuple[int, int]:
    # Each output of a convolution reads, and each input of a transposed one is spread over, the kernel of one group.
    x, weight, bias, transposed = args[0], args[1], args[2], args[6]
    moved = x if transposed else out
    return moved.numel() * math.prod(weight.shape[1:]), 0 if bias is None else out.numel()


def _attention(args: Any, out: Any) -> tuple[int, int]:
    # The products with the keys and with the values, in a kernel that does both.
    query, key, value = args[:3]
    return math.prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1]), 0


def _lstm_on_cpu(args: Any, out: Any) -> tuple[int, int]:
    x, input_weight, recurrent_weight, *biases = args[:5]
    steps = x.shape[0] * x.shape[1]
    return steps * (input_weight.numel() + recurrent_weight.numel()), steps * sum(bias.numel() for bias in biases)


def _trilinear(args: Any, out: Any) -> tuple[int, int]:
    shapes = []
    for tensor, axes in zip(args[:3], args[3:6], strict=True):
        shape = list(tensor.shape)
        for axis in axes:
            shape.insert(axis, 1)
        shapes.append(shape)
    return math.prod(max(sizes) for sizes in zip(*shapes, strict=True)), 0


_aten = torch.ops.aten
_PRODUCTS: dict[Any, Callable[[Any, Any], tuple[int, int]]] = {
    _aten.mm: _mm,
    _aten.bmm: _mm,
    _aten.mv: _mm,
    _aten.dot: lambda args, out: (args[0].numel(), 0),
    _aten.addmm: _addmm,
    _aten.addmv: _addmm,
    _aten.baddbmm: _addmm,
    _aten.convolution: _convolution,
    _aten.mkldnn_rnn_layer: _lstm_on_cpu,
    _aten._trilinear: _trilinear,
    _aten._scaled_dot_product_flash_attention: _attention,
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    _aten._scaled_dot_product_efficient_attention: _attention,
    _aten._scaled_dot_product_cudnn_attention: _attention,
}
# Operations that only make, move or look up numbers.
_MOVES = {
    *(_aten.empty, _aten.empty_like, _aten.empty_strided, _aten.new_empty, _aten.zeros, _aten.zeros_like),
    *(_aten.new_zeros, _aten.ones, _aten.ones_like, _aten.full, _aten.full_like, _aten.new_full, _aten.arange),
    *(_aten.scalar_tensor, _aten.clone, _aten.copy_, _aten._to_copy, _aten._unsafe_view, _aten.cat, _aten.stack),
    *(_aten.embedding, _aten.index, _aten.index_select, _aten.gather, _aten.constant_pad_nd, _aten.unsafe_split),
    *(_aten.unsafe_split_with_sizes, _aten.zero_, _aten.fill_, _aten.triu, _aten.tril, _aten.repeat, _aten.roll),
    *(_aten.flip, _aten._local_scalar_dense),
}
