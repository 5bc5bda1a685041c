"""Samplers: partition functions by importance sampling along a path."""

from lamina.samplers.annealed_importance import (
    AnnealingPath,
    PartitionEstimate,
    annealed_importance,
    reverse_annealed_importance,
    temperatures,
)

__all__ = [
    "AnnealingPath",
    "PartitionEstimate",
    "annealed_importance",
    "reverse_annealed_importance",
    "temperatures",
]
