"""Weights scaled to a batch of data: every layer starts with outputs of one standard deviation."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from lamina.errors import ConfigError
from lamina.initialisers import set_parameter
from lamina.nn.connections.highway_recurrent import HighwayRecurrent
from lamina.nn.connections.low_rank import LowRankLinear

AFFINE = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd)
RECURRENT = (nn.RNN, nn.LSTM, nn.GRU)


@torch.no_grad()
def data_driven_scale(module: nn.Module, *inputs: Any, std: float = 1.0, centre: bool = False) -> dict[str, float]:
    """Rescale each weight layer so that its outputs on a batch have standard deviation ``std``, in one forward pass.

        y = W x + b over all examples, places and units;   W ← W · std / σ,   b ← b · std / σ,   σ² = Var y
        with ``centre``:   b ← (b - mean of y, unit by unit) · std / σ,   σ² the variance after centring

    The layers are met in the order in which data flow through them: a layer's outputs are corrected on their way to the
    next one, so a single pass serves any depth, however far too small or too large the weights were.

    Affine, bilinear and convolutional layers are scaled by their outputs. The outputs of a recurrent layer
    (``nn.RNN``, ``nn.LSTM``, ``nn.GRU`` and their cells) are bounded, so its scale is defined on what the input sends
    to the units before their function, W_ih x_t + b_ih, over all steps, gates together, for each layer and direction of
    a stack; W_hh, whose effect grows with the length of the sequence, is left as it is: draw it ``"orthogonal"``.
    ``HighwayRecurrent`` is scaled likewise, by W x_t + b without the bias b₁ of its gate, which is kept: how much the
    layer carries is no matter of scale. ``LowRankLinear`` is two layers, V x and U (V x) + b, one after the other.

    Layers that the pass does not call, attention's fused projections among them, stay as they are, and so do the
    centres of ``RBF``, which are no weights of a sum, and Boltzmann machines. A layer or weight used several times is
    scaled once, at the first; one whose outputs have no spread (a branch that starts at zero) is left alone.

    The pass runs without dropout; batch normalisation uses the batch's statistics where it is in training mode, and its
    running ones are put back, as are all other buffers and modes.

    What goes back through the scaled network is read by ``gradient_spread``; nothing is scaled by it.

    Differs from LSUV: one pass instead of iterations per layer (none is needed where y is linear in the weights),
    biases are scaled with their weights, the weights need not be orthogonal, recurrent layers.

    Args:
        module: The network; its weights are changed in place.
        *inputs: What ``module`` takes: a batch, large enough for a standard deviation (hundreds of examples).
        std: Wanted standard deviation, above 0.
        centre: Also bring the mean of each unit to 0, by the bias of layers that have one.

    Returns:
        The standard deviation that each layer had when the data reached it, by name, in the order of the pass: figures
        far from ``std`` show a badly scaled start. 0 where a layer was left alone.

    Raises:
        ConfigError: If ``std`` is not a finite number above 0, or a layer's outputs are not finite.

    References: Mishkin & Matas, "All You Need Is a Good Init", ICLR 2016; Goodfellow, Bengio & Courville, "Deep
    Learning", 2016, section 8.4.
    """
    if not (math.isfinite(std) and std > 0):
        raise ConfigError(
            f"std must be a finite number above 0, got {std!r}", where="data_driven_scale", mend="use 1.0"
        )
    scaler = _Scaler(std, centre)
    with probing(module), ExitStack() as stack:
        for name, layer in module.named_modules():
            if isinstance(layer, AFFINE):
                handle = layer.register_forward_hook(scaler.affine(name))
            elif isinstance(layer, RECURRENT):
                handle = layer.register_forward_pre_hook(scaler.recurrent(name), with_kwargs=True)
            elif isinstance(layer, nn.RNNCellBase):
                handle = layer.register_forward_pre_hook(scaler.cell(name))
            elif isinstance(layer, LowRankLinear):
                handle = layer.register_forward_hook(scaler.low_rank(name), with_kwargs=True)
            elif isinstance(layer, HighwayRecurrent):
                handle = layer.register_forward_pre_hook(scaler.highway(name), with_kwargs=True)
            else:
                continue
            stack.callback(handle.remove)
        module(*inputs)
    return scaler.found


class _Scaler:
    """The hooks, and what they found."""

    def __init__(self, std: float, centre: bool) -> None:
        self.std, self.centre = std, centre
        self.found: dict[str, float] = {}
        self.done: set[int] = set()

    def affine(self, name: str) -> Callable[[nn.Module, Any, Tensor], Tensor | None]:
        def hook(layer: nn.Module, inputs: Any, y: Tensor) -> Tensor | None:
            units = -1 - len(layer.kernel_size) if isinstance(layer, nn.modules.conv._ConvNd) else -1
            return self._scale(name, layer, ("weight", "bias"), y, units)

        return hook

    def cell(self, name: str) -> Callable[[nn.Module, Any], None]:
        def hook(layer: nn.Module, inputs: Any) -> None:
            self._scale_input_part(name, layer, "", inputs[0])

        return hook

    def low_rank(self, name: str) -> Callable[[LowRankLinear, Any, dict[str, Any], Tensor], Tensor | None]:
        def hook(layer: LowRankLinear, inputs: Any, named: dict[str, Any], y: Tensor) -> Tensor | None:
            x = inputs[0] if inputs else named["x"]
            middle = nn.functional.linear(x, layer.v)
            scaled = self._scale(f"{name}.v".lstrip("."), layer, ("v", ""), middle, -1)
            y = nn.functional.linear(middle if scaled is None else scaled, layer.u, layer.bias)
            return self._scale(f"{name}.u".lstrip("."), layer, ("u", "bias"), y, -1)

        return hook

    def highway(self, name: str) -> Callable[[HighwayRecurrent, Any, dict[str, Any]], None]:
        def hook(layer: HighwayRecurrent, inputs: Any, named: dict[str, Any]) -> None:
            x = inputs[0] if inputs else named["x"]
            carry = layer.bias.clone()
            carry[layer.features :] = 0.0
            set_parameter(layer, "bias", layer.bias - carry)
            full = f"{name}.weight_input".lstrip(".")
            y = nn.functional.linear(x, layer.weight_input, layer.bias)
            self._scale(full, layer, ("weight_input", "bias"), y, -1)
            set_parameter(layer, "bias", layer.bias + carry)

        return hook

    def recurrent(self, name: str) -> Callable[[nn.RNNBase, Any, dict[str, Any]], None]:
        def hook(layer: nn.RNNBase, inputs: Any, named: dict[str, Any]) -> None:
            x = inputs[0] if inputs else named["input"]
            state = inputs[1] if len(inputs) > 1 else named.get("hx")
            directions = ("", "_reverse") if layer.bidirectional else ("",)
            for k in range(layer.num_layers):
                for direction in directions:
                    suffix = f"_l{k}{direction}"
                    data = x.data if isinstance(x, PackedSequence) else x
                    self._scale_input_part(f"{name}.weight_ih{suffix}".lstrip("."), layer, suffix, data)
                if k + 1 < layer.num_layers:
                    x = _single(layer, k, directions)(x, _part(state, k, len(directions)))[0]

        return hook

    def _scale_input_part(self, name: str, layer: nn.Module, suffix: str, x: Tensor) -> None:
        names = (f"weight_ih{suffix}", f"bias_ih{suffix}")
        y = nn.functional.linear(x, getattr(layer, names[0]), getattr(layer, names[1], None))
        self._scale(name, layer, names, y, -1)

    def _scale(self, name: str, layer: nn.Module, names: tuple[str, str], y: Tensor, units: int) -> Tensor | None:
        """Scale the weight and bias (their names) that gave y, whose axis ``units`` counts the units.

        Returns:
            What the scaled layer gives, or None if it was left alone.

        Raises:
            ConfigError: If y is not finite.
        """
        weight, bias = names
        stored = layer._parameters.get(weight)  # None where the weight is computed from others
        if self.found.get(name) or id(stored) in self.done:
            return None
        old: Tensor | None = getattr(layer, bias, None)
        wide = y.double()
        mean = wide.mean(dim=[axis for axis in range(y.ndim) if axis != units % y.ndim], keepdim=True)
        if self.centre and old is not None:
            wide = wide - mean
        sigma = wide.std(correction=0).item()
        if not math.isfinite(sigma):
            raise ConfigError(
                f'the outputs of layer "{name}" are not finite numbers',
                where="data_driven_scale",
                mend="start from smaller weights, and look for infinite numbers in the batch",
            )
        # Rounding alone gives a constant some spread.
        self.found[name] = sigma = 0.0 if sigma <= 4 * torch.finfo(y.dtype).eps * y.abs().max().item() else sigma
        if sigma == 0.0:
            return None
        if stored is not None:
            self.done.add(id(stored))
        factor = self.std / sigma
        set_parameter(layer, weight, getattr(layer, weight) * factor)
        if old is not None:
            set_parameter(layer, bias, (old - mean.flatten().to(old) if self.centre else old) * factor)
        return (wide * factor).to(y.dtype)


@contextmanager
def probing(module: nn.Module) -> Iterator[None]:
    """Evaluation mode but for normalisation over the batch; modes and buffers are put back.

    Yields:
        Nothing.
    """
    modes = {part: part.training for part in module.modules()}
    buffers = {name: copy.deepcopy(buffer) for name, buffer in module.named_buffers()}
    try:
        for part in modes:
            part.training = part.training and isinstance(part, nn.modules.batchnorm._NormBase)
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
        for name, buffer in module.named_buffers():
            if name in buffers:
                buffer.copy_(buffers[name])


def _single(layer: nn.RNNBase, k: int, directions: tuple[str, ...]) -> nn.RNNBase:
    """Return the k-th layer of a recurrent stack alone, over the same weights."""
    kind = next(kind for kind in RECURRENT if isinstance(layer, kind))
    options: dict[str, Any] = {"nonlinearity": layer.nonlinearity} if isinstance(layer, nn.RNN) else {}
    if isinstance(layer, nn.LSTM):
        options["proj_size"] = layer.proj_size
    width = getattr(layer, f"weight_ih_l{k}").shape[1]
    single: nn.RNNBase = kind(
        width,
        layer.hidden_size,
        bias=layer.bias,
        batch_first=layer.batch_first,
        bidirectional=layer.bidirectional,
        device="meta",  # nothing is drawn, nothing is stored
        **options,
    )
    for direction in directions:
        for name in [n for n in single._parameters if n.endswith(f"_l0{direction}")]:
            setattr(single, name, getattr(layer, name.replace("_l0", f"_l{k}")))
    return single.eval()


def _part(state: Any, k: int, directions: int) -> Any:
    """Return the k-th layer's share of an initial state."""
    if state is None:
        return None
    rows = slice(k * directions, (k + 1) * directions)
    return tuple(s[rows] for s in state) if isinstance(state, tuple) else state[rows]
