"""The page: facts in, one self-contained HTML file out. It formats and escapes, and computes nothing that is shown.

No script, nothing fetched: the content policy in the page forbids both, besides. Every number stands in a ``<data>``
element with its full value, so that a program, and our test, can compare the page with ``report.json``.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.io import read_json, write_file, write_json
from lamina.methodology.score import Score, words
from lamina.report import figures, text
from lamina.report.cards import LayerCard
from lamina.report.facts import LAYOUT, ClassFacts, FitFacts, Importance, ScoreRow, TargetFacts
from lamina.report.gather import thin_history

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

PAGE, DATA = "report.html", "report.json"

_LABEL, _CELL = 60, 120
_LONGEST = 10_000
_SHARES = {"accuracy", "balanced_accuracy", "macro_f1", "auc", "top5_error", "r2"}
_FORMATS = {"number": text.number, "fraction": text.fraction, "percent": text.percent, "duration": text.duration}
_MOST = {
    "columns": 200,
    "classes": 60,
    "importance": 30,
    "confusions": 10,
    "settings": 200,
    "values": 40,
    "remarks": 100,
}


def render(facts: FitFacts) -> str:
    """Make the page of a fit.

    Args:
        facts: All that it shows.

    Returns:
        HTML that needs nothing else.
    """
    context = {
        "facts": facts,
        "run": facts.run,
        "data": facts.data,
        "targets": [_section(target, place, facts) for place, target in enumerate(facts.targets)],
        "training": _training(facts),
        "pretraining": [(layer, _layer_figures(layer)) for layer in facts.pretraining],
        "validated": any("valid_loss" in record for record in facts.history[-50:]),
        "most": _MOST,
        "style": trusted((_folder() / "style.css").read_text(encoding="utf-8")),
    }
    return pages().get_template("fit.html.j2").render(context).encode("utf-8", "backslashreplace").decode("utf-8")


def render_to(folder: str | Path, facts: FitFacts) -> Path:
    """Write ``report.html`` and ``report.json`` into a run folder, each whole or not at all.

    The history is thinned to what the curves need; ``history.jsonl`` keeps all of it.

    Args:
        folder: The run folder.
        facts: All that the page shows.

    Returns:
        The page's file.
    """
    folder = Path(folder)
    facts = replace(facts, history=tuple(thin_history(facts.history, facts.run.best_epoch)))
    write_json(folder / DATA, facts.to_json(), "report", version=LAYOUT)
    write_file(folder / PAGE, render(facts).encode("utf-8"))
    return folder / PAGE


def read_facts(folder: str | Path) -> FitFacts:
    """Read back what ``render_to`` wrote; a ``CheckpointError`` names what is missing or damaged.

    Returns:
        The facts.
    """
    path = Path(folder) / DATA
    return FitFacts.from_json(read_json(path, "report", version=LAYOUT), where=text.cut(text.readable(path), 200))


# --- what the template is given for each target ---


@dataclass(frozen=True)
class _Interval:
    """A score on the common axis, in per cent of its width; None where undefined."""

    row: ScoreRow
    score: Score
    dot: float | None
    left: float | None
    width: float | None


@dataclass(frozen=True)
class _Cell:
    """A cell of the confusion matrix: its count, its share of the row for the shade, and what it is."""

    count: int
    shade: float
    kind: str


@dataclass(frozen=True)
class _Bar:
    """A column's importance as a bar from the zero line, in per cent of the width."""

    row: Importance
    left: float
    width: float
    low: float | None
    span: float | None


def _section(facts: TargetFacts, place: int, whole: FitFacts) -> dict[str, Any]:
    key = f"t{place}"
    rows = [row for row in facts.scores if row.part == facts.decisive and facts.metric in row.scores]
    drawn: dict[str, str | None] = {}
    if facts.classes is not None:
        drawn = {
            "pr": figures.precision_recall(f"{key}-pr", facts.classes.pr),
            "calibration": figures.calibration(f"{key}-calibration", facts.classes),
            "coverage": figures.coverage(f"{key}-coverage", facts.classes),
        }
    if facts.numbers is not None:
        drawn = {
            "predicted": figures.predicted_over_true(f"{key}-predicted", facts.numbers),
            "residuals": figures.residuals(f"{key}-residuals", facts.numbers),
        }
    ours = next((row for row in rows if row.ours), None)
    return {
        "key": key,
        "facts": facts,
        "ours": ours,
        "lead": None if ours is None else ours.scores[facts.metric],
        "metrics": list(dict.fromkeys(name for row in facts.scores for name in row.scores)),
        "intervals": _intervals(rows, facts.metric),
        "figures": {name: trusted(svg) for name, svg in drawn.items() if svg is not None},
        "matrix": [] if facts.classes is None else _cells(facts.classes),
        "class_rows": _worst_classes(facts.classes),
        "bars": _bars(facts.importance[: _MOST["importance"]]),
        "bad": facts.diagnosis is not None and facts.diagnosis.regime in {"worse than baseline", "not learning"},
        "n_test": next((part.size for part in whole.data.parts if part.name == facts.decisive), None),
    }


def _training(facts: FitFacts) -> dict[str, Markup]:
    """Draw what was recorded over the epochs.

    Returns:
        Figures by name.
    """
    history, kept = facts.history, facts.run.best_epoch
    known = {name for record in history[-50:] for name in record}
    metrics = sorted(n for n in known if n.startswith("valid_") and n != "valid_loss")
    shown = {n: f"validation {words(n.removeprefix('valid_'))}" for n in metrics if n.removeprefix("valid_") in _SHARES}
    losses = {"loss": "training", "valid_loss": "validation"}
    drawn = {
        "loss": figures.curves(
            "loss", "Loss over epochs", history, losses,
            kept=kept, ylabel="loss",
        ),
        "metric": figures.curves("metric", "Figures of merit over epochs", history, shown, kept=kept),
        "gradient": figures.curves(
            "gradient", "Gradient norm over epochs", history, {"grad_norm": "gradient norm"},
            logarithmic=True, ylabel="gradient norm",
        ),
        "update": figures.curves(
            "update", "Update over weight size", history, {"update_ratio": "update / weight"},
            logarithmic=True, ylabel="‖update‖ / ‖weights‖", band=(1e-3, 1e-1),
        ),
        "rate": figures.curves(
            "rate", "Learning rate over epochs", history, {"learning_rate": "learning rate"}, ylabel="learning rate"
        ),
    }  # fmt: skip
    return {name: trusted(svg) for name, svg in drawn.items() if svg is not None}


def _layer_figures(layer: LayerCard) -> dict[str, Markup]:
    """Draw how a layer learnt and what became of its numbers.

    Returns:
        Figures by name.
    """
    key, place = f"l{layer.number}", f"of layer {layer.number}"
    drawn = {
        "loss": figures.curves(
            f"{key}-loss", f"Pre-training {place} over epochs", layer.history, {"loss": layer.figure}, ylabel="loss"
        ),
        "weights": figures.histogram(
            f"{key}-weights", f"Weights {place}", layer.weights, xlabel="weight", ylabel="weights"
        ),
        "activities": figures.histogram(
            f"{key}-activities", f"Activities {place}", layer.activities, xlabel="activity", ylabel="units x examples"
        ),
    }
    return {name: trusted(svg) for name, svg in drawn.items() if svg is not None}


def _intervals(rows: list[ScoreRow], metric: str) -> list[_Interval]:
    """Lay the scores of one metric on a common axis, a little wider than what is on it.

    Returns:
        One entry a row, ours first, then best first.
    """
    scores = [row.scores[metric] for row in rows]
    ends = [end for s in scores for end in (s.value, s.low, s.high) if end is not None]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    pad = 0.06 * (high - low) or max(0.05 * abs(low), 1e-6)
    low, high = low - pad, high + pad

    def place(value: float | None) -> float | None:
        return None if value is None else round(100 * (value - low) / (high - low), 2)

    found = []
    for row, score in zip(rows, scores, strict=True):
        left, right = place(score.low), place(score.high)
        width = None if left is None or right is None else round(right - left, 2)
        found.append(_Interval(row, score, place(score.value), left, width))

    def order(entry: _Interval) -> tuple[bool, float]:
        value = math.inf if entry.score.value is None else entry.score.value
        return not entry.row.ours, -value if entry.score.higher_is_better and math.isfinite(value) else value

    return sorted(found, key=order)


def _cells(facts: ClassFacts) -> list[tuple[str, list[_Cell]]]:
    """Shade the confusion matrix by the share of each row.

    Returns:
        Class name and its cells, row by row.
    """
    support = {row.name: row.support for row in facts.rows}
    most = facts.most_confused
    rows = []
    for i, (name, counts) in enumerate(zip(facts.matrix_classes, facts.matrix, strict=True)):
        total = max(1, support.get(name, sum(counts)))
        cells = []
        for j, count in enumerate(counts):
            kind = "hit" if i == j else "miss" if count else "zero"
            if most is not None and (name, facts.matrix_classes[j]) == (most.truth, most.prediction) and count > 1:
                kind = "miss most"
            shade = count / total if i == j else math.sqrt(count / total)
            cells.append(_Cell(count, round(min(1.0, shade), 3), kind + (" strong" if shade > 0.5 else "")))
        rows.append((name, cells))
    return rows


def _worst_classes(facts: ClassFacts | None) -> list[Any]:
    """Choose the rows of the table of classes: all, or the worst by F where there are many.

    Returns:
        Rows.
    """
    if facts is None:
        return []
    if len(facts.rows) <= _MOST["classes"]:
        return list(facts.rows)
    return sorted(facts.rows, key=lambda row: row.f1 if row.f1 is not None else 2.0)[: _MOST["classes"]]


def _bars(rows: tuple[Importance, ...]) -> list[_Bar]:
    """Lay importances on a common axis that holds zero.

    Returns:
        One bar a column.
    """
    ends = [0.0] + [end for row in rows for end in (row.drop, row.low, row.high) if end is not None]
    low, span = min(ends), max(max(ends) - min(ends), 1e-12)

    def place(value: float) -> float:
        return round(100 * (value - low) / span, 2)

    bars = []
    for row in rows:
        drop = row.drop or 0.0
        left, right = sorted((place(0.0), place(drop)))
        whisker = row.low is not None and row.high is not None
        start = place(row.low) if whisker and row.low is not None else None
        end = place(row.high) if whisker and row.high is not None else None
        width = None if start is None or end is None else round(end - start, 2)
        bars.append(_Bar(row, left, round(right - left, 2), start, width))
    return bars


# --- the template engine, and how data and numbers stand in the page ---


@functools.cache
def pages() -> Environment:
    """Set up the template engine, once: everything escaped, an unknown name an error.

    Returns:
        The engine.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    engine = Environment(
        loader=FileSystemLoader(_folder()),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    engine.filters.update(
        t=_text, n=_number, fig=_figure_of_merit, words=words, setting=text.setting, plain=_plain_text, signed=_signed
    )
    return engine


def _folder() -> Path:
    return Path(__file__).parent / "templates"


def trusted(markup: str) -> Markup:
    """Mark what this package made itself, without text from the data, as markup.

    Returns:
        The same text, not to be escaped again.
    """
    from markupsafe import Markup

    return Markup(markup)


def _plain_text(value: object, limit: int = 200) -> str:
    """Text from the data inside an attribute or a title.

    Returns:
        Text, still to be escaped.
    """
    return text.cut(text.readable(value), limit)


def _text(value: object, limit: int = _LABEL) -> Markup:
    """Text from the data: isolated in its own direction, cut, with the full text as a tooltip.

    Returns:
        A ``<bdi>`` element.
    """
    from markupsafe import Markup

    whole = text.readable(value)
    short = text.cut(whole, limit)
    if short == whole:
        return Markup("<bdi>{}</bdi>").format(short)
    return Markup('<bdi title="{}">{}</bdi>').format(text.cut(whole, _LONGEST), short)


def _number(value: float | None, style: str = "number", reason: str = "") -> Markup:
    """A number with its full value beside it, or why there is none.

    Returns:
        A ``<data>`` or a ``<span>`` element.
    """
    from markupsafe import Markup

    if value is None or not math.isfinite(value):
        return Markup('<span class="none" title="{}">–</span>').format(reason or "not defined")
    return Markup('<data value="{}">{}</data>').format(repr(value), _FORMATS[style](value))


def _signed(value: float | None, style: str = "number") -> Markup:
    """A difference: with a plus sign where it is positive.

    Returns:
        Markup.
    """
    from markupsafe import Markup

    plus = "+" if value is not None and value > 0 else ""
    return Markup("{}{}").format(plus, _number(value, style))


def _figure_of_merit(value: float | None, metric: str, reason: str = "") -> Markup:
    """A number as suits its metric: three decimals for shares, four digits otherwise.

    Returns:
        Markup.
    """
    return _number(value, "fraction" if metric in _SHARES else "number", reason)
