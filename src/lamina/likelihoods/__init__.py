"""Likelihoods: what a network's outputs mean, and the loss that follows from it."""

from lamina.likelihoods.base import Likelihood
from lamina.likelihoods.bernoulli import Bernoulli
from lamina.likelihoods.categorical import Categorical
from lamina.likelihoods.gaussian import Gaussian
from lamina.likelihoods.heads import Heads
from lamina.likelihoods.poisson import Poisson
from lamina.likelihoods.registry import LIKELIHOODS, for_scoring, from_json, likelihood_name, to_json

__all__ = [
    "LIKELIHOODS",
    "Bernoulli",
    "Categorical",
    "Gaussian",
    "Heads",
    "Likelihood",
    "Poisson",
    "for_scoring",
    "from_json",
    "likelihood_name",
    "to_json",
]
