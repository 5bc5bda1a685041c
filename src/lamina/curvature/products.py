"""Jacobian-vector, vector-Jacobian and Hessian-vector products over named parameters: no matrix is ever formed."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from lamina.curvature._modes import pullback, pushforward
from lamina.curvature._vectors import Tensors, ordered
from lamina.errors import ConfigError

Function = Callable[[Tensors], Tensor]


def jacobian_vector(function: Function, parameters: Mapping[str, Tensor], vector: Mapping[str, Tensor]) -> Tensor:
    """Return J v = ∂f/∂θ · v, by one pass in forward mode: how the outputs move when the parameters move along v.

    Args:
        function: f, of a dictionary of tensors.
        parameters: θ, where the derivative is taken.
        vector: v, one tensor of the same shape for each parameter.

    Returns:
        A tensor of the shape of f(θ): for a network's outputs (N, K), one row an example.

    Reference: Pearlmutter, "Fast Exact Multiplication by the Hessian", Neural Computation 6(1), 1994, section 3.
    """
    direction = ordered("jacobian_vector", "vector", vector, parameters)
    moved: Tensor = pushforward(function, dict(parameters), direction)
    return moved


def vector_jacobian(function: Function, parameters: Mapping[str, Tensor], cotangent: Tensor) -> Tensors:
    """Return uᵀ J = Σ u ⊙ ∂f/∂θ, by one pass in reverse mode: back-propagation of u.

    Args:
        function: f, of a dictionary of tensors.
        parameters: θ, where the derivative is taken.
        cotangent: u, of the shape of f(θ); with examples along the first axis, the result is summed over them.

    Returns:
        One tensor for each parameter, of its shape.

    Raises:
        ConfigError: If u has another shape than f(θ).
    """
    outputs, pull = pullback(function, dict(parameters))
    if outputs.shape != cotangent.shape:
        raise ConfigError(
            f"the function gives {tuple(outputs.shape)}, the cotangent is {tuple(cotangent.shape)}",
            where="vector_jacobian",
            mend="give one number for each output",
        )
    pulled: Tensors = pull(cotangent)[0]
    return pulled


def hessian_vector(function: Function, parameters: Mapping[str, Tensor], vector: Mapping[str, Tensor]) -> Tensors:
    """Return H v = ∂/∂ε ∇f(θ + ε v) at ε = 0, forward mode over reverse mode.

    Exact to rounding, at about the cost of two gradients in time and memory, however many parameters there are. Where
    an operation of the network has no forward derivative, PyTorch says so by NotImplementedError.

    Args:
        function: f, of a dictionary of tensors, giving a scalar.
        parameters: θ, where the derivatives are taken.
        vector: v, one tensor of the same shape for each parameter.

    Returns:
        One tensor for each parameter, of its shape.

    Reference: Pearlmutter, Neural Computation 6(1), 1994.
    """
    direction = ordered("hessian_vector", "vector", vector, parameters)
    turned: Tensors = pushforward(torch.func.grad(function), dict(parameters), direction)
    return turned
