"""Learning-rate range test: the rate rises from update to update until the loss blows up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain, count, islice
from typing import TYPE_CHECKING

import torch

from lamina.data.stream import Stream
from lamina.errors import ConfigError, DivergedError
from lamina.training.state import copy_state
from lamina.training.step import Step, set_learning_rate

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class RangeTest:
    """What ``learning_rate_range_test`` saw.

    Attributes:
        rates: Learning rate of each update, of the first group.
        losses: Loss of each update's batch, before it.
        smoothed: Their running mean, corrected for its start.
        stopped: Whether the loss blew up before the last rate.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    stopped: bool

    @property
    def least(self) -> float:
        """The rate at which the smoothed loss was least."""
        return self.rates[min(range(len(self.rates)), key=self.smoothed.__getitem__)]

    @property
    def recommended(self) -> float | None:
        """A tenth of ``least``; None where the loss never fell by a twentieth, so that the test says nothing."""
        fell = min(self.smoothed) < self.smoothed[0] - 0.05 * abs(self.smoothed[0])
        return 0.1 * self.least if fell else None

    def figure(self) -> Figure:
        """Return a plot of the loss over the rate: a figure of matplotlib, to be saved or shown."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.0, 3.8), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(self.rates, self.losses, color="0.8", linewidth=0.8, label="loss of the batch")
        axes.plot(self.rates, self.smoothed, color="C0", linewidth=1.8, label="running mean")
        if self.recommended is not None:
            axes.axvline(self.recommended, color="C3", linestyle="--", label=f"recommended {self.recommended:.2g}")
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss", title="Learning-rate range test")
        low, high = min(self.smoothed), self.smoothed[0]
        margin = 0.3 * (high - low) or 1.0
        axes.set_ylim(low - margin, high + margin)
        axes.legend(frameon=False)
        return figure


def learning_rate_range_test(
    step: Step,
    data: Stream,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 100,
    *,
    smoothing: float = 0.9,
    blow_up: float = 4.0,
) -> RangeTest:
    """Make updates at rates that rise from ``low`` to ``high`` by equal factors, and see what the loss does.

        η_k = low (high / low)^(k/(steps-1)),      ends early once the smoothed loss is ``blow_up`` times its first

    Rule for the rate: a tenth of that at which the smoothed loss was least. The least loss comes shortly before the
    rates at which training diverges, and late by the memory of the running mean; a tenth keeps a distance from both.
    Groups keep the ratios of their rates.

    Afterwards the step's state (weights, buffers, optimiser, its rates), the network's mode and PyTorch's random
    generators are to the bit what they were; gradients are not. The rule is made for methods whose step is
    proportional to the rate, at the batch size and precision of the training to come; the best rate for a long training
    may be smaller, and warm-up allows a larger one.

    Args:
        step: What is to be trained.
        data: Batches; drawn from the first epochs on.
        low: First rate, above 0.
        high: Last rate, above ``low``.
        steps: Updates, at least 2.
        smoothing: Memory of the running mean, in [0, 1).
        blow_up: Multiple b of the first loss L_1 at which to end, above 1: it ends above L_1 + (b - 1) |L_1|. A loss
            that is no number ends it too.

    Returns:
        Rates and losses, with the recommendation.

    Raises:
        ConfigError: If a number is out of its range.
        DivergedError: If the loss is no number from the first.

    Reference: Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, section 3.3.
    """
    if not (0.0 < low < high and steps >= 2 and 0.0 <= smoothing < 1.0 and blow_up > 1.0):
        raise ConfigError(
            f"wants 0 < low < high, at least 2 steps, smoothing in [0, 1) and blow_up above 1; "
            f"got {low}, {high}, {steps}, {smoothing} and {blow_up}",
            where="learning_rate_range_test",
            mend="use low=1e-6, high=10, steps=100",
        )
    before, training = copy_state(step.state_dict()), step.model.training
    ratios = _ratios(step)
    devices = sorted({p.device.index or 0 for p in step.model.parameters() if p.device.type == "cuda"})
    step.model.train()
    try:
        with torch.random.fork_rng(devices=devices):
            rates = [low * (high / low) ** (k / (steps - 1)) for k in range(steps)]
            found = _sweep(step, data, rates, ratios, smoothing=smoothing, blow_up=blow_up)
    finally:
        step.load_state_dict(before)
        step.model.train(training)
    if not found.losses:
        raise DivergedError(
            "the loss is no number from the first", where="learning_rate_range_test", mend="look at the data"
        )
    return found


def _ratios(step: Step) -> list[float]:
    rates = [float(group["lr"]) for group in step.optimizer.param_groups]
    return [rate / rates[0] if rates[0] else 1.0 for rate in rates]


def _sweep(
    step: Step, data: Stream, rates: list[float], ratios: list[float], *, smoothing: float, blow_up: float
) -> RangeTest:
    losses: list[float] = []
    smoothed: list[float] = []
    mean, stopped = 0.0, False
    for k, batch in enumerate(islice(chain.from_iterable(map(data.batches, count())), len(rates))):
        for group, ratio in zip(step.optimizer.param_groups, ratios, strict=True):
            set_learning_rate(group, rates[k] * ratio)
        loss = float(step(batch)["loss"])
        mean = smoothing * mean + (1.0 - smoothing) * loss
        value = mean / (1.0 - smoothing ** (k + 1))
        stopped = not math.isfinite(value)
        if stopped:
            break
        losses.append(loss)
        smoothed.append(value)
        stopped = value > losses[0] + (blow_up - 1.0) * abs(losses[0])
        if stopped:
            break
    return RangeTest(tuple(rates[: len(losses)]), tuple(losses), tuple(smoothed), stopped)
