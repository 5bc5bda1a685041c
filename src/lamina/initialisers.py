"""Starting weights: every scheme by name, filled in place from a generator, with the fans that the layer really has.

    small            W_ij ~ N(0, 0.01²)                   small numbers that break the symmetry between units
    xavier           W_ij ~ N(0, 1 / in)                  keeps the variance of a linear layer's signal
    uniform          W_ij ~ U(-1/√in, 1/√in)              heuristic, Var W = 1 / (3 in)
    glorot           W_ij ~ U(-a, a), a² = 6 / (in + out) between keeping the signal's and the gradient's variance
    he               W_ij ~ N(0, 2 / in)                  keeps the mean square of the signal through ReLU
    he_fan_out       W_ij ~ N(0, 2 / out)                 keeps the mean square of the gradient through ReLU
    uniform_2.4      W_ij ~ U(-2.4/in, 2.4/in)            far too small for wide layers; see ``uniform_2_4``
    sparse           15 weights a unit ~ N(0, 1), else 0  a unit's input does not grow or shrink with in
    orthogonal       W Wᵀ = I or Wᵀ W = I                 keeps every length (where the matrix is square)
    zero             W_ij = 0                             for a branch that starts as nothing

``in`` and ``out`` are the connections into an output and out of an input; see ``fans``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import parametrize

from lamina.errors import ConfigError, nearest

Rule = Callable[[Tensor, float, float, Generator | None], object]
"""``rule(weight, fan_in, fan_out, generator)`` fills a ``(units, inputs)`` matrix in place."""

Scheme = str | Rule
"""A name in ``SCHEMES``, or a rule: ``"he"``, ``gaussian(0.1)``, ``sparse(5)``."""


def gaussian(std: float = 0.01) -> Rule:
    """Return the rule W_ij ~ N(0, std²): small random weights, whatever the size of the layer.

    Args:
        std: Standard deviation, above 0.

    Returns:
        The rule.

    Raises:
        ConfigError: If ``std`` is not a finite number above 0.
    """
    if not (math.isfinite(std) and std > 0):
        raise ConfigError(
            f"std must be a finite number above 0, got {std!r}", where="gaussian", mend='use 0.01, or the scheme "zero"'
        )
    return lambda weight, fan_in, fan_out, generator: weight.normal_(0.0, std, generator=generator)


def sparse(k: int = 15, std: float = 1.0) -> Rule:
    """Return the rule that gives each unit k weights ~ N(0, std²) at random places and zeros elsewhere.

    A unit with fewer than k inputs gets all of them. The size of a unit's input is about std √k, whatever ``in`` is.

    Args:
        k: Non-zero weights a unit, at least 1.
        std: Standard deviation of those, above 0.

    Returns:
        The rule.

    Raises:
        ConfigError: If ``k`` is no whole number of at least 1 or ``std`` no finite number above 0.

    Reference: Martens, "Deep Learning via Hessian-free Optimization", ICML 2010, section 5. There k = 15.
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ConfigError(f"k must be a whole number of at least 1, got {k!r}", where="sparse", mend="use 15")
    if not (math.isfinite(std) and std > 0):
        raise ConfigError(f"std must be a finite number above 0, got {std!r}", where="sparse", mend="use 1.0")

    def rule(weight: Tensor, fan_in: float, fan_out: float, generator: Generator | None) -> Tensor:
        units, inputs = weight.shape
        # The k largest of independent uniform numbers are a uniformly random set of k places.
        places = torch.rand(units, inputs, generator=generator, device=weight.device).topk(min(k, inputs), dim=1)
        values = torch.empty(places.indices.shape, dtype=weight.dtype, device=weight.device)
        return weight.zero_().scatter_(1, places.indices, values.normal_(0.0, std, generator=generator))

    return rule


def xavier(weight: Tensor, fan_in: float, fan_out: float, generator: Generator | None) -> None:
    """Fill with N(0, 1 / in), so that y = W x has the variance of x where x has mean 0 and independent elements."""
    weight.normal_(0.0, math.sqrt(1.0 / fan_in), generator=generator)


def uniform(weight: Tensor, fan_in: float, fan_out: float, generator: Generator | None) -> None:
    """Fill with U(-1/√in, 1/√in), of standard deviation 1 / √(3 in): a linear layer divides the variance by 3."""
    bound = math.sqrt(1.0 / fan_in)
    weight.uniform_(-bound, bound, generator=generator)


def glorot(weight: Tensor, fan_in: float, fan_out: float, generator: Generator | None) -> None:
    """Fill with U(-a, a), a² = 6 / (in + out): Glorot & Bengio, AISTATS 2010, eq. 16, the normalised initialisation."""
    bound = math.sqrt(6.0 / (fan_in + fan_out))
    weight.uniform_(-bound, bound, generator=generator)


def he(weight: Tensor, fan_in: float, fan_out: float, generator: Generator | None) -> None:
    """Fill with N(0, 2 / in): He et al., "Delving Deep into Rectifiers", ICCV 2015, eq. 10."""
    weight.normal_(0.0, math.sqrt(2.0 / fan_in), generator=generator)


def he_fan_out(weight: Tensor, fan_in: float, fan_out: float, generator: Generator | None) -> None:
    """Fill with N(0, 2 / out): He et al., ICCV 2015, eq. 14."""
    weight.normal_(0.0, math.sqrt(2.0 / fan_out), generator=generator)


def uniform_2_4(weight: Tensor, fan_in: float, fan_out: float, generator: Generator | None) -> None:
    """Fill with U(-2.4/in, 2.4/in), a rule of thumb of old textbooks.

    Warning: its standard deviation, 2.4 / (in √3), falls as 1/in, where 1/√in would keep the variance. The two agree at
    in ≈ 2; with 1,000 inputs a layer divides the signal by 23. It is here by name, to be compared with; use ``xavier``,
    ``glorot`` or ``he``.
    """
    weight.uniform_(-2.4 / fan_in, 2.4 / fan_in, generator=generator)


def orthogonal(weight: Tensor, fan_in: float, fan_out: float, generator: Generator | None) -> None:
    """Fill with orthonormal rows, or columns where there are more rows: Saxe et al., ICLR 2014."""
    nn.init.orthogonal_(weight, generator=generator)


def zero(weight: Tensor, fan_in: float, fan_out: float, generator: Generator | None) -> None:
    """Fill with zeros; nothing is drawn."""
    weight.zero_()


SCHEMES: dict[str, Rule] = {
    "glorot": glorot,
    "he": he,
    "he_fan_out": he_fan_out,
    "orthogonal": orthogonal,
    "small": gaussian(),
    "sparse": sparse(),
    "uniform": uniform,
    "uniform_2.4": uniform_2_4,
    "xavier": xavier,
    "zero": zero,
}


def find_rule(scheme: Scheme) -> Rule:
    """Return the rule of a name, or the rule itself.

    Returns:
        The rule.

    Raises:
        ConfigError: If no scheme has the name.
    """
    if not isinstance(scheme, str):
        return scheme
    if scheme not in SCHEMES:
        raise ConfigError(
            f'unknown scheme of starting weights "{scheme}"{nearest(scheme, list(SCHEMES))}',
            where="initialisers",
            mend=f"choose one of {', '.join(SCHEMES)}",
        )
    return SCHEMES[scheme]


class Fans(NamedTuple):
    """How many connections lead into an output, and out of an input, on average, borders apart."""

    fan_in: float
    fan_out: float


@torch.no_grad()
def fill(
    weight: Tensor,
    scheme: Scheme = "he",
    generator: Generator | None = None,
    *,
    gates: int = 1,
    fan_in: float | None = None,
    fan_out: float | None = None,
) -> Tensor:
    """Draw a weight in place.

    Args:
        weight: ``(units, inputs)``, or ``(units, channels, *kernel)`` of a convolution. With ``gates`` above 1 that
            many matrices lie one below the other, as in PyTorch's recurrent layers, and each is drawn for itself.
        scheme: A name in ``SCHEMES``, or a rule.
        generator: Source of the numbers, on the weight's device; None is PyTorch's default generator.
        gates: Stacked matrices.
        fan_in: Connections into a unit; None is channels times the size of the kernel.
        fan_out: Connections out of an input; None is units (of one gate) times the size of the kernel. ``initialise``
            knows those of grouped, strided and transposed convolutions.

    Returns:
        ``weight``.

    Raises:
        ConfigError: If the scheme is unknown, the weight has fewer than two axes or an empty one, or the gates do not
            divide its rows.
    """
    rule = find_rule(scheme)
    rows = weight.shape[0] if weight.ndim else 0
    if weight.ndim < 2 or weight.numel() == 0 or gates < 1 or rows % gates:
        raise ConfigError(
            f"a weight of shape {tuple(weight.shape)} cannot be read as {gates} matrices of units and inputs",
            where="fill",
            mend="give (units, inputs) or (units, channels, *kernel), the rows a multiple of gates",
        )
    kernel = math.prod(weight.shape[2:])
    into = float(weight.shape[1] * kernel) if fan_in is None else fan_in
    out_of = float(rows // gates * kernel) if fan_out is None else fan_out
    for gate in weight.chunk(gates):
        matrix = gate.view(gate.shape[0], -1) if gate.is_contiguous() else torch.empty_like(gate.flatten(1))
        rule(matrix, into, out_of, generator)
        if not gate.is_contiguous():
            gate.copy_(matrix.view(gate.shape))
    return weight


class Weight(NamedTuple):
    """A weight of a layer and how it is to be filled; ``rule`` is one that holds whatever the scheme."""

    name: str
    fans: Fans
    gates: int = 1
    rule: Rule | None = None


@runtime_checkable
class OwnStart(Protocol):
    """A layer that holds its weights itself and says which are drawn, and which biases go with them."""

    def starting_weights(self) -> list[Weight]:
        """Return the weights in the order in which they are drawn."""
        ...

    def starting_biases(self) -> list[Tensor]:
        """Return the biases to be filled: parameters, or views of their parts."""
        ...


def weights_of(layer: nn.Module) -> list[Weight]:
    """Return the weights of PyTorch's affine, convolutional, bilinear and recurrent layers, with their fans.

    A layer with ``starting_weights`` (``OwnStart``: ``LowRankLinear``, ``HighwayRecurrent``) says them itself.

    A convolution's output sees channels / groups · kernel inputs, its input reaches units / groups · kernel / stride
    outputs; a transposed one is its mirror image. A recurrent weight counts one gate's units. Differs from
    ``torch.nn.init``, which overlooks groups, strides and gates and takes a transposed convolution for a plain one.

    Returns:
        One entry a weight; empty for every other module (normalisation, embeddings, activations).
    """
    if isinstance(layer, OwnStart):
        return layer.starting_weights()
    if isinstance(layer, nn.Linear):
        return [Weight("weight", Fans(layer.in_features, layer.out_features))]
    if isinstance(layer, nn.Bilinear):
        return [Weight("weight", Fans(layer.in1_features * layer.in2_features, layer.out_features))]
    if isinstance(layer, nn.modules.conv._ConvNd):
        kernel = math.prod(layer.kernel_size) / layer.groups
        near, far = layer.in_channels * kernel, layer.out_channels * kernel
        stride = math.prod(layer.stride)
        return [Weight("weight", Fans(near / stride, far) if layer.transposed else Fans(near, far / stride))]
    if isinstance(layer, nn.MultiheadAttention):
        return [
            Weight(name, Fans(tensor.shape[1], layer.embed_dim), tensor.shape[0] // layer.embed_dim)
            for name, tensor in layer.named_parameters(recurse=False)
            if name.endswith("proj_weight")
        ]
    found = []
    if isinstance(layer, nn.RNNBase | nn.RNNCellBase):
        for name, tensor in layer.named_parameters(recurse=False):
            if name.startswith("weight"):
                gates = 1 if name.startswith("weight_hr") else tensor.shape[0] // layer.hidden_size
                found.append(Weight(name, Fans(tensor.shape[1], tensor.shape[0] // gates), gates))
    return found


@torch.no_grad()
def initialise(
    module: nn.Module, scheme: Scheme = "he", generator: Generator | None = None, *, bias: float | None = 0.0
) -> tuple[str, ...]:
    """Draw all weights of a network anew, in the order of its layers.

    Fills PyTorch's affine, convolutional, bilinear and recurrent layers and attention, and lamina's ``LowRankLinear``
    and ``HighwayRecurrent``, wherever they stand in the network; a weight that two layers share is drawn once.

    Left as they are: normalisation, embeddings, the centres of ``RBF`` (points among the inputs, and no weights of a
    sum: fans say nothing about their size), Boltzmann machines and other parameters that a module holds itself. The
    returned names are all that was drawn: compare them with ``module.named_parameters()``.

    Args:
        module: The network.
        scheme: A name in ``SCHEMES``, or a rule.
        generator: Source of the numbers, on the weights' device; None is PyTorch's default generator.
        bias: Every bias of those layers; 0.1 lets most ReLUs start active. A recurrent layer, which adds two, gets it
            in the first (``bias_ih``) and 0 in the second; ``HighwayRecurrent`` gets it in b and keeps its gate's b₁.
            The gate of ``Highway`` is an affine layer like any other. None leaves the biases as they are.

    Returns:
        The names of the weights that were drawn.

    Raises:
        ConfigError: If the scheme is unknown, the bias not finite, or a lazy layer has no sizes yet.
    """
    rule = find_rule(scheme)
    if bias is not None and not math.isfinite(bias):
        raise ConfigError(f"bias must be a finite number, got {bias!r}", where="initialise", mend="use 0 or 0.1")
    filled: list[str] = []
    seen: set[int] = set()
    for path, layer in module.named_modules():
        if any(nn.parameter.is_lazy(p) for p in layer.parameters(recurse=False)):
            raise ConfigError(
                f'the layer "{path}" has no sizes yet', where="initialise", mend="pass one batch through the network"
            )
        found = weights_of(layer)
        for weight in found:
            parameter: Tensor = getattr(layer, weight.name)
            computed = parametrize.is_parametrized(layer, weight.name)
            if id(parameter) in seen and not computed:
                continue
            seen.add(id(parameter))
            transposed = isinstance(layer, nn.modules.conv._ConvNd) and layer.transposed
            groups: int = layer.groups if transposed else 1
            drawer = weight.rule or rule
            options: dict[str, Any] = {"gates": weight.gates, **weight.fans._asdict()}
            if transposed:
                # Stored (inputs, units / groups, *kernel): drawn with a row a unit, group by group.
                inputs, units, *kernel = parameter.shape
                drawn = parameter.new_empty(groups * units, inputs // groups, *kernel)
                fill(drawn, drawer, generator, **options)
                drawn = drawn.view(groups, units, inputs // groups, *kernel).transpose(1, 2)
                set_parameter(layer, weight.name, drawn.reshape(parameter.shape))
            elif computed:
                set_parameter(layer, weight.name, fill(torch.empty_like(parameter), drawer, generator, **options))
            else:
                fill(parameter, drawer, generator, **options)
            filled.append(f"{path}.{weight.name}" if path else weight.name)
        if found and bias is not None:
            _set_biases(layer, bias)
    return tuple(filled)


def _set_biases(layer: nn.Module, bias: float) -> None:
    if isinstance(layer, OwnStart):
        for part in layer.starting_biases():
            part.fill_(bias)
        return
    for name, parameter in layer.named_parameters(recurse=False):
        if name in {"bias", "in_proj_bias"} or name.startswith("bias_ih"):
            parameter.fill_(bias)
        elif name.startswith("bias_hh"):
            parameter.zero_()


@torch.no_grad()
def set_parameter(layer: nn.Module, name: str, value: Tensor) -> None:
    """Give a parameter new values in place; one that is computed (``torch.nn.utils.parametrize``) is solved for."""
    if parametrize.is_parametrized(layer, name):
        setattr(layer, name, value)
    else:
        getattr(layer, name).copy_(value)
