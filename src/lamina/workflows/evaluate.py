"""``lamina evaluate``: a model's figures on new data that carry their targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lamina.data.images import ImageSet, read_image_folder
from lamina.data.spec import ImageSpec
from lamina.data.tables.table import Table, unknown_column
from lamina.data.tables.targets import ClassTarget
from lamina.errors import ConfigError, DataError, shown
from lamina.methodology.problem import encode_targets
from lamina.report.scoring import scores_for
from lamina.runs.predictor import Predictor
from lamina.runs.settings import Settings
from lamina.workflows.display import BaselineRow, Display, Silent
from lamina.workflows.facts import kind_of
from lamina.workflows.predict import summarise
from lamina.workflows.source import open_input


def evaluate(
    run: str,
    source: str,
    *,
    refuse_below: float = 0.0,
    data_dir: str | None = None,
    settings: Settings | None = None,
    display: Display | None = None,
) -> dict[str, Any]:
    """Score a model on data that hold its targets.

    Args:
        run: A run folder or a saved model.
        source: A table with the target columns, or a folder of pictures by class.
        refuse_below: Score classes only where the model answers; see ``lamina.workflows.predict``.
        data_dir: Where named data sets lie.
        settings: How tables are read.
        display: Shows the figures.

    Returns:
        Target name to metric to ``value``, ``low``, ``high`` (95 % bootstrap interval), and ``rows``; with
        ``refuse_below`` also how many are ``answered``.
    """
    display = display or Silent()
    predictor = Predictor.load(run)
    data = _open(source, predictor, settings or Settings(), data_dir)
    inputs, report = predictor.prepare(data)
    for text in summarise(report):
        display.fact("note", "", text)
    outputs = predictor.outputs(inputs)
    answers = predictor.read(outputs)
    columns = [_target_column(data, target, shown(source, 200)) for target in predictor.targets]
    encoded = encode_targets(predictor.targets, columns)
    kept = ~predictor.refused(outputs, refuse_below) if refuse_below else np.ones(len(outputs), dtype=bool)
    nll = -predictor.log_prob(outputs, encoded) if len(answers) == 1 else None
    result: dict[str, Any] = {}
    for i, answer in enumerate(answers):
        target = answer.target
        kind = kind_of(target)
        codes = (encoded if encoded.ndim == 1 else encoded[:, i]).numpy()
        n = len(codes)
        if kind == "classes":
            assert answer.probabilities is not None
            n, own = int(kept.sum()), None if nll is None else nll[kept]
            scores = scores_for(kind, codes[kept].astype(np.int64), probabilities=answer.probabilities[kept], nll=own)
        else:
            scores = scores_for(kind, np.asarray(target.decode(codes)), mean=answer.prediction, nll=nll)
        result[target.name] = {m: {"value": s.value, "low": s.low, "high": s.high} for m, s in scores.items()}
        row = {m: (s.value, s.low, s.high) for m, s in scores.items() if s.value is not None}
        of = "" if n == len(codes) else f" of {len(codes):,}"
        display.scores(f"{target.name}, {n:,}{of} examples", [BaselineRow("this model", row)])
    answered = {"answered": int(kept.sum())} if refuse_below else {}
    return {"rows": int(inputs.shape[0]), **answered, "scores": result}


def _open(source: str, predictor: Predictor, settings: Settings, data_dir: str | None) -> Table | ImageSet:
    spec, target = predictor.card.spec, predictor.targets[0]
    if isinstance(spec, ImageSpec) and Path(source).is_dir() and isinstance(target, ClassTarget):
        names = [str(label) for label in target.classes]
        return read_image_folder(source, size=(spec.height, spec.width), classes=names, min_classes=1)
    return open_input(source, settings, predictor.preparation, data_dir=data_dir)


def _target_column(data: Table | ImageSet, target: Any, where: str) -> Any:
    if isinstance(data, Table):
        if target.name not in data.columns:
            raise unknown_column(target.name, data)
        return data.column(target.name)
    if data.labels is None:
        raise DataError("the pictures have no labels", where=where, mend="put them into one folder a class")
    bare = int((np.asarray(data.labels) < 0).sum()) if data.classes else 0
    if bare:
        raise DataError(
            f"the class is missing in {bare:,} picture{'s' if bare > 1 else ''}",
            where=where,
            mend="leave these out of the data",
        )
    if tuple(data.classes) == tuple(str(label) for label in target.classes):
        return np.asarray(target.classes)[data.labels]
    if not data.classes:
        raise ConfigError("the model tells classes, and the labels are numbers", where=where)
    return np.asarray(data.classes)[data.labels]
