"""Contractive penalty: a code that changes little when the input does."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from lamina.errors import ConfigError
from lamina.nn._checks import at_least
from lamina.penalties._input_gradient import pass_from, squared_jacobian
from lamina.penalties._jets import chain, is_affine, is_chain
from lamina.penalties._passes import running_statistics_held
from lamina.penalties.base import Context, Penalty


@dataclass(frozen=True, slots=True)
class Contractive(Penalty):
    """Squared Frobenius norm of the encoder's Jacobian, mean over the examples.

        R = 1/N Σ_n Σ_j ‖ ∂h_j(x_n)/∂x_n ‖²

    One affine layer, alone or under a sigmoid or tanh, has it in closed form, for a pass forward and no more:

        Σ_j g'(a_j)² Σ_i W_ji²,   g' = h (1 - h) for the sigmoid, 1 - h² for tanh

    For any other encoder the sum is estimated without bias by the mean of ‖Jᵀ s‖² over ``draws`` = m random sign
    vectors s, one backward pass each; ``draws`` = 0 makes one for each unit of the code. No target is looked at.

    Attributes:
        encoder: Name of the part that makes the code. In a chain: its last layer, with all layers before it; elsewhere:
            a submodule that takes the inputs. Empty takes the model's ``encoder``, or in a chain the layers up to the
            first that is not affine, behind fixed features: the first hidden layer.
        draws: Random directions; 0 for the exact sum.
        generator: Source of the signs; None is PyTorch's default generator.

    Raises:
        ConfigError: If ``draws`` is negative or, when called, if there is no such part.

    Reference: Rifai, Vincent, Muller, Glorot & Bengio, "Contractive Auto-Encoders", ICML 2011, eq. 4 and section 5.3.
    """

    encoder: str = ""
    draws: int = 1
    generator: Generator | None = None

    def __post_init__(self) -> None:
        at_least(0, owner="Contractive", draws=self.draws)

    def __call__(self, context: Context) -> Float[Tensor, ""]:
        """Return R, in closed form, exact or estimated.

        Returns:
            A scalar, at least 0.
        """
        network, x = context.smooth()
        encoder = encoder_of(network, self.encoder)
        with running_statistics_held(encoder):
            closed = _one_layer(encoder, x)
            if closed is not None:
                return closed.mean()
            code, pull = pass_from(encoder, x)
            return squared_jacobian(code, pull, self.draws, self.generator).mean()


def encoder_of(network: nn.Module, name: str) -> nn.Module:
    """Return the part of a network that makes its code: see ``Contractive.encoder``.

    Returns:
        A module that shares the network's weights.

    Raises:
        ConfigError: If there is no such part.
    """
    children = dict(network.named_children())
    if not name and "encoder" in children:
        return children["encoder"]
    if is_chain(network):
        layers: list[nn.Module] = []
        for child, layer in zip(network._modules, network, strict=True):
            layers.append(layer)
            learns = any(True for part in layers for _ in part.parameters())  # what is fixed is no encoder yet
            if child == name or not (name or not learns or all(is_affine(part) for part in chain(layer))):
                return nn.Sequential(*layers)
    elif name:
        try:
            return network.get_submodule(name)
        except AttributeError:
            pass
    raise ConfigError(
        f'no part "{name}"' if name else "which part is the encoder?",
        where=type(network).__name__,
        mend="one of " + ", ".join(children) if children else "give the penalty a model with named parts",
    )


def _one_layer(encoder: nn.Module, x: Tensor) -> Tensor | None:
    """Return the closed form, (N,), or None where the encoder is not one affine layer with a known unit."""
    layers = [layer for layer in chain(encoder) if not isinstance(layer, nn.Flatten | nn.Identity)]
    if not layers or len(layers) > 2 or type(layers[0]) is not nn.Linear:
        return None
    rows = layers[0].weight.square().sum(1)
    if len(layers) == 1:
        return rows.sum().expand(len(x))
    if not isinstance(layers[1], nn.Sigmoid | nn.Tanh):
        return None
    h = layers[1](layers[0](x.flatten(1)))
    slopes = h * (1.0 - h) if isinstance(layers[1], nn.Sigmoid) else 1.0 - torch.square(h)
    return slopes.square() @ rows
