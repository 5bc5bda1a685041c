"""Likelihoods: what a network's outputs mean, and the loss that follows from it."""

from lamina.likelihoods.base import Likelihood
from lamina.likelihoods.bernoulli import Bernoulli
from lamina.likelihoods.categorical import Categorical
from lamina.likelihoods.divergence import kl_divergence
from lamina.likelihoods.full_gaussian import FullGaussian
from lamina.likelihoods.gaussian import Gaussian
from lamina.likelihoods.gaussian_mixture import GaussianMixture
from lamina.likelihoods.heads import Heads
from lamina.likelihoods.laplace import Laplace
from lamina.likelihoods.pairwise import pairwise_similarity
from lamina.likelihoods.poisson import Poisson
from lamina.likelihoods.power import Power
from lamina.likelihoods.ranking import margin_ranking
from lamina.likelihoods.registry import LIKELIHOODS, for_scoring, from_json, likelihood_name, to_json
from lamina.likelihoods.rejecting import REFUSED, Rejecting
from lamina.likelihoods.sequence import sequence_log_prob
from lamina.likelihoods.strings import Strings
from lamina.likelihoods.student_t import StudentT

__all__ = [
    "LIKELIHOODS",
    "REFUSED",
    "Bernoulli",
    "Categorical",
    "FullGaussian",
    "Gaussian",
    "GaussianMixture",
    "Heads",
    "Laplace",
    "Likelihood",
    "Poisson",
    "Power",
    "Rejecting",
    "Strings",
    "StudentT",
    "for_scoring",
    "from_json",
    "kl_divergence",
    "likelihood_name",
    "margin_ranking",
    "pairwise_similarity",
    "sequence_log_prob",
    "to_json",
]
