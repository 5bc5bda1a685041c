"""Penalties: terms added to an objective."""

from lamina.penalties.base import Context, Penalty, WeightedSum
from lamina.penalties.l2 import L2

__all__ = ["L2", "Context", "Penalty", "WeightedSum"]
