"""What a fit says while it works and at its end."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Sequence
from typing import Any

from lamina.data.images import ImageSet
from lamina.methodology.problem import Problem
from lamina.methodology.reference import Reference
from lamina.methodology.score import Score
from lamina.methodology.table_problem import Findings
from lamina.methodology.train import Trained
from lamina.report.facts import FitFacts
from lamina.runs.folder import RunFolder
from lamina.training.run import Run
from lamina.workflows.display import BaselineRow, Display, ProgressFacts
from lamina.workflows.facts import Scored, score_reference, truth_of

SHOWN = {"accuracy": "accuracy", "log_loss": "log loss", "auc": "AUC", "rmse": "RMSE", "mae": "MAE", "r2": "R2"}
Interval = tuple[float, float | None, float | None]


def tell_findings(display: Display, problem: Problem, findings: Findings) -> None:
    """Tell what was decided about a table and how to overrule it."""
    for target in problem.targets:
        display.fact("predict", target.name, target.note or target.kind)
    roles = findings.roles
    kinds = {
        "numeric": roles.numeric,
        "categorical": roles.categorical,
        "true/false": roles.boolean,
        "dates": roles.date,
    }
    words = ", ".join(f"{len(names)} {kind}" for kind, names in kinds.items() if names)
    display.fact("use", f"{len(roles.used)} columns", words)
    for name, reason in list(roles.left_out.items())[:10]:
        display.fact("leave out", name, reason)
    if len(roles.left_out) > 10:
        display.fact("leave out", f"and {len(roles.left_out) - 10} more", "the report lists them")
    said = {target.note for target in problem.targets}
    for text in findings.notes:
        if text not in said:
            display.fact("note", "", text)
    for text in findings.warnings:
        display.fact("warning", "", text)
    display.fact("split", "", findings.split)


def tell_pictures(display: Display, problem: Problem, images: ImageSet) -> None:
    """Tell what was found out about pictures."""
    display.fact("predict", problem.targets[0].name, f"{len(images.classes)} classes")
    display.fact("split", "", str(problem.facts.get("split", "")))
    for text in (*problem.notes, *images.notes):
        display.fact("note", "", text)
    for text in images.warnings:
        display.fact("warning", "", text)


def tell_baselines(display: Display, problem: Problem, baselines: Sequence[Reference], seed: int) -> None:
    """Show what the baselines reach on the validation part."""
    part = "valid" if len(problem.split.valid) else "train"
    rows = problem.scored_rows(seed)[part]
    for column, target in enumerate(problem.targets):
        truth = truth_of(problem, column, rows)
        table = [
            BaselineRow(reference.name, leading(score_reference(reference, truth, part, seed)))
            for reference in baselines
            if reference.target is target
        ]
        title = "baselines on " + ("validation" if part == "valid" else "training")
        display.scores(title if len(problem.targets) == 1 else f"{title}: {target.name}", table)


def progress_teller(display: Display, metric: str) -> Callable[[Run, float, float, float | None], None]:
    """Return what ``Progress`` calls: it keeps the best figure and hands all on to the display.

    Args:
        display: Shows it.
        metric: The figure that is watched.

    Returns:
        The function.
    """
    best: list[tuple[float, int]] = []

    def show(run: Run, fraction: float, seconds: float, left: float | None) -> None:
        current = run.history.current
        value = current.get(metric)
        if isinstance(value, float) and not math.isnan(value) and (not best or value < best[-1][0]):
            best.append((value, run.epoch))
        peek = run.history.peek().get("loss") if run.position else None
        display.progress(
            ProgressFacts(
                epoch=run.epoch,
                max_epochs=run.max_epochs,
                fraction=fraction,
                train=peek if peek is not None else current.get("loss"),
                valid=value if isinstance(value, float) else None,
                best=best[-1][0] if best else None,
                best_epoch=best[-1][1] if best else None,
                metric=metric,
                seconds=seconds,
                seconds_per_epoch=seconds / run.epoch if run.epoch else None,
                seconds_left=left,
            )
        )

    return show


def layer_teller(display: Display) -> Callable[[str, Run, float, float, float | None], None]:
    """Return what is called while layers are pre-trained: it hands all on to the display.

    Args:
        display: Shows it.

    Returns:
        The function.
    """

    def show(layer: str, run: Run, fraction: float, seconds: float, left: float | None) -> None:
        peek = run.history.peek().get("loss") if run.position else None
        display.progress(
            ProgressFacts(
                epoch=run.epoch,
                max_epochs=run.max_epochs,
                fraction=fraction,
                train=peek if peek is not None else run.history.current.get("loss"),
                valid=None,
                best=None,
                best_epoch=None,
                metric="loss",
                seconds=seconds,
                seconds_per_epoch=seconds / run.epoch if run.epoch else None,
                seconds_left=left,
                layer=layer,
            )
        )

    return show


def tell_results(
    display: Display, folder: RunFolder, facts: FitFacts, scored: Sequence[Scored], trained: Trained
) -> None:
    """Tell figures, verdict, and where everything is; the last line is the next command."""
    if not trained.updates:
        text = "the run had ended already; nothing was left to train (give more --epochs to go on)"
        display.fact("note", "", text)
    if trained.stopped and "minutes" in trained.stopped:
        display.line("training", f"stopped by --minutes: {trained.stopped} is over")
    if trained.best_epoch and len(trained.history.records) > trained.best_epoch:
        display.line("training", f"best epoch {trained.best_epoch}, restored")
    if trained.judged is not trained.predictor:
        display.line("", "then a second pass on the training and the validation part (--set second_pass=none)")
    for entry, section in zip(scored, facts.targets, strict=True):
        part = "test" if len(entry.truth["test"]) else "valid"
        name = f"{entry.target.name}: " if len(scored) > 1 else ""
        words = "  ".join(in_words(metric, s) for metric, s in leading(entry.scores[part]).items())
        note = ", looked at once" if part == "test" else ""
        label = "test" if part == "test" else "validation"
        display.line(label, f"{name}({len(entry.truth[part]):,} examples{note})  {words}")
        pair = section.paired
        if pair is not None and pair.difference is not None:
            display.line("", f"against {pair.baseline}: {pair.difference:+.3f}, {pair.words}")
        if section.diagnosis is not None:
            display.line("diagnosis", f"{name}{section.diagnosis.verdict}")
    display.line("report", str(folder.page))
    display.line("model", str(folder.model))
    example = "pictures/" if facts.data.unit == "pictures" else "new.csv"
    display.line("next", f"lamina predict {shlex.quote(str(folder.path))} {example}")


def leading(scores: dict[str, Score]) -> dict[str, Interval]:
    """Return the few figures that are shown in a line."""
    return {SHOWN[m]: (s.value, s.low, s.high) for m, s in scores.items() if m in SHOWN and s.value is not None}


def in_words(metric: str, score: Interval) -> str:
    """Return a figure as it stands in a line, accuracy with its interval.

    Returns:
        For instance ``accuracy 0.9911 (0.982 to 0.998)``.
    """
    value, low, high = score
    if metric != "accuracy" or low is None or high is None:
        return f"{metric} {value:.4g}"
    return f"{metric} {value:.4f} ({low:.3f} to {high:.3f})"


def plain_scores(scored: Sequence[Scored]) -> dict[str, Any]:
    """Return every figure as plain values: target, part, metric, then value and interval.

    Returns:
        What ``--json`` prints.
    """
    return {
        entry.target.name: {
            part: {m: {"value": s.value, "low": s.low, "high": s.high} for m, s in found.items()}
            for part, found in entry.scores.items()
        }
        for entry in scored
    }
