"""Derivatives of the penalties on weights and activities, of ensembles and of outputs for hints."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gradients.case import GradientCase
from lamina.nn import MLP
from lamina.nn.ensemble import Ensemble
from lamina.nn.hints import with_hints, without_hints
from lamina.penalties.base import Context, Penalty
from lamina.penalties.elastic_net import ElasticNet
from lamina.penalties.l1 import L1
from lamina.penalties.l2 import L2
from lamina.penalties.per_layer import PerLayerDecay
from lamina.penalties.sparse_representation import SparseRepresentation
from lamina.penalties.tying import Tying, TyingTo
from lamina.penalties.weight_elimination import WeightElimination

Made = tuple[Callable[..., Tensor], tuple[Tensor, ...]]

NOT_DIFFERENTIABLE: dict[str, str] = {
    "lamina.nn.ensemble_error": "a formula for three plain numbers",
}


def of(module: nn.Module, *inputs: Tensor) -> Made:
    """A module as a function of its parameters and inputs."""
    module = module.double()
    names = [name for name, _ in module.named_parameters()]
    parameters = [p.detach().clone().requires_grad_() for p in module.parameters()]

    def function(*arguments: Tensor) -> Tensor:
        given = dict(zip(names, arguments[: len(names)], strict=True))
        result: Tensor = functional_call(module, given, arguments[len(names) :])
        return result

    return function, (*parameters, *inputs)


def points(*shape: int) -> Tensor:
    """Normal numbers that want a gradient."""
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()


def network(seed: int = 0) -> nn.Sequential:
    """Two layers of one shape between tanh; no weight is near zero, where |w| has a corner."""
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3)).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            size = torch.rand(p.shape, generator=generator, dtype=torch.float64) + 0.2
            p.copy_(size * (2.0 * torch.randint(0, 2, p.shape, generator=generator) - 1.0))
    return model


class Penalised(nn.Module):
    """A penalty as a function of a network's parameters and inputs."""

    def __init__(self, penalty: Penalty) -> None:
        super().__init__()
        self.net, self.penalty = network(), penalty

    def forward(self, x: Tensor) -> Tensor:
        return self.penalty(Context(self.net, x, self.net(x)))


def penalty(make: Callable[[], Penalty]) -> Callable[[], Made]:
    return lambda: of(Penalised(make()), points(2, 3).detach())


def watched() -> Made:
    """The activities of the objective's own forward pass."""
    term = SparseRepresentation()

    class Watched(Penalised):
        def forward(self, x: Tensor) -> Tensor:
            with term.watch(self.net):
                return term(Context(self.net, x, self.net(x)))

    return of(Watched(term), points(2, 3))


def ensemble(way: str) -> Callable[[], Made]:
    return lambda: of(Ensemble([network(0), network(1)], way), points(2, 3))


def hinted(drop: bool) -> Made:
    net = with_hints(MLP(3, 2, (4,), "tanh", generator=torch.Generator().manual_seed(0)), 2)
    return of(without_hints(net) if drop else net, points(2, 3))


CASES = [
    GradientCase("l2-whole", ("lamina.penalties.L2",), penalty(lambda: L2("whole")), True),
    GradientCase("l1", ("lamina.penalties.L1",), penalty(L1), True),
    GradientCase("elastic-net", ("lamina.penalties.ElasticNet",), penalty(lambda: ElasticNet(0.3)), True),
    GradientCase(
        "weight-elimination", ("lamina.penalties.WeightElimination",), penalty(lambda: WeightElimination(0.7)), True
    ),
    GradientCase(
        "per-layer-decay", ("lamina.penalties.PerLayerDecay",), penalty(lambda: PerLayerDecay("0=0.3,2=2")), True
    ),
    GradientCase("tying", ("lamina.penalties.Tying",), penalty(lambda: Tying("0", "2")), True),
    GradientCase("tying-to", ("lamina.penalties.TyingTo",), penalty(lambda: TyingTo(network(1).state_dict())), True),
    GradientCase("sparse-representation", ("lamina.penalties.SparseRepresentation",), penalty(SparseRepresentation)),
    GradientCase("sparse-representation-watched", ("lamina.penalties.SparseRepresentation",), watched, True),
    GradientCase("ensemble-mean", ("lamina.nn.Ensemble",), ensemble("mean"), second=True),
    GradientCase("ensemble-softmax", ("lamina.nn.Ensemble",), ensemble("softmax"), True),
    GradientCase("ensemble-sigmoid", ("lamina.nn.Ensemble",), ensemble("sigmoid"), True),
    GradientCase("with-hints", ("lamina.nn.with_hints",), lambda: hinted(False), True),
    GradientCase("without-hints", ("lamina.nn.without_hints",), lambda: hinted(True), second=True),
]
