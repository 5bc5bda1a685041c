"""The last node of back-propagation: the loss and its δ = ∂L/∂outputs.

    L = (1/N) Σ_n w_n l(outputs_n, target_n),   δ_n = (w_n / N) ∂l/∂outputs_n,   l = -log p in nats

For every output unit chosen with its loss, ∂l/∂outputs is the simple difference that the courses derive: softmax(z) -
onehot(y), σ(z) - y, (µ - y) / s².
"""

# ruff: noqa: D102 - what __call__ returns is said by LikelihoodLoss

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from lamina.likelihoods.base import Likelihood
from lamina.likelihoods.bernoulli import Bernoulli
from lamina.likelihoods.categorical import Categorical
from lamina.likelihoods.mean_nll import weighted_mean
from lamina.training.backprop_nodes import Sheet, empty, sheet


class LikelihoodLoss:
    """l = -log p of any likelihood, with the derivative that it states in closed form."""

    by_columns = False
    """Whether outputs that lie column after column in memory are read quicker."""

    def __init__(self, likelihood: Likelihood, n: int, dtype: torch.dtype) -> None:
        self.likelihood = likelihood
        self.share = torch.full((), 1.0 / n, dtype=dtype)

    def __call__(self, outputs: Sheet, target: Tensor, weights: Tensor | None) -> tuple[Tensor, Sheet]:
        """Return L, a scalar, and δ, (N, outputs).

        Returns:
            Both detached.
        """
        loss = -weighted_mean(self.likelihood.log_prob(outputs.tensor, target), weights)
        delta = self.likelihood.nll_gradient(outputs.tensor, target)
        return loss, sheet(self.weigh(delta, weights))

    def weigh(self, delta: Tensor, weights: Tensor | None) -> Tensor:
        """Multiply row n by w_n / N, in place.

        Returns:
            The same tensor.
        """
        return delta.mul_(self.share if weights is None else (weights * self.share).unsqueeze(1))


class SoftmaxLoss(LikelihoodLoss):
    """l = -log softmax(z)_y,  ∂l/∂z = softmax(z) - onehot(y), for class codes; one class after the other in memory."""

    by_columns = True

    def __init__(self, likelihood: Categorical, n: int, dtype: torch.dtype) -> None:
        super().__init__(likelihood, n, dtype)
        k = likelihood.n_classes
        self.log_p, self.by_class = empty(k, n, dtype), empty(k, n, dtype)
        self.delta = sheet(self.by_class.tensor.T)
        self.columns, self.n = np.arange(n), n
        self.outputs: Sheet | None = None
        self.share_array = self.share.numpy()
        self.in_line, self.log_in_line = self.by_class.array.reshape(-1), self.log_p.array.reshape(-1)
        self.chosen, self.minus_share = empty(1, n, dtype), torch.full((n,), -1.0 / n, dtype=dtype)
        self.log_chosen = self.chosen.tensor[0]

    def __call__(self, outputs: Sheet, target: Tensor, weights: Tensor | None) -> tuple[Tensor, Sheet]:
        if target.dtype is not torch.int64 or target.ndim != 1:  # soft targets
            return super().__call__(outputs, target, weights)
        if outputs is not self.outputs:  # the same sheet in every update, so its transposed view is made once
            self.outputs, self.z = outputs, outputs.tensor.T
        torch.log_softmax(self.z, 0, out=self.log_p.tensor)
        np.exp(self.log_p.array, out=self.by_class.array)
        places = target.numpy() * self.n + self.columns
        self.in_line[places] -= 1
        self.log_in_line.take(places, out=self.chosen.array[0], mode="clip")
        if weights is None:
            np.multiply(self.by_class.array, self.share_array, out=self.by_class.array)
            return torch.dot(self.minus_share, self.log_chosen), self.delta
        self.weigh(self.delta.tensor, weights)
        return torch.dot(self.minus_share * weights, self.log_chosen), self.delta


class LogisticLoss(LikelihoodLoss):
    """l = -log σ((2y - 1) z),  ∂l/∂z = σ(z) - y, for one yes-or-no target."""

    def __init__(self, likelihood: Bernoulli, n: int, dtype: torch.dtype) -> None:
        super().__init__(likelihood, n, dtype)
        self.delta = empty(n, 1, dtype)

    def __call__(self, outputs: Sheet, target: Tensor, weights: Tensor | None) -> tuple[Tensor, Sheet]:
        z = outputs.tensor
        y = target.to(z.dtype).view(z.shape)
        delta = torch.sigmoid(z, out=self.delta.tensor).sub_(y)
        self.weigh(delta, weights)
        column = None if weights is None else weights.unsqueeze(1)
        return binary_cross_entropy_with_logits(z, y, column), self.delta


def build_loss(likelihood: Likelihood, n: int, dtype: torch.dtype) -> LikelihoodLoss:
    """Return the loss node of a likelihood for ``n`` rows: a quick one where there is one."""
    if type(likelihood) is Categorical and likelihood.smoothing == 0.0:
        return SoftmaxLoss(likelihood, n, dtype)
    if type(likelihood) is Bernoulli and likelihood.n_targets == 1:
        return LogisticLoss(likelihood, n, dtype)
    return LikelihoodLoss(likelihood, n, dtype)
