"""Categorical likelihood: softmax outputs with cross-entropy."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Generator, Tensor

from lamina.errors import ConfigError
from lamina.likelihoods._checks import check_count, check_outputs, refuse_rows
from lamina.likelihoods._products import check_vector, softmax_product


@dataclass(frozen=True)
class Categorical:
    """One class out of K, from K logits.

        log p(y | z) = z_y - log Σ_k exp(z_k)                                (nats)
        d(-log p)/dz = softmax(z) - onehot(y)

    A soft target t, (N, K) with rows that sum to one, gives Σ_k t_k log p_k. With smoothing ε a target t becomes
    (1 - ε) t + ε (1 - t) / (K - 1): the right class keeps 1 - ε and the others share ε. ``log_prob`` is then minus the
    training loss and no longer a log-probability: score with ``replace(likelihood, smoothing=0.0)``.

    Differs from ``torch.nn.CrossEntropyLoss(label_smoothing=e)``, which spreads e over all K classes:
    ε = e (K - 1) / K.

    Args:
        n_classes: K, at least 2. Classes are the codes 0 … K - 1.
        smoothing: ε, at least 0 and below 1.

    Raises:
        ConfigError: If an argument is outside its range.

    Reference: Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016, section 7 (smoothing).
    """

    n_classes: int
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_count("Categorical", "n_classes", self.n_classes, least=2)
        if not 0.0 <= self.smoothing < 1.0:
            raise ConfigError(
                f"smoothing must be at least 0 and below 1, got {self.smoothing!r}", where="Categorical", mend="use 0.1"
            )

    @property
    def n_outputs(self) -> int:
        """K logits."""
        return self.n_classes

    def log_prob(self, outputs: Float[Tensor, "N K"], target: Shaped[Tensor, "N ..."]) -> Float[Tensor, " N"]:
        """Return log p(y | z) in nats; the target is (N,) whole numbers or (N, K) probabilities.

        Returns:
            One number an example.
        """
        hard = self._is_hard(outputs, target)
        log_p = outputs.log_softmax(-1)
        if not hard:
            return (self._smooth(target.to(outputs.dtype)) * log_p).sum(-1)
        chosen = log_p.gather(1, target.long().unsqueeze(1)).squeeze(1)
        if self.smoothing == 0.0:
            return chosen
        share = self.smoothing / (self.n_classes - 1)
        return (1.0 - self.smoothing - share) * chosen + share * log_p.sum(-1)

    def nll_gradient(self, outputs: Float[Tensor, "N K"], target: Shaped[Tensor, "N ..."]) -> Float[Tensor, "N K"]:
        """Return softmax(z) Σ_k t_k - t, with t the one-hot, soft or smoothed target.

        Returns:
            The gradient of -log_prob of each example.
        """
        if self._is_hard(outputs, target):
            soft = torch.zeros_like(outputs).scatter_(1, target.long().unsqueeze(1), 1.0)
        else:
            soft = target.to(outputs.dtype)
        soft = self._smooth(soft)
        return outputs.softmax(-1) * soft.sum(-1, keepdim=True) - soft

    def hessian_product(
        self, outputs: Float[Tensor, "N K"], target: Shaped[Tensor, "N ..."], vector: Float[Tensor, "N K"]
    ) -> Float[Tensor, "N K"]:
        """Return Σ_k t_k · (diag p - p pᵀ) v, p = softmax(z), for a target t of any kind, smoothed or not.

        Returns:
            One row an example.
        """
        turned = self.fisher_product(outputs, vector)
        return turned if self._is_hard(outputs, target) else turned * self._smooth(target).sum(-1, keepdim=True)

    def fisher_product(self, outputs: Float[Tensor, "N K"], vector: Float[Tensor, "N K"]) -> Float[Tensor, "N K"]:
        """Return (diag p - p pᵀ) v, p = softmax(z); smoothing, which shapes the targets of training, has no part in it.

        Returns:
            One row an example.
        """
        check_outputs("Categorical", outputs, self.n_classes)
        check_vector("Categorical", outputs, vector)
        return softmax_product(outputs.softmax(-1), vector)

    def probabilities(self, outputs: Float[Tensor, "N K"]) -> Float[Tensor, "N K"]:
        """Return p(y = k) for each class.

        Returns:
            Rows that sum to one.
        """
        check_outputs("Categorical", outputs, self.n_classes)
        return outputs.softmax(-1)

    def mean(self, outputs: Float[Tensor, "N K"]) -> Float[Tensor, "N K"]:
        """Return the expected one-hot vector, which is the probabilities.

        Returns:
            Rows that sum to one.
        """
        return self.probabilities(outputs)

    def predict(self, outputs: Float[Tensor, "N K"]) -> Int[Tensor, " N"]:
        """Return the most probable class; of equals, the lowest code.

        Returns:
            Codes, int64.
        """
        check_outputs("Categorical", outputs, self.n_classes)
        return outputs.argmax(-1)

    def sample(self, outputs: Float[Tensor, "N K"], generator: Generator | None = None) -> Int[Tensor, " N"]:
        """Draw one class an example.

        Returns:
            Codes, int64.
        """
        probabilities = self.probabilities(outputs)
        if not len(outputs):
            return torch.zeros(0, dtype=torch.int64, device=outputs.device)
        return torch.multinomial(probabilities, 1, generator=generator).squeeze(1)

    def kl(self, outputs: Float[Tensor, "N K"], other: Float[Tensor, "N K"]) -> Float[Tensor, " N"]:
        """Return KL(p(· | outputs) ‖ p(· | other)) in nats: Σ_k p_k (log p_k - log q_k).

        Returns:
            One number an example.
        """
        log_p = outputs.log_softmax(-1)
        return (log_p.exp() * (log_p - other.log_softmax(-1))).sum(-1)

    def check_target(self, target: Shaped[Tensor, "N ..."]) -> None:
        """Refuse codes that are not whole numbers in 0 … K - 1, and soft rows that are not probabilities.

        Raises:
            ConfigError: If the shape is neither (N,) nor (N, K).
        """
        if target.ndim == 1:
            codes = target.to(torch.float64)
            bad = ~((codes >= 0) & (codes < self.n_classes) & (codes == codes.floor()))
            refuse_rows("Categorical", bad, codes, f"a class code from 0 to {self.n_classes - 1}")
        elif target.ndim == 2 and target.shape[1] == self.n_classes:
            soft = target.to(torch.float64)
            refuse_rows("Categorical", ~((soft >= 0) & (soft <= 1)), soft, "a probability")
            total = soft.sum(1)
            refuse_rows("Categorical", (total - 1).abs() > 1e-4, total, "a row of probabilities with sum 1")
        else:
            raise ConfigError(
                f"target must have shape (N,) or (N, {self.n_classes}), got {tuple(target.shape)}",
                where="Categorical",
                mend="reshape the target",
            )

    def _smooth(self, soft: Tensor) -> Tensor:
        if self.smoothing == 0.0:
            return soft
        return (1.0 - self.smoothing) * soft + self.smoothing / (self.n_classes - 1) * (1.0 - soft)

    def _is_hard(self, outputs: Tensor, target: Tensor) -> bool:
        """Tell codes (N,) from probabilities (N, K), and refuse anything else.

        Returns:
            True for codes.

        Raises:
            ConfigError: If the target is neither.
        """
        check_outputs("Categorical", outputs, self.n_classes)
        n = outputs.shape[0]
        whole = not target.is_floating_point() and not target.is_complex()
        if target.shape == (n,) and whole:
            return True
        if target.shape == (n, self.n_classes) and target.is_floating_point():
            return False
        raise ConfigError(
            f"target must be whole numbers (N,) or probabilities (N, {self.n_classes}) with N = {n}, "
            f"got {target.dtype} of shape {tuple(target.shape)}",
            where="Categorical",
            mend="pass codes as target.long() of shape (N,)",
        )
