"""One fit as it stands: what was read, decided and kept, and the cards of its report."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lamina.data.images import ImageSet
from lamina.data.tables.roles import Roles
from lamina.data.tables.table import Table
from lamina.errors import shown
from lamina.methodology.baseline import in_words, model_card
from lamina.methodology.problem import Problem
from lamina.methodology.table_problem import Findings
from lamina.methodology.train import Trained
from lamina.report.facts import Column, DataCard, LeftOut, Part, Remark, RunCard, State
from lamina.runs.folder import RunFolder
from lamina.runs.settings import Settings
from lamina.training.device import find_device
from lamina.workflows.source import Opened


@dataclass(frozen=True)
class Session:
    """A fit from the moment at which everything is decided.

    Attributes:
        folder: Where it is kept.
        card: The content of ``run.toml``.
        opened: The source.
        tested: The table of ``--test``.
        problem: What is to be learnt.
        findings: What was decided about a table; None for pictures.
        settings: Without an open choice.
        reasons: Why each open choice was made as it was.
    """

    folder: RunFolder
    card: dict[str, Any]
    opened: Opened
    tested: Table | None
    problem: Problem
    findings: Findings | None
    settings: Settings
    reasons: dict[str, str]

    @property
    def shown_data(self) -> Table | ImageSet:
        """The examples as the problem numbers them."""
        return self.opened.data if self.findings is None else self.findings.table

    def run_card(self, trained: Trained | None, seconds: float, *, message: str = "", mend: str = "") -> RunCard:
        """Return what the report says of the run.

        Args:
            trained: How training went; None if it failed.
            seconds: Wall time so far.
            message: What happened, if it was interrupted or failed.
            mend: What to do about it.

        Returns:
            The card.
        """
        names = ", ".join(target.name for target in self.problem.targets)
        given = self.card["source"]["given"]
        known = self.card["versions"]
        state: State = "failed" if trained is None else "interrupted" if trained.signal else "finished"
        return RunCard(
            name=self.folder.path.name,
            title=f"{names}, from {Path(given).name or given}",
            state=state,
            command=self.card["run"]["command"],
            started=self.card["run"]["started"],
            seconds=seconds,
            seed=self.settings.seed,
            device=str(find_device(self.settings.device)),
            threads=trained.threads if trained else self.settings.threads or 1,
            lamina=known["lamina"],
            torch=known["torch"],
            python=known["python"],
            platform=known["machine"],
            model=in_words(model_card(self.settings, self.problem), self.settings),
            n_parameters=trained.n_parameters if trained else 0,
            epochs=len(trained.history.records) if trained else 0,
            best_epoch=trained.best_epoch if trained else None,
            stopped=(trained.stopped or "") if trained else "",
            message=message,
            mend=mend,
            settings=self.settings.to_dict(),
            chosen=self.reasons,
        )

    @property
    def resume_line(self) -> str:
        """The command that goes on with the run."""
        return f"lamina fit --resume {shlex.quote(str(self.folder.path))}"

    def data_card(self) -> DataCard:
        """Return what the report says of the data.

        Returns:
            The card.
        """
        split = self.problem.split
        parts: tuple[Part, ...] = (
            Part("training", len(split.train)),
            Part("validation", len(split.valid)),
            Part("test", len(split.test)),
        )
        if self.problem.unlabelled is not None:
            parts = (parts[0], Part("training without a target", len(self.problem.unlabelled)), *parts[1:])
        source, sha = self.card["source"]["given"], self.card["source"]["fingerprint"]
        data = self.opened.data
        if isinstance(data, ImageSet):
            return DataCard(
                source,
                "pictures",
                len(data),
                size_in_words(data),
                parts,
                str(self.problem.facts.get("split", "")),
                notes=tuple(Remark(text) for text in (*self.problem.notes, *data.notes)),
                warnings=tuple(_warning(text) for text in data.warnings),
                sha256=sha,
            )
        assert self.findings is not None
        table, roles = self.findings.table, self.findings.roles
        return DataCard(
            source,
            "rows",
            int(self.problem.inputs.shape[0]),
            f"{len(table.names)} columns",
            parts,
            self.findings.split,
            columns=tuple(_column(table, name, role) for role, names in _roles(self.problem, roles) for name in names),
            left_out=tuple(LeftOut(name, reason) for name, reason in roles.left_out.items()),
            notes=tuple(Remark(text) for text in self.findings.notes),
            warnings=tuple(_warning(text) for text in self.findings.warnings),
            sha256=sha,
        )


def size_in_words(images: ImageSet) -> str:
    """Return the size of pictures, for instance ``28 x 28 pixels, grey``."""
    _, channels, height, width = images.pixels.shape
    return f"{width} x {height} pixels, {'grey' if channels == 1 else 'colour'}"


def command_line() -> str:
    """Return the command that was typed, quoted; the program's name without its folder."""
    return " ".join(shlex.quote(word) for word in [Path(sys.argv[0]).name, *sys.argv[1:]])


def _roles(problem: Problem, roles: Roles) -> list[tuple[str, Sequence[str]]]:
    return [
        ("target", [t.name for t in problem.targets]),
        ("number", roles.numeric),
        ("category", roles.categorical),
        ("true/false", roles.boolean),
        ("date", roles.date),
    ]


def _column(table: Table, name: str, role: str) -> Column:
    values = table.column(name)
    missing = int(values.null_count)
    if pa.types.is_string(values.type):
        missing += int(pc.sum(pc.equal(values, "")).as_py() or 0)
    distinct = int(pc.count_distinct(values).as_py())
    numeric = pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
    if numeric and role in {"number", "target"} and distinct > 10:
        low, high = pc.min_max(values).as_py().values()
        summary = f"{low:.6g} to {high:.6g}, mean {pc.mean(values).as_py():.4g}" if low is not None else ""
    else:
        top = sorted(pc.value_counts(values).to_pylist(), key=lambda e: (-e["counts"], str(e["values"])))[:3]
        summary = ", ".join(f"{shown(e['values'], 20)} ({e['counts']:,})" for e in top)
    return Column(name, role, missing, distinct, summary)


def _warning(text: str) -> Remark:
    code, _, rest = text.partition(" ")
    return Remark(rest, code) if code.startswith("W-") else Remark(text)
