"""Transfer: start from a trained network's weights, with parts that stand still or learn more slowly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lamina.errors import ConfigError, nearest
from lamina.training.backprop import parameter_groups


@dataclass(frozen=True)
class Transfer:
    """What ``initialise_from`` did, name by name.

    Attributes:
        copied: Parameters and buffers that now equal the source's.
        skipped: Left as they were because the caller said so.
        absent: Of the network, but not of the source: still as they were drawn.
        reshaped: Of both, with different shapes: still as they were drawn.
        unused: Of the source, but not of the network.
    """

    copied: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    reshaped: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


@torch.no_grad()
def initialise_from(
    model: nn.Module, source: nn.Module | Mapping[str, Tensor], *, skip: tuple[str, ...] = ()
) -> Transfer:
    """Copy the weights of a learned model, of the same or a related task, where names and shapes agree.

    Buffers (running statistics, the scaling of pixels) are copied too: the layers behind them were learned with them.
    Element types and devices stay the network's.

    Args:
        model: The network that is to learn; changed in place.
        source: A trained module, or its ``state_dict()``.
        skip: Parts of ``model`` that keep their random start, by name: ``("output",)`` for another task.

    Returns:
        What was copied and what was not.

    Raises:
        ConfigError: If no name and shape agree, or a part to skip does not exist.

    Reference: Yosinski et al., "How Transferable Are Features in Deep Neural Networks?", NeurIPS 2014.
    """
    theirs = source.state_dict() if isinstance(source, nn.Module) else source
    ours = model.state_dict()
    left = {name for part in skip for name in _matching(model, part, tuple(ours))}
    words: dict[str, list[str]] = {"copied": [], "skipped": [], "absent": [], "reshaped": []}
    for name, tensor in ours.items():
        if name in left:
            word = "skipped"
        elif name not in theirs:
            word = "absent"
        else:
            word = "copied" if theirs[name].shape == tensor.shape else "reshaped"
        words[word].append(name)
    if not words["copied"]:
        raise ConfigError(
            "no weight of the source has the name and shape of one of the network",
            where="initialise_from",
            mend=f"the network has {', '.join(list(ours)[:3])} ...; the source {', '.join(list(theirs)[:3])} ...",
        )
    for name in words["copied"]:
        ours[name].copy_(theirs[name])
    unused = [name for name in theirs if name not in ours]
    return Transfer(**{word: tuple(names) for word, names in words.items()}, unused=tuple(unused))


def freeze(model: nn.Module, *parts: str) -> tuple[str, ...]:
    """Let parts of a network stand still: no gradient, no update, no new statistics.

    The parameters get ``requires_grad = False``. The modules compute as in evaluation also while the rest trains:
    forward pre-hooks see to it, so batch normalisation's running statistics stay to the bit and there is no dropout.

    Args:
        model: The network.
        *parts: Names of modules or parameters: ``"stem"``, ``"body.stage1_block1"``, ``"linear1.weight"``.

    Returns:
        The names of all parameters in those parts.

    Raises:
        ConfigError: If the network has no such part.
    """  # noqa: DOC502
    frozen: dict[str, None] = {}
    parameters = dict(model.named_parameters())
    for part in parts:
        names = _matching(model, part, tuple(parameters))
        for name in names:
            parameters[name].requires_grad_(False)
        frozen.update(dict.fromkeys(names))
        if part not in parameters:
            hold_in_evaluation(model.get_submodule(part))
    return tuple(frozen)


def unfreeze(model: nn.Module, *parts: str) -> tuple[str, ...]:
    """Let parts of a network learn again, for fine-tuning after a first phase.

    Args:
        model: The network.
        *parts: As for ``freeze``.

    Returns:
        The names of all parameters in those parts.

    Raises:
        ConfigError: If the network has no such part.
    """  # noqa: DOC502
    thawed: dict[str, None] = {}
    parameters = dict(model.named_parameters())
    for part in parts:
        names = _matching(model, part, tuple(parameters))
        for name in names:
            parameters[name].requires_grad_(True)
        thawed.update(dict.fromkeys(names))
        if part not in parameters:
            thawing = model.get_submodule(part).train(model.training)
            for module in thawing.modules():
                hooks = module._forward_pre_hooks
                for key in [key for key, hook in hooks.items() if hook is _stay_in_evaluation]:
                    del hooks[key]
    return tuple(thawed)


def hold_in_evaluation(part: nn.Module) -> list[RemovableHandle]:
    """Make a part and all in it compute as in evaluation whatever mode the network is put into.

    Returns:
        What ends it: a handle for each module that was not held already.
    """
    return [
        module.register_forward_pre_hook(_stay_in_evaluation)
        for module in part.modules()
        if _stay_in_evaluation not in module._forward_pre_hooks.values()
    ]


def _stay_in_evaluation(module: nn.Module, inputs: Any) -> None:
    if module.training:
        module.eval()


def layers_by_depth(model: nn.Module) -> list[tuple[str, ...]]:
    """Return the names of the modules that hold parameters, layer by layer from the input on.

    A layer begins with a module whose own weight has two axes or more; what follows without one (normalisation, learnt
    activations) belongs to it. Depth is the order in which the modules were defined.

    Returns:
        One tuple of module names a layer.
    """
    layers: list[list[str]] = []
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        if own and (not layers or any(p.ndim > 1 for p in own)):
            layers.append([name])
        elif own:
            layers[-1].append(name)
    return [tuple(names) for names in layers]


def depth_factors(model: nn.Module, decay: float) -> dict[str, float]:
    """Return a learning-rate factor for each layer: decay^k for the k-th below the last, which gets 1.

    Args:
        model: The network.
        decay: In (0, 1]: how much more slowly each layer learns than the one above it, for instance 0.8.

    Returns:
        Module name to factor, for ``learning_rate_groups``.

    Raises:
        ConfigError: If ``decay`` is outside (0, 1].

    Reference: Howard & Ruder, "Universal Language Model Fine-tuning for Text Classification", ACL 2018, section 3.2;
    there the factor is 1/2.6.
    """
    if not 0.0 < decay <= 1.0:
        raise ConfigError(f"decay must be above 0 and at most 1, got {decay!r}", where="depth_factors", mend="use 0.8")
    layers = layers_by_depth(model)
    return {name: decay ** (len(layers) - 1 - k) for k, names in enumerate(layers) for name in names}


def learning_rate_groups(
    model: nn.Module, learning_rate: float, factors: Mapping[str, float], *, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Return parameter groups in which parts of the network learn more slowly (or faster) than the rest.

    Of several names that fit a parameter the longest decides; a parameter that none fits has the factor 1. Frozen
    parameters are left out. Groups come with the largest factor first, because a training's record shows the first
    group's rate. Schedules multiply every group's rate alike.

    Args:
        model: The network.
        learning_rate: Of parameters with the factor 1.
        factors: Name of a module or parameter to a factor above 0; to stop a part, ``freeze`` it.
        weight_decay: Of parameters with two axes or more; the others have none.

    Returns:
        What an optimizer takes: ``params``, ``lr`` and ``weight_decay`` of each group.

    Raises:
        ConfigError: If a factor is not above 0, a part does not exist, or nothing is left to learn.
    """
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    chosen: dict[str, float] = dict.fromkeys(parameters, 1.0)
    for part, factor in sorted(factors.items(), key=lambda item: len(item[0])):
        if not 0.0 < factor < float("inf"):
            raise ConfigError(
                f'the factor of "{part}" must be above 0, got {factor!r}',
                where="learning_rate_groups",
                mend="freeze the part instead" if factor == 0 else "use 0.1",
            )
        for name in _matching(model, part, tuple(name for name, _ in model.named_parameters())):
            if name in chosen:
                chosen[name] = factor
    if not parameters:
        raise ConfigError("every parameter is frozen", where="learning_rate_groups", mend="leave one part to learn")
    groups: list[dict[str, Any]] = []
    for factor in sorted(set(chosen.values()), reverse=True):
        members = [parameters[name] for name, own in chosen.items() if own == factor]
        groups += [{**group, "lr": learning_rate * factor} for group in parameter_groups(members, weight_decay)]
    return groups


def _matching(model: nn.Module, part: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names that are the part or lie in it.

    Returns:
        Names in the order given.

    Raises:
        ConfigError: If the network has no module, parameter or buffer of that name.
    """
    known = [name for name, _ in model.named_modules() if name] + list(names)
    if part not in known:
        raise ConfigError(
            f'the network has no part "{part}"{nearest(part, known)}',
            where=type(model).__name__,
            mend=f"its parts are {', '.join(name for name, _ in model.named_children())}",
        )
    return tuple(name for name in names if name == part or name.startswith(f"{part}."))
