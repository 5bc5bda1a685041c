"""Gathers what a fit was into the facts of its report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from lamina.data.images import ImageSet
from lamina.data.tables.prepare import TablePreparation
from lamina.data.tables.table import Table
from lamina.data.tables.targets import ClassTarget, CountTarget, Target
from lamina.methodology.diagnosis import diagnose
from lamina.methodology.importance import MOST_ROWS, permutation_importance
from lamina.methodology.problem import Problem
from lamina.methodology.reference import Reference
from lamina.methodology.score import Score
from lamina.methodology.train import Trained
from lamina.report.facts import Importance, Mistake, Paired, ScoreRow, TargetFacts
from lamina.report.facts import Target as ReportTarget
from lamina.report.gather import class_facts, number_facts, picture, worst_mistakes
from lamina.report.scoring import compare, scores_for
from lamina.runs.predictor import Predictor, TargetPrediction
from lamina.runs.settings import Settings
from lamina.workflows.session import Session

Kind = Literal["classes", "number", "count"]
PARTS = {"train": "training", "valid": "validation", "test": "test"}


def kind_of(target: Target) -> Kind:
    """Return what the report calls the kind of a target."""
    if isinstance(target, ClassTarget):
        return "classes"
    return "count" if isinstance(target, CountTarget) else "number"


def leading_metric(kind: Kind) -> str:
    """Return the figure that leads the page."""
    return "accuracy" if kind == "classes" else "rmse"


@dataclass(frozen=True)
class Scored:
    """One target's truth, predictions and figures on each part.

    Attributes:
        target: The target.
        truth: Part to ``(N,)`` codes or numbers in the target's own unit.
        said: Part to our prediction.
        nll: Part to ``(N,)`` nats, where there is one target; else None.
        scores: Part to figures.
        baselines: The target's references.
        baseline_scores: Name and part to figures.
    """

    target: Target
    truth: dict[str, np.ndarray]
    said: dict[str, TargetPrediction]
    nll: dict[str, np.ndarray | None]
    scores: dict[str, dict[str, Score]]
    baselines: list[Reference]
    baseline_scores: dict[tuple[str, str], dict[str, Score]]

    @property
    def kind(self) -> Kind:
        """What the report calls it."""
        return kind_of(self.target)


def truth_of(problem: Problem, column: int, rows: np.ndarray) -> np.ndarray:
    """Return codes, or numbers in the target's own unit.

    Returns:
        ``(N,)``.
    """
    encoded = problem.encoded if problem.encoded.ndim == 1 else problem.encoded[:, column]
    values = encoded[torch.from_numpy(rows)].numpy()
    target = problem.targets[column]
    return values.astype(np.int64) if isinstance(target, ClassTarget) else np.asarray(target.decode(values), np.float64)


def score_reference(reference: Reference, truth: np.ndarray, part: str, seed: int) -> dict[str, Score]:
    """Return a baseline's figures on a part."""
    kind = kind_of(reference.target)
    predictions = reference.predictions[part]
    if kind == "classes":
        return scores_for(kind, truth, probabilities=predictions, seed=seed)
    return scores_for(kind, truth, mean=predictions, seed=seed)


def score_all(problem: Problem, trained: Trained, references: Sequence[Reference], seed: int) -> list[Scored]:
    """Predict every part once and score our model and the baselines.

    Training and validation part are judged by the network that has learnt from the training part alone.

    Args:
        problem: What was learnt.
        trained: Our model.
        references: The baselines.
        seed: Of the bootstrap.

    Returns:
        One entry a target.
    """
    rows = problem.scored_rows(seed)
    outputs, said = {}, {}
    for part, chosen in rows.items():
        predictor = trained.predictor if part == "test" else trained.judged
        outputs[part] = predictor.outputs(problem.inputs, torch.from_numpy(chosen))
        said[part] = predictor.read(outputs[part])
    found = []
    for column, target in enumerate(problem.targets):
        kind = kind_of(target)
        truth = {part: truth_of(problem, column, chosen) for part, chosen in rows.items()}
        nll: dict[str, np.ndarray | None] = dict.fromkeys(rows)
        if len(problem.targets) == 1:
            for part, chosen in rows.items():
                nll[part] = -trained.predictor.log_prob(outputs[part], problem.encoded[torch.from_numpy(chosen)])
        scores = {}
        for part in rows:
            answer = said[part][column]
            if kind == "classes":
                scores[part] = scores_for(
                    kind, truth[part], probabilities=answer.probabilities, nll=nll[part], seed=seed
                )
            else:
                scores[part] = scores_for(kind, truth[part], mean=answer.prediction, nll=nll[part], seed=seed)
        ours = [r for r in references if r.target is target]
        theirs = {(r.name, p): score_reference(r, truth[p], p, seed) for r in ours for p in r.predictions}
        found.append(Scored(target, truth, {p: said[p][column] for p in rows}, nll, scores, ours, theirs))
    return found


def target_facts(scored: Scored, session: Session, trained: Trained) -> TargetFacts:
    """Gather the section of one target.

    Args:
        scored: Its predictions and figures.
        session: What was fitted to what.
        trained: How training went.

    Returns:
        The facts, importance apart.
    """
    kind, target, problem, settings = scored.kind, scored.target, session.problem, session.settings
    metric = leading_metric(kind)
    filled = [part for part in PARTS if len(scored.truth[part])]
    held_out = "valid" if "valid" in filled else "train"
    part = "test" if "test" in filled else held_out
    rows = [ScoreRow("this model", PARTS[p], True, scored.scores[p]) for p in filled]
    rows += [ScoreRow(name, PARTS[p], False, s) for (name, p), s in scored.baseline_scores.items() if p in filled]
    truth, answer = scored.truth[part], scored.said[part]
    names = _class_names(target)
    classes = numbers = None
    if answer.probabilities is not None:
        classes = class_facts(truth, answer.probabilities, names)
    else:
        numbers = number_facts(truth, answer.prediction, answer.low, answer.high, seed=settings.seed)
    return TargetFacts(
        target=ReportTarget(target.name, kind, names, _class_counts(problem, target)),
        metric=metric,
        scores=tuple(rows),
        diagnosis=diagnose(
            trained.history.records,
            metric=metric,
            train=scored.scores["train"],
            valid=scored.scores[held_out],
            baselines={r.name: scored.baseline_scores[r.name, held_out] for r in scored.baselines},
            constant=scored.baselines[0].name if scored.baselines else None,
            n_train=len(problem.split.train),
            n_parameters=trained.n_parameters,
            max_epochs=settings.epochs,
            best_epoch=trained.best_epoch,
            settings=settings.to_dict(),
        ),
        paired=_paired(scored, part, settings.seed),
        classes=classes,
        numbers=numbers,
        mistakes=_mistakes(scored, part, session) if settings.examples else (),
    )


def importance_facts(problem: Problem, predictor: Predictor, column: int, settings: Settings) -> tuple[Importance, ...]:
    """Return the permutation importance of a table's columns on the validation part.

    Returns:
        Most important first; nothing for pictures.
    """
    if not isinstance(problem.preparation, TablePreparation):
        return ()
    rows = problem.split.valid if len(problem.split.valid) else problem.split.train
    rows = rows[:: max(1, math.ceil(len(rows) / MOST_ROWS))]
    truth = truth_of(problem, column, rows)
    kind = kind_of(problem.targets[column])

    def score(inputs: torch.Tensor) -> float:
        answer = predictor.read(predictor.outputs(inputs))[column]
        if kind == "classes" and answer.probabilities is not None:
            return float(np.mean(answer.probabilities.argmax(1) == truth))
        return -float(np.sqrt(np.mean((np.asarray(answer.prediction, np.float64) - truth) ** 2)))

    groups = problem.preparation.groups
    repeats = 5 if len(groups) <= 50 else 1
    found = permutation_importance(
        score, problem.inputs[torch.from_numpy(rows)], groups, seed=settings.seed, repeats=repeats
    )
    return tuple(Importance(entry.column, entry.drop, entry.low, entry.high) for entry in found)


def _class_names(target: Target) -> tuple[str, ...]:
    return tuple(str(label) for label in target.classes) if isinstance(target, ClassTarget) else ()


def _class_counts(problem: Problem, target: Target) -> tuple[int, ...]:
    if not isinstance(target, ClassTarget):
        return ()
    codes = truth_of(problem, problem.targets.index(target), np.arange(problem.encoded.shape[0]))
    return tuple(int(n) for n in np.bincount(codes[codes >= 0], minlength=len(target.classes)))


def _paired(scored: Scored, part: str, seed: int) -> Paired | None:
    if not scored.baselines:
        return None
    metric = leading_metric(scored.kind)
    best = scored.baselines[0]
    for reference in scored.baselines[1:]:
        if scored.baseline_scores[reference.name, part][metric].better_than(
            scored.baseline_scores[best.name, part][metric]
        ):
            best = reference
    answer, theirs = scored.said[part], best.predictions[part]
    if scored.kind == "classes" and answer.probabilities is not None:
        return compare(
            "classes",
            scored.truth[part],
            answer.probabilities.argmax(1),
            theirs.argmax(1),
            baseline=best.name,
            seed=seed,
        )
    return compare(scored.kind, scored.truth[part], answer.prediction, theirs, baseline=best.name, seed=seed)


def _mistakes(scored: Scored, part: str, session: Session) -> tuple[Mistake, ...]:
    rows, data, tested = getattr(session.problem.split, part), session.shown_data, session.tested
    n = len(data) if isinstance(data, ImageSet) else data.n_rows

    def table_row(i: int) -> tuple[Table, int]:
        """Find a row; those of --test stand after those of the source.

        Returns:
            Its table and its number there.
        """
        row = int(rows[i])
        assert isinstance(data, Table)
        return (tested, row - n) if row >= n and tested is not None else (data, row)

    def label(i: int) -> str:
        if isinstance(data, ImageSet):
            return data.location(int(rows[i]))
        table, row = table_row(i)
        return table.location(row)

    def image(i: int) -> str:
        assert isinstance(data, ImageSet)
        return picture(data.pixels[rows[i]])

    def values(i: int) -> dict[str, str]:
        table, row = table_row(i)
        return table.cells([row])[0]

    answer = scored.said[part]
    pictures = isinstance(data, ImageSet)
    return worst_mistakes(
        scored.kind,
        scored.truth[part],
        probabilities=answer.probabilities,
        mean=None if scored.kind == "classes" else answer.prediction,
        classes=_class_names(scored.target),
        label=label,
        image=image if pictures else None,
        values=None if pictures else values,
    )
