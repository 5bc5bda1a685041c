"""The learning-rate range test: what it sees, what it recommends, and that it leaves no trace."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.errors import ConfigError, DivergedError
from lamina.likelihoods import Categorical, Gaussian
from lamina.training import BackpropStep, GradientStep, Supervised
from lamina.training.range_test import RangeTest, learning_rate_range_test
from lamina.training.state import flatten_state
from training.problems import blobs, make_step, network, stream


class Descent:
    """Gradient descent on ½ h (w - ξ)², ξ noise of each batch, as a step, so that every loss is known."""

    def __init__(self, h: float, noise: float = 0.0) -> None:
        self.h, self.noise, self.model = h, noise, nn.Linear(1, 1, bias=False).double()
        nn.init.ones_(self.model.weight)
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.1)

    def __call__(self, batch: Batch) -> dict[str, torch.Tensor]:
        self.model.zero_grad()
        noise = self.noise * torch.randn((), dtype=torch.float64)
        loss = 0.5 * self.h * (self.model.weight - noise).square().sum()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.detach()}

    def state_dict(self) -> dict[str, object]:
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, dict[str, object]]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


def test_losses_and_rates_are_those_of_the_recursion() -> None:
    found = learning_rate_range_test(Descent(4.0), stream(), 1e-3, 10.0, 41, smoothing=0.5)  # type: ignore[arg-type]
    w, mean, losses, smoothed = 1.0, 0.0, [], []
    for k in range(41):
        rate = 1e-3 * 10 ** (k / 10)
        losses.append(2.0 * w * w)
        mean = 0.5 * mean + 0.5 * losses[-1]
        smoothed.append(mean / (1 - 0.5 ** (k + 1)))
        assert found.rates[k] == pytest.approx(rate)
        w -= rate * 4.0 * w
        if smoothed[-1] > 4 * losses[0]:
            break
    assert found.stopped and len(found.losses) == len(losses) < 41
    assert found.losses == pytest.approx(losses, rel=1e-9, abs=1e-300)
    assert found.smoothed == pytest.approx(smoothed, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("h", [0.1, 1.0, 50.0])
def test_the_recommendation_follows_the_curvature(h: float) -> None:
    """Descent diverges above 2/h: what is recommended is safely below, and not timid."""
    torch.manual_seed(0)
    step = Descent(h, noise=0.3)
    found = learning_rate_range_test(step, stream(), 1e-3 / h, 1e2 / h, 200)  # type: ignore[arg-type]
    assert found.recommended is not None and found.stopped
    assert 0.01 < found.recommended * h < 1.0
    assert found.recommended == pytest.approx(0.1 * found.least)


@pytest.mark.parametrize("kind", ["adam", "backprop", "fresh"])
@pytest.mark.parametrize("training", [True, False])
def test_the_step_is_left_as_it_was_to_the_bit(kind: str, training: bool) -> None:
    if kind == "backprop":
        step = BackpropStep(network(dropout=0.5), Supervised(Categorical(3)), lambda g: torch.optim.SGD(g, 0.1))
    else:
        step = make_step(dropout=0.5)  # type: ignore[assignment]
        step.model.append(nn.BatchNorm1d(3))
    if kind != "fresh":
        step(blobs())
    step.model.train(training)
    before, random = copy.deepcopy(flatten_state(step.state_dict())), torch.get_rng_state()
    rate = step.optimizer.param_groups[0]["lr"]
    found = learning_rate_range_test(step, stream(), 1e-5, 1.0, 30)
    tree, tensors = flatten_state(step.state_dict())
    assert tree == before[0] and tensors.keys() == before[1].keys()
    assert all(torch.equal(tensors[name], before[1][name]) for name in tensors)
    assert torch.equal(torch.get_rng_state(), random)
    assert step.optimizer.param_groups[0]["lr"] == rate and step.model.training is training
    assert len(found.rates) == 30 or found.stopped
    again = learning_rate_range_test(step, stream(), 1e-5, 1.0, 30)
    assert again == found


def test_groups_keep_the_ratio_of_their_rates() -> None:
    model = network()
    seen = []

    class Watched(torch.optim.SGD):
        def step(self, closure: object = None) -> None:  # type: ignore[override]
            seen.append([group["lr"] for group in self.param_groups])

    optimizer = Watched([{"params": model[0].parameters(), "lr": 0.1}, {"params": model[3].parameters(), "lr": 0.02}])
    learning_rate_range_test(GradientStep(model, Supervised(Categorical(3)), optimizer), stream(), 1e-3, 1e-1, 3)
    assert seen == [pytest.approx([rate, 0.2 * rate]) for rate in (1e-3, 1e-2, 1e-1)]


def test_a_loss_that_never_falls_gets_no_recommendation() -> None:
    flat = RangeTest((0.1, 0.2), (1.0, 1.0), (1.0, 0.99), False)
    assert flat.recommended is None
    flat.figure()


def test_negative_losses_blow_up_too() -> None:
    """A Gaussian's density is above 1 where it is narrow."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 2, generator=generator)
    likelihood = Gaussian(scale=0.01)
    data = InMemory(Batch(x, 0.01 * x[:, :1]), 16)
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.015, 0.0]])), model.bias.zero_()
    step = GradientStep(model, Supervised(likelihood), torch.optim.SGD(model.parameters(), 0.1))
    found = learning_rate_range_test(step, data, 1e-7, 10.0, 100)
    assert found.losses[0] < 0 and found.stopped and len(found.losses) < 100


def test_a_loss_that_is_no_number_and_wrong_arguments_are_said() -> None:
    step = make_step()
    with torch.no_grad():
        step.parameters[0].fill_(float("nan"))
    with pytest.raises(DivergedError, match="no number"):
        learning_rate_range_test(step, stream())
    with pytest.raises(ConfigError, match="low < high"):
        learning_rate_range_test(step, stream(), 1.0, 0.1)


def test_the_figure_draws_what_was_seen(tmp_path) -> None:  # type: ignore[no-untyped-def]
    found = learning_rate_range_test(make_step(), stream(), 1e-5, 10.0, 60)
    figure = found.figure()
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert list(axes.lines[1].get_ydata()) == list(found.smoothed)
    assert axes.lines[2].get_xdata()[0] == found.recommended
    figure.savefig(tmp_path / "range.png")
    assert (tmp_path / "range.png").stat().st_size > 5000
