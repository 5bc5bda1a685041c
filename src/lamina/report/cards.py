"""What was run, on what data, and how layers learnt before: the cards at the head and the foot of the page."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from lamina.errors import CheckpointError

PARTS = {"train": "training", "valid": "validation"}
"""How the page calls the parts of the split."""

State = Literal["finished", "interrupted", "failed", "running"]


@dataclass(frozen=True)
class RunCard:
    """What was run, where, and how it ended.

    Args:
        name: The run folder's name.
        title: Heading of the page, for instance ``Churn, from churn.csv``.
        state: How the run stands.
        command: The command line that does it again.
        started: ISO 8601 with the offset from UTC.
        seconds: Wall time of the whole run.
        seed: The seed that decided everything.
        device: ``cpu``, ``cuda:0 (NVIDIA H200)``.
        threads: CPU threads used.
        lamina: Version of lamina.
        torch: Version of PyTorch.
        python: Version of Python.
        model: The network in one line, for instance ``mlp 64-128-128-10, relu, dropout 0.2``.
        n_parameters: Learnt numbers in it.
        epochs: Passes over the training part that were made.
        best_epoch: The epoch whose weights were kept, counted from 1; 0 is the start; None without validation.
        stopped: Why training ended, for instance ``no progress on validation for 10 epochs``.
        message: For an interrupted or failed run: what happened.
        mend: For an interrupted or failed run: what to do, for instance the command that resumes it.
        settings: Every setting with its value.
        chosen: Settings that were chosen from the data, with the reason.
        platform: Operating system and processor, in a line.
    """

    name: str
    title: str
    state: State
    command: str
    started: str
    seconds: float | None
    seed: int
    device: str
    threads: int
    lamina: str
    torch: str
    python: str
    model: str
    n_parameters: int
    epochs: int
    best_epoch: int | None = None
    stopped: str = ""
    message: str = ""
    mend: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    chosen: dict[str, str] = field(default_factory=dict)
    platform: str = ""


@dataclass(frozen=True)
class Column:
    """One column of the source.

    Args:
        name: As in the source.
        role: ``number``, ``category``, ``date``, ``target``, ``left out``, ...
        missing: Cells without a value.
        distinct: Different values, or None where they were not counted.
        summary: In a few words: range and mean, or the commonest values.
    """

    name: str
    role: str
    missing: int = 0
    distinct: int | None = None
    summary: str = ""


@dataclass(frozen=True)
class LeftOut:
    """Something that was not used.

    Args:
        name: A column, or for instance ``12 rows``.
        why: The reason.
        mend: How to keep it.
    """

    name: str
    why: str
    mend: str = ""


@dataclass(frozen=True)
class Remark:
    """A note or a warning about the data.

    Args:
        text: In a sentence.
        code: For a warning, its code, for instance ``W-LEAK``.
        mend: What to do about it.
    """

    text: str
    code: str = ""
    mend: str = ""


@dataclass(frozen=True)
class Part:
    """One part of the split: ``training``, ``validation`` or ``test``, with its number of examples."""

    name: str
    size: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", PARTS.get(self.name, self.name))


@dataclass(frozen=True)
class DataCard:
    """What the run learnt from.

    Args:
        source: The file, folder or data set, as named by the user.
        unit: What an example is called: ``rows``, ``pictures``.
        n_examples: How many there are.
        shape: In words, for instance ``21 columns`` or ``28 x 28 pixels, grey``.
        parts: The split.
        split: How it was made, for instance ``65/10/25 by class, shuffled with seed 0``.
        columns: Of a table.
        left_out: What was not used.
        notes: What was found and done.
        warnings: What may make the figures wrong.
        sha256: Of the source, hexadecimal, or empty.
        columns_file: Where the whole list of columns is, if the page shows only some.
    """

    source: str
    unit: str
    n_examples: int
    shape: str
    parts: tuple[Part, ...]
    split: str
    columns: tuple[Column, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[Remark, ...] = ()
    warnings: tuple[Remark, ...] = ()
    sha256: str = ""
    columns_file: str = "report.json"


@dataclass(frozen=True)
class Histogram:
    """How many values lie in each bin; one edge more than counts."""

    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()


@dataclass(frozen=True)
class LayerCard:
    """A hidden layer that learnt before the whole network did.

    Args:
        number: 1 for the layer next to the inputs.
        of: How many layers did.
        name: In the network.
        units: Its units, or maps.
        method: What it was trained as, for instance ``restricted Boltzmann machine``.
        inputs: What its inputs were taken for, ``bernoulli`` or ``gaussian``, or empty.
        figure: What ``loss`` in the history is.
        history: ``epoch`` and ``loss``, a record an epoch.
        weights: Of the layer.
        activities: Of its units, over some training examples.
        filters: PNG in base64, or empty; so are the others.
        reconstructions: Pictures in the upper row, what the layers give back of them below.
        samples: Drawn from the layer's machine and passed down.
        n_filters: How many filters are shown.
    """

    number: int
    of: int
    name: str
    units: int
    method: str
    inputs: str
    figure: str
    history: tuple[dict[str, Any], ...] = ()
    weights: Histogram = Histogram()
    activities: Histogram = Histogram()
    filters: str = ""
    reconstructions: str = ""
    samples: str = ""
    n_filters: int = 0

    def __post_init__(self) -> None:
        for image in (self.filters, self.reconstructions, self.samples):
            if not re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", image):
                raise CheckpointError("the image of a layer is not base64", where="report")
