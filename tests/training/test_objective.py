"""The supervised objective: its parts in closed form, and what a penalty is told."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from lamina.data.batch import Batch
from lamina.errors import ConfigError
from lamina.likelihoods import Gaussian
from lamina.penalties import Context, Penalty
from lamina.training import Objective, Supervised


class Asking(Penalty):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[Context] = []

    def __call__(self, context: Context) -> Tensor:
        self.told.append(context)
        return 7.0 * context.outputs.sum()


def doubling() -> nn.Linear:
    net = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        net.weight.fill_(2.0)
    return net


BATCH = Batch(*(torch.tensor(v, dtype=torch.float64) for v in ([[1.0], [3.0]], [1.0, 2.0], [0.5, 1.5])))
# Outputs 2 and 6: half squares ½ and 8, weights ½ and 1½, mean over the two examples, and log √2π a unit of weight.
NLL = (0.5 * 0.5 + 1.5 * 8.0) / 2 + 0.5 * math.log(2 * math.pi)


def test_total_and_parts_are_those_of_the_definition() -> None:
    loss = Supervised(Gaussian(scale=1.0), Asking())(doubling(), BATCH)
    assert loss.total.item() == pytest.approx(NLL + 56.0)
    assert {name: part.item() for name, part in loss.parts.items()} == pytest.approx({"nll": NLL, "penalty": 56.0})
    assert not any(part.requires_grad for part in loss.parts.values())
    plain = Supervised(Gaussian(scale=1.0))(doubling(), BATCH)
    assert plain.total.item() == pytest.approx(NLL) and plain.parts == {}


def test_a_penalty_is_told_all_of_the_pass() -> None:
    penalty, net, likelihood = Asking(), doubling(), Gaussian(scale=1.0)
    objective = Supervised(likelihood, penalty)
    assert isinstance(objective, Objective)
    objective(net, BATCH)
    (told,) = penalty.told
    assert told.model is net and told.likelihood is likelihood
    assert told.inputs is BATCH.inputs and told.targets is BATCH.targets and told.weights is BATCH.weights
    assert told.outputs.requires_grad and torch.equal(told.outputs, 2.0 * BATCH.inputs)


def test_a_batch_without_targets_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs targets"):
        Supervised(Gaussian(scale=1.0))(doubling(), Batch(BATCH.inputs))
