"""The regularisers, each with the candidate values of its setting and what it changes in plain training."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from lamina.data.batch import Batch
from lamina.data.images import Augment
from lamina.likelihoods.categorical import Categorical
from lamina.nn.noise.insert import insert_noise
from lamina.nn.noise.multiplicative_noise import MultiplicativeNoise
from lamina.nn.noise.weight_noise import WeightNoise
from lamina.penalties.adversarial import Adversarial
from lamina.penalties.base import Penalty
from lamina.penalties.contractive import Contractive
from lamina.penalties.curvature_smoothing import CurvatureSmoothing
from lamina.penalties.double_backprop import DoubleBackprop
from lamina.penalties.l2 import L2
from lamina.penalties.sparse_representation import SparseRepresentation
from lamina.penalties.tangent_prop import TangentProp
from lamina.penalties.virtual_adversarial import VirtualAdversarial
from lamina.penalties.weight_elimination import WeightElimination
from lamina.training.after_step import NormConstraint, ProximalStep
from lamina.training.callback import Callback
from lamina.training.early_stopping import EarlyStopping
from lamina.training.evaluation import Validation

CLASSES = 10


@dataclass(frozen=True)
class Parts:
    """What a training is put together from; a regulariser replaces some of it.

    Attributes:
        network: A flat chain ``flatten``, ``linear1``, ``silu1``, …, ``output``.
        valid: Held-out examples, for early stopping only.
        likelihood: Reads the outputs in the loss.
        penalty: Added to the loss.
        callbacks: Told before the learning rate's schedule.
        augment: Changes a batch of pictures.
        around: Held open while training.
        members: Networks trained on bootstrap samples and averaged; 1 is one network on the examples themselves.
    """

    network: nn.Sequential
    valid: Batch
    likelihood: Categorical = field(default_factory=lambda: Categorical(CLASSES))
    penalty: Penalty | None = None
    callbacks: tuple[Callback, ...] = ()
    augment: Augment | None = None
    around: AbstractContextManager[Any] = field(default_factory=nullcontext)
    members: int = 1

    @property
    def trained(self) -> nn.Module:
        """The module that training calls."""
        return self.network


@dataclass(frozen=True)
class Wrapped(Parts):
    """Parts whose training calls the network through another module.

    Attributes:
        wrapper: That module; it shares the network's weights.
    """

    wrapper: nn.Module | None = None

    @property
    def trained(self) -> nn.Module:
        """The wrapper."""
        return self.wrapper or self.network


Setting = Mapping[str, Any]
Change = Callable[..., Parts]


@dataclass(frozen=True, slots=True)
class Regulariser:
    """One way to regularise.

    Attributes:
        name: As in the table.
        change: ``change(parts, **setting) -> parts``.
        candidates: Settings tried; the same number for each, but for what has nothing to set.
        cost: Time of a run as a multiple of a plain one's.
        shown: How a setting is written, a format string of its values.
    """

    name: str
    change: Change
    candidates: Sequence[Setting]
    cost: float
    shown: str


def _penalised(make: Callable[..., Penalty]) -> Change:
    """Return the change that adds a penalty made from the setting."""
    return lambda parts, **setting: replace(parts, penalty=make(**setting))


def _called(make: Callable[..., Callback]) -> Change:
    """Return the change that adds a callback made from the setting."""
    return lambda parts, **setting: replace(parts, callbacks=(make(**setting),))


def _early(parts: Parts, monitor: str, patience: int) -> Parts:
    watch = Validation(parts.valid, parts.likelihood, {"error": _error})
    return replace(parts, callbacks=(watch, EarlyStopping(f"valid_{monitor}", patience)))


def _error(outputs: Any, targets: Any) -> Any:
    return (outputs.argmax(1) != targets).float().mean()


def _sparse(parts: Parts, weight: float) -> Parts:
    penalty = SparseRepresentation(layers="silu*")
    return replace(parts, penalty=weight * penalty, around=penalty.watch(parts.network))


def _dropout(parts: Parts, hidden: float, inputs: float) -> Parts:
    return replace(parts, network=_with_masks(parts.network, lambda: nn.Dropout(hidden), nn.Dropout(inputs)))


def _multiplied(parts: Parts, drop: float) -> Parts:
    return replace(parts, network=_with_masks(parts.network, lambda: MultiplicativeNoise.like_dropout(drop)))


def _with_masks(
    network: nn.Sequential, make: Callable[[], nn.Module], on_inputs: nn.Module | None = None
) -> nn.Sequential:
    """Return the same layers with a module behind each hidden unit, and one before the first affine layer."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, layer in network.named_children():
        layers[name] = layer
        if name == "flatten" and on_inputs is not None:
            layers["mask0"] = on_inputs
        if name.startswith("silu"):
            layers[f"mask{name[4:]}"] = make()
    return nn.Sequential(layers)


def _noisy(where: str) -> Change:
    return lambda parts, std: replace(parts, network=insert_noise(parts.network, **{where: std}))


def _noisy_weights(parts: Parts, std: float) -> Parts:
    return Wrapped(parts.network, parts.valid, wrapper=WeightNoise(parts.network, std))


def _grid(name: str, *values: float) -> list[Setting]:
    return [{name: value} for value in values]


REGULARISERS = (
    Regulariser("none", lambda parts: parts, [{}], 1.0, ""),
    Regulariser(
        "early stopping",
        _early,
        [{"monitor": m, "patience": p} for m in ("loss", "error") for p in (5, 20)],
        1.6,
        "{monitor}, patience {patience}",
    ),
    Regulariser("L2", _penalised(lambda nu: nu * L2()), _grid("nu", 1e-5, 1e-4, 1e-3, 1e-2), 1.2, "ν = {nu:g}"),
    Regulariser("L1, proximal", _called(ProximalStep), _grid("l1", 1e-6, 1e-5, 1e-4, 1e-3), 1.4, "α = {l1:g}"),
    Regulariser(
        "elastic net, proximal",
        _called(lambda alpha: ProximalStep(0.5 * alpha, 0.5 * alpha)),
        _grid("alpha", 1e-5, 1e-4, 1e-3, 3e-3),
        1.5,
        "α = {alpha:g}, ρ = ½",
    ),
    Regulariser(
        "weight elimination",
        _penalised(lambda weight, w0: weight * WeightElimination(w0)),
        [{"weight": 1e-6, "w0": 0.1}, {"weight": 1e-5, "w0": 0.1}, {"weight": 1e-4, "w0": 1.0},
         {"weight": 1e-3, "w0": 1.0}],
        1.5,
        "λ = {weight:g}, w₀ = {w0:g}",
    ),
    Regulariser(
        "max-norm of each unit", _called(NormConstraint), _grid("limit", 0.5, 1.0, 2.0, 3.0), 1.3, "k = {limit:g}"
    ),
    Regulariser(
        "dropout",
        _dropout,
        [{"hidden": 0.25, "inputs": 0.0}, {"hidden": 0.5, "inputs": 0.0}, {"hidden": 0.25, "inputs": 0.2},
         {"hidden": 0.5, "inputs": 0.2}],
        1.3,
        "hidden {hidden:g}, inputs {inputs:g}",
    ),
    Regulariser("multiplicative noise", _multiplied, _grid("drop", 0.1, 0.25, 0.5, 0.65), 1.4, "as dropout {drop:g}"),
    Regulariser("input noise", _noisy("inputs"), _grid("std", 0.1, 0.3, 0.5, 0.8), 1.4, "σ = {std:g}"),
    Regulariser("hidden noise", _noisy("hidden"), _grid("std", 0.1, 0.3, 0.6, 1.0), 1.3, "σ = {std:g}"),
    Regulariser("weight noise", _noisy_weights, _grid("std", 0.003, 0.01, 0.03, 0.1), 2.5, "σ = {std:g}"),
    Regulariser(
        "label smoothing",
        lambda parts, smoothing: replace(parts, likelihood=Categorical(CLASSES, smoothing)),
        _grid("smoothing", 0.02, 0.05, 0.1, 0.2),
        1.1,
        "ε = {smoothing:g}",
    ),
    Regulariser("sparse representation", _sparse, _grid("weight", 1e-5, 1e-4, 1e-3, 1e-2), 1.3, "λ = {weight:g}"),
    Regulariser(
        "adversarial, sign", _penalised(Adversarial), _grid("epsilon", 0.03, 0.07, 0.15, 0.25), 3.0, "ε = {epsilon:g}"
    ),
    Regulariser(
        "virtual adversarial",
        _penalised(VirtualAdversarial),
        _grid("epsilon", 0.5, 1.0, 2.0, 3.0),
        2.8,
        "ε = {epsilon:g}",
    ),
    Regulariser(
        "tangent propagation",
        _penalised(lambda weight: weight * TangentProp()),
        _grid("weight", 1e-4, 1e-3, 3e-3, 1e-2),
        4.0,
        "λ = {weight:g}",
    ),
    Regulariser(
        "double back-propagation",
        _penalised(lambda weight: weight * DoubleBackprop()),
        _grid("weight", 0.03, 0.1, 0.3, 1.0),
        2.0,
        "λ = {weight:g}",
    ),
    Regulariser(
        "curvature smoothing, stochastic",
        _penalised(lambda weight: weight * CurvatureSmoothing()),
        _grid("weight", 1e-3, 1e-2, 1e-1, 1.0),
        3.5,
        "λ = {weight:g}",
    ),
    Regulariser(
        "contractive, first hidden layer",
        _penalised(lambda weight: weight * Contractive()),
        _grid("weight", 1e-4, 1e-3, 3e-3, 1e-2),
        2.5,
        "λ = {weight:g}",
    ),
    Regulariser(
        "augmentation",
        lambda parts, shift, rotate: replace(parts, augment=Augment(shift=shift, rotate=rotate)),
        [{"shift": 1, "rotate": 0.0}, {"shift": 2, "rotate": 0.0}, {"shift": 1, "rotate": 10.0},
         {"shift": 2, "rotate": 10.0}],
        1.8,
        "shift {shift} px, turn {rotate:g}°",
    ),
    Regulariser("bagging, 5 networks", lambda parts: replace(parts, members=5), [{}], 5.0, ""),
)  # fmt: skip


def regulariser(name: str) -> Regulariser:
    """Return the regulariser of that name in the table."""
    return next(each for each in REGULARISERS if each.name == name)
