"""Optimisers and schedules that PyTorch lacks."""

from lamina.optim.schedules import Schedule, beginning, by_name, constant, cosine, linear, one_cycle, recorded

__all__ = ["Schedule", "beginning", "by_name", "constant", "cosine", "linear", "one_cycle", "recorded"]
