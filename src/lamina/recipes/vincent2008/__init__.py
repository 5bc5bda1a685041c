"""Eight sets of pictures: support vector machines, stacks of autoencoders and RBMs, today's networks."""

from lamina.recipes.vincent2008.table import recipe

__all__ = ["recipe"]
