"""Normalisation layers in the courses' forms."""

from lamina.nn.normalisation.batch_norm import BatchNorm
from lamina.nn.normalisation.weight_norm import weight_norm

__all__ = ["BatchNorm", "weight_norm"]
