"""Hints of a fit: what is known of the rows of training only, predicted beside y while training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from lamina.data.tables.frame import table_from
from lamina.data.tables.table import Table
from lamina.data.tables.targets import ClassTarget, infer_target
from lamina.errors import DataError
from lamina.estimators.inputs import is_frame
from lamina.methodology.problem import Problem
from lamina.methodology.table_problem import hinted_columns, settled


def read_hints(hints: Any, n: int) -> Table | None:
    """Read hints as a table.

    Args:
        hints: ``(N,)`` or ``(N, H)`` numbers or labels, a frame, or None.
        n: Rows of X.

    Returns:
        N rows, or None of no hints.

    Raises:
        DataError: If they are not one a row.
    """
    if hints is None:
        return None
    given = hints
    if not is_frame(hints):
        given = np.asarray(hints, dtype=object)
        given = given[:, None] if given.ndim == 1 else given
        if given.ndim != 2 or not given.shape[1]:
            raise DataError(
                f"must have one or two axes, got an array of shape {np.shape(hints)}",
                where="hints",
                mend="give (N,) or (N, H) numbers or labels",
            )
    table = table_from(
        given, None if is_frame(hints) else [f"hint{j + 1}" for j in range(given.shape[1])], name="hints"
    )
    if table.n_rows != n:
        raise DataError(f"has {table.n_rows} rows, and X has {n}", where="hints", mend="give a hint for each row of X")
    return table


def with_hints(problem: Problem, hints: Table | None) -> Problem:
    """Add hints to a problem: texts and few whole numbers are classes, other numbers are numbers.

    Args:
        problem: What is to be learnt.
        hints: A row for each of its examples, or None.

    Returns:
        The problem; the same without hints.
    """
    if hints is None:
        return problem
    targets = [infer_target(hints, name, min_class=1) for name in hints.names]
    # A class of a hint that training lacks does no harm: nobody will ask for it.
    final = [hint if isinstance(hint, ClassTarget) else settled(hints, hint, problem.split.train) for hint in targets]
    hinted = hinted_columns(hints, final)
    taken = {target.name for target in problem.targets}
    apart = tuple(replace(hint, name=f"{hint.name} (hint)") if hint.name in taken else hint for hint in final)
    return replace(problem, hints=apart, hinted=hinted)
