"""Back-propagation as optimal control: states run forward, co-states backward, in layers and in continuous time."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, grad

from lamina.curvature._modes import pullback
from lamina.curvature._vectors import Tensors
from lamina.errors import ConfigError


class LayerCostates(NamedTuple):
    """States and co-states of a chain of L layers.

    Attributes:
        loss: E, a scalar.
        states: z(0) = x, z(1) … z(L).
        costates: λ(0) … λ(L), λ(l) = ∂E/∂z(l), each of its state's shape.
        gradients: ∂E/∂θ of every parameter that asks for one, named as in the chain.
    """

    loss: Tensor
    states: list[Tensor]
    costates: list[Tensor]
    gradients: Tensors


@torch.no_grad()
def layer_costates(chain: nn.Sequential, x: Tensor, terminal: Callable[[Tensor], Tensor]) -> LayerCostates:
    """Return the co-states of a chain z(l) = f_l(z(l-1); θ_l) with the cost E = terminal(z(L)).

        λ(L) = ∂E/∂z(L),   λ(l-1) = (∂f_l/∂z)ᵀ λ(l),   ∂E/∂θ_l = (∂f_l/∂θ_l)ᵀ λ(l)

    λ(l) is the Lagrange multiplier of the constraint that layer l sets up, the co-state of control theory; for
    f_l = g(W z) the middle equation reads λ_i(l-1) = Σ_j λ_j(l) g'(ŷ_j(l)) w_ji, and δ = λ g' is the error signal. Each
    layer is differentiated alone; nothing of autograd's graph through the chain is used. In training use
    ``loss.backward()``, which computes the same.

    Args:
        chain: The layers. Modules that keep running means should be in ``eval`` mode: each is run twice.
        x: The input, z(0).
        terminal: E of the last state, a scalar.

    Returns:
        States, co-states and gradients; for a batch, those of the cost that sums or averages over it.

    Raises:
        ConfigError: If the cost is no scalar.

    References: Bryson & Ho, "Applied Optimal Control", 1969, section 2.2; LeCun, "A Theoretical Framework for
    Back-Propagation", 1988.
    """
    states = [x]
    for layer in chain:
        states.append(layer(states[-1]))
    loss = terminal(states[-1])
    if loss.shape != ():
        raise ConfigError(
            f"the terminal cost must be a scalar, got shape {tuple(loss.shape)}",
            where="layer_costates",
            mend="sum or average it",
        )
    costate = grad(terminal)(states[-1])
    costates, gradients = [costate], {}
    for (name, layer), state in zip(reversed(list(chain.named_children())), reversed(states[:-1]), strict=True):
        own = {key: p.detach() for key, p in layer.named_parameters() if p.requires_grad}
        _, pull = pullback(lambda z, values, layer=layer: functional_call(layer, values, (z,)), state, own)
        costate, by_parameter = pull(costate)
        costates.append(costate)
        gradients.update({f"{name}.{key}": value for key, value in by_parameter.items()})
    costates.reverse()
    named = {key: gradients[key] for key, _ in chain.named_parameters() if key in gradients}
    return LayerCostates(loss, states, costates, named)


class ContinuousCostates(NamedTuple):
    """States and co-states of a differential equation at S + 1 equally spaced times.

    Attributes:
        cost: J, a scalar.
        times: (S + 1,), from 0 to t_f.
        states: (S + 1, ...), x(t).
        costates: (S + 1, ...), λ(t) = ∂J/∂x(t).
        gradients: ∂J/∂θ, named as the parameters.
    """

    cost: Tensor
    times: Tensor
    states: Tensor
    costates: Tensor
    gradients: Tensors


@torch.no_grad()
def continuous_costates(
    field: Callable[[Tensor, Tensors], Tensor],
    parameters: Mapping[str, Tensor],
    start: Float[Tensor, "*shape"],
    terminal: Callable[[Tensor], Tensor],
    *,
    duration: float,
    steps: int = 100,
) -> ContinuousCostates:
    """Return the co-states of dx/dt = f(x; θ), x(0) given, with the cost J = terminal(x(t_f)): depth made continuous.

        dλ/dt = -(∂f/∂x)ᵀ λ,  λ(t_f) = ∂J/∂x(t_f),      ∂J/∂θ = ∫₀^t_f (∂f/∂θ)ᵀ λ dt

    For f = a x and J = c x(t_f) the product λ(t) x(t) is constant, and ∂J/∂a = t_f λ(t) x(t) at any t, which is
    t_f c e^(a t_f) x(0). Both directions by Runge and Kutta's method of fourth order: the error falls with steps⁻⁴. The
    states at all S + 1 times are kept.

    Args:
        field: f, of a state and the named parameters, giving a tensor of the state's shape.
        parameters: θ.
        start: x(0), of any shape.
        terminal: J of the last state, a scalar.
        duration: t_f, above 0.
        steps: S, at least 1.

    Returns:
        Times, states, co-states and gradients.

    Raises:
        ConfigError: If an argument does not fit.

    References: Pontryagin et al., 1962; Chen et al., "Neural Ordinary Differential Equations", NeurIPS 2018, app. B.
    """
    if not duration > 0 or steps < 1:
        raise ConfigError(
            f"duration must be above 0 and steps at least 1, got {duration!r} and {steps!r}",
            where="continuous_costates",
            mend="correct the one that is not",
        )
    values, h = dict(parameters), duration / steps
    states = start.new_empty(steps + 1, *start.shape)
    states[0] = start
    for i in range(steps):
        (states[i + 1],) = _runge_kutta(lambda now: [field(now[0], values)], [states[i]], h)
    cost = terminal(states[-1])
    if cost.shape != ():
        raise ConfigError(
            f"the terminal cost must be a scalar, got shape {tuple(cost.shape)}",
            where="continuous_costates",
            mend="sum or average it",
        )
    costates = torch.empty_like(states)
    costates[-1] = grad(terminal)(states[-1])
    names = list(values)

    def backward(now: list[Tensor]) -> list[Tensor]:
        """Return the derivatives of state, co-state and gathered gradients by t."""
        moved, pull = pullback(field, now[0], values)
        by_state, by_parameter = pull(now[1])
        return [moved, -by_state, *(-by_parameter[name] for name in names)]

    gathered = [torch.zeros_like(values[name]) for name in names]
    for i in range(steps, 0, -1):
        _, costates[i - 1], *gathered = _runge_kutta(backward, [states[i], costates[i], *gathered], -h)
    times = torch.linspace(0.0, duration, steps + 1, dtype=start.dtype, device=start.device)
    return ContinuousCostates(cost, times, states, costates, dict(zip(names, gathered, strict=True)))


def _runge_kutta(derivative: Callable[[list[Tensor]], list[Tensor]], now: list[Tensor], h: float) -> list[Tensor]:
    """Return the values one step of length h later (backward where h is negative)."""

    def ahead(slopes: list[Tensor], part: float) -> list[Tensor]:
        return [value + part * slope for value, slope in zip(now, slopes, strict=True)]

    k1 = derivative(now)
    k2 = derivative(ahead(k1, h / 2))
    k3 = derivative(ahead(k2, h / 2))
    k4 = derivative(ahead(k3, h))
    return ahead([a + 2 * b + 2 * c + d for a, b, c, d in zip(k1, k2, k3, k4, strict=True)], h / 6)
