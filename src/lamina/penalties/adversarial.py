"""Adversarial training: the loss on the worst input near each example."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.nn._checks import at_least
from lamina.penalties._passes import example_losses, labelled, positive, row_norms, running_statistics_held
from lamina.penalties.base import Context, Penalty

NORMS = ("max", "l2")


@dataclass(frozen=True, slots=True)
class Adversarial(Penalty):
    """Mean loss at inputs moved by at most ε so that the loss grows.

        R = -1/N Σ_n w_n log p(t_n | f(x'_n)),   x'_n = argmax_{‖x' - x_n‖ ≤ ε} -log p(t_n | f(x'))      (nats)

    With g the gradient of the loss by the input, one step goes all the way, and several ascend by ``rate`` and go back
    to the ball around x after each:

        max:  x' ← x' + rate sign(g),      then each component clipped to x ± ε   (fast gradient sign)
        l2:   x' ← x' + rate g / ‖g‖,      then x' - x shortened to ε

    On a linear score w · x whose loss is a monotone function of it, the sign step is the exact maximum and moves the
    score by ε ‖w‖₁. x' is held constant: R is differentiable in the parameters at x' alone. An example of weight 0 adds
    nothing. The reference mixes the two losses by halves: ``Supervised(likelihood, Adversarial())`` adds them.
    Steps are in the units of ``Context.smooth`` and x' is not clipped to the range of pixels.

    Attributes:
        epsilon: ε, radius of the ball, above 0.
        norm: ``max`` or ``l2``.
        steps: Steps of ascent, at least 1.
        rate: Length of a step, at least 0; 0 takes ε for one step and 2.5 ε / steps for several.

    Raises:
        ConfigError: If an argument is outside its range, or, when called, without likelihood and targets.

    References: Goodfellow, Shlens & Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015, section 4
    and 6; Miyato et al., ICLR 2016 (l2); Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks",
    ICLR 2018, section 2.1 (several steps; here from x itself, not from a random point of the ball).
    """

    epsilon: float = 0.1
    norm: str = "max"
    steps: int = 1
    rate: float = 0.0

    def __post_init__(self) -> None:
        positive("Adversarial", epsilon=self.epsilon)
        at_least(1, owner="Adversarial", steps=self.steps)
        if self.norm not in NORMS:
            raise ConfigError(f"norm must be max or l2, got {self.norm!r}", where="Adversarial", mend="use max")
        if not self.rate >= 0:
            raise ConfigError(f"rate must be at least 0, got {self.rate!r}", where="Adversarial", mend="use 0")

    def __call__(self, context: Context) -> Float[Tensor, ""]:
        """Return the weighted mean loss at x'.

        Returns:
            A scalar, in nats.
        """
        network, x = context.smooth()
        with running_statistics_held(network):
            return example_losses("Adversarial", context, network(self._moved(context, network, x))).mean()

    def moved(self, context: Context) -> Float[Tensor, "N ..."]:
        """Return x', in the units of the smooth part's inputs.

        Returns:
            A detached tensor shaped as those inputs.
        """
        network, x = context.smooth()
        with running_statistics_held(network):
            return self._moved(context, network, x)

    def _moved(self, context: Context, network: nn.Module, x: Tensor) -> Tensor:
        labelled("Adversarial", context)
        rate = self.rate or (self.epsilon if self.steps == 1 else 2.5 * self.epsilon / self.steps)
        here = x
        for _ in range(self.steps):
            with torch.enable_grad():
                at = here.clone().requires_grad_()
                loss = example_losses("Adversarial", context, network(at)).sum()
                (gradient,) = torch.autograd.grad(loss, at)
            step = gradient.sign_() if self.norm == "max" else gradient.div_(row_norms(gradient))
            here = x + self._projected(torch.add(here, step, alpha=rate) - x)
        return here

    def _projected(self, change: Tensor) -> Tensor:
        if self.norm == "max":
            return change.clamp_(-self.epsilon, self.epsilon)
        return change.mul_((self.epsilon / row_norms(change)).clamp_(max=1.0))
