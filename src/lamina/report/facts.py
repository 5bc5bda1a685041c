"""All that a report shows, as frozen records that go to strict JSON and back.

The page is made from these records and nothing else, so ``report.json`` is enough to draw it again. Records hold plain
Python values; numbers that are not defined are None, and say why where a reader would ask. Row, class and column names
are data: they are escaped when the page is made, not here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from lamina.errors import CheckpointError
from lamina.methodology.diagnosis import Diagnosis
from lamina.methodology.score import Score
from lamina.report import codec

LAYOUT = 1
"""Version of the records in ``report.json``; grows when a field changes its meaning."""

PARTS = {"train": "training", "valid": "validation"}
"""How the page calls the parts of the split."""

State = Literal["finished", "interrupted", "failed", "running"]
Kind = Literal["classes", "number", "count"]


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
class Target:
    """What is predicted.

    Args:
        name: Column name, or ``class`` for pictures.
        kind: Which decides figures and plots.
        classes: Names of the classes, in code order; empty for numbers.
        counts: Examples of each class in all parts.
        unit: Of a number.
    """

    name: str
    kind: Kind
    classes: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    unit: str = ""


@dataclass(frozen=True)
class ScoreRow:
    """Figures of one predictor on one part.

    Args:
        name: ``this model``, ``always "No"``, ``logistic regression``.
        part: ``training``, ``validation`` or ``test``.
        ours: Whether it is the fitted network.
        scores: Metric name (``lamina.methodology.score.HIGHER_IS_BETTER``) to figure.
    """

    name: str
    part: str
    ours: bool
    scores: dict[str, Score]

    def __post_init__(self) -> None:
        object.__setattr__(self, "part", PARTS.get(self.part, self.part))


@dataclass(frozen=True)
class Paired:
    """Our model against the best baseline, on the same test examples.

    Args:
        baseline: Its name.
        metric: The figure compared.
        difference: Ours minus the baseline's.
        low: Lower end of the 95 % interval of the difference.
        high: Upper end.
        p_value: Of no difference.
        test: ``McNemar``, ``paired bootstrap``.
        words: ``clearly better``, ``clearly worse``, ``not clearly different``, or ``not compared``.
    """

    baseline: str
    metric: str
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    test: str
    words: str

    @property
    def joint(self) -> str:
        """The preposition between ``words`` and the baseline's name."""
        return {"clearly": "than", "not clearly different": "from"}.get(
            "clearly" if self.words.startswith("clearly") else self.words, "with"
        )


@dataclass(frozen=True)
class ClassRow:
    """Figures of one class on the test part; None where undefined (no such example, never predicted)."""

    name: str
    support: int
    precision: float | None
    recall: float | None
    f1: float | None
    average_precision: float | None = None


@dataclass(frozen=True)
class Confusion:
    """So many examples of one class were taken for another; ``share`` is of the examples of the true class."""

    truth: str
    prediction: str
    count: int
    share: float | None


@dataclass(frozen=True)
class Curve:
    """A line: equally many ``x`` and ``y``; ``area`` is what lies under it where that is meant."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    area: float | None = None


@dataclass(frozen=True)
class Bin:
    """Predictions whose confidence lies between ``low`` and ``high``: how sure they were, how often they were right."""

    low: float
    high: float
    confidence: float | None
    accuracy: float | None
    count: int


@dataclass(frozen=True)
class ClassFacts:
    """What the predictions on the test part say, for classes.

    Args:
        n: Test examples.
        n_wrong: Of which wrongly predicted.
        matrix_classes: The classes of the confusion matrix: all, or those with most errors where there are many.
        matrix: Row: truth, column: prediction.
        confusions: The commonest mistakes, commonest first.
        rows: A line a class.
        pr: Precision (y) over recall (x) with the average precision as area.
        calibration: Reliability bins of the confidence in the prediction.
        ece: Expected calibration error.
        coverage: Accuracy (y) over the share of examples answered (x), the surest first.
        coverage_at: Accuracy wanted, and the largest share that can be answered with it (None: not reached).
    """

    n: int
    n_wrong: int
    matrix_classes: tuple[str, ...]
    matrix: tuple[tuple[int, ...], ...]
    confusions: tuple[Confusion, ...]
    rows: tuple[ClassRow, ...]
    pr: tuple[Curve, ...]
    calibration: tuple[Bin, ...]
    ece: float | None
    coverage: Curve
    coverage_at: tuple[tuple[float | None, ...], ...] = ()

    @property
    def most_confused(self) -> Confusion | None:
        """The commonest mistake, if there is one."""
        return self.confusions[0] if self.confusions else None


@dataclass(frozen=True)
class NumberFacts:
    """What the predictions on the test part say, for numbers and counts.

    Args:
        n: Test examples.
        edges: Of the residuals' histogram; a residual is truth minus prediction.
        counts: Residuals in each bin, one fewer than edges.
        truth: Of a sample of the examples.
        predicted: The predicted means of the same.
        low: Lower ends of their 90 % intervals, or empty.
        high: Upper ends, or empty.
        mean_residual: Over all test examples: above 0, the predictions are too low.
        coverage: Share of test examples inside their 90 % interval.
        width: Mean width of the interval.
    """

    n: int
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    truth: tuple[float, ...]
    predicted: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    mean_residual: float | None = None
    coverage: float | None = None
    width: float | None = None


@dataclass(frozen=True)
class Mistake:
    """One of the worst mistakes on the test part.

    Args:
        label: Where the example is: ``row 512``, ``cat/0013.jpg``.
        truth: The class or number that was right, as text.
        prediction: What was predicted, as text.
        probability: Of the predicted class.
        truth_probability: That was given to the true class.
        residual: Truth minus prediction, for numbers.
        image: PNG in base64, or empty.
        values: The row's values as text, or empty.
    """

    label: str
    truth: str
    prediction: str
    probability: float | None = None
    truth_probability: float | None = None
    residual: float | None = None
    image: str = ""
    values: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", self.image):
            raise CheckpointError("the image of a mistake is not base64", where="report")


@dataclass(frozen=True)
class Importance:
    """How much worse a figure gets when one column is shuffled: the mean over shuffles, lowest and highest."""

    column: str
    drop: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class TargetFacts:
    """All figures of one target.

    Args:
        target: What is predicted.
        metric: The figure that leads the page, a key of ``scores``.
        scores: Our model on every part, and the baselines.
        diagnosis: Under- or over-fitting, and what to try.
        paired: Our model against the best baseline.
        classes: For classes.
        numbers: For numbers and counts.
        mistakes: The worst, worst first.
        importance: Most important first.
        importance_metric: The figure whose loss is shown.
        importance_part: On which part.
    """

    target: Target
    metric: str
    scores: tuple[ScoreRow, ...] = ()
    diagnosis: Diagnosis | None = None
    paired: Paired | None = None
    classes: ClassFacts | None = None
    numbers: NumberFacts | None = None
    mistakes: tuple[Mistake, ...] = ()
    importance: tuple[Importance, ...] = ()
    importance_metric: str = ""
    importance_part: str = "validation"

    def row(self, part: str) -> ScoreRow | None:
        """Return our model's figures on a part, or None."""
        part = PARTS.get(part, part)
        return next((row for row in self.scores if row.ours and row.part == part), None)

    @property
    def decisive(self) -> str:
        """The part that the page judges by: the test part, or validation where there is none."""
        return "test" if any(row.part == "test" for row in self.scores) else "validation"


@dataclass(frozen=True)
class FitFacts:
    """Everything on the page of one fit.

    Args:
        run: What was run.
        data: On what.
        targets: A section each.
        history: A record an epoch, as in ``history.jsonl``: ``epoch``, ``loss``, ``valid_loss``, metrics,
            ``learning_rate``, ``grad_norm``, ``update_ratio``. Undefined numbers are None.
        examples: Whether rows and pictures of the data may be shown; if not, the worst mistakes are left out here
            already, so that neither the page nor its data hold them.
        layout: Version of these records.
    """

    run: RunCard
    data: DataCard
    targets: tuple[TargetFacts, ...] = ()
    history: tuple[dict[str, Any], ...] = ()
    examples: bool = True
    layout: int = LAYOUT

    def __post_init__(self) -> None:
        if not self.examples:
            object.__setattr__(self, "targets", tuple(replace(target, mistakes=()) for target in self.targets))

    def to_json(self) -> dict[str, Any]:
        """Return strict JSON values: no NaN, no infinity."""
        encoded: dict[str, Any] = codec.plain(self)
        return encoded

    @classmethod
    def from_json(cls, value: dict[str, Any] | str, *, where: str = "report.json") -> FitFacts:
        """Build the facts from what ``to_json`` returned, or from its text.

        Returns:
            Equal facts, up to numbers that were not finite.

        Raises:
            CheckpointError: If the value is damaged, or was written by another version of the layout.
        """
        if isinstance(value, str):
            value = _parse(value, where)
        version = value.get("layout") if isinstance(value, dict) else None
        if version != LAYOUT:
            raise CheckpointError(
                f"the layout has version {version!r}, this lamina reads version {LAYOUT}",
                where=where,
                mend="read it with the lamina version that wrote it, or fit again",
            )
        facts: FitFacts = codec.build(cls, value, where)
        return facts


def _parse(text: str, where: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"is not JSON: {error}", where=where, mend="make the report again") from None
