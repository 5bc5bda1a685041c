"""The random step, and the two clippings that are PyTorch's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lamina.errors import ConfigError
from lamina.optim.clipping import random_step_


def parameters(*gradients: list[float]) -> list[nn.Parameter]:
    made = []
    for g in gradients:
        p = nn.Parameter(torch.zeros(len(g), dtype=torch.float64))
        p.grad = torch.tensor(g, dtype=torch.float64)
        made.append(p)
    return made


def joined(made: list[nn.Parameter]) -> torch.Tensor:
    return torch.cat([p.grad for p in made])  # type: ignore[misc]


def test_O25_below_the_threshold_nothing_happens() -> None:
    made = parameters([3.0, -4.0], [12.0])
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    assert float(random_step_(made, 13.0, generator=generator)) == pytest.approx(13.0)
    assert joined(made).tolist() == [3.0, -4.0, 12.0]
    assert torch.equal(generator.get_state(), state)


@pytest.mark.parametrize("bad", [[3.0, -4.0], [float("nan"), 0.0], [float("inf"), 1.0]])
def test_O25_above_it_the_step_has_its_length_over_all_parameters_together(bad: list[float]) -> None:
    made = parameters(bad, [12.0, 5.0, 0.0])
    random_step_(made, 2.5, generator=torch.Generator().manual_seed(1))
    assert float(joined(made).norm()) == pytest.approx(2.5, rel=1e-12)
    again = parameters(bad, [1e9, 5.0, 0.0])
    random_step_(again, 2.5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(joined(made), joined(again))  # the draw depends on the generator alone


def test_O25_the_direction_has_no_preference() -> None:
    """Mean 0 and covariance v²/n I over draws, and nothing to do with the gradient."""
    generator = torch.Generator().manual_seed(2)
    drawn = []
    for _ in range(2000):
        made = parameters([100.0, 0.0], [0.0])
        random_step_(made, 3.0, generator=generator)
        drawn.append(joined(made))
    steps = torch.stack(drawn)
    n, variance = 2000, 9.0 / 3
    assert steps.mean(0).abs().max() < 4 * (variance / n) ** 0.5
    torch.testing.assert_close(steps.T @ steps / n, variance * torch.eye(3).double(), atol=0.3, rtol=0)


def test_O25_clipping_by_element_and_by_norm_are_pytorchs() -> None:
    g = torch.tensor([3.0, -4.0, 12.0], dtype=torch.float64)
    made = parameters([3.0, -4.0, 12.0])
    nn.utils.clip_grad_value_(made, 3.5)
    assert joined(made).tolist() == [3.0, -3.5, 3.5]
    made = parameters([3.0, -4.0], [12.0])
    nn.utils.clip_grad_norm_(made, 6.5)
    torch.testing.assert_close(joined(made), g / 2, rtol=1e-6, atol=0)


def test_parameters_without_gradients_and_bad_thresholds() -> None:
    empty = nn.Parameter(torch.zeros(2))
    random_step_([empty], 1.0)
    assert empty.grad is None
    with pytest.raises(ConfigError, match="threshold"):
        random_step_([empty], 0.0)
