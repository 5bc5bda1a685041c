"""What a workflow tells while it works; the command line shows it, a program may ignore it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class BaselineRow:
    """One line of the table of scores: a baseline, or our model.

    Attributes:
        name: As shown, for instance ``always "No"`` or ``logistic regression``.
        scores: Metric name to (value, low, high); low and high are the 95 % bootstrap interval, or None.
    """

    name: str
    scores: dict[str, tuple[float, float | None, float | None]]


@dataclass(frozen=True, slots=True)
class ProgressFacts:
    """Where training stands, for one progress line.

    Attributes:
        epoch: Epochs finished; ``max_epochs`` is the most there can be.
        fraction: Of all steps, 0 to 1.
        train: Running training loss (nats), or None before the first figure.
        valid: Latest validation figure, or None.
        best: Best validation figure so far and its epoch, or None.
        metric: Name of the figure watched on validation.
        layer: The layer that is pre-trained, in words; empty where the whole network is.
        seconds: Since the start of training; ``seconds_per_epoch`` and ``seconds_left`` are estimates or None.
    """

    epoch: int
    max_epochs: int
    fraction: float
    train: float | None
    valid: float | None
    best: float | None
    best_epoch: int | None
    metric: str
    seconds: float
    seconds_per_epoch: float | None
    seconds_left: float | None
    layer: str = ""


class Display(Protocol):
    """A place to show things; every text may hold data and must be shown escaped."""

    def started(self, run: str, seed: int, device: str, threads: int) -> None:
        """First line: the run folder's name, seed, device, threads."""
        ...

    def reading(self, source: str) -> None:
        """Reading of the source begins."""
        ...

    def read(self, summary: str, seconds: float) -> None:
        """The source was read: ``7,043 rows x 21 columns``."""
        ...

    def fact(self, label: str, name: str, text: str) -> None:
        """One inferred thing and how to overrule it; label is predict, use, leave out, note, split, warning, data."""
        ...

    def scores(self, title: str, rows: Sequence[BaselineRow]) -> None:
        """A table of scores."""
        ...

    def training(self, description: str) -> None:
        """Training begins: the model in one line."""
        ...

    def progress(self, facts: ProgressFacts) -> None:
        """Called on a timer and after each epoch."""
        ...

    def working(self, what: str) -> None:
        """A longer piece of work beside training begins: importance, report."""
        ...

    def line(self, label: str, text: str) -> None:
        """A result line: ``test``, ``diagnosis``, ``report``, ``model``, ``next``."""
        ...


class Silent:
    """Shows nothing."""

    def started(self, run: str, seed: int, device: str, threads: int) -> None:
        """Nothing."""

    def reading(self, source: str) -> None:
        """Nothing."""

    def read(self, summary: str, seconds: float) -> None:
        """Nothing."""

    def fact(self, label: str, name: str, text: str) -> None:
        """Nothing."""

    def scores(self, title: str, rows: Sequence[BaselineRow]) -> None:
        """Nothing."""

    def training(self, description: str) -> None:
        """Nothing."""

    def progress(self, facts: ProgressFacts) -> None:
        """Nothing."""

    def working(self, what: str) -> None:
        """Nothing."""

    def line(self, label: str, text: str) -> None:
        """Nothing."""
