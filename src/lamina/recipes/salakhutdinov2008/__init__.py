"""Log-likelihoods of restricted Boltzmann machines and of a deep belief network on MNIST, by importance sampling."""

from lamina.recipes.salakhutdinov2008.likelihoods import recipe

__all__ = ["recipe"]
