"""Several targets of different kinds from one network: one likelihood a target column."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Shaped
from torch import Generator, Tensor

from lamina.errors import ConfigError
from lamina.likelihoods._checks import check_outputs
from lamina.likelihoods.base import Likelihood
from lamina.likelihoods.categorical import Categorical
from lamina.likelihoods.divergence import kl_divergence
from lamina.likelihoods.rejecting import Rejecting


@dataclass(frozen=True)
class Heads:
    """Independent likelihoods side by side on one output vector.

        log p(y | outputs) = Σ_t log p_t(y_t | outputs_t)                     (nats)

    Head t reads its own slice of the outputs, in order, and column t of the target matrix (N, T). A class head's column
    holds codes as whole floating-point numbers, exact up to 2²⁴ in float32. Answers are matrices too: ``predict`` and
    ``sample`` give (N, T), ``mean`` sets the heads' means side by side, where a class head takes K columns.

    Args:
        likelihoods: One likelihood of a single target for each column.
        names: The columns' names, as many and all different; used in messages and reports.

    Raises:
        ConfigError: If there is no head, a head has several targets or is itself a ``Heads``, or the names do not fit.
    """

    likelihoods: tuple[Likelihood, ...]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.likelihoods:
            raise ConfigError("likelihoods must hold at least one head", where="Heads", mend="name a target column")
        if len(self.names) != len(self.likelihoods) or len(set(self.names)) != len(self.names):
            raise ConfigError(
                f"names must be {len(self.likelihoods)} different names, got {self.names!r}",
                where="Heads",
                mend="give one name for each head",
            )
        for name, head in zip(self.names, self.likelihoods, strict=True):
            if isinstance(head, Heads) or getattr(head, "n_targets", 1) != 1:
                raise ConfigError(f"head {name!r} must have one target, got {head!r}", where="Heads", mend="flatten it")

    @property
    def n_outputs(self) -> int:
        """The sum of the heads' outputs."""
        return sum(head.n_outputs for head in self.likelihoods)

    @property
    def n_targets(self) -> int:
        """T, the number of heads."""
        return len(self.likelihoods)

    def split(self, outputs: Float[Tensor, "N outputs"]) -> tuple[Tensor, ...]:
        """Return each head's own outputs, (N, head.n_outputs): what that likelihood alone reads.

        Returns:
            One view of the outputs for each head.
        """
        check_outputs("Heads", outputs, self.n_outputs)
        return torch.split(outputs, [head.n_outputs for head in self.likelihoods], dim=1)

    def column(self, target: Shaped[Tensor, "N T"], head: int) -> Shaped[Tensor, " N"]:
        """Return column ``head`` of the target as that head wants it: codes as int64 for classes.

        Returns:
            The head's target, (N,).
        """
        values = target[:, head]
        return values.long() if self._takes_codes(self.likelihoods[head]) else values

    def log_prob(self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N T"]) -> Float[Tensor, " N"]:
        """Return log p(y | outputs) in nats, summed over the heads.

        Returns:
            One number an example.
        """
        return self.log_probs(outputs, target).sum(-1)

    def log_probs(self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N T"]) -> Float[Tensor, "N T"]:
        """Return each head's log p(y_t | outputs_t) in nats.

        Returns:
            One column a head.
        """
        return torch.stack([head.log_prob(part, y) for head, part, y in self._parts(outputs, target)], dim=-1)

    def nll_gradient(
        self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N T"]
    ) -> Float[Tensor, "N outputs"]:
        """Return the heads' gradients side by side.

        Returns:
            The gradient of -log_prob of each example.
        """
        return torch.cat([head.nll_gradient(part, y) for head, part, y in self._parts(outputs, target)], dim=1)

    def hessian_product(
        self, outputs: Float[Tensor, "N outputs"], target: Shaped[Tensor, "N T"], vector: Float[Tensor, "N outputs"]
    ) -> Float[Tensor, "N outputs"]:
        """Return the heads' products side by side.

        Returns:
            One row an example.
        """
        parts = zip(self._parts(outputs, target), self.split(vector), strict=True)
        return torch.cat([head.hessian_product(part, y, v) for (head, part, y), v in parts], dim=1)

    def fisher_product(
        self, outputs: Float[Tensor, "N outputs"], vector: Float[Tensor, "N outputs"]
    ) -> Float[Tensor, "N outputs"]:
        """Return the heads' products side by side.

        Returns:
            One row an example.
        """
        parts = zip(self.likelihoods, self.split(outputs), self.split(vector), strict=True)
        return torch.cat([head.fisher_product(part, v) for head, part, v in parts], dim=1)

    def mean(self, outputs: Float[Tensor, "N outputs"]) -> Float[Tensor, "N M"]:
        """Return the heads' means side by side; a class head's is its K probabilities.

        Returns:
            Expected targets.
        """
        means = [head.mean(part) for head, part in zip(self.likelihoods, self.split(outputs), strict=True)]
        return torch.cat([m.unsqueeze(1) if m.ndim == 1 else m.flatten(1) for m in means], dim=1)

    def predict(self, outputs: Float[Tensor, "N outputs"]) -> Float[Tensor, "N T"]:
        """Return each head's decision; a class head's is its code, as a floating-point number.

        Returns:
            One column a head, in the outputs' dtype.
        """
        pairs = zip(self.likelihoods, self.split(outputs), strict=True)
        return torch.stack([head.predict(part).to(outputs.dtype) for head, part in pairs], dim=1)

    def sample(self, outputs: Float[Tensor, "N outputs"], generator: Generator | None = None) -> Float[Tensor, "N T"]:
        """Draw one target an example and head.

        Returns:
            One column a head, in the outputs' dtype.
        """
        pairs = zip(self.likelihoods, self.split(outputs), strict=True)
        return torch.stack([head.sample(part, generator).to(outputs.dtype) for head, part in pairs], dim=1)

    def kl(self, outputs: Float[Tensor, "N outputs"], other: Float[Tensor, "N outputs"]) -> Float[Tensor, " N"]:
        """Return KL(p(· | outputs) ‖ p(· | other)) in nats, the sum of the heads' own.

        Returns:
            One number an example.
        """
        parts = zip(self.likelihoods, self.split(outputs), self.split(other), strict=True)
        return torch.stack([kl_divergence(head, p, q) for head, p, q in parts]).sum(0)

    def check_target(self, target: Shaped[Tensor, "N T"]) -> None:
        """Refuse targets that a head refuses.

        Raises:
            ConfigError: If the target is not (N, T).
        """
        if target.ndim != 2 or target.shape[1] != self.n_targets:
            raise ConfigError(
                f"target must have shape (N, {self.n_targets}), got {tuple(target.shape)}",
                where="Heads",
                mend="stack the target columns in the order of the heads",
            )
        for t, head in enumerate(self.likelihoods):
            head.check_target(target[:, t])  # not column(): a code of 1.5 must be seen, not rounded

    def slices(self) -> dict[str, slice]:
        """Return where each head's outputs stand in the output vector, by name.

        Returns:
            Name of a head -> its columns.
        """
        ends = [0]
        for head in self.likelihoods:
            ends.append(ends[-1] + head.n_outputs)
        return {name: slice(a, b) for name, (a, b) in zip(self.names, pairwise(ends), strict=True)}

    @staticmethod
    def _takes_codes(head: Likelihood) -> bool:
        inside = head.likelihood if isinstance(head, Rejecting) else head
        return isinstance(inside, Categorical)

    def _parts(self, outputs: Tensor, target: Tensor) -> list[tuple[Likelihood, Tensor, Tensor]]:
        parts = self.split(outputs)
        if target.shape != (outputs.shape[0], self.n_targets):
            raise ConfigError(
                f"target must have shape (N, {self.n_targets}) with N = {outputs.shape[0]}, got {tuple(target.shape)}",
                where="Heads",
                mend="stack the target columns in the order of the heads",
            )
        return [(head, parts[t], self.column(target, t)) for t, head in enumerate(self.likelihoods)]
