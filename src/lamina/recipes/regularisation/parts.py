"""What a training of the recipe is put together from, and what a regulariser is: a change of it with a setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from lamina.data.batch import Batch
from lamina.data.images import Augment
from lamina.data.stream import Stream
from lamina.likelihoods.base import Likelihood
from lamina.likelihoods.categorical import Categorical
from lamina.penalties.base import Penalty
from lamina.training.callback import Callback
from lamina.training.objective import Objective, Supervised

CLASSES = 10
BATCH = 64


@dataclass(frozen=True, slots=True)
class SecondPass:
    """Early stopping by a part of the training examples, then a pass with all of them.

    Attributes:
        way: ``retrain``, from the same starting weights for as many updates, or ``continue``, from the best weights.
        monitor: What stops: ``loss`` or ``error`` on the part held out.
        patience: Epochs without a better one.
    """

    way: Literal["retrain", "continue"]
    monitor: str
    patience: int


@dataclass(frozen=True)
class Parts:
    """What a training is put together from; a regulariser replaces some of it.

    Attributes:
        network: A flat chain ``flatten``, ``linear1``, ``silu1``, …, ``output``.
        valid: Held-out examples, for early stopping only.
        examples: Those that are learnt from, in random order.
        seed: Of what a regulariser draws outside PyTorch's default generator.
        likelihood: Reads the outputs in the loss.
        penalty: Added to the loss.
        callbacks: Told before the learning rate's schedule.
        augment: Changes a batch of pictures.
        around: Held open while training.
        members: Networks trained on bootstrap samples and averaged; 1 is one network on the examples themselves.
        stream: Changes the batches.
        objective: Made from likelihood and penalty.
        second: What follows early stopping by a part of the training examples; None trains once.
        answering: Makes of the trained module what is asked in evaluation.
    """

    network: nn.Sequential
    valid: Batch
    examples: Batch
    seed: int = 0
    likelihood: Likelihood = field(default_factory=lambda: Categorical(CLASSES))
    penalty: Penalty | None = None
    callbacks: tuple[Callback, ...] = ()
    augment: Augment | None = None
    around: AbstractContextManager[Any] = field(default_factory=nullcontext)
    members: int = 1
    stream: Callable[[Stream], Stream] = lambda stream: stream
    objective: Callable[[Likelihood, Penalty | None], Objective] = Supervised
    second: SecondPass | None = None
    answering: Callable[[nn.Module], nn.Module] = lambda trained: trained

    @property
    def trained(self) -> nn.Module:
        """The module that training calls."""
        return self.network


@dataclass(frozen=True)
class Wrapped(Parts):
    """Parts whose training calls the network through another module.

    Attributes:
        wrapper: That module; it shares the network's weights.
    """

    wrapper: nn.Module | None = None

    @property
    def trained(self) -> nn.Module:
        """The wrapper."""
        return self.wrapper or self.network


Setting = Mapping[str, Any]
Change = Callable[..., Parts]


@dataclass(frozen=True, slots=True)
class Regulariser:
    """One way to regularise.

    Attributes:
        name: As in the table.
        change: ``change(parts, **setting) -> parts``.
        candidates: Settings tried; the same number for each, but for what has nothing to set.
        cost: Time of a run as a multiple of a plain one's.
        shown: How a setting is written, a format string of its values.
    """

    name: str
    change: Change
    candidates: Sequence[Setting]
    cost: float
    shown: str
