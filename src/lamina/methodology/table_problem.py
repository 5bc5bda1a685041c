"""From a table to a learning problem: what each column is, which rows train, what is predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from lamina.data.tables.prepare import TablePreparation
from lamina.data.tables.roles import Roles, infer_roles
from lamina.data.tables.split import Split, duplicates_across, shared_rows, split_rows
from lamina.data.tables.table import Table, unknown_column
from lamina.data.tables.targets import ClassTarget, NumberTarget, Target, infer_target, unlabelled
from lamina.errors import DataError, shown
from lamina.methodology.free_rows import in_words, keep_few, prepared_by
from lamina.methodology.problem import Problem, encode_targets
from lamina.runs.settings import Settings


@dataclass(frozen=True)
class Findings:
    """What was decided about a table, to be said and reported.

    Attributes:
        table: The rows that are used, the source's.
        roles: What each column is.
        notes: What was done, one sentence each.
        warnings: What may make the figures wrong, each beginning with its code.
        split: How the rows were divided, in words.
    """

    table: Table
    roles: Roles
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    split: str


def problem_of_table(
    table: Table, targets: Sequence[str], settings: Settings, *, test: Table | None = None
) -> tuple[Problem, Findings]:
    """Make the problem of predicting some columns of a table from the others.

    Everything is learnt from the training rows alone: class lists apart, which the split must know to spread them.

    Args:
        table: The data.
        targets: Columns to predict, at least one.
        settings: How to split and which columns to use.
        test: Rows to test on, instead of a share of the table.

    Returns:
        The problem, and what was decided on the way. A column that is not there is a ``ConfigError``, data that cannot
        be used a ``DataError``.

    Raises:
        unknown_column: If a target is no column.
    """
    notes: list[str] = []
    every = [*targets, *settings.hints]
    for name in every:
        if name not in table.columns:
            raise unknown_column(name, table)
    _enough_rows(table, settings, tested=test is not None)
    bare = None
    if settings.drop_unlabelled or settings.learn_unlabelled:
        table, bare = _labelled(table, every)
    ignore = [*settings.ignore, *([settings.group] if settings.group else [])]
    roles = infer_roles(table, targets=every, use=settings.use, categorical=settings.categorical, ignore=ignore)
    whole = [
        infer_target(table, name, task=settings.task, min_class=1 if settings.min_class > 1 else 2) for name in targets
    ]
    hints = [infer_target(table, name, min_class=1) for name in settings.hints]
    if settings.min_class > 1:
        table, whole, small = _without_small_classes(table, whole, settings.min_class)
        notes += small
    split, words = _split(table, whole, settings, test is not None)
    split, hidden = keep_few(split, settings, _codes(table, whole[0]))
    n, n_bare = table.n_rows, 0 if bare is None else bare.n_rows
    notes += in_words(len(split.train), len(hidden) + n_bare, "rows", settings)
    free = np.concatenate([hidden, np.arange(n, n + n_bare)])
    notes += [note for target in whole if (note := target.note)]
    final = [settled(table, target, split.train) for target in whole]
    # A class of a hint that training lacks does no harm: nobody will ask for it.
    hints = [hint if isinstance(hint, ClassTarget) else settled(table, hint, split.train) for hint in hints]
    hinted = hinted_columns(table, hints)
    every_row = table if bare is None else table.joined(bare)
    preparation = TablePreparation.fit(every_row, roles, prepared_by(split, free, settings), numeric=settings.numeric)
    warnings = list(roles.warnings)
    matrix, _ = preparation.transform(every_row)
    matrix, taught_by = matrix[:n], matrix[free] if settings.learn_unlabelled and len(free) else None
    encoded = encode_targets(tuple(final), [table.column(t.name) for t in final])
    if test is not None:
        for name in targets:
            if name not in test.columns:
                raise unknown_column(name, test)
        more, _ = preparation.transform(test)
        matrix = np.concatenate([matrix, more])
        if hinted is not None:  # what is tested on is given no hint
            hinted = torch.cat([hinted, hinted.new_zeros(test.n_rows, hinted.shape[1])])
        encoded = torch.cat([encoded, encode_targets(tuple(final), [test.column(t.name) for t in final])])
        split = replace(split, test=np.arange(n, n + test.n_rows))
        count, share = shared_rows(table, test)
        words += f"; tested on the {test.n_rows:,} rows of {shown(test.name)}"
    else:
        count, share = duplicates_across(table, split)
    if count:
        warnings.append(
            f"W-DUP {count:,} test rows ({share:.1%}) also stand in the training or validation part: "
            "the score is too good by what the model remembers of them"
        )
    problem = Problem(
        table.name,
        torch.from_numpy(matrix),
        encoded,
        tuple(final),
        split,
        preparation,
        hints=tuple(hints),
        hinted=hinted,
        unlabelled=None if taught_by is None else torch.from_numpy(taught_by),
    )
    return problem, Findings(
        table, roles, (*table.notes, *roles.notes, *preparation.notes, *notes), tuple(warnings), words
    )


def _enough_rows(table: Table, settings: Settings, *, tested: bool) -> None:
    """Refuse a table of fewer rows than parts; said before anything is concluded from so few.

    Raises:
        DataError: If there are too few.
    """
    shares = settings.split[:2] if tested else settings.split
    least = max(2, sum(share > 0 for share in shares))
    if table.n_rows < least:
        raise DataError(
            f"{table.n_rows} row{'' if table.n_rows == 1 else 's'}, but at least {least} are needed to split them",
            where=shown(table.name, 200),
            mend="give more rows (some hundreds, to learn anything)",
        )


def _labelled(table: Table, targets: Sequence[str]) -> tuple[Table, Table | None]:
    missing = np.zeros(table.n_rows, bool)
    for name in targets:
        missing |= unlabelled(table, name)
    if not missing.any():
        return table, None
    return table.take(np.flatnonzero(~missing)), table.take(np.flatnonzero(missing))


def hinted_columns(table: Table, hints: list[Target]) -> torch.Tensor | None:
    """Return the hints of each row as their likelihoods take them, ``(N, number of hints)``; None without hints."""
    if not hints:
        return None
    columns = [table.column(hint.name) for hint in hints]
    return encode_targets(tuple(hints), columns).float().reshape(table.n_rows, -1)


def _without_small_classes(table: Table, targets: list[Target], least: int) -> tuple[Table, list[Target], list[str]]:
    notes, keep = [], np.ones(table.n_rows, bool)
    for target in targets:
        if not isinstance(target, ClassTarget):
            continue
        codes = target.encode(table.column(target.name))
        counts = np.bincount(codes, minlength=len(target.classes))
        small = [target.classes[k] for k in np.flatnonzero(counts < least)]
        if small:
            keep &= counts[codes] >= least
            listed = ", ".join(shown(label, 20) for label in small[:5])
            notes.append(f"classes of fewer than {least} rows left out: {listed}{', ...' if len(small) > 5 else ''}")
    if keep.all():
        return table, targets, notes
    table = table.take(np.flatnonzero(keep))
    return table, [infer_target(table, t.name, task=t.kind, min_class=2) for t in targets], notes  # type: ignore[arg-type]


def _split(table: Table, targets: list[Target], settings: Settings, tested: bool) -> tuple[Split, str]:
    a, b, c = settings.split
    shares = (a / (a + b), b / (a + b), 0.0) if tested else (a, b, c)
    words = "/".join(f"{100 * share:g}" for share in shares[: 2 if tested else 3])
    for name in (settings.group, settings.time):
        if name is not None and name not in table.columns:
            raise unknown_column(name, table)
    if settings.group is not None:
        split = split_rows(table.n_rows, fractions=shares, seed=settings.seed, groups=table.column(settings.group))
        return split, f'{words} by group "{shown(settings.group)}", seed {settings.seed}'
    if settings.time is not None:
        split = split_rows(table.n_rows, fractions=shares, seed=settings.seed, time=table.column(settings.time))
        return split, f'{words} by time "{shown(settings.time)}", earlier rows train'
    codes = _codes(table, targets[0])
    if codes is not None:
        split = split_rows(table.n_rows, fractions=shares, seed=settings.seed, stratify=codes)
        return split, f"{words} by class, rows shuffled with seed {settings.seed}"
    return split_rows(
        table.n_rows, fractions=shares, seed=settings.seed
    ), f"{words}, rows shuffled with seed {settings.seed}"


def _codes(table: Table, target: Target) -> np.ndarray | None:
    """Return the class of each row, or None where the target is no class."""
    return target.encode(table.column(target.name)) if isinstance(target, ClassTarget) else None


def settled(table: Table, target: Target, rows: np.ndarray) -> Target:
    """Take mean and scale from the training rows; the list of classes stays, if training has them all.

    Returns:
        The target.

    Raises:
        DataError: If training lacks a class.
    """
    if isinstance(target, ClassTarget):
        counts = np.bincount(target.encode(table.column(target.name))[rows], minlength=len(target.classes))
        for k in np.flatnonzero(counts == 0):
            raise DataError(
                f'the class "{shown(target.classes[k])}" has no row in the training part',
                where=f'{shown(table.name)} column "{shown(target.name)}"',
                mend="give more rows of it, leave small classes out with --min-class 2, or split otherwise",
            )
        return replace(target, counts=tuple(int(n) for n in counts))
    task: Literal["number", "count"] = "number" if isinstance(target, NumberTarget) else "count"
    return replace(infer_target(table, target.name, task=task, rows=rows), note=target.note)
