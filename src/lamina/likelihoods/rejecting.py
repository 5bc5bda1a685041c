"""Rejecting head: a classifier that refuses to answer where it is not sure enough."""

import dataclasses
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int, Shaped
from torch import Generator, Tensor

from lamina.errors import ConfigError
from lamina.likelihoods.bernoulli import Bernoulli
from lamina.likelihoods.categorical import Categorical
from lamina.likelihoods.divergence import kl_divergence
from lamina.likelihoods.strings import Strings

REFUSED = -2
"""What ``Rejecting.predict`` gives for a refused example: no class, no symbol and not the filling of a string."""


@dataclass(frozen=True)
class Rejecting:
    """The likelihood of a classifier, with decisions that are refused below a confidence t.

        answer(x) = ŷ = argmax_y p(y | x)   if p(ŷ | x) ≥ t,   else refused

    Loss and gradient are those of the likelihood inside; only ``predict`` differs, and gives ``REFUSED`` (-2)
    instead. A higher t answers fewer examples and is right more often on those: draw the curve on held-out data with
    ``lamina.metrics.coverage_curve(predicted == target, confidence)`` and read t off it. For strings p(ŷ | x) is the
    probability of the whole string.

    Args:
        likelihood: What the outputs mean: ``Categorical``, ``Bernoulli`` or ``Strings``.
        threshold: t in [0, 1]; 0 never refuses.

    Raises:
        ConfigError: If the likelihood is not of these kinds, or the threshold outside its range.

    Reference: Chow, "On Optimum Recognition Error and Reject Tradeoff", IEEE Transactions on Information Theory 16,
    1970; Goodfellow, Bengio & Courville, "Deep Learning", 2016, section 11.6.
    """

    likelihood: Categorical | Bernoulli | Strings
    threshold: float

    def __post_init__(self) -> None:
        if not isinstance(self.likelihood, Categorical | Bernoulli | Strings):
            raise ConfigError(
                f"likelihood must be a Categorical, Bernoulli or Strings, got {self.likelihood!r}",
                where="Rejecting",
                mend="only decisions among codes can be refused",
            )
        if not 0.0 <= self.threshold <= 1.0:
            raise ConfigError(
                f"threshold must lie in [0, 1], got {self.threshold!r}", where="Rejecting", mend="use 0.9"
            )

    @property
    def n_outputs(self) -> int:
        """As many as the likelihood inside."""
        return self.likelihood.n_outputs

    @property
    def n_targets(self) -> int:
        """As many as the likelihood inside."""
        return 1 if isinstance(self.likelihood, Categorical) else self.likelihood.n_targets

    def log_prob(self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."]) -> Float[Tensor, " N"]:
        """Return log p(y | outputs) of the likelihood inside, in nats.

        Returns:
            One number an example.
        """
        return self.likelihood.log_prob(outputs, target)

    def nll_gradient(
        self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."]
    ) -> Float[Tensor, "N outputs"]:
        """Return the gradient that the likelihood inside gives.

        Returns:
            The gradient of -log_prob of each example.
        """
        return self.likelihood.nll_gradient(outputs, target)

    def hessian_product(
        self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."], vector: Float[Tensor, "N outputs"]
    ) -> Float[Tensor, "N outputs"]:
        """Return the product of the likelihood inside.

        Returns:
            One row an example.
        """
        return self.likelihood.hessian_product(outputs, target, vector)

    def fisher_product(
        self, outputs: Float[Tensor, "N outputs"], vector: Float[Tensor, "N outputs"]
    ) -> Float[Tensor, "N outputs"]:
        """Return the product of the likelihood inside.

        Returns:
            One row an example.
        """
        return self.likelihood.fisher_product(outputs, vector)

    def mean(self, outputs: Float[Tensor, "N outputs"]) -> Float[Tensor, "N ..."]:
        """Return the mean of the likelihood inside.

        Returns:
            Expected targets.
        """
        return self.likelihood.mean(outputs)

    def probabilities(self, outputs: Float[Tensor, "N outputs"]) -> Float[Tensor, "N ..."]:
        """Return the probabilities of the likelihood inside, refused or not.

        Returns:
            Each class's or symbol's, in the last axis.
        """
        return self.likelihood.probabilities(outputs)

    def confidence(self, outputs: Float[Tensor, "N outputs"]) -> Float[Tensor, " N"]:
        """Return p(ŷ | x), the probability of the best answer; of all targets together where there are several.

        Returns:
            Probabilities.
        """
        inside = self.likelihood
        if isinstance(inside, Categorical):  # smoothing shapes the loss, and is no part of the probability
            inside = dataclasses.replace(inside, smoothing=0.0)
        return inside.log_prob(outputs, inside.predict(outputs)).exp()

    def refused(self, outputs: Float[Tensor, "N outputs"]) -> Bool[Tensor, " N"]:
        """Return where the head does not answer: p(ŷ | x) < t.

        Returns:
            Truth values.
        """
        return self.confidence(outputs) < self.threshold

    def predict(self, outputs: Float[Tensor, "N outputs"]) -> Int[Tensor, "N ..."]:
        """Return the decision, or ``REFUSED`` (-2) in every column where p(ŷ | x) < t.

        Returns:
            Codes, int64.
        """
        answer = self.likelihood.predict(outputs)
        refused = self.refused(outputs)
        return answer.masked_fill(refused if answer.ndim == 1 else refused.unsqueeze(1), REFUSED)

    def sample(self, outputs: Float[Tensor, "N outputs"], generator: Generator | None = None) -> Int[Tensor, "N ..."]:
        """Draw one target an example from the likelihood inside; none is refused.

        Returns:
            Codes, int64.
        """
        return self.likelihood.sample(outputs, generator)

    def kl(self, outputs: Float[Tensor, "N outputs"], other: Float[Tensor, "N outputs"]) -> Float[Tensor, " N"]:
        """Return the divergence of the likelihood inside, in nats.

        Returns:
            One number an example.
        """
        return kl_divergence(self.likelihood, outputs, other)

    def check_target(self, target: Shaped[Tensor, "N ..."]) -> None:
        """Refuse targets that the likelihood inside refuses."""
        self.likelihood.check_target(target)
