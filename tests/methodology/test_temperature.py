"""The temperature against a planted one, and what it must not change."""

import pytest
import torch
from torch import nn

from lamina.likelihoods import Bernoulli, Categorical
from lamina.methodology.temperature import FEWEST, cool, temperature


@pytest.mark.parametrize("planted", [0.7, 1.0, 2.5])
def test_planted_temperature_is_found(planted: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2.0 * torch.randn(20_000, 4, generator=generator, dtype=torch.float64)
    targets = Categorical(4).sample(logits, generator)
    assert temperature(Categorical(4), planted * logits, targets) == pytest.approx(planted, rel=0.03)
    two = logits[:, :1]
    assert temperature(Bernoulli(), planted * two, Bernoulli().sample(two, generator)) == pytest.approx(
        planted, rel=0.05
    )


def test_cooling_divides_the_outputs_and_keeps_the_decisions() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4))
    x = torch.randn(50, 3)
    with torch.no_grad():
        before = model(x)
        cool(model, 2.5)
        after = model(x)
    assert torch.allclose(after, before / 2.5, atol=1e-6)
    assert torch.equal(after.argmax(1), before.argmax(1))


def test_perfect_answers_do_not_ask_for_boundless_certainty() -> None:
    logits = 3.0 * torch.eye(4).repeat(50, 1)
    assert temperature(Categorical(4), logits, torch.arange(4).repeat(50)) == pytest.approx(0.5, rel=1e-4)


def test_too_few_examples_change_nothing() -> None:
    assert temperature(Categorical(2), torch.zeros(FEWEST - 1, 2), torch.zeros(FEWEST - 1, dtype=torch.int64)) == 1.0


def test_weights_count_examples() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(300, 3, generator=generator, dtype=torch.float64) * 2
    targets = Categorical(3).sample(logits / 1.5, generator)
    weights = torch.randint(0, 3, (300,), generator=generator)
    copies = torch.repeat_interleave(torch.arange(300), weights)
    weighted = temperature(Categorical(3), logits, targets, weights.double())
    assert weighted == pytest.approx(temperature(Categorical(3), logits[copies], targets[copies]), rel=1e-3)
    assert weighted != pytest.approx(temperature(Categorical(3), logits, targets), rel=1e-3)
