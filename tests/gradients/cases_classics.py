"""The classics, products of derivatives, and matching pursuit: where they are differentiated."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gradients.case import GradientCase
from lamina.curvature import hessian_vector, jacobian_vector, loss_at, outputs_at, vector_jacobian
from lamina.likelihoods import Gaussian
from lamina.nn.classics import (
    ExtremeLearningMachine,
    PolynomialBasis,
    SingleLayerPerceptron,
    approximate,
    approximate_plane,
    logistic_derivatives,
    xor_network,
)

Made = tuple[Callable[..., Tensor], tuple[Tensor, ...]]


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def module(make: Callable[[], nn.Module], n_in: int) -> Callable[[], Made]:
    """Inputs and parameters as arguments."""

    def made() -> Made:
        layer = make().double()
        names = [name for name, _ in layer.named_parameters()]
        values = [p.detach().clone().requires_grad_() for p in layer.parameters()]

        def function(x: Tensor, *given: Tensor) -> Tensor:
            out: Tensor = functional_call(layer, dict(zip(names, given, strict=True)), (x,))
            return out

        return function, (numbers(4, n_in), *values)

    return made


def logistic(part: int) -> Callable[[], Made]:
    target = torch.tensor([0.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    return lambda: (lambda w, x: logistic_derivatives(w, x, target)[part], (numbers(3), numbers(4, 3, seed=1)))


def delta_gradients() -> Made:
    unit = SingleLayerPerceptron(3, 2).double()
    return lambda x, t: torch.cat([g.flatten() for g in unit.gradients(x, t)]), (numbers(4, 3), numbers(4, 2, seed=1))


def machine() -> nn.Module:
    made = ExtremeLearningMachine(3, 2, 5, "tanh", generator=torch.Generator().manual_seed(0)).double()
    return made.solve(numbers(9, 3, seed=1).detach(), numbers(9, 2, seed=2).detach())


def products(kind: str) -> Callable[[], Made]:
    """A product, as a function of the vector that is multiplied and of the point."""

    def made() -> Made:
        net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()
        x, y = numbers(4, 2).detach(), numbers(4, 1, seed=1).detach()
        loss, _ = loss_at(net, Gaussian(scale=1.0), x, y)
        outputs, parameters = outputs_at(net, x)
        names, n = list(parameters), len(parameters)
        point = [p.clone().requires_grad_() for p in parameters.values()]

        def function(*given: Tensor) -> Tensor:
            at = dict(zip(names, given[:n], strict=True))
            if kind == "vjp":
                found = vector_jacobian(outputs, at, given[n])
                return torch.cat([t.flatten() for t in found.values()])
            vector = dict(zip(names, given[n:], strict=True))
            if kind == "jvp":
                return jacobian_vector(outputs, at, vector)
            return torch.cat([t.flatten() for t in hessian_vector(loss, at, vector).values()])

        if kind == "vjp":
            return function, (*point, numbers(4, 1, seed=5))
        return function, (*point, *(numbers(*p.shape, seed=i + 5) for i, p in enumerate(point)))

    return made


def wave() -> nn.Module:
    return approximate(lambda x: torch.sin(x), 0.0, math.pi, 7, slope=3.0)


def hill() -> nn.Module:
    return approximate_plane(lambda p: torch.exp(-p.square().sum(1)), (-1.0, -1.0), (1.0, 1.0), 9, slope=3.0)


CASES: list[GradientCase] = [
    GradientCase(
        "polynomial-basis", ("lamina.nn.PolynomialBasis",), module(lambda: PolynomialBasis(3), 2), second=True
    ),
    GradientCase(
        "single-layer-sigmoid",
        ("lamina.nn.SingleLayerPerceptron",),
        module(lambda: SingleLayerPerceptron(3, 2), 3),
        second=True,
    ),
    GradientCase(
        "single-layer-linear",
        ("lamina.nn.SingleLayerPerceptron",),
        module(lambda: SingleLayerPerceptron(3, 2, "identity"), 3),
        second=True,
    ),
    GradientCase("single-layer-gradients", ("lamina.nn.SingleLayerPerceptron",), delta_gradients),
    GradientCase("extreme-learning-machine", ("lamina.nn.ExtremeLearningMachine",), module(machine, 3), second=True),
    GradientCase("xor-relu", ("lamina.nn.xor_network",), module(lambda: xor_network("relu"), 2)),
    GradientCase("approximate", ("lamina.nn.approximate",), module(wave, 1)),
    GradientCase("approximate-plane", ("lamina.nn.approximate_plane",), module(hill, 2)),
    GradientCase("logistic-loss", ("lamina.nn.logistic_derivatives",), logistic(0), second=True),
    GradientCase("logistic-gradient", ("lamina.nn.logistic_derivatives",), logistic(1), second=True),
    GradientCase("logistic-hessian", ("lamina.nn.logistic_derivatives",), logistic(2)),
    GradientCase(
        "jacobian-vector", ("lamina.curvature.jacobian_vector", "lamina.curvature.outputs_at"), products("jvp")
    ),
    GradientCase("vector-jacobian", ("lamina.curvature.vector_jacobian",), products("vjp")),
    GradientCase("hessian-vector", ("lamina.curvature.hessian_vector", "lamina.curvature.loss_at"), products("hvp")),
]

_SOLVED = "solves in closed form or by iteration, and records no gradient: the answer is a layer"
_WIRED = "threshold units: the slope is zero wherever there is one"
_RECORD = "a record of what another function gives"

NOT_DIFFERENTIABLE: dict[str, str] = {
    "lamina.nn.LogisticDerivatives": _RECORD,
    "lamina.nn.Perceptron": _WIRED,
    "lamina.nn.PerceptronFit": _RECORD,
    "lamina.nn.boolean_network": _WIRED,
    "lamina.nn.parity_network": _WIRED,
    "lamina.nn.perceptron_rule": "a learning rule: changes weights, records no gradient",
    "lamina.nn.delta_rule": "a learning rule: changes weights, records no gradient",
    "lamina.nn.linear_regression": _SOLVED,
    "lamina.nn.elastic_net": _SOLVED,
    "lamina.nn.logistic_regression": _SOLVED,
    "lamina.nn.least_squares_classifier": _SOLVED,
    "lamina.nn.signed_targets": "takes whole numbers",
    "lamina.curvature.AtParameters": _RECORD,
    "lamina.curvature.ContinuousCostates": _RECORD,
    "lamina.curvature.Eigenpairs": _RECORD,
    "lamina.curvature.LayerCostates": _RECORD,
    "lamina.curvature.Solution": _RECORD,
    "lamina.curvature.conjugate_gradient": "an iteration on products, which records no gradient",
    "lamina.curvature.lanczos": "an iteration on products, which records no gradient",
    "lamina.curvature.continuous_costates": "gives derivatives itself; tested against closed forms and differences",
    "lamina.curvature.layer_costates": "gives derivatives itself; tested against autograd and differences",
    "lamina.autoencoders.MatchingPursuitFeatures": "the choice of atoms jumps; no gradient is recorded",
    "lamina.autoencoders.orthogonal_matching_pursuit": "the choice of atoms jumps; no gradient is recorded",
}
