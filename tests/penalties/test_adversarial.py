"""Adversarial training: exact on a linear model, and against a search of the ball."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lamina.errors import ConfigError
from lamina.likelihoods import Bernoulli, Categorical
from lamina.penalties.adversarial import Adversarial
from lamina.penalties.base import Context
from penalties.derivative_problems import (
    codes,
    context_of,
    normalised_network,
    parameter_gradients,
    rows,
    smooth_network,
)


@pytest.mark.parametrize("norm", ["max", "l2"])
@pytest.mark.parametrize("steps", [1, 4])
def test_R25_linear_score_moves_by_epsilon_times_the_dual_norm(norm: str, steps: int) -> None:
    """log(1 + exp(-y w.x)) becomes log(1 + exp(-y w.x + eps ||w||)), with the 1-norm for the sign step."""
    model = nn.Linear(6, 1).double()
    x, t = rows(7, 6), codes(7, 2).double()
    penalty = Adversarial(epsilon=0.3, norm=norm, steps=steps)
    w, b = model.weight.detach()[0], model.bias.detach()[0]
    dual = w.abs().sum() if norm == "max" else w.square().sum().sqrt()
    y = 2 * t - 1
    expected = torch.log1p(torch.exp(-y * (x @ w + b) + 0.3 * dual)).mean()
    got = penalty(context_of(model, x, t, Bernoulli()))
    assert math.isclose(got.item(), expected.item(), rel_tol=1e-12)


@pytest.mark.parametrize(("norm", "order"), [("max", math.inf), ("l2", 2)])
def test_R25_stays_in_the_ball_and_several_steps_find_more(norm: str, order: float) -> None:
    model, x, t = smooth_network(), rows(), codes()
    context = context_of(model, x, t)
    losses = []
    for steps in (1, 20):
        penalty = Adversarial(epsilon=0.8, norm=norm, steps=steps, rate=0.1 if steps > 1 else 0.0)
        change = penalty.moved(context) - x
        lengths = torch.linalg.vector_norm(change, ord=order, dim=1)
        torch.testing.assert_close(lengths, torch.full_like(lengths, 0.8), rtol=1e-9, atol=0)
        losses.append(-Categorical(3).log_prob(model(x + change), t))
    ball = torch.randn(3000, 1, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ball = 0.8 * ball / torch.linalg.vector_norm(ball, ord=order, dim=2, keepdim=True)
    found = torch.stack([-Categorical(3).log_prob(model(x + step), t) for step in ball]).amax(0)
    assert (losses[1] >= losses[0] - 1e-9).all()
    assert (losses[1] >= found - 1e-3).all()


def test_R25_weights_count_and_unlabelled_rows_do_not() -> None:
    model, x, t = smooth_network(), rows(), codes()
    weights = torch.tensor([2.5, 0.0, 2.5, 0.0, 0.0], dtype=torch.float64)
    some = weights > 0
    penalty = Adversarial(0.2, "l2")
    whole = penalty(context_of(model, x, t, weights=weights))
    alone = penalty(context_of(model, x[some], t[some]))
    assert math.isclose(whole.item(), alone.item(), rel_tol=1e-12)
    for a, b in zip(parameter_gradients(whole, model), parameter_gradients(alone, model), strict=True):
        torch.testing.assert_close(a, b)


def test_R25_the_moved_input_is_held_constant() -> None:
    model, x, t = smooth_network(), rows(), codes()
    penalty = Adversarial(0.2)
    context = context_of(model, x, t)
    fixed = penalty.moved(context)
    expected = parameter_gradients(-Categorical(3).log_prob(model(fixed), t).mean(), model)
    for a, b in zip(parameter_gradients(penalty(context), model), expected, strict=True):
        torch.testing.assert_close(a, b)


def test_extra_passes_leave_the_running_statistics() -> None:
    model, x, t = normalised_network(), rows(), codes()
    context = context_of(model, x, t)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    Adversarial(0.2, steps=3)(context)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    model(x)
    assert not torch.equal(model[1].running_mean, before["1.running_mean"])  # and they follow again afterwards


@pytest.mark.parametrize("bad", [{"epsilon": 0.0}, {"steps": 0}, {"norm": "l1"}, {"rate": -1.0}])
def test_refusals(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="Adversarial"):
        Adversarial(**bad)  # type: ignore[arg-type]


def test_needs_targets() -> None:
    model, x = smooth_network(), rows()
    with pytest.raises(ConfigError, match="targets"):
        Adversarial()(Context(model, x, model(x)))
