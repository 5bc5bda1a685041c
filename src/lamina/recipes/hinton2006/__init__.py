"""Deep autoencoders from unrolled restricted Boltzmann machines against principal components with as many numbers."""

from lamina.recipes.hinton2006.compare import recipe

__all__ = ["recipe"]
