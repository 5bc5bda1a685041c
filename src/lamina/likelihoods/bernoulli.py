"""Bernoulli likelihood: logistic outputs with binary cross-entropy."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Generator, Tensor
from torch.nn.functional import logsigmoid

from lamina.likelihoods._checks import (
    check_column_count,
    check_count,
    check_outputs,
    drop_lone_column,
    over_targets,
    refuse_rows,
    target_columns,
)
from lamina.likelihoods._products import check_vector


@dataclass(frozen=True)
class Bernoulli:
    """T yes-or-no targets, independent given the outputs, from one logit each.

        log p(y | z) = Σ_t  y_t log σ(z_t) + (1 - y_t) log σ(-z_t)           (nats)
        d(-log p)/dz = σ(z) - y

    For y in {0, 1} a term is -softplus((1 - 2y) z), which saturates only where the answer is right. A y strictly
    between 0 and 1 is read as a probability (a soft target).

    Args:
        n_targets: T, at least 1.

    Raises:
        ConfigError: If n_targets is below 1.

    Reference: Goodfellow, Bengio & Courville, "Deep Learning", 2016, section 6.2.2.2.
    """

    n_targets: int = 1

    def __post_init__(self) -> None:
        check_count("Bernoulli", "n_targets", self.n_targets)

    @property
    def n_outputs(self) -> int:
        """One logit a target."""
        return self.n_targets

    def log_prob(self, outputs: Float[Tensor, "N T"], target: Shaped[Tensor, "N ..."]) -> Float[Tensor, " N"]:
        """Return log p(y | z) in nats, summed over the targets of an example.

        Returns:
            One number an example.
        """
        check_outputs("Bernoulli", outputs, self.n_outputs)
        y = target_columns("Bernoulli", target, outputs, self.n_targets)
        return over_targets(y * logsigmoid(outputs) + (1.0 - y) * logsigmoid(-outputs))

    def nll_gradient(self, outputs: Float[Tensor, "N T"], target: Shaped[Tensor, "N ..."]) -> Float[Tensor, "N T"]:
        """Return σ(z) - y.

        Returns:
            The gradient of -log_prob of each example.
        """
        check_outputs("Bernoulli", outputs, self.n_outputs)
        return outputs.sigmoid() - target_columns("Bernoulli", target, outputs, self.n_targets)

    def hessian_product(
        self, outputs: Float[Tensor, "N T"], target: Shaped[Tensor, "N ..."], vector: Float[Tensor, "N T"]
    ) -> Float[Tensor, "N T"]:
        """Return σ(z) σ(-z) v: the second derivative does not depend on the target.

        Returns:
            One row an example.
        """
        return self.fisher_product(outputs, vector)

    def fisher_product(self, outputs: Float[Tensor, "N T"], vector: Float[Tensor, "N T"]) -> Float[Tensor, "N T"]:
        """Return σ(z) σ(-z) v.

        Returns:
            One row an example.
        """
        check_outputs("Bernoulli", outputs, self.n_outputs)
        check_vector("Bernoulli", outputs, vector)
        return outputs.sigmoid() * (-outputs).sigmoid() * vector

    def probabilities(self, outputs: Float[Tensor, "N T"]) -> Float[Tensor, "N ... 2"]:
        """Return p(y = 0) and p(y = 1) side by side: (N, 2), or (N, T, 2) for T > 1 targets.

        Returns:
            Pairs that sum to one, each computed from its own logit and so exact in the far tail.
        """
        check_outputs("Bernoulli", outputs, self.n_outputs)
        both = torch.stack([(-outputs).sigmoid(), outputs.sigmoid()], dim=-1)
        return both.squeeze(1) if self.n_targets == 1 else both

    def mean(self, outputs: Float[Tensor, "N T"]) -> Float[Tensor, "N ..."]:
        """Return p(y = 1), (N,) or (N, T).

        Returns:
            Probabilities.
        """
        check_outputs("Bernoulli", outputs, self.n_outputs)
        return drop_lone_column(outputs.sigmoid())

    def predict(self, outputs: Float[Tensor, "N T"]) -> Int[Tensor, "N ..."]:
        """Return 1 where p(y = 1) > 1/2, else 0; (N,) or (N, T).

        Returns:
            Codes, int64.
        """
        check_outputs("Bernoulli", outputs, self.n_outputs)
        return drop_lone_column((outputs > 0).long())

    def sample(self, outputs: Float[Tensor, "N T"], generator: Generator | None = None) -> Int[Tensor, "N ..."]:
        """Draw the targets, (N,) or (N, T).

        Returns:
            Codes, int64.
        """
        check_outputs("Bernoulli", outputs, self.n_outputs)
        return drop_lone_column(torch.bernoulli(outputs.sigmoid(), generator=generator).long())

    def kl(self, outputs: Float[Tensor, "N T"], other: Float[Tensor, "N T"]) -> Float[Tensor, " N"]:
        """Return KL(p(· | outputs) ‖ p(· | other)) in nats: Σ_t Σ_{y=0,1} p_t(y) log (p_t(y) / q_t(y)).

        Returns:
            One number an example.
        """
        yes = outputs.sigmoid() * (logsigmoid(outputs) - logsigmoid(other))
        return over_targets(yes + (-outputs).sigmoid() * (logsigmoid(-outputs) - logsigmoid(-other)))

    def check_target(self, target: Shaped[Tensor, "N ..."]) -> None:
        """Refuse targets outside [0, 1], by row."""
        values = check_column_count("Bernoulli", target, self.n_targets)
        refuse_rows("Bernoulli", (values < 0) | (values > 1), values, "0 or 1 (or a probability between)")
