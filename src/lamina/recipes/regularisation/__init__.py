"""Regularisers on few digits: the same network, data and number of updates, and the same budget for each setting."""

from lamina.recipes.regularisation.contest import recipe

__all__ = ["recipe"]
