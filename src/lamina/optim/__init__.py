"""Optimisers and schedules that PyTorch lacks."""

from lamina.optim.norm_constraint import project_norm_
from lamina.optim.proximal import proximal_step_, soft_threshold
from lamina.optim.schedules import Schedule, beginning, by_name, constant, cosine, linear, one_cycle, recorded

__all__ = [
    "Schedule",
    "beginning",
    "by_name",
    "constant",
    "cosine",
    "linear",
    "one_cycle",
    "project_norm_",
    "proximal_step_",
    "recorded",
    "soft_threshold",
]
