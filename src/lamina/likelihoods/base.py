"""The contract of a likelihood: what a network's outputs mean."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float, Shaped
from torch import Generator, Tensor


@runtime_checkable
class Likelihood(Protocol):
    """A distribution over targets, read off the outputs of a network: the output unit with its loss.

        loss(θ) = -1/N Σ_n log p(y_n | outputs_n),   outputs = network(x; θ)

    Every likelihood is a frozen dataclass that holds sizes and no weights. Outputs are always a matrix (N, n_outputs)
    of unbounded numbers (logits, log-rates), never saturated probabilities; values and gradients are finite for
    outputs up to ±1e4 in float32.

    A likelihood of one target reads its target as (N,) or as (N, 1), alike, and answers with (N,); one of T > 1 targets
    reads and answers (N, T). Any other pair of shapes is refused, and nothing is broadcast.

    A likelihood whose divergence has a closed form has a method ``kl(outputs, other)`` too, which ``kl_divergence``
    calls; one over numbers has ``interval(outputs, level)``, one over classes ``probabilities(outputs)``.

    Reference: Bishop, "Pattern Recognition and Machine Learning", 2006, section 4.3.6 (canonical links).
    """

    @property
    def n_outputs(self) -> int:
        """How many network outputs the likelihood reads."""
        ...

    def log_prob(self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."]) -> Float[Tensor, " N"]:
        """Return log p(target | outputs), one number an example, in nats."""
        ...

    def nll_gradient(
        self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."]
    ) -> Float[Tensor, "N outputs"]:
        """Return d(-log p)/d(outputs) of each example in closed form: what the loss hands to back-propagation."""
        ...

    def hessian_product(
        self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N ..."], vector: Float[Tensor, "N outputs"]
    ) -> Float[Tensor, "N outputs"]:
        """Return ∇²(-log p) v of each example: the exact second derivative by the outputs."""
        ...

    def fisher_product(
        self, outputs: Float[Tensor, "N outputs"], vector: Float[Tensor, "N outputs"]
    ) -> Float[Tensor, "N outputs"]:
        """Return F v of each example: F = E[∇²(-log p)] over targets from the distribution, positive semi-definite."""
        ...

    def mean(self, outputs: Float[Tensor, "N outputs"]) -> Float[Tensor, "N ..."]:
        """Return the expected target; for classes, the expected one-hot vector."""
        ...

    def predict(self, outputs: Float[Tensor, "N outputs"]) -> Shaped[Tensor, "N ..."]:
        """Return the decision: the code of a class, or a number."""
        ...

    def sample(
        self, outputs: Float[Tensor, "N outputs"], generator: Generator | None = None
    ) -> Shaped[Tensor, "N ..."]:
        """Draw one target an example."""
        ...

    def check_target(self, target: Shaped[Tensor, "N ..."]) -> None:
        """Refuse targets outside the distribution's support: called once on the data, never in the loop."""
        ...
