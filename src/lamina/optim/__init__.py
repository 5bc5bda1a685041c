"""Optimisers and schedules that PyTorch lacks."""

from lamina.optim.adagrad import AdaGrad
from lamina.optim.adam import Adam
from lamina.optim.bold_driver import BoldDriver
from lamina.optim.clipping import random_step_
from lamina.optim.delta_bar_delta import DeltaBarDelta
from lamina.optim.extended_kalman import ExtendedKalman
from lamina.optim.hessian_free import HessianFree
from lamina.optim.kfac import KFAC
from lamina.optim.lbfgs import LBFGS
from lamina.optim.levenberg_marquardt import LevenbergMarquardt
from lamina.optim.line_search import LineSearchResult, Trial, strong_wolfe
from lamina.optim.nesterov import NesterovMomentum
from lamina.optim.newton import Newton
from lamina.optim.nonlinear_conjugate_gradient import NonlinearConjugateGradient
from lamina.optim.norm_constraint import project_norm_
from lamina.optim.proximal import proximal_step_, soft_threshold
from lamina.optim.quickprop import QuickProp
from lamina.optim.registry import OPTIMIZERS, read_optimizer
from lamina.optim.rmsprop_nesterov import RMSPropNesterov
from lamina.optim.schedules import (
    Schedule,
    beginning,
    by_name,
    constant,
    cosine,
    cosine_restarts,
    exponential,
    inverse_time,
    linear,
    one_cycle,
    recorded,
    step_decay,
    sutskever_momentum,
    warmed_up,
)
from lamina.optim.tonga import TONGA
from lamina.optim.trust_region import TrustRegionNewton

__all__ = [
    "KFAC",
    "LBFGS",
    "OPTIMIZERS",
    "TONGA",
    "AdaGrad",
    "Adam",
    "BoldDriver",
    "DeltaBarDelta",
    "ExtendedKalman",
    "HessianFree",
    "LevenbergMarquardt",
    "LineSearchResult",
    "NesterovMomentum",
    "Newton",
    "NonlinearConjugateGradient",
    "QuickProp",
    "RMSPropNesterov",
    "Schedule",
    "Trial",
    "TrustRegionNewton",
    "beginning",
    "by_name",
    "constant",
    "cosine",
    "cosine_restarts",
    "exponential",
    "inverse_time",
    "linear",
    "one_cycle",
    "project_norm_",
    "proximal_step_",
    "random_step_",
    "read_optimizer",
    "recorded",
    "soft_threshold",
    "step_decay",
    "strong_wolfe",
    "sutskever_momentum",
    "warmed_up",
]
