"""Derivatives of the penalties that differentiate the network by its inputs, and of the tangent distance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gradients.case import GradientCase
from lamina.likelihoods import Categorical
from lamina.metrics.tangent_distance import tangent_distance
from lamina.penalties.adversarial import Adversarial
from lamina.penalties.base import Context, Penalty
from lamina.penalties.conditional_entropy import ConditionalEntropy
from lamina.penalties.contractive import Contractive
from lamina.penalties.curvature_smoothing import CurvatureSmoothing
from lamina.penalties.double_backprop import DoubleBackprop
from lamina.penalties.information_flow import InformationFlow
from lamina.penalties.tangent_prop import TangentProp
from lamina.penalties.virtual_adversarial import VirtualAdversarial

NOT_DIFFERENTIABLE: dict[str, str] = {
    "lamina.penalties.ManifoldTangentProp": "TangentProp along detached tangents, which has rows of its own",
    "lamina.penalties.ManifoldTangents": "tangents of a finished encoder, detached",
    "lamina.penalties.image_tangents": "tangents of given pictures, detached",
}


def points(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class Whole(nn.Module):
    """A penalty's value on fixed examples, as a module whose parameters are the network's."""

    def __init__(self, net: nn.Module, penalty: Callable[[], Penalty], outputs: Tensor | None = None) -> None:
        super().__init__()
        self.net, self.penalty, self.outputs = net, penalty, outputs

    def forward(self, x: Tensor) -> Tensor:
        outputs = self.net(x) if self.outputs is None else self.outputs
        context = Context(self.net, x, outputs, torch.tensor([0, 1, 1]), Categorical(2), torch.tensor([0.5, 1.0, 1.5]))
        return self.penalty()(context)


def network(unit: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), unit(), nn.Linear(4, 2)).double()


def of(module: nn.Module, x: Tensor) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    names = [name for name, _ in module.named_parameters()]

    def function(*parameters: Tensor) -> Tensor:
        result: Tensor = functional_call(module, dict(zip(names, parameters, strict=True)), (x,))
        return result

    return function, tuple(p.detach().clone().requires_grad_() for p in module.parameters())


def penalised(
    penalty: Callable[[], Penalty], *, fixed_outputs: bool = False
) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    x, net = points(3, 3), network()
    return of(Whole(net, penalty, net(x).detach() if fixed_outputs else None), x)


@dataclass(frozen=True)
class _Linear(Categorical):
    """A loss that is linear in the outputs, so that what goes back to the last state is constant."""

    n_classes: int = 2

    def log_prob(self, outputs: Tensor, target: Tensor) -> Tensor:
        return outputs @ torch.tensor([0.7, -1.2], dtype=outputs.dtype)


class OneStep(nn.Module):
    """h_1 = tanh(W h_0 + b) under that loss."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.recur = nn.Linear(2, 2).double()

    def forward(self, x: Tensor) -> Tensor:
        h = x.detach().requires_grad_()
        model = nn.Identity()
        model.hidden_states = [h, torch.tanh(self.recur(h))]  # type: ignore[assignment]
        outputs = model.hidden_states[1]
        return InformationFlow()(Context(model, x, outputs, torch.zeros(len(x), dtype=torch.int64), _Linear()))


def distances() -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    arguments = (points(2, 6), points(2, 6, seed=2), points(2, 2, 6, seed=3), points(1, 2, 6, seed=4))
    return tangent_distance, tuple(a.requires_grad_() for a in arguments)


CASES = [
    GradientCase("adversarial", ("lamina.penalties.Adversarial",), lambda: penalised(lambda: Adversarial(0.1))),
    # What is predicted and where the step goes are held constant: so are they here.
    GradientCase(
        "virtual-adversarial",
        ("lamina.penalties.VirtualAdversarial",),
        lambda: penalised(lambda: VirtualAdversarial(0.7, 0, generator=seeded()), fixed_outputs=True),
    ),
    GradientCase(
        "conditional-entropy", ("lamina.penalties.ConditionalEntropy",), lambda: penalised(ConditionalEntropy), True
    ),
    GradientCase(
        "tangent-prop",
        ("lamina.penalties.TangentProp",),
        lambda: penalised(lambda: TangentProp(points(2, 3, seed=5), draws=0)),
    ),
    GradientCase(
        "tangent-prop-combined",
        ("lamina.penalties.TangentProp",),
        lambda: penalised(lambda: TangentProp(points(2, 3, seed=5), generator=seeded())),
    ),
    GradientCase(
        "double-backprop-of-loss", ("lamina.penalties.DoubleBackprop",), lambda: penalised(lambda: DoubleBackprop())
    ),
    GradientCase(
        "double-backprop-of-outputs",
        ("lamina.penalties.DoubleBackprop",),
        lambda: penalised(lambda: DoubleBackprop("outputs", 0)),
    ),
    GradientCase(
        "contractive-closed-form", ("lamina.penalties.Contractive",), lambda: penalised(lambda: Contractive())
    ),
    GradientCase(
        "contractive", ("lamina.penalties.Contractive",), lambda: penalised(lambda: Contractive("2", 1, seeded()))
    ),
    GradientCase(
        "curvature-smoothing",
        ("lamina.penalties.CurvatureSmoothing",),
        lambda: penalised(lambda: CurvatureSmoothing(draws=0)),
    ),
    GradientCase(
        "curvature-smoothing-signs",
        ("lamina.penalties.CurvatureSmoothing",),
        lambda: penalised(lambda: CurvatureSmoothing("signs", generator=seeded())),
    ),
    GradientCase(
        "information-flow",
        ("lamina.penalties.InformationFlow", "lamina.penalties.information_flow"),
        lambda: of(OneStep(), points(3, 2)),
    ),
    GradientCase("tangent-distance", ("lamina.metrics.tangent_distance",), distances),
]
