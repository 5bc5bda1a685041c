"""Virtual adversarial training: the prediction shall not change where a small step changes it most."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from lamina.errors import ConfigError
from lamina.likelihoods.base import Likelihood
from lamina.likelihoods.divergence import kl_divergence
from lamina.nn._checks import at_least
from lamina.penalties._jets import first_order
from lamina.penalties._passes import positive, row_norms, running_statistics_held
from lamina.penalties.base import Context, Penalty


@dataclass(frozen=True, slots=True)
class VirtualAdversarial(Penalty):
    """Divergence of the prediction from itself after the worst small step of each example.

        R = 1/N Σ_n KL( p(· | x_n) ‖ p(· | x_n + r_n) ),   r_n = ε argmax_{‖d‖ = 1} dᵀ H_n d,
        H_n = ∂²/∂r² KL( p(· | x_n) ‖ p(· | x_n + r) ) at r = 0                                   (nats)

    p(· | x_n) is read off the outputs that the objective has already computed, and is held constant. The top
    eigenvector of H_n is sought by power iteration d ← H d / ‖H d‖ from a random direction, with H d as a difference,
    ∇_r KL at r = ξ d over ξ, which needs one pass forward and one back to the inputs, none to the weights; with
    ξ = 0 the product is exact, H d = Jᵀ F J d, forwards and then in reverse (F is the Fisher information of the
    outputs). No target is looked at and no weight: every row of the batch counts 1, the unlabelled ones too.

    Where a dropout layer is at work, each pass draws its own mask, and the divergence contains their difference.
    Steps are in the units of ``Context.smooth``: of the pictures as given or, behind PixelScaling, standardised.

    Differs from the reference's code, where ξ = 1e-6: in float32 that drowns in rounding (1 + 1e-6 d_j = 1).

    Attributes:
        epsilon: ε, Euclidean length of the step, above 0.
        iterations: Power iterations, at least 0; 0 leaves the random direction.
        xi: ξ, at least 0.
        generator: Source of the first direction; None is PyTorch's default generator.

    Raises:
        ConfigError: If an argument is outside its range, or, when called, if the likelihood has no divergence.

    Reference: Miyato, Maeda, Koyama & Ishii, "Virtual Adversarial Training: A Regularization Method for Supervised and
    Semi-Supervised Learning", IEEE TPAMI 2018, eq. 5-12 and algorithm 1.
    """

    epsilon: float = 2.0
    iterations: int = 1
    xi: float = 0.01
    generator: Generator | None = None

    def __post_init__(self) -> None:
        positive("VirtualAdversarial", epsilon=self.epsilon)
        at_least(0, owner="VirtualAdversarial", iterations=self.iterations)
        if not self.xi >= 0:
            raise ConfigError(
                f"xi must be at least 0, got {self.xi!r}", where="VirtualAdversarial", mend="use 0.01, or 0 for exact"
            )

    def __call__(self, context: Context) -> Float[Tensor, ""]:
        """Return R, differentiable in the parameters through p(· | x + r) alone.

        Returns:
            A scalar, at least 0 up to rounding.
        """
        likelihood = _likelihood(context)
        network, x = context.smooth()
        reference = context.outputs.detach()
        with running_statistics_held(network):
            moved = x + self._direction(network, x, reference, likelihood).mul_(self.epsilon)
            return kl_divergence(likelihood, reference, network(moved)).mean()

    def step(self, context: Context) -> Float[Tensor, "N ..."]:
        """Return the steps r, ``(N, ...)``, of length ε, in the units of the smooth part's inputs.

        Returns:
            A detached tensor shaped as those inputs.
        """
        network, x = context.smooth()
        with running_statistics_held(network):
            return self._direction(network, x, context.outputs.detach(), _likelihood(context)).mul_(self.epsilon)

    def _direction(self, network: nn.Module, x: Tensor, reference: Tensor, likelihood: Likelihood) -> Tensor:
        d = torch.empty_like(x).normal_(generator=self.generator)
        d.div_(row_norms(d))
        for _ in range(self.iterations):
            d = self._product(network, x, reference, likelihood, d)
            d.div_(row_norms(d))
        return d

    def _product(self, network: nn.Module, x: Tensor, reference: Tensor, likelihood: Likelihood, d: Tensor) -> Tensor:
        """Return H d up to a positive factor.

        Returns:
            A fresh tensor shaped as x.
        """
        with torch.enable_grad():
            if self.xi > 0:
                moved = torch.add(x, d, alpha=self.xi).requires_grad_()
                divergence = kl_divergence(likelihood, reference, network(moved)).sum()
                return torch.autograd.grad(divergence, moved)[0]
            here = x.clone().requires_grad_()
            outputs, (change,) = first_order(network, here, d.unsqueeze(0))
            at = outputs.detach().requires_grad_()
            slope = torch.autograd.grad(kl_divergence(likelihood, at.detach(), at).sum(), at, create_graph=True)[0]
            curved = torch.autograd.grad(slope, at, change.detach())[0]  # F J d
            return torch.autograd.grad(outputs, here, curved)[0]


def _likelihood(context: Context) -> Likelihood:
    if context.likelihood is None:
        raise ConfigError("needs a likelihood", where="VirtualAdversarial", mend="use it in lamina.training.Supervised")
    return context.likelihood
