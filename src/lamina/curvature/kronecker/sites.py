"""Which parameters of which modules have a Kronecker-factored block, and the blocks that they form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from lamina.curvature.kronecker.block import Block
from lamina.errors import ConfigError
from lamina.nn import ColumnEmbedding, LowRankLinear
from lamina.nn.tied_linear import TiedLinear

Kind = Literal[
    "affine", "convolution", "transposed", "embedding", "bag", "normalisation", "recurrent", "low_rank", "columns"
]

AFFINE = (nn.Linear,)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (TiedLinear, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NORMALISATIONS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
EMBEDDINGS = ("embedding", "bag")
CELLS = (nn.RNNCell, nn.LSTMCell, nn.GRUCell)
SEQUENCES = (nn.RNN, nn.LSTM, nn.GRU)
WIDEST_SCALE = 512  # scales and shifts of a layer that share one full matrix; more are taken by their diagonal


@dataclass(frozen=True)
class Site:
    """A place where a module multiplies by a weight: the weight's and bias's own names, None where there is none."""

    layer: str
    module: nn.Module
    kind: Kind
    weight: str | None
    bias: str | None


def sites_of(model: nn.Module) -> Iterator[Site]:
    """Find the places of all supported modules.

    Yields:
        One for each weight.
    """
    inside = {
        id(part) for module in model.modules() if isinstance(module, nn.MultiheadAttention) for part in module.modules()
    }  # attention calls its projections by function, where no hook sees them
    for layer, module in model.named_modules():
        if id(module) not in inside:
            yield from _sites(layer, module)


def _sites(layer: str, module: nn.Module) -> Iterator[Site]:
    own = dict(module.named_parameters(recurse=False))

    def named(name: str) -> str | None:
        return name if name in own else None

    if isinstance(module, SEQUENCES):
        for key in own:
            if key.startswith("weight"):
                yield Site(layer, module, "recurrent", key, named(key.replace("weight", "bias", 1)))
    elif isinstance(module, CELLS):
        for side in ("ih", "hh"):
            yield Site(layer, module, "recurrent", f"weight_{side}", named(f"bias_{side}"))
    elif isinstance(module, LowRankLinear):
        yield Site(layer, module, "low_rank", "v", None)
        yield Site(layer, module, "low_rank", "u", named("bias"))
    elif isinstance(module, TRANSPOSED):  # what the bias is added to is not what the weight's rows are
        yield Site(layer, module, "transposed", named("weight"), None)
        yield Site(layer, module, "transposed", None, named("bias"))
    elif isinstance(module, ColumnEmbedding):
        yield Site(layer, module, "columns", "weight", None)
    else:
        for kind, types in _PLAIN.items():
            if isinstance(module, types) and (named("weight") or named("bias")):
                yield Site(layer, module, kind, named("weight"), named("bias"))  # type: ignore[arg-type]


_PLAIN: dict[str, tuple[type[nn.Module], ...]] = {
    "affine": AFFINE,
    "convolution": CONVOLUTIONS,
    "embedding": (nn.Embedding,),
    "bag": (nn.EmbeddingBag,),
    "normalisation": NORMALISATIONS,
}


@dataclass(frozen=True)
class Plan:
    """The blocks by name, and for each parameter of a site (layer, own name) the block that it belongs to."""

    blocks: dict[str, Block]
    places: dict[tuple[str, str], str]
    sites: tuple[Site, ...]


def plan(model: nn.Module, trained: Mapping[str, nn.Parameter], fallback: str | None) -> Plan:
    """Divide the trained parameters into blocks.

    A weight and its bias are one block. A bias that goes with several weights, or a weight with several biases, are
    blocks apart; a weight used by several layers is one block, to which each use contributes, as it is or transposed:
    affine layers, embeddings and ``TiedLinear``, or convolutions and transposed ones of as many groups.

    Args:
        model: The network.
        trained: Its parameters that a block is wanted for, by name.
        fallback: "diagonal" for parameters of layers that are not supported; None refuses them.

    Returns:
        Blocks, and where they are used.

    Raises:
        ConfigError: If a parameter belongs to no supported layer, or to layers of several kinds, without a fallback.
    """
    names = {id(p): name for name, p in trained.items()}
    sites = tuple(sites_of(model))
    pairs: dict[str, set[str | None]] = {}
    partners: dict[str, set[str]] = {}
    kinds: dict[str, set[str]] = {}
    for site in sites:
        weight, bias = _trained(site, site.weight, names), _trained(site, site.bias, names)
        for name in (weight, bias):
            if name is not None:
                kinds.setdefault(name, set()).add(_shape_kind(site, name == weight))
        if weight is not None:
            pairs.setdefault(weight, set()).add(bias)
        if bias is not None:
            partners.setdefault(bias, set()).add(weight or "")
    mixed = {name for name, found in kinds.items() if len(found) > 1}
    blocks: dict[str, Block] = {}
    places: dict[tuple[str, str], str] = {}
    for site in sites:
        weight, bias = _trained(site, site.weight, names), _trained(site, site.bias, names)
        weight, bias = (None if name in mixed else name for name in (weight, bias))
        joint = weight is not None and bias is not None and pairs[weight] == {bias} and partners[bias] == {weight}
        for name in (weight, bias):
            if name is None:
                continue
            key = weight if joint and weight is not None else name
            own = site.weight if name == weight else site.bias
            assert own is not None
            places[site.layer, own] = key
            layers = (*(blocks[key].layers if key in blocks else ()), site.layer)
            together = (weight, bias) if joint and weight is not None and bias is not None else (name,)
            layers = tuple(dict.fromkeys(layers))
            if site.kind in EMBEDDINGS and key in blocks and not blocks[key].turned:  # tied to an affine layer
                blocks[key] = replace(blocks[key], layers=layers)
            else:
                blocks[key] = _block(site, together, trained, layers, name != weight and not joint)
    left = [name for name in trained if not any(name in block.names for block in blocks.values())]
    if left and fallback is None:
        layer, _, _ = left[0].rpartition(".")
        kind = type(model.get_submodule(layer)).__name__
        shared = "is shared between layers of different kinds"
        raise ConfigError(
            f'the parameter "{left[0]}" of the layer "{layer}" '
            + (shared if left[0] in mixed else f"belongs to a {kind}, not supported"),
            where="KroneckerFactors",
            mend='pass fallback="diagonal", or freeze it by requires_grad_(False)',
        )
    for name in left:
        shape = tuple(trained[name].shape)
        blocks[name] = Block(
            (name,), (shape,), (name.rpartition(".")[0],), 1, trained[name].numel(), inputs="diagonal", outputs="none"
        )
    order = {name: place for place, name in enumerate(trained)}
    return Plan(dict(sorted(blocks.items(), key=lambda item: order[item[0]])), places, sites)


def _trained(site: Site, own: str | None, names: Mapping[int, str]) -> str | None:
    return None if own is None else names.get(id(getattr(site.module, own)))


def _shape_kind(site: Site, is_weight: bool) -> str:
    """Return what must agree between the uses of one parameter."""
    if not is_weight:
        return "shift" if site.kind == "normalisation" else "bias"
    groups = getattr(site.module, "groups", None)
    if groups is not None:
        return f"convolution of {groups} groups"
    matrix = site.kind in {"affine", "transposed", "recurrent", "low_rank", *EMBEDDINGS}
    return "matrix" if matrix else site.kind


def _block(
    site: Site, names: tuple[str, ...], trained: Mapping[str, nn.Parameter], layers: tuple[str, ...], bias_alone: bool
) -> Block:
    shapes = tuple(tuple(trained[name].shape) for name in names)
    total = sum(trained[name].numel() for name in names)
    first = shapes[0]
    if site.kind == "normalisation":
        side: Literal["full", "diagonal"] = "full" if total <= WIDEST_SCALE else "diagonal"
        return Block(names, shapes, layers, 1, total, inputs=side, outputs="none")
    if site.kind == "columns":
        return Block(names, shapes, layers, 1, total, inputs="diagonal", outputs="none")
    if site.kind in EMBEDDINGS:
        return Block(names, shapes, layers, first[1], first[0], turned=True, inputs="diagonal")
    groups = getattr(site.module, "groups", 1) if site.kind in {"convolution", "transposed"} else 1
    if bias_alone:
        return Block(names, shapes, layers, first[0], 1, groups=groups, inputs="none")
    return Block(names, shapes, layers, first[0], total // first[0], groups=groups, ones=len(names) == 2)
