"""The autoencoder: an encoder, a decoder, and what the decoder's outputs mean."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Generator, Tensor, nn

from lamina.errors import ConfigError, nearest
from lamina.likelihoods.base import Likelihood
from lamina.likelihoods.bernoulli import Bernoulli
from lamina.likelihoods.gaussian import Gaussian
from lamina.nn._checks import at_least
from lamina.nn.activations import ACTIVATIONS
from lamina.nn.linear import linear
from lamina.nn.tied_linear import TiedLinear

Inputs = Literal["bernoulli", "gaussian"]


class Autoencoder(nn.Module):
    """A network that is to give back its inputs by way of a code.

        h = f(x),   outputs = g(h),   x̂ = E[x | outputs]

    f is the encoder, g the decoder. Outputs are what a likelihood reads, as everywhere: logits where the inputs are
    probabilities or 0 and 1, means where they are real numbers. ``lamina.autoencoders.Reconstruction`` is its
    objective.

    Args:
        encoder: x ↦ h.
        decoder: h ↦ outputs, in the shape of x, or flat.
        likelihood: What the outputs mean: ``Bernoulli(D)`` or ``Gaussian(D, scale=1.0)`` over D numbers; without it
            ``reconstruct`` has nothing to go by.

    References: Rumelhart, Hinton & Williams, "Learning Internal Representations by Error Propagation", 1986; Bourlard
    & Kamp, "Auto-association by multilayer perceptrons and singular value decomposition", Biological Cybernetics 59,
    1988.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, likelihood: Likelihood | None = None) -> None:
        super().__init__()
        self.encoder, self.decoder, self.likelihood = encoder, decoder, likelihood

    def encode(self, x: Float[Tensor, "N ..."]) -> Float[Tensor, "N ..."]:
        """Return the code h."""
        h: Tensor = self.encoder(x)
        return h

    def decode(self, h: Float[Tensor, "N ..."]) -> Float[Tensor, "N ..."]:
        """Return the outputs for a code: logits, or means."""
        outputs: Tensor = self.decoder(h)
        return outputs

    def forward(self, x: Float[Tensor, "N ..."]) -> Float[Tensor, "N ..."]:
        """Return the outputs for inputs: logits, or means."""
        return self.decode(self.encode(x))

    def reconstruct(self, x: Float[Tensor, "N ..."]) -> Float[Tensor, "N ..."]:
        """Return x̂, the mean of what the outputs mean, in the shape of x.

        Returns:
            Probabilities, or means.

        Raises:
            ConfigError: If the autoencoder was made without a likelihood.
        """
        if self.likelihood is None:
            raise ConfigError(
                "does not know what its outputs mean", where="Autoencoder", mend="give it likelihood=Bernoulli(D)"
            )
        return self.likelihood.mean(self(x).flatten(1)).reshape(x.shape)


def autoencoder(
    sizes: Sequence[int],
    activation: str = "sigmoid",
    *,
    code: str | None = None,
    tied: bool = True,
    inputs: Inputs = "bernoulli",
    generator: Generator | None = None,
) -> Autoencoder:
    """Build an autoencoder of affine layers whose decoder mirrors its encoder.

        h⁰ = x,   hᵏ = g(Wᵏ hᵏ⁻¹ + bᵏ),   k = 1 … L          x̂ᴸ = hᴸ,   x̂ᵏ⁻¹ = g(Vᵏ x̂ᵏ + vᵏ),   outputs = V¹ x̂¹ + v¹

    with Vᵏ = (Wᵏ)ᵀ where tied. A single layer without a non-linearity under squared error finds the span of the leading
    principal components, no more.

    Args:
        sizes: Inputs, hidden layers, code: ``[784, 500]`` has one hidden layer, the code.
        activation: g: one of ``lamina.nn.ACTIVATIONS``.
        code: The code's own unit; None is g, and "identity" the usual one of a deep autoencoder.
        tied: Whether the decoder uses the encoder's weights.
        inputs: "bernoulli" reads the outputs as logits of numbers between 0 and 1, "gaussian" as means of real ones.
        generator: Source of the weights; None is PyTorch's default generator.

    Returns:
        The autoencoder, with its likelihood.

    Raises:
        ConfigError: If there are fewer than two sizes, one is below 1, or a name is unknown.
    """
    if len(sizes) < 2:
        raise ConfigError(f"sizes needs inputs and a code, got {list(sizes)}", where="autoencoder", mend="[784, 500]")
    units = [activation] * (len(sizes) - 2) + [activation if code is None else code]
    for size in sizes:
        at_least(1, owner="autoencoder", sizes=size)
    for name in [activation, *units]:
        if name not in ACTIVATIONS:
            raise ConfigError(
                f'unknown activation "{name}"{nearest(name, list(ACTIVATIONS))}',
                where="autoencoder",
                mend=f"choose one of {', '.join(ACTIVATIONS)}",
            )
    encoder: OrderedDict[str, nn.Module] = OrderedDict()
    mirrored: list[tuple[str, nn.Module]] = []  # from the outputs inwards
    for k, (before, after, unit) in enumerate(zip(sizes, sizes[1:], units, strict=False), start=1):
        make, start = ACTIVATIONS[unit]
        layer = encoder[f"linear{k}"] = linear(before, after, start, generator)
        encoder[f"{unit}{k}"] = make()
        back, towards = ACTIVATIONS["identity" if k == 1 else activation]
        if k > 1:
            mirrored.append((f"{activation}{k - 1}", back()))
        mirrored.append((f"linear{k}", TiedLinear(layer) if tied else linear(after, before, towards, generator)))
    decoder = nn.Sequential(OrderedDict(reversed(mirrored)))
    return Autoencoder(nn.Sequential(encoder), decoder, reading(inputs, sizes[0], "autoencoder"))


def reading(inputs: str, n: int, owner: str) -> Likelihood:
    """Return the likelihood of n inputs of a kind.

    Raises:
        ConfigError: If there is no such kind.
    """
    if inputs == "bernoulli":
        return Bernoulli(n)
    if inputs == "gaussian":
        return Gaussian(n, scale=1.0)
    raise ConfigError(f'inputs must be "bernoulli" or "gaussian", got {inputs!r}', where=owner)
