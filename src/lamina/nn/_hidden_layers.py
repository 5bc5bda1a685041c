"""How the hidden layers of a perceptron are normalised, narrowed, shared and joined."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Generator, nn

from lamina.errors import ConfigError, nearest
from lamina.nn._checks import at_least
from lamina.nn.connections.highway import Highway
from lamina.nn.connections.low_rank import LowRankLinear
from lamina.nn.connections.skips import SkipConnections
from lamina.nn.residual import Residual

NORMALISATIONS = ("none", "batch", "batch-unbiased", "layer", "weight")
"""What brings the sums that a hidden unit gets to one scale."""

CONNECTIONS = ("plain", "residual", "highway", "skip")
"""How hidden layers are joined."""

Affine = nn.Linear | LowRankLinear


def check_words(hidden: Sequence[int], normalisation: str, connections: str) -> None:
    """Refuse unknown words, and hidden layers that cannot be joined so.

    Raises:
        ConfigError: If there are any.
    """
    for name, word, known in (
        ("normalisation", normalisation, NORMALISATIONS),
        ("connections", connections, CONNECTIONS),
    ):
        if word not in known:
            raise ConfigError(
                f'{name} must be one of {", ".join(known)}, got "{word}"{nearest(word, list(known))}',
                where="MLP",
                mend=f"use {name}={known[0]}",
            )
    if connections == "skip" and not hidden:
        raise ConfigError("there is no hidden layer to skip", where="MLP", mend="use hidden=128,128")
    if connections in {"residual", "highway"} and (len(hidden) < 2 or len(set(hidden)) > 1):
        raise ConfigError(
            f"{connections} connections lead around each hidden layer after the first, so all need as many units, got "
            f"{', '.join(map(str, hidden)) or 'no hidden layer'}",
            where="MLP",
            mend=f"use hidden={','.join([str(hidden[0] if hidden else 128)] * max(2, len(hidden)))}",
        )


def check_low_rank(
    shapes: Sequence[tuple[int, int]], low_rank: int, *, normalisation: str, activation: str, own_maps: bool
) -> None:
    """Refuse a bottleneck that the hidden layers cannot have, or that is none.

    Args:
        shapes: Inputs and units of each layer.
        low_rank: Its width.
        normalisation: One of ``NORMALISATIONS``.
        activation: Of the units, for the message.
        own_maps: Whether these units bring their affine maps with them.

    Raises:
        ConfigError: If so.
    """
    at_least(1, owner="MLP", low_rank=low_rank)
    if normalisation == "weight":
        raise ConfigError(
            "weight normalisation is of a unit's weights, and a low-rank layer has two factors in their place",
            where="MLP",
            mend="use normalisation=layer, or leave out low_rank",
        )
    if own_maps:
        raise ConfigError(
            f"{activation} units come with affine maps of their own, not with low-rank ones",
            where="MLP",
            mend="use activation=relu, or leave out low_rank",
        )
    widest = max(map(min, shapes), default=0)
    if low_rank >= widest:
        raise ConfigError(
            f"a bottleneck of {low_rank} narrows no hidden layer: the smaller side of a weight is at most {widest}",
            where="MLP",
            mend=f"use low_rank={max(1, widest // 4)}" if widest > 1 else "leave out low_rank",
        )


def first_of(shared: Sequence[Sequence[int]], n: int) -> dict[int, int]:
    """Find the groups.

    Returns:
        For each layer that stands later in a group, the first of its group.

    Raises:
        ConfigError: If a group is no group of hidden layers, or two share one.
    """
    groups = [sorted(set(group)) for group in shared]
    every = [k for group in groups for k in group]
    once = len(set(every)) == len(every) and set(every) <= set(range(1, n + 1))
    if not once or any(len(group) < 2 for group in groups):
        raise ConfigError(
            f"shared must name groups of at least two of the {n} hidden layers, each once, got "
            f"{', '.join('+'.join(map(str, group)) for group in shared)}",
            where="MLP",
            mend="for instance 2+3: the second and the third",
        )
    return {k: group[0] for group in groups for k in group[1:]}


def share(one: Affine, other: Affine, first: int, k: int) -> None:
    """Give a layer the parameters of another.

    Args:
        one: The layer that keeps its own.
        other: The layer that gets them.
        first: Number of the one.
        k: Number of the other.

    Raises:
        ConfigError: If their shapes differ.
    """
    # Two modules with the same parameters, and not one module twice: ``named_children`` gives each module once.
    theirs, ours = dict(one.named_parameters()), dict(other.named_parameters())
    if {name: p.shape for name, p in theirs.items()} != {name: p.shape for name, p in ours.items()}:
        raise ConfigError(
            f"hidden layers {first} and {k} cannot share weights of shapes {tuple(one.weight.shape)} and "
            f"{tuple(other.weight.shape)}",
            where="MLP",
            mend="give them as many inputs and as many units",
        )
    for name, parameter in theirs.items():
        path, _, last = name.rpartition(".")
        setattr(other.get_submodule(path), last, parameter)


def connected(
    blocks: Sequence["OrderedDict[str, nn.Module]"],
    connections: str,
    sizes: Sequence[int],
    generator: Generator | None,
) -> "OrderedDict[str, nn.Module]":
    """Join hidden layers.

    Args:
        blocks: The modules of each hidden layer.
        connections: One of ``CONNECTIONS``.
        sizes: Inputs, and units of each layer.
        generator: Source of the gates' weights.

    Returns:
        The modules of a chain.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if connections == "skip":
        skips = [(0, target) for target in range(2, len(blocks) + 2)]
        layers["skips"] = SkipConnections([nn.Sequential(block) for block in blocks], skips, "concat")
        return layers
    for k, block in enumerate(blocks, start=1):
        if connections == "plain" or k == 1:
            layers.update(block)
        elif connections == "residual":
            layers[f"residual{k}"] = Residual(nn.Sequential(block))
        else:
            layers[f"highway{k}"] = Highway(sizes[k], nn.Sequential(block), generator=generator)
    return layers
