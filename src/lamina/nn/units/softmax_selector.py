"""Softmax as a selector inside a network."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lamina.nn.units._checks import positive


class SoftmaxSelector(nn.Module):
    """Choose between n options by a softmax over their scores, so that the choice can be learnt.

        y = Σ_i p_i v_i,   p = softmax(s / T)

    v_i are the options and s_i their scores, both made by the network. As the temperature T → 0, y becomes the option
    of the largest score (options tied for it share equally); as T → ∞, their mean. A score of -∞ rules an option out.
    Scores and temperatures of any size give finite results.

    Args:
        temperature: T, above 0.

    Raises:
        ConfigError: If the temperature is not a finite number above 0.

    References: Goodfellow, Bengio & Courville, "Deep Learning", 2016, sections 6.2.2.3 and 6.3.3; Bridle, 1990.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        positive(owner="SoftmaxSelector", temperature=temperature)
        self.temperature = temperature

    def forward(
        self, scores: Float[Tensor, "*axes n"], options: Float[Tensor, "*axes n D"]
    ) -> Float[Tensor, "*axes D"]:
        """Return the chosen option, or the mixture of them.

        Args:
            scores: s, one for each option.
            options: v, each a vector.

        Returns:
            y.
        """
        return torch.einsum("...n,...nd->...d", self.weights(scores), options)

    def weights(self, scores: Float[Tensor, "*axes n"]) -> Float[Tensor, "*axes n"]:
        """Return p, the share of each option.

        Returns:
            Numbers from 0 to 1 whose sum over the last axis is 1.
        """
        # The largest is taken off before the division, which could overflow; softmax does not see the difference.
        return torch.softmax((scores - scores.detach().amax(-1, keepdim=True)) / self.temperature, dim=-1)

    def extra_repr(self) -> str:
        """Return what is printed between the brackets."""
        return f"temperature={self.temperature:g}"
