"""The setting ``pretrain``: how the hidden layers learn before the whole network does, in one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch.optim import SGD, Optimizer

from lamina.autoencoders.autoencoder_layer import AutoencoderLayer
from lamina.autoencoders.corruption import Corruption, GaussianCorruption, Masking, SaltAndPepper
from lamina.energy.rbm_layer import RBMLayer
from lamina.errors import ConfigError, nearest, shown
from lamina.io.option_lines import options_of, read_options
from lamina.training.greedy import ByPlace, LayerLearner, Passing

Inputs = Literal["bernoulli", "gaussian"]
_Noise = Literal["masking", "salt-and-pepper", "gaussian"]
_NOISES: dict[str, Callable[[float], Corruption]] = {
    "masking": Masking,
    "salt-and-pepper": SaltAndPepper,
    "gaussian": GaussianCorruption,
}
_ADAM_RATE, _SGD_RATE = 1e-3, 0.1


@dataclass(frozen=True)
class PretrainChoice:
    """What ``pretrain=NAME:OPTION=VALUE`` asks for.

    Attributes:
        name: ``rbm``, ``autoencoder``, ``denoising`` or ``discriminative``.
        epochs: Passes of each layer.
        layers: How many hidden layers, from the first on; None is all of them.
        passing: What the next layer sees, see ``lamina.training.pretrain_greedy``.
        inputs: What the inputs of the first layer are; None is seen from them.
        options: Of the learner.
    """

    name: str
    epochs: int
    layers: int | None
    passing: Passing
    inputs: Inputs | None
    options: dict[str, Any]

    @property
    def greedy(self) -> bool:
        """Whether each layer learns by itself and without targets, on the finished ones below it."""
        return self.name != "discriminative"

    @property
    def words(self) -> str:
        """What a layer is trained as."""
        return _METHODS[self.name].words

    def learner(self, inputs: Inputs) -> LayerLearner:
        """Return how a layer learns.

        Args:
            inputs: What those of the first layer are.

        Returns:
            The learner.
        """
        made: LayerLearner = _METHODS[self.name].make(inputs, **self.options)
        return made


def read_pretrain(line: str) -> PretrainChoice:
    """Read ``NAME[:OPTION=VALUE...]``.

    Args:
        line: For instance ``rbm:epochs=10:rate=0.05`` or ``denoising:corruption=0.25:noise=masking``.

    Returns:
        The choice.

    Raises:
        ConfigError: If there is no such method or option, or a value cannot be.
    """
    name, *parts = line.split(":")
    name = name.strip()
    if name not in _METHODS:
        mend = f"methods: {', '.join(_METHODS)}"
        if name.isdecimal() and int(name):  # once the setting was a number of epochs
            mend = f"write pretrain=discriminative:epochs={name}"
        raise ConfigError(
            f'there is no pre-training "{shown(name)}"{nearest(name, list(_METHODS))}', where="pretrain", mend=mend
        )
    method = _METHODS[name]
    given = read_options(name, parts, method.options(), where="pretrain")
    for key in ("epochs", "layers"):
        if given.get(key, 1) < 1:
            raise ConfigError(
                f"{key} of {name} must be at least 1, got {given[key]}", where="pretrain", mend=f"{key}=1"
            )
    choice = PretrainChoice(
        name,
        given.pop("epochs", method.epochs),
        given.pop("layers", None),
        given.pop("passing", "means"),
        given.pop("inputs", None),
        given,
    )
    if choice.greedy:
        try:
            choice.learner(choice.inputs or "bernoulli")  # refuses values out of range
        except ConfigError as error:
            raise ConfigError(f"{name}: {error.what}", where="pretrain", mend=error.mend) from None
    elif not choice.options.get("rate", _ADAM_RATE) > 0.0:
        raise ConfigError(f"rate of {name} must be above 0", where="pretrain", mend="use rate=0.001")
    return choice


def _schedule(
    *, epochs: int = 10, layers: int | None = None, passing: Passing = "means", inputs: Inputs | None = None
) -> None:
    """What all greedy methods take."""


def _rbm(inputs: Inputs, **options: Any) -> LayerLearner:
    return RBMLayer(first_visible=inputs, **options)


def _autoencoder(
    inputs: Inputs,
    *,
    rate: float | None = None,
    optimizer: Literal["adam", "sgd"] = "adam",
    momentum: float = 0.0,
    tied: bool = True,
    corruption: Corruption | None = None,
) -> LayerLearner:
    if momentum and optimizer == "adam":
        raise ConfigError("adam has its own momentum", where="pretrain", mend="use optimizer=sgd, or leave it out")
    if not 0.0 <= momentum < 1.0:
        raise ConfigError(
            f"momentum must be at least 0 and below 1, got {momentum:g}", where="pretrain", mend="use 0.9"
        )
    make: Callable[..., Optimizer] = torch.optim.Adam if optimizer == "adam" else partial(SGD, momentum=momentum)
    usual = _ADAM_RATE if optimizer == "adam" else _SGD_RATE
    others = AutoencoderLayer(usual if rate is None else rate, corruption=corruption, tied=tied, optimizer=make)
    return ByPlace(replace(others, likelihood=inputs), others)


def _denoising(
    inputs: Inputs,
    *,
    corruption: float = 0.25,
    noise: _Noise = "masking",
    rate: float | None = None,
    optimizer: Literal["adam", "sgd"] = "adam",
    momentum: float = 0.0,
    tied: bool = True,
) -> LayerLearner:
    if noise == "salt-and-pepper" and inputs == "gaussian":
        raise ConfigError(
            "salt-and-pepper puts 0 or 1 in place of a number, which are no extremes of standardised ones",
            where="pretrain",
            mend="use noise=gaussian or noise=masking",
        )
    drawn = _NOISES[noise](corruption)
    return _autoencoder(inputs, rate=rate, optimizer=optimizer, momentum=momentum, tied=tied, corruption=drawn)


def _discriminative(*, epochs: int = 1, rate: float = _ADAM_RATE, train_lower: bool = True) -> None:
    """What ``lamina.training.pretrain_layerwise`` takes."""


@dataclass(frozen=True)
class _Method:
    """A method: how its learner is made, how long it learns, what it is called."""

    make: Callable[..., Any]
    takes: tuple[Callable[..., Any], ...]
    epochs: int
    words: str

    def options(self) -> dict[str, Any]:
        """Return what a line can set, each with its type."""
        return {key: kind for taker in self.takes for key, kind in options_of(taker, _FROM_ELSEWHERE).items()}


_FROM_ELSEWHERE = ("first_visible",)  # ``inputs`` says it, for all methods
_METHODS = {
    "rbm": _Method(_rbm, (_schedule, RBMLayer), 10, "restricted Boltzmann machine"),
    "autoencoder": _Method(_autoencoder, (_schedule, _autoencoder), 10, "autoencoder"),
    "denoising": _Method(_denoising, (_schedule, _denoising), 10, "denoising autoencoder"),
    "discriminative": _Method(_discriminative, (_discriminative,), 1, "network grown by a layer"),
}
