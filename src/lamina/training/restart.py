"""Restarts: from fresh weights when the error does not fall fast enough, and the best of several starts."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, nn

from lamina.errors import ConfigError, DivergedError
from lamina.training.callback import Callback
from lamina.training.run import Run
from lamina.training.state import copy_state

Build = Callable[[Generator], nn.Module]


def start_generator(seed: int, start: int) -> Generator:
    """Return the source of the weights of one start, a pure function of its arguments."""
    digest = hashlib.blake2b(f"start/{seed}/{start}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


class Restart(Callback):
    """Begins again from fresh weights where, some epochs after a start, the error has not fallen enough.

        start again if  E[s + epochs] > (1 - fall) E[s + 1],   s the epochs made when this start began

    Looked at once a start, after ``epochs`` epochs: one that passes is left in peace, for all training slows down in
    the end. When the restarts are used up, the run goes on from the start whose error was least when it was looked at.

    A restart spends the run's epochs: the order of the data, schedules and counts go on, and the rates of the
    optimiser's groups stay as they are; its state (momenta, running squares) begins anew. Stands after what records
    ``monitor`` and before ``EarlyStopping``, whose patience must be longer than ``epochs``.

    For small networks and badly scaled problems, where some starts sit on a plateau (saturated sigmoids, dead rectified
    units). Where every start fails, the fault lies elsewhere: the rate, the scale of the inputs, the initialisation.

    Args:
        build: Makes a network like the one that is trained, its weights drawn from the generator it is given.
        monitor: A recorded figure that is to be small and above 0.
        epochs: Epochs that a start is given, at least 2.
        fall: Share by which the error must have fallen by then from that of its first epoch, in (0, 1).
        restarts: How often to start again.
        seed: Decides the weights of every restart together with its number.

    Raises:
        ConfigError: If a number is out of its range.
    """

    def __init__(
        self,
        build: Build,
        monitor: str = "loss",
        *,
        epochs: int = 5,
        fall: float = 0.1,
        restarts: int = 3,
        seed: int = 0,
    ) -> None:
        if epochs < 2 or not 0.0 < fall < 1.0 or restarts < 0:
            raise ConfigError(
                f"epochs must be at least 2, fall between 0 and 1, restarts at least 0, "
                f"got {epochs}, {fall} and {restarts}",
                where="Restart",
                mend="use epochs=5, fall=0.1, restarts=3",
            )
        self.build, self.monitor, self.epochs, self.fall = build, monitor, epochs, fall
        self.restarts, self.seed = restarts, seed
        self.count = 0
        self._began = 0
        self._first = math.nan
        self._settled = False
        self._least = math.inf
        self._best: dict[str, Any] | None = None

    def on_epoch(self, run: Run) -> None:
        """Look at the figure; start again where it is too large, or is no number."""
        if self._settled:
            return
        value, age = run.history.latest(self.monitor), run.epoch - self._began
        if age == 1:
            self._first = value
        if age >= self.epochs or math.isnan(value):
            if value <= (1.0 - self.fall) * self._first:
                self._settled, self._best = True, None
            else:
                self._judge(run, value)
        run.history.current["restarts"] = self.count

    def _judge(self, run: Run, value: float) -> None:
        if value < self._least:
            self._least, self._best = value, copy_state(run.step.state_dict())
        if self.count < self.restarts:
            self.count += 1
            self._began = run.epoch
            run.step.model.load_state_dict(self.build(start_generator(self.seed, self.count)).state_dict())
            _forget(run.step.optimizer)
        else:
            self._settled = True
            if self._best is not None:
                rates = [group["lr"] for group in run.step.optimizer.param_groups]
                run.step.load_state_dict(self._best)
                for group, rate in zip(run.step.optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate
                self._best = None

    def state_dict(self) -> dict[str, Any]:
        """Return the restarts made, where the present start stands, and the best that was given up."""
        return {
            "count": self.count,
            "began": self._began,
            "first": self._first,
            "settled": self._settled,
            "least": self._least,
            "best": self._best,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state that ``state_dict`` returned."""
        self.count, self._began, self._settled = int(state["count"]), int(state["began"]), bool(state["settled"])
        self._first, self._least = float(state["first"]), float(state["least"])
        self._best = copy_state(state["best"])


def _forget(optimizer: torch.optim.Optimizer) -> None:
    """Let the state begin anew; the numbers of the groups stay."""
    optimizer.load_state_dict({**optimizer.state_dict(), "state": {}})


@dataclass(frozen=True)
class MultiStart:
    """What ``multi_start`` found.

    Attributes:
        model: The best of the trained networks.
        best: Which start it was, from 0.
        values: The validation figure of every start.
    """

    model: nn.Module
    best: int
    values: tuple[float, ...]


def multi_start(build: Build, train: Callable[[nn.Module], float], n: int, *, seed: int = 0) -> MultiStart:
    """Train from several starts, and keep the network with the least validation figure.

    Only the best so far is kept beside the one that trains. The spread of ``values`` says how much the start matters.
    The winner's own figure is too good by the choice (a minimum of n noisy numbers): report a test set, looked at once.
    Where all starts end alike, averaging the networks (an ensemble) is the better use of the same time.

    Args:
        build: Makes a network, its weights drawn from the generator it is given.
        train: Trains it in place and returns the figure, which is to be small; NaN never wins.
        n: Number of starts, at least 1.
        seed: Decides the weights of every start together with its number.

    Returns:
        The best network and all figures.

    Raises:
        ConfigError: If n is below 1.
        DivergedError: If no start gave a number.
    """
    if n < 1:
        raise ConfigError(f"n must be at least 1, got {n}", where="multi_start", mend="use 5")
    values: list[float] = []
    best, winner = -1, None
    for start in range(n):
        model = build(start_generator(seed, start))
        values.append(float(train(model)))
        if values[-1] < (values[best] if winner is not None else math.inf):
            best, winner = start, model
    if winner is None:
        raise DivergedError(
            f"none of {n} starts gave a finite figure", where="multi_start", mend="lower the learning rate"
        )
    return MultiStart(winner, best, tuple(values))
