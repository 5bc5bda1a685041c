"""``lamina fit``: read, divide, compare with baselines, train, keep, report."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from lamina.data.images import ImageSet
from lamina.data.tables.table import Table
from lamina.errors import CheckNotMet, CheckpointError, ConfigError, DataError, DivergedError, Interrupted, shown
from lamina.io import lock_folder, sweep
from lamina.methodology.baseline import complete, in_words, model_card
from lamina.methodology.image_problem import problem_of_pictures
from lamina.methodology.neighbours import neighbours
from lamina.methodology.problem import Problem
from lamina.methodology.reference import Reference, references
from lamina.methodology.table_problem import Findings, problem_of_table
from lamina.methodology.train import Hooks, Trained, train
from lamina.report.facts import FitFacts
from lamina.report.page import render_to
from lamina.report.pretraining import layer_cards
from lamina.runs.folder import RunFolder, versions
from lamina.runs.settings import Settings
from lamina.training.device import find_device
from lamina.training.tensorboard import TensorBoard
from lamina.training.threads import available_threads
from lamina.workflows.display import Display, Silent
from lamina.workflows.facts import Scored, importance_facts, leading_metric, score_all, target_facts
from lamina.workflows.session import Session, command_line
from lamina.workflows.source import Opened, open_source, table_of
from lamina.workflows.telling import (
    layer_teller,
    plain_scores,
    progress_teller,
    tell_baselines,
    tell_findings,
    tell_pictures,
    tell_results,
)


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

    A signal (Ctrl-C, SIGTERM) during training saves what was learnt and raises ``Interrupted``; what
    ``settings.require`` asks for and is not met raises ``CheckNotMet`` after everything is written.

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
    """
    work = _Fit(settings or Settings(), display or Silent())
    find_device(work.settings.device)
    if resume is not None:
        folder = RunFolder.existing(resume)
        with lock_folder(folder.path):
            return work.resumed(folder, source, allow_new_data=allow_new_data, data_dir=data_dir)
    if out is not None:
        RunFolder.check(out, overwrite=overwrite)
    opened = work.open(source, data_dir)
    decided = work.decide(opened, tuple(targets) or default_targets(opened), test)  # refuses before anything is written
    folder = RunFolder.new(opened.stem, out, overwrite=overwrite)
    with lock_folder(folder.path):
        folder.clear()
        work.begun(folder)
        return work.fresh(folder, source, opened, decided, test)


@dataclass(frozen=True)
class _Decided:
    """What follows from data and settings, before anything is written."""

    tested: Table | None
    problem: Problem
    findings: Findings | None
    settings: Settings
    reasons: dict[str, str]
    notes: tuple[str, ...]


class _Fit:
    """One fit: its settings, its display, its clock."""

    def __init__(self, settings: Settings, display: Display) -> None:
        self.settings, self.display = settings, display
        self.began = time.monotonic()

    def open(self, source: str, data_dir: str | None) -> Opened:
        self.display.reading(source)
        began = time.monotonic()
        opened = open_source(
            source, self.settings, data_dir=data_dir, say=lambda text: self.display.fact("data", "", text)
        )
        self.display.read(opened.summary, time.monotonic() - began)
        return opened

    def begun(self, folder: RunFolder) -> None:
        device = find_device(self.settings.device)
        threads = self.settings.threads or available_threads()
        self.display.started(str(folder.path), self.settings.seed, str(device), threads)

    def fresh(self, folder: RunFolder, source: str, opened: Opened, decided: _Decided, test: str | None) -> FitResult:
        started = datetime.now().astimezone().isoformat(timespec="seconds")
        given = {"given": in_unicode(source), "targets": [target.name for target in decided.problem.targets]}
        card = {
            "run": {"name": folder.path.name, "started": started, "command": in_unicode(command_line())},
            "source": {
                **given,
                "fingerprint": opened.data.fingerprint(),
                **({"test": in_unicode(test)} if test else {}),
            },
            "settings": self.settings.to_dict(),
            "versions": versions(),
        }
        return self.go(self.session(folder, card, opened, decided), resume=False)

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
        self.begun(folder)
        source = source or card["source"]["given"]
        if not os.path.exists(source) and os.path.exists(folder.path.parent / source):
            source = str(folder.path.parent / source)
        opened = self.open(source, data_dir)
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
        decided = self.decide(opened, tuple(card["source"]["targets"]), card["source"].get("test"))
        return self.go(self.session(folder, card, opened, decided), resume=True)

    def decide(self, opened: Opened, targets: tuple[str, ...], test: str | None) -> _Decided:
        """Decide everything that follows from data and settings, and refuse what cannot be; nothing is written.

        Returns:
            What was decided.
        """
        tested = table_of(test, self.settings) if test is not None else None
        problem, findings = self.problem(opened, targets, tested)
        settings, reasons = complete(self.settings, problem)
        settings, notes = fitting(settings, self.settings, problem.n_training, len(problem.split.valid))
        with torch.device("meta"):
            model_card(settings, problem).build()
        if settings.tensorboard:
            TensorBoard(Path())  # refuses where it is not installed
        return _Decided(tested, problem, findings, settings, reasons, notes)

    def session(self, folder: RunFolder, card: dict[str, Any], opened: Opened, decided: _Decided) -> Session:
        """Say what was decided and write ``run.toml``.

        Returns:
            The fit as it stands.
        """
        problem, findings, settings, reasons = decided.problem, decided.findings, decided.settings, decided.reasons
        if findings is not None:
            tell_findings(self.display, problem, findings)
        elif isinstance(opened.data, ImageSet):
            tell_pictures(self.display, problem, opened.data)
        for text in decided.notes:
            self.display.fact("note", "", text)
        chosen = {name: getattr(settings, name) for name in reasons}
        card["chosen"] = {k: list(v) if isinstance(v, tuple) else v for k, v in chosen.items() if v is not None}
        folder.write_card(card)
        kept = {"name": folder.path.name, "source": card["source"], "lamina": card["versions"]["lamina"]}
        problem.facts.update(kept)
        return Session(folder, card, opened, decided.tested, problem, findings, settings, reasons)

    def problem(
        self, opened: Opened, targets: tuple[str, ...], tested: Table | None
    ) -> tuple[Problem, Findings | None]:
        if not isinstance(opened.data, ImageSet):
            return problem_of_table(opened.data, targets, self.settings, test=tested)
        if tested is not None:
            raise ConfigError("--test is for tables", mend="put the test pictures into a folder test/ beside train/")
        return problem_of_pictures(opened.data, self.settings, name=targets[0]), None

    def go(self, session: Session, *, resume: bool) -> FitResult:
        """Make baselines, training, model, report.

        Returns:
            What was left.

        Raises:
            DivergedError: If training could not recover; a report says so.
        """
        display, problem, settings = self.display, session.problem, session.settings
        display.working("baselines")
        baselines = references(problem, seed=settings.seed)
        baselines += neighbours(problem, settings.neighbours, seed=settings.seed)
        tell_baselines(display, problem, baselines, settings.seed)
        display.training(in_words(model_card(settings, problem), settings))
        hooks = Hooks(
            progress=progress_teller(display, settings.monitor or "loss"),
            layer_progress=layer_teller(display),
            say=lambda text: display.fact("note", "training", text),
            folder=session.folder.path,
            resume=resume,
            signals=True,
            facts={"fingerprint": session.card["source"]["fingerprint"], "max_epochs": settings.epochs},
        )
        try:
            trained = train(problem, settings, hooks)
        except DivergedError as error:
            self.failed(session, error)
            raise
        trained.predictor.save(session.folder.model)
        if trained.signal:
            self.interrupted(session, trained)
        display.working("figures and report")
        facts, scored = self.facts(session, trained, baselines)
        render_to(session.folder.path, facts)
        tell_results(display, session.folder, facts, scored, trained)
        if settings.require == "baseline":
            require_baseline(facts)
        diagnosis = facts.targets[0].diagnosis
        return FitResult(
            session.folder.path,
            plain_scores(scored),
            session.folder.page,
            time.monotonic() - self.began,
            trained.stopped,
            diagnosis.verdict if diagnosis else "",
        )

    def facts(
        self, session: Session, trained: Trained, baselines: Sequence[Reference]
    ) -> tuple[FitFacts, list[Scored]]:
        problem, settings = session.problem, session.settings
        scored = score_all(problem, trained, baselines, settings.seed)
        sections = []
        for column, entry in enumerate(scored):
            section = target_facts(entry, session, trained)
            if settings.importance:
                found = importance_facts(problem, trained.judged, column, settings)
                section = replace(section, importance=found, importance_metric=leading_metric(entry.kind))
            sections.append(section)
        run = session.run_card(trained, time.monotonic() - self.began)
        records = tuple(trained.history.records)
        layers = layer_cards(trained.pretrained)
        whole = FitFacts(run, session.data_card(), tuple(sections), records, settings.examples, pretraining=layers)
        return whole, scored

    def failed(self, session: Session, error: DivergedError) -> None:
        """Leave a short report that says what went wrong."""
        run = session.run_card(None, time.monotonic() - self.began, message=str(error), mend=error.mend)
        render_to(session.folder.path, FitFacts(run, session.data_card(), (), (), session.settings.examples))

    def interrupted(self, session: Session, trained: Trained) -> None:
        """Leave a short report at once, since somebody waits for the process to end, and say how to go on.

        Raises:
            Interrupted: Always.
        """
        message = "a signal ended the run; `lamina fit --resume` goes on from here"
        seconds = time.monotonic() - self.began
        run = session.run_card(trained, seconds, message=message, mend=session.resume_line)
        render_to(session.folder.path, FitFacts(run, session.data_card(), (), (), session.settings.examples))
        self.display.line("model", f"{session.folder.model} (as learnt so far)")
        raise Interrupted(
            trained.signal,
            f"stopped after epoch {len(trained.history.records)}; the state is saved",
            where=str(session.folder.path),
            mend=f"go on with: {session.resume_line}",
        )


def fitting(settings: Settings, given: Settings, n: int, n_valid: int) -> tuple[Settings, tuple[str, ...]]:
    """Bring settings that go beyond the data to what is possible.

    Args:
        settings: Without an open choice.
        given: As asked for.
        n: Training examples.
        n_valid: Validation examples.

    Returns:
        The settings, and what was changed or will have no effect.

    Raises:
        DataError: If early stopping was asked for and nothing is there to watch.
    """
    notes = []
    if not n_valid:
        if given.patience is not None:
            raise DataError(
                "early stopping was asked for (patience), and no rows are left for validation",
                where="--split",
                mend="give its second share more than 0, or leave out patience",
            )
        notes.append("no validation rows: the training loss decides which weights are kept")
    if settings.batch_size is not None and settings.batch_size > n:
        notes.append(f"batch_size {settings.batch_size:,} is more than the {n:,} training examples: {n:,} is used")
        settings = replace(settings, batch_size=n)
    if given.patience is not None and settings.epochs is not None and given.patience >= settings.epochs:
        notes.append(
            f"patience {given.patience:,} is not less than epochs {settings.epochs:,}: training will not stop early, "
            "the best weights are restored all the same"
        )
    return settings, tuple(notes)


def in_unicode(text: str) -> str:
    """Return a name as it can be kept in a file: bytes that are not UTF-8 become a backslash, x, two digits."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def default_targets(opened: Opened) -> tuple[str, ...]:
    """Return the source's own target, or the last column of a table.

    Returns:
        One column; several where an archive's ``y`` has several.
    """
    if isinstance(opened.data, ImageSet):
        return (opened.target,)
    names = opened.data.names
    if opened.target in names:
        return (opened.target,)
    if opened.target:
        return tuple(name for name in names if name.startswith(opened.target)) or names[-1:]
    return names[-1:]


def require_baseline(facts: FitFacts) -> None:
    """Check that no baseline is better.

    Raises:
        CheckNotMet: If one is.
    """
    for section in facts.targets:
        diagnosis = section.diagnosis
        if diagnosis is not None and diagnosis.regime == "worse than baseline":
            raise CheckNotMet(
                diagnosis.verdict.split(". ")[0].rstrip("."),
                where="--require baseline",
                mend="look at the report; the model is saved",
            )
