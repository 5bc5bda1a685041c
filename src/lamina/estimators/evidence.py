"""The report of an estimator: figures of the rows of the fit, kept from it, and of test rows if given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lamina.data.tables.encoders import BooleanEncoder, CategoryEncoder, NumberEncoder
from lamina.data.tables.prepare import TablePreparation
from lamina.data.tables.targets import ClassTarget, CountTarget, Target
from lamina.io import write_file
from lamina.methodology.baseline import in_words
from lamina.methodology.diagnosis import diagnose
from lamina.methodology.problem import Problem
from lamina.methodology.score import Score
from lamina.report.facts import Column, DataCard, FitFacts, LayerCard, Part, Remark, RunCard, ScoreRow, TargetFacts
from lamina.report.facts import Target as ReportTarget
from lamina.report.gather import class_facts, number_facts, thin_history, worst_mistakes
from lamina.report.page import render
from lamina.report.scoring import compare, scores_for
from lamina.runs.folder import versions
from lamina.runs.predictor import Predictor, TargetPrediction

MOST_KEPT = 2_000
"""At most so many rows of a part are scored for the report: a fitted estimator stays small."""
_PARTS = {"train": "training", "valid": "validation", "test": "test"}
Shown = tuple[np.ndarray, Tensor]
"""Truth, ``(N,)`` codes or ``(N, T)`` numbers, and the network's outputs."""


@dataclass(frozen=True)
class Evidence:
    """What is kept of the rows of a fit to report on them.

    Attributes:
        parts: ``train`` and ``valid`` to truth and outputs of some of their rows.
        sizes: Rows of each.
        constants: Of each target, the class shares or the mean of the training rows.
        started: When the fit ended, ISO 8601.
        layers: What became of layers that were pre-trained.
    """

    parts: Mapping[str, Shown]
    sizes: Mapping[str, int]
    constants: tuple[np.ndarray, ...]
    started: str
    layers: tuple[LayerCard, ...] = ()


def gather_evidence(predictor: Predictor, problem: Problem, values: np.ndarray) -> Evidence:
    """Keep truth and outputs of some rows of each part.

    Args:
        predictor: Trained on the training part alone, so that the validation part judges it.
        problem: What was learnt.
        values: ``(N,)`` codes, or ``(N,)`` or ``(N, T)`` numbers in their own unit.

    Returns:
        The evidence.
    """
    parts, sizes = {}, {}
    for name in ("train", "valid"):
        rows = getattr(problem.split, name)
        sizes[name] = len(rows)
        kept = rows[:: max(1, -(-len(rows) // MOST_KEPT))]
        if len(kept):
            parts[name] = (values[kept], predictor.outputs(problem.inputs[torch.from_numpy(kept)]))
    train = values[problem.split.train]
    constants = tuple(
        np.bincount(train, minlength=len(target.classes)) / len(train)
        if isinstance(target, ClassTarget)
        else np.asarray((train if train.ndim == 1 else train[:, j]).mean())
        for j, target in enumerate(problem.targets)
    )
    return Evidence(parts, sizes, constants, datetime.now().astimezone().isoformat(timespec="seconds"))


def write_report(path: Path, estimator: Any, evidence: Evidence, test: Shown | None) -> Path:
    """Write the page.

    Args:
        path: The file.
        estimator: Fitted.
        evidence: Of its fit.
        test: Truth and outputs of test rows.

    Returns:
        The file.
    """
    parts = {**evidence.parts, **({"test": test} if test is not None else {})}
    sizes = {**evidence.sizes, **({"test": len(test[0])} if test is not None else {})}
    predictor: Predictor = estimator.predictor_
    said = {name: predictor.read(outputs) for name, (_, outputs) in parts.items()}
    sections = []
    for j in range(len(predictor.targets)):
        truth = {name: values if values.ndim == 1 else values[:, j] for name, (values, _) in parts.items()}
        answers = {name: answer[j] for name, answer in said.items()}
        sections.append(_section(estimator, j, truth, answers, evidence))
    facts = FitFacts(
        _run_card(estimator, evidence),
        _data_card(estimator, sizes),
        tuple(sections),
        tuple(thin_history(estimator.history_, estimator.best_epoch_)),
        pretraining=evidence.layers,
    )
    write_file(path, render(facts).encode("utf-8"))
    return path


def _section(
    estimator: Any,
    place: int,
    truth: Mapping[str, np.ndarray],
    said: Mapping[str, TargetPrediction],
    evidence: Evidence,
) -> TargetFacts:
    target: Target = estimator.predictor_.targets[place]
    constant = evidence.constants[place]
    kind = _kind(target)
    metric = "accuracy" if kind == "classes" else "rmse"
    classes = tuple(str(label) for label in target.classes) if isinstance(target, ClassTarget) else ()
    name = f'always "{classes[int(constant.argmax())]}"' if classes else "always the mean"
    ours, theirs, rows = {}, {}, []
    for part, values in truth.items():
        ours[part] = _scores(kind, values, said[part].probabilities, said[part].prediction)
        always = np.broadcast_to(constant, (len(values), *constant.shape))
        theirs[part] = _scores(kind, values, always, always)
        rows.append(ScoreRow("this model", _PARTS[part], True, ours[part]))
        rows.append(ScoreRow(name, _PARTS[part], False, theirs[part]))
    part = "test" if "test" in truth else "valid" if "valid" in truth else "train"
    judged = "valid" if "valid" in truth else part
    answer, values = said[part], truth[part]
    if answer.probabilities is not None:
        mine, other = answer.probabilities.argmax(1), np.full(len(values), constant.argmax())
    else:
        mine, other = answer.prediction, np.full(len(values), float(constant))
    settings = estimator.settings_
    return TargetFacts(
        target=ReportTarget(target.name, kind, classes, _counts(target)),
        metric=metric,
        scores=tuple(rows),
        diagnosis=diagnose(
            estimator.history_,
            metric=metric,
            train=ours["train"],
            valid=ours[judged],
            baselines={name: theirs[judged]},
            constant=name,
            n_train=evidence.sizes["train"],
            n_parameters=_n_parameters(estimator),
            max_epochs=settings.epochs,
            best_epoch=estimator.best_epoch_,
            settings=settings.to_dict(),
        ),
        paired=compare(kind, values, mine, other, baseline=name),
        classes=class_facts(values, answer.probabilities, classes) if answer.probabilities is not None else None,
        numbers=None if classes else number_facts(values, answer.prediction, answer.low, answer.high),
        mistakes=worst_mistakes(
            kind,
            values,
            probabilities=answer.probabilities,
            mean=None if classes else answer.prediction,
            classes=classes,
            label=lambda i: f"{_PARTS[part]} row {i + 1}",
        ),
    )


def _kind(target: Target) -> Literal["classes", "number", "count"]:
    if isinstance(target, ClassTarget):
        return "classes"
    return "count" if isinstance(target, CountTarget) else "number"


def _scores(
    kind: Literal["classes", "number", "count"], truth: np.ndarray, probabilities: np.ndarray | None, mean: np.ndarray
) -> dict[str, Score]:
    if kind == "classes":
        return scores_for(kind, truth, probabilities=probabilities)
    return scores_for(kind, truth, mean=mean)


def _counts(target: Target) -> tuple[int, ...]:
    return target.counts if isinstance(target, ClassTarget) else ()


def _n_parameters(estimator: Any) -> int:
    return sum(p.numel() for p in estimator.predictor_.model.parameters())


def _run_card(estimator: Any, evidence: Evidence) -> RunCard:
    known, settings = versions(), estimator.settings_
    name = type(estimator).__name__
    names = ", ".join(target.name for target in estimator.predictor_.targets)
    return RunCard(
        name=name,
        title=f"{names}, by {name}",
        state="finished",
        command=f"{estimator!r}.fit(X, y)",
        started=evidence.started,
        seconds=None,
        seed=settings.seed,
        device=settings.device,
        threads=settings.threads or 1,
        lamina=known["lamina"],
        torch=known["torch"],
        python=known["python"],
        model=in_words(estimator.predictor_.card, settings),
        n_parameters=_n_parameters(estimator),
        epochs=estimator.n_iter_,
        best_epoch=estimator.best_epoch_,
        settings=settings.to_dict(),
        platform=known["machine"],
    )


def _data_card(estimator: Any, sizes: Mapping[str, int]) -> DataCard:
    preparation = estimator.predictor_.preparation
    assert isinstance(preparation, TablePreparation)
    columns = [Column(target.name, "target") for target in estimator.predictor_.targets]
    columns += [Column(name, _role(encoder)) for name, encoder in preparation.encoders.items()]
    total = sum(sizes.values())
    held = f"{sizes['valid'] / (sizes['train'] + sizes['valid']):.0%} of the fitted rows for validation"
    return DataCard(
        "X and y",
        "rows",
        total,
        f"{estimator.n_features_in_} columns",
        tuple(Part(_PARTS[name], size) for name, size in sizes.items()),
        held + ("; tested on rows given for it" if "test" in sizes else "; no test rows were given"),
        columns=tuple(columns),
        notes=tuple(Remark(note) for note in estimator.notes_),
    )


def _role(encoder: object) -> str:
    if isinstance(encoder, NumberEncoder):
        return "number"
    if isinstance(encoder, CategoryEncoder):
        return "category"
    return "true/false" if isinstance(encoder, BooleanEncoder) else "date"
