"""AdaGrad against the recursions by hand and PyTorch's."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lamina.errors import ConfigError
from lamina.optim.adagrad import AdaGrad
from optim.problems import GRADIENTS, path


@pytest.mark.parametrize("epsilon", ["inside", "outside"])
def test_O09_E19_recursion(epsilon: str) -> None:
    w, r, expected = 1.0, 0.0, []
    for g in GRADIENTS:
        r += g * g
        w -= 0.1 * g / (math.sqrt(0.3 + r) if epsilon == "inside" else 0.3 + math.sqrt(r))
        expected.append(w)
    assert path(lambda p: AdaGrad(p, 0.1, eps=0.3, epsilon=epsilon)) == pytest.approx(expected, rel=1e-13)  # type: ignore[arg-type]


@pytest.mark.parametrize("eps", [1e-10, 0.1])
def test_E19_outside_is_pytorchs(eps: float) -> None:
    expected = path(lambda p: torch.optim.Adagrad(p, 0.1, eps=eps, weight_decay=0.02))
    assert path(lambda p: AdaGrad(p, 0.1, eps=eps, epsilon="outside", weight_decay=0.02)) == expected


def test_E19_inside_small_gradients_move_less() -> None:
    first = path(lambda p: AdaGrad(p, 0.1, eps=1.0), [1e-3])[0]
    assert 1.0 - first == pytest.approx(0.1 * 1e-3, rel=1e-5)  # like gradient descent
    assert 1.0 - path(lambda p: AdaGrad(p, 0.1, eps=1e-20), [1e-3])[0] == pytest.approx(0.1, rel=1e-12)


@pytest.mark.parametrize("bad", [{"eps": -1.0}, {"epsilon": "below"}])
def test_bad_options_are_named(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        AdaGrad([nn.Parameter(torch.zeros(1))], **bad)  # type: ignore[arg-type]
