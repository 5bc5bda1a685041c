"""Deep autoencoders from a sparse random start: first-order methods, L-BFGS, Hessian-free and K-FAC in equal time."""

from lamina.recipes.martens2010.race import recipe

__all__ = ["recipe"]
