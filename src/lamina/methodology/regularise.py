"""What the settings put against over-fitting: penalties, noise while training, and what follows each update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.nn import WeightNoise, insert_noise
from lamina.penalties import Penalty, TyingTo
from lamina.penalties.registry import penalty_from
from lamina.runs.lines import read_factors
from lamina.runs.pretrain_line import read_pretrain
from lamina.runs.settings import Settings
from lamina.training.after_step import NormConstraint, ProximalStep
from lamina.training.callback import Callback
from lamina.training.transfer import depth_factors, learning_rate_groups

WITHOUT_TARGETS = (
    "contractive",
    "curvature",
    "entropy",
    "manifold-tangent",
    "sparse",
    "tangent",
    "virtual-adversarial",
)
"""Penalties that an example without a target can teach by."""


def penalty_of(settings: Settings) -> Penalty | None:
    """Return the sum of the penalties that the settings name, or None.

    Raises:
        ConfigError: If rows without a target are to be learnt from, and no penalty does so nor pairs nor pre-training.
    """
    names = {line.partition(":")[0].strip() for line in settings.penalty}
    pretrained = settings.pretrain is not None and read_pretrain(settings.pretrain).greedy
    if settings.learn_unlabelled and settings.pairs == "none" and not (pretrained or names & set(WITHOUT_TARGETS)):
        raise ConfigError(
            "rows without a target teach nothing without a penalty that needs none",
            where="learn_unlabelled",
            mend="add --set penalty=virtual-adversarial:1, --set pairs=1, or --set pretrain=autoencoder",
        )
    return penalty_from(settings.penalty)


def tied(
    penalty: Penalty | None, settings: Settings, model: nn.Module, trained: nn.Module, copied: Mapping[str, Tensor]
) -> Penalty | None:
    """Add the distance to the weights that the network was started from, where the settings ask for it.

    Args:
        penalty: What there is already, or None.
        settings: Without an open choice.
        model: The network.
        trained: The same with noise around it, which may give its parameters other names.
        copied: Name in ``model`` to the weights that it was started from.

    Returns:
        The penalty.
    """
    if not settings.tie_to_start:
        return penalty
    names = {id(p): name for name, p in model.named_parameters()}
    reference = {name: copied[names[id(p)]] for name, p in trained.named_parameters() if names[id(p)] in copied}
    term = settings.tie_to_start * TyingTo(reference)
    return term if penalty is None else penalty + term


def optimizer_groups(model: nn.Module, settings: Settings, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return parameter groups in which the layers of ``slower`` have smaller rates; without it the given ones.

    Args:
        model: The network.
        settings: Without an open choice.
        groups: What the step proposes.

    Returns:
        Groups for an optimiser.
    """
    factors = read_factors(settings.slower)
    if factors is None:
        return groups
    by_name = factors if isinstance(factors, dict) else depth_factors(model, factors)
    rate, decay = settings.learning_rate or 1e-3, settings.weight_decay or 0.0
    return learning_rate_groups(model, rate, by_name, weight_decay=decay)


def noisy(model: nn.Module, settings: Settings) -> nn.Module:
    """Return the network as it is trained: with noise on inputs, hidden units and weights where the settings ask.

    The layers are the given ones; without noise it is the given network itself.
    """
    factor = settings.multiplicative_noise
    if settings.input_noise or settings.hidden_noise or factor:
        model = insert_noise(model, settings.input_noise, settings.hidden_noise, multiplicative=factor)
    return WeightNoise(model, settings.weight_noise) if settings.weight_noise else model


def without_noise(model: nn.Module) -> nn.Module:
    """Return the network that ``noisy`` was given, up to modules that do nothing in evaluation."""
    return model.module if isinstance(model, WeightNoise) else model


def after_each_update(settings: Settings) -> list[Callback]:
    """Return what changes the weights after each update: it stands before all that reads them."""
    callbacks: list[Callback] = []
    if settings.proximal:
        callbacks.append(ProximalStep(settings.proximal))
    if settings.norm_limit is not None:
        callbacks.append(NormConstraint(settings.norm_limit, settings.norm_per))
    return callbacks
