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
from lamina.report.cards import (
    PARTS,
    Column,
    DataCard,
    Histogram,
    LayerCard,
    LeftOut,
    Part,
    Remark,
    RunCard,
    State,
)

__all__ = [
    "LAYOUT",
    "PARTS",
    "Bin",
    "ClassFacts",
    "ClassRow",
    "Column",
    "Confusion",
    "Curve",
    "DataCard",
    "FitFacts",
    "Histogram",
    "Importance",
    "Kind",
    "LayerCard",
    "LeftOut",
    "Mistake",
    "NumberFacts",
    "Paired",
    "Part",
    "Remark",
    "RunCard",
    "ScoreRow",
    "State",
    "Target",
    "TargetFacts",
]

LAYOUT = 1
"""Version of the records in ``report.json``; grows when a field changes its meaning."""

Kind = Literal["classes", "number", "count"]


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
        coverage_at: Accuracy wanted, the largest share that can be answered with it, and the confidence below which to
            refuse (None: not reached).
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
        """The part that the page judges by: the test part, validation where there is none, at last training."""
        there = {row.part for row in self.scores}
        return next((part for part in ("test", "validation", "training") if part in there), "test")


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
            already, so that neither the page nor its data hold them, and so are reconstructions.
        pretraining: The layers that learnt before the whole network did.
        layout: Version of these records.
    """

    run: RunCard
    data: DataCard
    targets: tuple[TargetFacts, ...] = ()
    history: tuple[dict[str, Any], ...] = ()
    examples: bool = True
    layout: int = LAYOUT
    pretraining: tuple[LayerCard, ...] = ()

    def __post_init__(self) -> None:
        if not self.examples:
            object.__setattr__(self, "targets", tuple(replace(target, mistakes=()) for target in self.targets))
            bare = tuple(replace(layer, reconstructions="") for layer in self.pretraining)
            object.__setattr__(self, "pretraining", bare)

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
