"""What the settings put against over-fitting: penalties, noise while training, and what follows each update."""

from __future__ import annotations

from torch import nn

from lamina.errors import ConfigError
from lamina.nn import WeightNoise, insert_noise
from lamina.penalties import Penalty
from lamina.penalties.registry import penalty_from
from lamina.runs.settings import Settings
from lamina.training.after_step import NormConstraint, ProximalStep
from lamina.training.callback import Callback

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
        ConfigError: If rows without a target are to be learnt from and no penalty does so.
    """
    names = {line.partition(":")[0].strip() for line in settings.penalty}
    if settings.learn_unlabelled and not names & set(WITHOUT_TARGETS):
        raise ConfigError(
            "rows without a target teach nothing without a penalty that needs none",
            where="learn_unlabelled",
            mend="add --set penalty=virtual-adversarial:1",
        )
    return penalty_from(settings.penalty)


def noisy(model: nn.Module, settings: Settings) -> nn.Module:
    """Return the network as it is trained: with noise on inputs, hidden units and weights where the settings ask.

    The layers are the given ones; without noise it is the given network itself.
    """
    if settings.input_noise or settings.hidden_noise:
        model = insert_noise(model, settings.input_noise, settings.hidden_noise)
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
