"""Optimisers on four small problems: the same passes over the data and the same number of trials for each."""

from lamina.recipes.optimisers.contest import recipe

__all__ = ["recipe"]
