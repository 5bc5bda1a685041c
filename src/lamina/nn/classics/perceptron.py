"""Perceptron: McCulloch and Pitts' threshold unit, and Rosenblatt's rule that teaches it."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from lamina.nn._checks import at_least
from lamina.nn.classics._checks import check_bits, check_examples
from lamina.nn.units.heaviside import Heaviside

_BLOCK = 256  # examples looked at together while seeking the next mistake


class Perceptron(nn.Module):
    """The threshold unit y = U(w · x + b), with U(z) = 1 for z ≥ 0 and 0 below.

    Its slope is zero wherever it has one, so nothing is learnt by gradients (the parameters ask for none);
    ``perceptron_rule`` teaches it. Starts at w = 0, b = 0.

    Args:
        in_features: D, size of the last axis of the input, at least 1.

    Raises:
        ConfigError: If the size is below 1.

    References: McCulloch & Pitts, "A Logical Calculus of the Ideas Immanent in Nervous Activity", 1943;
    Rosenblatt, "The Perceptron", Psychological Review 65(6), 1958.
    """

    def __init__(self, in_features: int) -> None:
        super().__init__()
        at_least(1, owner="Perceptron", in_features=in_features)
        self.weight = nn.Parameter(torch.zeros(in_features), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(()), requires_grad=False)
        self.threshold = Heaviside()

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch"]:
        """Return 1 where w · x + b ≥ 0, else 0."""
        decided: Tensor = self.threshold(x @ self.weight + self.bias)
        return decided


class PerceptronFit(NamedTuple):
    """What Rosenblatt's rule ended with.

    Attributes:
        perceptron: The unit as it stands.
        mistakes: How many corrections were made.
        epochs: Passes over the examples, the last one included.
        converged: Whether the last pass had no mistake, so that every example is right.
    """

    perceptron: Perceptron
    mistakes: int
    epochs: int
    converged: bool


@torch.no_grad()
def perceptron_rule(
    x: Float[Tensor, "N D"], target: Shaped[Tensor, "N ..."], *, max_epochs: int = 1000
) -> PerceptronFit:
    """Teach a perceptron by Rosenblatt's rule: examples in turn, corrected only when wrong.

        w ← w + (t - y) x,   b ← b + (t - y),   from w = 0, b = 0, until a whole pass is right

    It ends if and only if the classes can be separated by a hyperplane, after at most (R/γ)² mistakes: R is the
    greatest length of an extended example (x, 1), γ the least distance of one from a separating hyperplane through the
    origin. From zero a learning rate would only scale the weights, so there is none.

    Sums are in float64; examples that are right are passed over many at a time, which changes nothing in the order.

    Args:
        x: Examples.
        target: (N,) classes, 0 and 1.
        max_epochs: Passes after which to give up, at least 1: on classes that overlap it would go on for ever.

    Returns:
        The unit, in the type and on the device of ``x``, and how it got there.

    References: Rosenblatt, "Principles of Neurodynamics", 1962; Novikoff, "On Convergence Proofs on Perceptrons", 1962.
    """
    at_least(1, owner="perceptron_rule", max_epochs=max_epochs)
    check_examples("perceptron_rule", x, target)
    check_bits("perceptron_rule", target)
    rows = torch.cat([x, x.new_ones(len(x), 1)], dim=1).double()
    wanted = target.bool()
    w = rows.new_zeros(rows.shape[1])
    mistakes = epochs = 0
    converged = False
    while epochs < max_epochs and not converged:
        before, position = mistakes, 0
        while position < len(rows):
            block = slice(position, position + _BLOCK)
            wrong = ((rows[block] @ w >= 0) != wanted[block]).nonzero()
            if not len(wrong):
                position += _BLOCK
                continue
            position += int(wrong[0])
            w += torch.where(wanted[position], rows[position], -rows[position])
            mistakes += 1
            position += 1
        epochs += 1
        converged = mistakes == before
    perceptron = Perceptron(x.shape[1]).to(x)
    perceptron.weight.copy_(w[:-1])
    perceptron.bias.copy_(w[-1])
    return PerceptronFit(perceptron, mistakes, epochs, converged)
