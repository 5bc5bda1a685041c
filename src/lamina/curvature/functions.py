"""A network, or its loss, as a function of its parameters: what the products of this room are products of."""

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call

from lamina.curvature._vectors import Tensors
from lamina.likelihoods.base import Likelihood


class AtParameters(NamedTuple):
    """A function of named parameters, and the point where it stands.

    Attributes:
        function: Takes a dictionary of tensors, returns a tensor.
        parameters: The module's own parameters that ask for a gradient, detached: they share its memory.
    """

    function: Callable[[Tensors], Tensor]
    parameters: Tensors


def outputs_at(model: nn.Module, inputs: Shaped[Tensor, "N ..."]) -> AtParameters:
    """Return f(θ) = model(inputs; θ), for Jacobian products.

    Buffers and parameters that ask for no gradient stay as they are. Put the model in ``eval`` mode first where it
    drops units or keeps running means: a function must give the same twice.

    Args:
        model: The network.
        inputs: As it takes them, (N, ...).

    Returns:
        The function, and the parameters in the order of ``named_parameters``.
    """
    parameters = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    return AtParameters(lambda values: functional_call(model, values, (inputs,)), parameters)


def loss_at(
    model: nn.Module, likelihood: Likelihood, inputs: Shaped[Tensor, "N ..."], targets: Shaped[Tensor, "N ..."]
) -> AtParameters:
    """Return L(θ) = -1/N Σ_n log p(y_n | model(x_n; θ)) in nats, for Hessian products.

    Args:
        model: The network; see ``outputs_at``.
        likelihood: What its outputs mean.
        inputs: (N, ...).
        targets: As the likelihood takes them.

    Returns:
        The function, which gives a scalar, and the parameters.
    """
    outputs, parameters = outputs_at(model, inputs)

    def loss(values: Tensors) -> Float[Tensor, ""]:
        return -likelihood.log_prob(outputs(values), targets).mean()

    return AtParameters(loss, parameters)
