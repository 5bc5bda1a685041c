"""Optimisers and schedules that PyTorch lacks."""

from lamina.optim.schedules import Schedule, by_name, constant, cosine, linear, one_cycle

__all__ = ["Schedule", "by_name", "constant", "cosine", "linear", "one_cycle"]
