"""The optimisers that are compared, each with its kind and the settings that are tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import SGD, Adadelta, Adagrad, Adam, Optimizer, RMSprop, Rprop

from lamina.optim.bold_driver import BoldDriver
from lamina.optim.delta_bar_delta import DeltaBarDelta
from lamina.optim.extended_kalman import ExtendedKalman
from lamina.optim.hessian_free import HessianFree
from lamina.optim.kfac import KFAC
from lamina.optim.lbfgs import LBFGS
from lamina.optim.levenberg_marquardt import LevenbergMarquardt
from lamina.optim.nesterov import NesterovMomentum
from lamina.optim.newton import Newton
from lamina.optim.nonlinear_conjugate_gradient import NonlinearConjugateGradient
from lamina.optim.quickprop import QuickProp
from lamina.optim.rmsprop_nesterov import RMSPropNesterov
from lamina.optim.tonga import TONGA
from lamina.optim.trust_region import TrustRegionNewton
from lamina.recipes.tuning import Setting

DENSE = ("table",)
"""Problems of a few hundred weights, for those that form a matrix of them in every step."""


@dataclass(frozen=True, slots=True)
class Optimiser:
    """One way to make updates.

    Attributes:
        name: As in the tables.
        kind: ``gradient`` (``GradientStep``) or ``closure`` (``ClosureStep``).
        make: ``make(network, **setting) -> optimizer``.
        candidates: Settings tried, the same number for each.
        shown: How a setting is written, a format string of its values.
        whole: Whether an update sees all training examples, not a mini-batch.
        problems: Where it can be used.
        cost: Time of an epoch as a multiple of one of SGD, about.
        driver: ``driver(optimizer)`` makes what changes its rates after each update.
        batch: Examples of an update where it is neither all nor the problem's mini-batch.
    """

    name: str
    kind: str
    make: Callable[..., Optimizer]
    candidates: Sequence[Setting]
    shown: str
    whole: bool = False
    problems: Sequence[str] = ("table", "pictures", "sequence", "autoencoder")
    cost: float = 1.0
    driver: Callable[[Optimizer], BoldDriver] | None = None
    batch: int | None = None


def _of_parameters(make: Callable[..., Optimizer], **fixed: Any) -> Callable[..., Optimizer]:
    """Return the factory that gives an optimiser the network's parameters."""
    return lambda network, **setting: make(network.parameters(), **fixed, **setting)


def _kfac(network: nn.Module, damping: float) -> Optimizer:
    return KFAC(network, lr=None, momentum=None, damping=damping, statistics_every=1, inverse_every=5,
                statistics_share=1.0)  # fmt: skip


def _hessian_free(network: nn.Module, damping: float) -> Optimizer:
    # gradients of single examples, of which the preconditioner is made, are slow in recurrent layers
    recurrent = any(isinstance(layer, nn.RNNBase) for layer in network.modules())
    return HessianFree(network.parameters(), damping=damping, preconditioner="none" if recurrent else "diagonal")


def _grid(name: str, *values: Any) -> list[Setting]:
    return [{name: value} for value in values]


_RATE = "ε = {lr:g}"
_DAMPING = "λ = {damping:g}"

OPTIMISERS = (
    Optimiser("SGD", "gradient", _of_parameters(SGD, fused=True), _grid("lr", 0.002, 0.01, 0.05, 0.25), _RATE),
    Optimiser("SGD, momentum 0.9", "gradient", _of_parameters(SGD, momentum=0.9, fused=True),
              _grid("lr", 0.001, 0.005, 0.02, 0.1), _RATE),
    Optimiser("SGD, Nesterov momentum 0.9", "closure", _of_parameters(NesterovMomentum, momentum=0.9),
              _grid("lr", 0.001, 0.005, 0.02, 0.1), _RATE, cost=1.5),
    Optimiser("AdaGrad", "gradient", _of_parameters(Adagrad), _grid("lr", 0.003, 0.01, 0.03, 0.1), _RATE),
    Optimiser("AdaDelta", "gradient", _of_parameters(Adadelta), _grid("lr", 0.1, 0.3, 1.0, 3.0), _RATE),
    Optimiser("RMSProp", "gradient", _of_parameters(RMSprop), _grid("lr", 3e-4, 1e-3, 3e-3, 1e-2), _RATE),
    Optimiser("RMSProp, Nesterov momentum 0.9", "closure", _of_parameters(RMSPropNesterov),
              _grid("lr", 1e-4, 3e-4, 1e-3, 3e-3), _RATE, cost=1.6),
    Optimiser("Adam", "gradient", _of_parameters(Adam, fused=True), _grid("lr", 1e-3, 3e-3, 1e-2, 3e-2), _RATE),
    Optimiser("bold driver", "gradient", _of_parameters(SGD), _grid("lr", 0.03, 0.1, 0.3, 1.0), _RATE, whole=True,
              cost=0.2, driver=lambda optimizer: BoldDriver(optimizer, take_back=True)),
    Optimiser("delta-bar-delta", "gradient", _of_parameters(DeltaBarDelta), _grid("lr", 0.01, 0.03, 0.1, 0.3), _RATE,
              whole=True, cost=0.2),
    Optimiser("Rprop", "gradient", _of_parameters(Rprop), _grid("lr", 3e-4, 1e-3, 3e-3, 1e-2), _RATE, whole=True,
              cost=0.2),
    Optimiser("QuickProp, limit 1.75", "gradient", _of_parameters(QuickProp, mu=1.75),
              _grid("lr", 0.003, 0.01, 0.03, 0.1), _RATE, whole=True, cost=0.2),
    Optimiser("conjugate gradients", "closure", _of_parameters(NonlinearConjugateGradient),
              [{"beta": "fletcher-reeves", "c2": 0.1}, {"beta": "polak-ribiere", "c2": 0.1},
               {"beta": "hestenes-stiefel", "c2": 0.1}, {"beta": "polak-ribiere", "c2": 0.4}],
              "{beta}, c₂ = {c2:g}", whole=True, cost=0.5),
    Optimiser("memoryless quasi-Newton", "closure", _of_parameters(LBFGS, memory=1), _grid("c2", 0.1, 0.3, 0.5, 0.9),
              "c₂ = {c2:g}", whole=True, cost=0.4),
    Optimiser("L-BFGS", "closure", _of_parameters(LBFGS), _grid("memory", 5, 10, 20, 50), "{memory} pairs", whole=True,
              cost=0.4),
    Optimiser("Newton, damped", "closure", _of_parameters(Newton, dense=False),
              _grid("damping", 1.0, 3.0, 10.0, 30.0), _DAMPING, whole=True, cost=2.0),
    Optimiser("Newton, trust region", "closure", _of_parameters(TrustRegionNewton), _grid("radius", 0.1, 0.3, 1.0, 3.0),
              "r = {radius:g}", whole=True, cost=4.0),
    Optimiser("Levenberg-Marquardt", "closure", _of_parameters(LevenbergMarquardt),
              _grid("damping", 1e-3, 1e-2, 1e-1, 1.0), "τ = {damping:g}", whole=True, problems=DENSE, cost=2.0),
    Optimiser("extended Kalman filter", "closure", _of_parameters(ExtendedKalman),
              _grid("variance", 0.001, 0.01, 0.1, 1.0), "P₀ = {variance:g}", problems=("table",), cost=5.0, batch=8),
    Optimiser("TONGA", "closure", _of_parameters(TONGA), _grid("lr", 0.002, 0.01, 0.05, 0.25), _RATE, cost=3.0),
    Optimiser("Hessian-free", "closure", _hessian_free, _grid("damping", 0.001, 0.01, 0.1, 1.0), _DAMPING,
              whole=True, cost=4.0),
    Optimiser("K-FAC", "closure", _kfac, _grid("damping", 0.001, 0.01, 0.1, 1.0), _DAMPING, whole=True, cost=2.0),
)  # fmt: skip


def optimiser(name: str) -> Optimiser:
    """Return the optimiser of that name in the table."""
    return next(each for each in OPTIMISERS if each.name == name)
