"""The closed table of optimisers, and how one is written in a line: ``hessian-free:damping=10``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import SGD, Adadelta, AdamW, Optimizer, RMSprop, Rprop

from lamina.errors import ConfigError, nearest, shown
from lamina.io.option_lines import options_of, read_options
from lamina.optim.adagrad import AdaGrad
from lamina.optim.adam import Adam
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


def _adam(
    params: Any,
    lr: Any = 1e-3,
    *,
    epsilon: Literal["outside", "inside"] = "outside",
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    capturable: bool = False,
) -> Optimizer:
    if epsilon == "inside":
        return Adam(params, lr, eps=eps, epsilon="inside", weight_decay=weight_decay)
    return torch.optim.Adam(params, lr=lr, eps=eps, weight_decay=weight_decay, fused=True, capturable=capturable)


def _adagrad(
    params: Any,
    lr: float = 1e-2,
    *,
    epsilon: Literal["outside", "inside"] = "outside",
    eps: float = 1e-10,
    weight_decay: float = 0.0,
) -> Optimizer:
    if epsilon == "inside":
        return AdaGrad(params, lr, eps=eps, epsilon="inside", weight_decay=weight_decay)
    return torch.optim.Adagrad(params, lr=lr, eps=eps, weight_decay=weight_decay)


@dataclass(frozen=True, slots=True)
class Choice:
    """What is known of an optimiser before it is made.

    Attributes:
        make: Class or function, called with parameters (or the network) and options.
        closure: Whether it looks at the loss of a batch by a closure: it runs in a ``ClosureStep``.
        curvature: Whether it needs a likelihood to take curvature from: its closure is a ``BatchLoss``.
        least_squares: Whether that likelihood must be a Gaussian of a fixed spread.
        of_network: Whether its first argument is the network.
        rate: Usual learning rate, or None for that of the baseline.
        finds_rate: Whether it finds the rate by itself where none is given.
        batch: Usual number of examples a step, or None for that of the baseline.
        fixed: Arguments that it is always given.
    """

    make: Callable[..., Optimizer]
    closure: bool = False
    curvature: bool = False
    least_squares: bool = False
    of_network: bool = False
    rate: float | None = None
    finds_rate: bool = False
    batch: int | None = None
    fixed: dict[str, Any] = field(default_factory=dict)

    def takes(self, argument: str) -> bool:
        """Return whether it has an argument of that name."""
        return argument in inspect.signature(self.make).parameters


LARGE = 10_000  # examples: the inverse of a curvature magnifies the noise of a gradient

OPTIMIZERS: dict[str, Choice] = {
    "adadelta": Choice(Adadelta, rate=1.0),
    "adagrad": Choice(_adagrad),
    "adam": Choice(_adam),
    "adamw": Choice(AdamW, fixed={"fused": True}),
    "conjugate-gradient": Choice(NonlinearConjugateGradient, closure=True, rate=1.0, batch=LARGE),
    "delta-bar-delta": Choice(DeltaBarDelta, rate=0.1, batch=LARGE),
    "extended-kalman": Choice(ExtendedKalman, closure=True, curvature=True, least_squares=True, rate=1.0, batch=1),
    "hessian-free": Choice(HessianFree, closure=True, curvature=True, rate=1.0, batch=LARGE),
    "kfac": Choice(KFAC, closure=True, curvature=True, of_network=True, finds_rate=True, batch=1000),
    "lbfgs": Choice(LBFGS, closure=True, rate=1.0, batch=LARGE),
    "levenberg-marquardt": Choice(LevenbergMarquardt, closure=True, curvature=True, rate=1.0, batch=LARGE),
    "nesterov": Choice(NesterovMomentum, closure=True, rate=1e-2),
    "newton": Choice(Newton, closure=True, curvature=True, rate=1.0, batch=LARGE),
    "quickprop": Choice(QuickProp, rate=0.1, batch=LARGE),
    "rmsprop": Choice(RMSprop),
    "rmsprop-nesterov": Choice(RMSPropNesterov, closure=True),
    "rprop": Choice(Rprop, rate=1e-2, batch=LARGE),
    "sgd": Choice(SGD, fixed={"fused": True}),
    "tonga": Choice(TONGA, closure=True, curvature=True, rate=1e-2),
    "trust-region": Choice(TrustRegionNewton, closure=True, curvature=True, rate=1.0, batch=LARGE),
}
"""By the names under which ``optimizer=`` asks for them; those of ``torch.optim`` are PyTorch's own."""

FROM_ELSEWHERE = (
    "params",
    "model",
    "lr",
    "momentum",
    "weight_decay",
    "fused",
    "foreach",
    "capturable",
    "maximize",
    "differentiable",
)


@dataclass(frozen=True, slots=True)
class OptimizerLine:
    """What ``NAME[:OPTION=VALUE...]`` asks for.

    Attributes:
        name: Key of ``OPTIMIZERS``.
        options: Arguments of its class.
    """

    name: str
    options: dict[str, Any]

    @property
    def choice(self) -> Choice:
        """What is known of it."""
        return OPTIMIZERS[self.name]

    def make(self, parameters: Iterable[Any], network: nn.Module, **more: Any) -> Optimizer:
        """Return the optimiser.

        Args:
            parameters: Tensors or groups.
            network: Whose parameters they are.
            **more: Learning rate and the like; those that it has no argument for must not be given.

        Returns:
            The optimiser.

        Raises:
            ConfigError: If a value lies outside its range.
        """
        arguments = {**self.choice.fixed, **more, **self.options}
        try:
            if self.choice.of_network:
                return self.choice.make(network, parameters, **arguments)
            return self.choice.make(parameters, **arguments)
        except ConfigError:
            raise
        except ValueError as error:  # PyTorch's own words
            raise ConfigError(f"{self.name}: {error}", where="optimizer", mend="correct the option") from None


def read_optimizer(line: str) -> OptimizerLine:
    """Read ``NAME[:OPTION=VALUE...]`` and check its names and types; the learning rate is a setting of its own.

    Args:
        line: For instance ``lbfgs:memory=20``.

    Returns:
        The choice.

    Raises:
        ConfigError: If there is no such optimiser or option, or a value is of another type.
    """
    name, *parts = line.split(":")
    name = name.strip()
    if name not in OPTIMIZERS:
        raise ConfigError(
            f'there is no optimizer "{shown(name)}"{nearest(name, list(OPTIMIZERS))}',
            where="optimizer",
            mend=f"optimizers: {', '.join(OPTIMIZERS)}",
        )
    known = options_of(OPTIMIZERS[name].make, FROM_ELSEWHERE)
    return OptimizerLine(name, read_options(name, parts, known, where="optimizer"))
