"""The regularisers, each with the candidate values of its setting and what it changes in plain training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lamina.data.images import Augment
from lamina.likelihoods.categorical import Categorical
from lamina.penalties.adversarial import Adversarial
from lamina.penalties.base import Penalty
from lamina.penalties.contractive import Contractive
from lamina.penalties.curvature_smoothing import CurvatureSmoothing
from lamina.penalties.double_backprop import DoubleBackprop
from lamina.penalties.information_flow import InformationFlow
from lamina.penalties.l1 import L1
from lamina.penalties.l2 import L2
from lamina.penalties.per_layer import PerLayerDecay
from lamina.penalties.tangent_prop import TangentProp
from lamina.penalties.virtual_adversarial import VirtualAdversarial
from lamina.penalties.weight_elimination import WeightElimination
from lamina.recipes.regularisation import changes
from lamina.recipes.regularisation.parts import CLASSES, Change, Regulariser, Setting
from lamina.training.after_step import NormConstraint, ProximalStep
from lamina.training.callback import Callback


def _penalised(make: Callable[..., Penalty]) -> Change:
    """Return the change that adds a penalty made from the setting."""
    return lambda parts, **setting: replace(parts, penalty=make(**setting))


def _called(make: Callable[..., Callback]) -> Change:
    """Return the change that adds a callback made from the setting."""
    return lambda parts, **setting: replace(parts, callbacks=(make(**setting),))


def _grid(name: str, *values: float) -> list[Setting]:
    return [{name: value} for value in values]


_STOPS = [{"monitor": monitor, "patience": patience} for monitor in ("loss", "error") for patience in (5, 20)]
_MASKS = [{"hidden": hidden, "inputs": inputs} for inputs in (0.0, 0.2) for hidden in (0.25, 0.5)]
_MASKED = "hidden {hidden:g}, inputs {inputs:g}"

REGULARISERS = (
    Regulariser("none", lambda parts: parts, [{}], 1.0, ""),
    Regulariser(
        "early stopping",
        changes.early,
        _STOPS,
        1.6,
        "{monitor}, patience {patience}",
    ),
    Regulariser(
        "early stopping, then trained again", changes.twice("retrain"), _STOPS, 1.8,
        "{monitor}, patience {patience}",
    ),
    Regulariser(
        "early stopping, then continued", changes.twice("continue"), _STOPS, 1.8,
        "{monitor}, patience {patience}",
    ),
    Regulariser("L2", _penalised(lambda nu: nu * L2()), _grid("nu", 1e-5, 1e-4, 1e-3, 1e-2), 1.2, "ν = {nu:g}"),
    Regulariser(
        "L2, a coefficient a layer",
        _penalised(lambda first, later: PerLayerDecay({"linear1": first, "*": later})),
        [{"first": 1e-5, "later": 1e-4}, {"first": 1e-4, "later": 1e-5}, {"first": 1e-4, "later": 1e-3},
         {"first": 1e-3, "later": 1e-4}],
        1.3,
        "γ₁ = {first:g}, others {later:g}",
    ),
    Regulariser("L1", _penalised(lambda l1: l1 * L1()), _grid("l1", 1e-6, 1e-5, 1e-4, 1e-3), 1.4, "α = {l1:g}"),
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
        "soft tying to an autoencoder",
        changes.tied_to_autoencoder,
        _grid("weight", 1e-3, 1e-2, 1e-1, 1.0),
        4.0,
        "λ = {weight:g}",
    ),
    Regulariser(
        "hard sharing over places, first layer",
        changes.shared_over_places,
        [{"maps": 4, "field": 0.25}, {"maps": 4, "field": 0.5}, {"maps": 16, "field": 0.25},
         {"maps": 16, "field": 0.5}],
        1.5,
        "{maps} maps, patch {field:g} of the side",
    ),
    Regulariser(
        "dropout",
        changes.dropout,
        _MASKS,
        1.3,
        _MASKED,
    ),
    Regulariser("dropout, 50 sub-networks answer", changes.dropout_answering("monte-carlo"), _MASKS, 4.0, _MASKED),
    Regulariser("dropout, their geometric mean", changes.dropout_answering("geometric"), _MASKS, 4.0, _MASKED),
    Regulariser(
        "multiplicative noise", changes.multiplied, _grid("drop", 0.1, 0.25, 0.5, 0.65), 1.4, "as dropout {drop:g}"
    ),
    Regulariser("input noise", changes.noisy("inputs"), _grid("std", 0.1, 0.3, 0.5, 0.8), 1.4, "σ = {std:g}"),
    Regulariser("hidden noise", changes.noisy("hidden"), _grid("std", 0.1, 0.3, 0.6, 1.0), 1.3, "σ = {std:g}"),
    Regulariser("weight noise", changes.noisy_weights, _grid("std", 0.003, 0.01, 0.03, 0.1), 2.5, "σ = {std:g}"),
    Regulariser(
        "label smoothing",
        lambda parts, smoothing: replace(parts, likelihood=Categorical(CLASSES, smoothing)),
        _grid("smoothing", 0.02, 0.05, 0.1, 0.2),
        1.1,
        "ε = {smoothing:g}",
    ),
    Regulariser("label noise", changes.noisy_labels, _grid("rate", 0.05, 0.1, 0.2, 0.4), 1.2, "ε = {rate:g}"),
    Regulariser("hints: the digit's style", changes.hinted, _grid("scale", 1.0, 2.0, 3.0, 5.0), 1.5, "σ = {scale:g}"),
    Regulariser(
        "pairs of neighbours",
        changes.paired,
        [{"weight": w, "margin": m} for w in (0.03, 0.3) for m in (1.0, 10.0)],
        2.0,
        "λ = {weight:g}, M = {margin:g}",
    ),
    Regulariser(
        "sparse representation", changes.sparse, _grid("weight", 1e-5, 1e-4, 1e-3, 1e-2), 1.3, "λ = {weight:g}"
    ),
    Regulariser(
        "adversarial, sign", _penalised(Adversarial), _grid("epsilon", 0.03, 0.07, 0.15, 0.25), 3.0, "ε = {epsilon:g}"
    ),
    Regulariser(
        "adversarial, sign, 3 steps",
        _penalised(lambda epsilon: Adversarial(epsilon, steps=3)),
        _grid("epsilon", 0.03, 0.07, 0.15, 0.25),
        5.0,
        "ε = {epsilon:g}",
    ),
    Regulariser(
        "adversarial, normalised gradient",
        _penalised(lambda epsilon: Adversarial(epsilon, "l2")),
        _grid("epsilon", 0.5, 1.0, 2.0, 3.0),
        3.0,
        "ε = {epsilon:g}",
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
        "manifold tangents",
        changes.manifold_tangents,
        [{"weight": weight, "rank": rank} for rank in (4, 8) for weight in (0.03, 0.3)],
        40.0,
        "λ = {weight:g}, {rank} tangents",
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
        "information flow over depth",
        _penalised(lambda weight: weight * InformationFlow()),
        _grid("weight", 1e-3, 1e-2, 1e-1, 1.0),
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
