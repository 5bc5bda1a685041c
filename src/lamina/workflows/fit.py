"""``lamina fit``: read, divide, compare with baselines, train, keep, report."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lamina.data.images import ImageSet
from lamina.data.tables.split import Split, split_rows
from lamina.data.tables.table import Table
from lamina.errors import CheckNotMet, CheckpointError, ConfigError, Interrupted, nearest, shown
from lamina.io import lock_folder, sweep
from lamina.methodology.baseline import complete, in_words, model_card
from lamina.methodology.problem import Problem, likelihood_for, problem_of_images
from lamina.methodology.reference import references
from lamina.methodology.table_problem import Findings, problem_of_table
from lamina.methodology.train import Hooks, Trained, find_device, train
from lamina.report.facts import Column, DataCard, FitFacts, LeftOut, Part, Remark, RunCard
from lamina.report.page import render_to
from lamina.runs.folder import RunFolder, versions
from lamina.runs.settings import Settings
from lamina.training.run import Run
from lamina.workflows.display import BaselineRow, Display, ProgressFacts, Silent
from lamina.workflows.facts import (
    Scored,
    importance_facts,
    leading_metric,
    n_parameters,
    score_all,
    target_facts,
)
from lamina.workflows.source import Opened, open_source, table_of


@dataclass(frozen=True)
class FitResult:
    """What a fit left.

    Attributes:
        folder: The run folder.
        scores: Target name, part and metric to value and interval, as in ``report.json``.
        report: The page.
        seconds: Wall time.
        stopped: Why training ended before its last epoch, or None.
        diagnosis: The verdict in a sentence.
    """

    folder: Path
    scores: dict[str, Any]
    report: Path
    seconds: float
    stopped: str | None
    diagnosis: str


def fit(
    source: str,
    *,
    targets: Sequence[str] = (),
    settings: Settings | None = None,
    test: str | None = None,
    out: str | None = None,
    resume: str | None = None,
    overwrite: bool = False,
    allow_new_data: bool = False,
    data_dir: str | None = None,
    display: Display | None = None,
) -> FitResult:
    """Fit a model to a source and leave a run folder with the model and its report.

    Args:
        source: A named data set, a table, an ``.npz``, a folder of pictures; may be empty on resume.
        targets: Columns to predict; the source's own, or the last column, if none is given.
        settings: What was asked for; open choices are made by the data.
        test: A table to test on.
        out: The run folder; ``runs/<name>-<number>`` if not given.
        resume: A run to go on with.
        overwrite: Replace the run in ``out``.
        allow_new_data: Resume although the source has changed.
        data_dir: Where named data sets lie.
        display: Shows what goes on.

    Returns:
        What was left.

    Raises:
        Interrupted: If a signal ended it; what was learnt so far is saved.
        CheckNotMet: If ``settings.require`` asked for more.
    """
    work = _Fit(settings or Settings(), display or Silent())
    if resume is not None:
        folder = RunFolder.existing(resume)
        with lock_folder(folder.path):
            return work.resumed(folder, source, allow_new_data=allow_new_data, data_dir=data_dir)
    find_device(work.settings.device)
    opened, seconds = work.open(source, data_dir)
    folder = RunFolder.new(opened.stem, out, overwrite=overwrite)
    with lock_folder(folder.path):
        work.begun(folder, source, opened, seconds)
        return work.fresh(folder, source, opened, tuple(targets), test)


class _Fit:
    """One fit: its settings, its display, its clock."""

    def __init__(self, settings: Settings, display: Display) -> None:
        self.settings, self.display = settings, display
        self.began = time.monotonic()
        self.started = datetime.now().astimezone().isoformat(timespec="seconds")

    def open(self, source: str, data_dir: str | None) -> tuple[Opened, float]:
        self.display.reading(source)
        began = time.monotonic()
        opened = open_source(
            source, self.settings, data_dir=data_dir, say=lambda text: self.display.fact("data", "", text)
        )
        return opened, time.monotonic() - began

    def begun(self, folder: RunFolder, source: str, opened: Opened, seconds: float) -> None:
        device = find_device(self.settings.device)
        self.display.started(str(folder.path), self.settings.seed, str(device), self.settings.threads or _cores())
        self.display.read(opened.summary, seconds)

    def fresh(
        self, folder: RunFolder, source: str, opened: Opened, targets: tuple[str, ...], test: str | None
    ) -> FitResult:
        targets = targets or default_targets(opened)
        card = {
            "run": {"name": folder.path.name, "started": self.started, "command": command_line()},
            "source": {"given": source, "targets": list(targets), "fingerprint": opened.data.fingerprint()},
            "settings": self.settings.to_dict(),
            "versions": versions(),
        }
        if test is not None:
            card["source"]["test"] = test
        return self._go(folder, card, opened, targets, test, resume=False)

    def resumed(self, folder: RunFolder, source: str, *, allow_new_data: bool, data_dir: str | None) -> FitResult:
        card = folder.read_card()
        before = Settings().with_changes(card["settings"], where=str(folder.card))
        changed = before.differences(self.settings)
        if changed:
            raise ConfigError(
                "a resumed run keeps its settings, and these differ: " + "; ".join(changed),
                where="--resume",
                mend="leave them out, or start a new run",
            )
        sweep(folder.path)
        source = source or card["source"]["given"]
        if not os.path.exists(source) and os.path.exists(folder.path.parent / source):
            source = str(folder.path.parent / source)
        opened, seconds = self.open(source, data_dir)
        self.begun(folder, source, opened, seconds)
        if card["source"]["fingerprint"] != opened.data.fingerprint():
            if not allow_new_data:
                raise CheckpointError(
                    f"the data have changed since the run began ({opened.summary} now)",
                    where=shown(source, 200),
                    mend="put the old data back, start a new run, or go on with --allow-new-data",
                )
            self.display.fact("warning", source, "the data have changed since the run began")
        for name, now in versions().items():
            if card["versions"].get(name) != now:
                text = f"{card['versions'].get(name)} then, {now} now: bits may differ from an uninterrupted run"
                self.display.fact("note", name, text)
        card["settings"] = self.settings.to_dict()
        targets = tuple(card["source"]["targets"])
        return self._go(folder, card, opened, targets, card["source"].get("test"), resume=True)

    def _go(
        self,
        folder: RunFolder,
        card: dict[str, Any],
        opened: Opened,
        targets: tuple[str, ...],
        test: str | None,
        *,
        resume: bool,
    ) -> FitResult:
        display = self.display
        tested = table_of(test, self.settings) if test is not None else None
        problem, findings = self._problem(opened, targets, tested)
        settings, reasons = complete(self.settings, problem)
        likelihood = likelihood_for(problem.targets, settings.smoothing)
        model = model_card(settings, problem, likelihood.n_outputs)
        with torch.device("meta"):
            model.build()  # refuses what does not fit before anything is written
        card["chosen"] = {name: getattr(settings, name) for name in reasons if getattr(settings, name) is not None}
        card["chosen"] = {k: list(v) if isinstance(v, tuple) else v for k, v in card["chosen"].items()}
        folder.write_card(card)
        problem.facts.update({"name": folder.path.name, "source": card["source"], "lamina": card["versions"]["lamina"]})

        display.working("baselines")
        baselines = references(problem, ("train", "valid", "test"), seed=settings.seed)
        self._show_baselines(problem, baselines)
        display.training(in_words(model, settings))
        trained = train(
            problem,
            settings,
            Hooks(
                progress=self._progress(settings, folder),
                say=lambda text: display.fact("note", "training", text),
                folder=folder.path,
                resume=resume,
                signals=True,
                facts={"fingerprint": card["source"]["fingerprint"], "max_epochs": settings.epochs},
            ),
        )
        trained.predictor.save(folder.model)
        if trained.signal:
            return self._interrupted(folder, card, opened, problem, findings, trained, settings, reasons, tested)
        display.working("figures and report")
        facts, scored = self._facts(
            folder, card, opened, problem, findings, trained, settings, reasons, tested, baselines
        )
        render_to(folder.path, facts)
        return self._finish(folder, facts, scored, trained, settings)

    def _problem(
        self, opened: Opened, targets: tuple[str, ...], tested: Table | None
    ) -> tuple[Problem, Findings | None]:
        if isinstance(opened.data, ImageSet):
            split, words = split_of_pictures(opened.data, self.settings)
            problem = problem_of_images(opened.data, split, name=targets[0])
            n = len(problem.targets[0].classes)  # type: ignore[union-attr]
            self.display.fact("predict", targets[0], f"{n} classes")
            self.display.fact("split", "", words)
            for text in opened.data.notes:
                self.display.fact("note", "", text)
            for text in opened.data.warnings:
                self.display.fact("warning", "", text)
            problem.facts["split"] = words
            return problem, None
        problem, findings = problem_of_table(opened.data, targets, self.settings, test=tested)
        show_findings(self.display, problem, findings)
        return problem, findings

    def _show_baselines(self, problem: Problem, baselines: Sequence[Any]) -> None:
        from lamina.workflows.facts import score_reference, truth_of

        part = "valid" if len(problem.split.valid) else "train"
        rows = getattr(problem.split, part)
        for column, target in enumerate(problem.targets):
            truth = truth_of(problem, column, rows)
            table = []
            for reference in (r for r in baselines if r.target is target):
                scores = score_reference(reference, truth, part, self.settings.seed)
                table.append(BaselineRow(reference.name, _shown_scores(scores)))
            title = "baselines on " + ("validation" if part == "valid" else "training")
            self.display.scores(title if len(problem.targets) == 1 else f"{title}: {target.name}", table)

    def _progress(self, settings: Settings, folder: RunFolder) -> Any:
        best: list[tuple[float, int]] = []
        metric = settings.monitor
        seen = 0

        def show(run: Run, fraction: float, seconds: float, left: float | None) -> None:
            nonlocal seen
            current = run.history.current
            value = current.get(metric)
            if run.epoch > seen and isinstance(value, float):
                seen = run.epoch
                if value == value and (not best or value < best[-1][0]):
                    best.append((value, run.epoch))
            per_epoch = seconds / run.epoch if run.epoch else None
            peek = run.history.peek().get("loss") if run.position else None
            self.display.progress(
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
                    seconds_per_epoch=per_epoch,
                    seconds_left=left,
                )
            )

        return show

    def _facts(
        self,
        folder: RunFolder,
        card: dict[str, Any],
        opened: Opened,
        problem: Problem,
        findings: Findings | None,
        trained: Trained,
        settings: Settings,
        reasons: dict[str, str],
        tested: Table | None,
        baselines: Sequence[Any],
    ) -> tuple[FitFacts, list[Scored]]:
        scored = score_all(problem, trained.predictor, baselines, settings.seed)
        source = findings.table if findings is not None else opened.data
        sections = []
        for column, entry in enumerate(scored):
            section = target_facts(entry, problem, trained, settings, source, tested)
            if settings.importance:
                found = importance_facts(problem, trained.predictor, column, settings)
                section = _replace(section, importance=found, importance_metric=leading_metric(entry.kind))
            sections.append(section)
        run = self._run_card(folder, card, trained, settings, reasons)
        facts = FitFacts(
            run,
            _data_card(card, opened, problem, findings),
            tuple(sections),
            tuple(trained.history.records),
            settings.examples,
        )
        return facts, scored

    def _run_card(
        self, folder: RunFolder, card: dict[str, Any], trained: Trained, settings: Settings, reasons: dict[str, str]
    ) -> RunCard:
        names = ", ".join(target.name for target in trained.predictor.targets)
        known = card["versions"]
        interrupted = bool(trained.signal)
        return RunCard(
            name=folder.path.name,
            title=f"{names}, from {Path(card['source']['given']).name or card['source']['given']}",
            state="interrupted" if interrupted else "finished",
            command=card["run"]["command"],
            started=card["run"]["started"],
            seconds=time.monotonic() - self.began,
            seed=settings.seed,
            device=str(find_device(settings.device)),
            threads=trained.threads,
            lamina=known["lamina"],
            torch=known["torch"],
            python=known["python"],
            platform=known["machine"],
            model=in_words(trained.predictor.card, settings),
            n_parameters=n_parameters(trained),
            epochs=len(trained.history.records),
            best_epoch=trained.best_epoch,
            stopped=trained.stopped or "",
            message="stopped by a signal; the figures are those of the model so far" if interrupted else "",
            mend=f"lamina fit --resume {folder.path}" if interrupted else "",
            settings=settings.to_dict(),
            chosen=reasons,
        )

    def _interrupted(
        self,
        folder: RunFolder,
        card: dict[str, Any],
        opened: Opened,
        problem: Problem,
        findings: Findings | None,
        trained: Trained,
        settings: Settings,
        reasons: dict[str, str],
        tested: Table | None,
    ) -> FitResult:
        """Leave a report without figures, quickly: somebody waits for the process to end."""
        run = self._run_card(folder, card, trained, settings, reasons)
        data = _data_card(card, opened, problem, findings)
        render_to(folder.path, FitFacts(run, data, (), tuple(trained.history.records), settings.examples))
        self.display.line("model", f"{folder.model} (as learnt so far)")
        raise Interrupted(
            trained.signal,
            f"stopped after epoch {len(trained.history.records)}; the state is saved",
            where=str(folder.path),
            mend=f"go on with: lamina fit --resume {shlex.quote(str(folder.path))}",
        )

    def _finish(
        self, folder: RunFolder, facts: FitFacts, scored: list[Scored], trained: Trained, settings: Settings
    ) -> FitResult:
        display = self.display
        if trained.best_epoch and len(trained.history.records) > trained.best_epoch:
            display.line("training", f"best epoch {trained.best_epoch}, restored")
        for entry, section in zip(scored, facts.targets, strict=True):
            part = "test" if len(entry.truth["test"]) else "valid"
            name = f"{entry.target.name}: " if len(scored) > 1 else ""
            words = "  ".join(_in_words(metric, s) for metric, s in _shown_scores(entry.scores[part]).items())
            label = "test" if part == "test" else "validation"
            note = ", looked at once" if part == "test" else ""
            display.line(label, f"{name}({len(entry.truth[part]):,} examples{note})  {words}")
            if section.paired is not None and section.paired.difference is not None:
                pair = section.paired
                display.line("", f"against {pair.baseline}: {pair.difference:+.3f}, {pair.words}")
            if section.diagnosis is not None:
                display.line("diagnosis", f"{name}{section.diagnosis.verdict}")
        display.line("report", str(folder.page))
        display.line("model", str(folder.model))
        example = "pictures/" if facts.data.unit == "pictures" else "new.csv"
        display.line("next", f"lamina predict {shlex.quote(str(folder.path))} {example}")
        scores = {
            entry.target.name: {
                part: {m: {"value": s.value, "low": s.low, "high": s.high} for m, s in found.items()}
                for part, found in entry.scores.items()
            }
            for entry in scored
        }
        diagnosis = facts.targets[0].diagnosis
        if settings.require == "baseline":
            _require_baseline(facts)
        seconds = time.monotonic() - self.began
        verdict = diagnosis.verdict if diagnosis else ""
        return FitResult(folder.path, scores, folder.page, seconds, trained.stopped, verdict)


def default_targets(opened: Opened) -> tuple[str, ...]:
    """Return the source's own target, or the last column of a table.

    Returns:
        One column; several where an archive's ``y`` has several.
    """
    if opened.target and not isinstance(opened.data, ImageSet) and opened.target not in opened.data.columns:
        several = tuple(name for name in opened.data.names if name.startswith(opened.target))
        return several or opened.data.names[-1:]
    if opened.target:
        return (opened.target,)
    assert isinstance(opened.data, Table)
    return opened.data.names[-1:]


def split_of_pictures(images: ImageSet, settings: Settings) -> tuple[Split, str]:
    """Divide pictures as their source does, or by class and seed; what the source leaves open is taken from training.

    Returns:
        The parts, and how they were made in words.
    """
    labels = np.asarray(images.labels)
    a, b, c = settings.split
    if images.part is None:
        split = split_rows(len(images), fractions=(a, b, c), seed=settings.seed, stratify=labels)
        return split, f"{100 * a:g}/{100 * b:g}/{100 * c:g} by class, shuffled with seed {settings.seed}"
    rows = [np.flatnonzero(images.part == k).astype(np.int64) for k in range(3)]
    words = "training, validation and test part as the source has them"
    if not len(rows[2]):
        inner = split_rows(len(rows[0]), fractions=(1 - c, 0.0, c), seed=settings.seed, stratify=labels[rows[0]])
        rows[0], rows[2] = rows[0][inner.train], rows[0][inner.test]
        words = f"validation part as the source has it, {100 * c:g} % of training for the test, seed {settings.seed}"
    if not len(rows[1]):
        share = min(b / (a + b), 0.1)
        inner = split_rows(
            len(rows[0]), fractions=(1 - share, share, 0.0), seed=settings.seed, stratify=labels[rows[0]]
        )
        rows[0], rows[1] = rows[0][inner.train], rows[0][inner.valid]
        words = f"test part as the source has it, {100 * share:g} % of the rest for validation, seed {settings.seed}"
    return Split(*rows), words


def show_findings(display: Display, problem: Problem, findings: Findings) -> None:
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
    for text in findings.notes:
        if text not in {target.note for target in problem.targets}:
            display.fact("note", "", text)
    for text in findings.warnings:
        display.fact("warning", "", text)
    display.fact("split", "", findings.split)


def command_line() -> str:
    """Return the command that was typed, quoted; the program's name without its folder."""
    return " ".join(shlex.quote(word) for word in [Path(sys.argv[0]).name, *sys.argv[1:]])


def _cores() -> int:
    from lamina.training.threads import available_threads

    return available_threads()


def _replace(section: Any, **changes: Any) -> Any:
    import dataclasses

    return dataclasses.replace(section, **changes)


_SHOWN = {"accuracy": "accuracy", "log_loss": "log loss", "auc": "AUC", "rmse": "RMSE", "mae": "MAE", "r2": "R2"}


def _shown_scores(scores: dict[str, Any]) -> dict[str, tuple[float, float | None, float | None]]:
    return {_SHOWN[m]: (s.value, s.low, s.high) for m, s in scores.items() if m in _SHOWN and s.value is not None}


def _in_words(metric: str, score: tuple[float, float | None, float | None]) -> str:
    value, low, high = score
    if metric != "accuracy" or low is None or high is None:
        return f"{metric} {value:.4g}"
    return f"{metric} {value:.4f} ({low:.3f} to {high:.3f})"


def _require_baseline(facts: FitFacts) -> None:
    for section in facts.targets:
        diagnosis = section.diagnosis
        if diagnosis is not None and diagnosis.regime == "worse than baseline":
            raise CheckNotMet(
                diagnosis.verdict, where="--require baseline", mend="look at the report; the model is saved"
            )


def _data_card(card: dict[str, Any], opened: Opened, problem: Problem, findings: Findings | None) -> DataCard:
    split = problem.split
    parts = (Part("training", len(split.train)), Part("validation", len(split.valid)), Part("test", len(split.test)))
    source, sha = card["source"]["given"], card["source"]["fingerprint"]
    if isinstance(opened.data, ImageSet):
        _, channels, height, width = opened.data.pixels.shape
        return DataCard(
            source,
            "pictures",
            len(opened.data),
            f"{width} x {height} pixels, {'grey' if channels == 1 else 'colour'}",
            parts,
            str(problem.facts.get("split", "")),
            notes=tuple(Remark(text) for text in opened.data.notes),
            warnings=tuple(_warning(text) for text in opened.data.warnings),
            sha256=sha,
        )
    assert findings is not None
    table, roles = findings.table, findings.roles
    return DataCard(
        source,
        "rows",
        int(problem.inputs.shape[0]),
        f"{len(table.names)} columns",
        parts,
        findings.split,
        columns=tuple(_column(table, name, role) for role, names in _roles(problem, roles) for name in names),
        left_out=tuple(LeftOut(name, reason) for name, reason in roles.left_out.items()),
        notes=tuple(Remark(text) for text in findings.notes),
        warnings=tuple(_warning(text) for text in findings.warnings),
        sha256=sha,
    )


def _roles(problem: Problem, roles: Any) -> list[tuple[str, Sequence[str]]]:
    return [
        ("target", [t.name for t in problem.targets]),
        ("number", roles.numeric),
        ("category", roles.categorical),
        ("true/false", roles.boolean),
        ("date", roles.date),
    ]


def _column(table: Table, name: str, role: str) -> Column:
    import pyarrow as pa
    import pyarrow.compute as pc

    values = table.column(name)
    missing = int(values.null_count)
    if pa.types.is_string(values.type):
        missing += int(pc.sum(pc.equal(values, "")).as_py() or 0)
    distinct = int(pc.count_distinct(values).as_py())
    if role == "number":
        low, high = pc.min_max(values).as_py().values()
        summary = f"{low:.6g} to {high:.6g}, mean {pc.mean(values).as_py():.4g}" if low is not None else ""
    else:
        top = sorted(pc.value_counts(values).to_pylist(), key=lambda e: (-e["counts"], str(e["values"])))[:3]
        summary = ", ".join(f"{shown(e['values'], 20)} ({e['counts']:,})" for e in top)
    return Column(name, role, missing, distinct, summary)


def _warning(text: str) -> Remark:
    code, _, rest = text.partition(" ")
    return Remark(rest, code) if code.startswith("W-") else Remark(text)
