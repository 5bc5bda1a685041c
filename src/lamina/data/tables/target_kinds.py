"""The kinds of target: classes, a number, a count; each turns labels into what a loss sees, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lamina.data.tables.table import Table, chunks
from lamina.data.tables.words import is_missing
from lamina.errors import CheckpointError, DataError, shown

Label = str | int | float | bool
MAX_CLASSES = 10_000


@dataclass(frozen=True)
class ClassTarget:
    """One of several classes.

    Args:
        name: The column.
        classes: The labels in the order of their codes: numbers rising, texts sorted, false before true.
        note: What was decided, why, and how to overrule it.
        counts: Training rows of each class.
    """

    name: str
    classes: tuple[Label, ...]
    note: str = ""
    counts: tuple[int, ...] = ()
    kind: str = field(default="classes", init=False)

    def encode(self, column: Any) -> np.ndarray:
        """Return the code of each label.

        Args:
            column: An Arrow column, a numpy array or a sequence of labels.

        Returns:
            int64, (N,), each in 0 .. K-1.

        Raises:
            DataError: If a label is missing or is no class.
        """
        codes = {_key(label): code for code, label in enumerate(self.classes)}
        values, index = different_values(column)
        found = np.array([-1 if value is None else codes.get(_key(value), -1) for value in values], np.int64)
        if (found < 0).any() and len(index):
            bad = np.flatnonzero(found[index] < 0)
            if len(bad):
                label = values[int(index[bad[0]])]
                gone = label is None or str(label).strip() == ""
                what = "is missing" if gone else f'"{shown(label)}" is not a class that the training part has'
                listed = ", ".join(shown(c, 20) for c in self.classes[:10])
                raise DataError(
                    f"{what} (row {int(bad[0]) + 1}{f' and {len(bad) - 1:,} more' if len(bad) > 1 else ''}; "
                    f"the classes are {listed})",
                    where=f'target "{shown(self.name)}"',
                    mend="leave unlabelled rows out with --drop-unlabelled"
                    if gone
                    else "correct the label or the split",
                )
        result: np.ndarray = found[index] if len(index) else np.empty(0, np.int64)
        return result

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the labels of codes, (N,).

        Returns:
            An array of texts, whole numbers, numbers or truth values, as the labels were.
        """
        labels = np.array(list(self.classes), dtype=object if _mixed(self.classes) else None)
        result: np.ndarray = labels[np.asarray(codes, np.int64)]
        return result

    def to_json(self) -> dict[str, Any]:
        """Return the target as JSON-able data.

        Returns:
            What ``target_from_json`` takes.
        """
        return {
            "kind": "classes",
            "name": self.name,
            "classes": list(self.classes),
            "note": self.note,
            "counts": list(self.counts),
        }


@dataclass(frozen=True)
class NumberTarget:
    """A real number, standardised for training: y = (number - mean) / scale.

    Args:
        name: The column.
        mean: Training mean.
        scale: Training standard deviation (1/n); 1 for a constant.
        note: What was decided, why, and how to overrule it.
        low: Least training value.
        high: Greatest training value.
    """

    name: str
    mean: float
    scale: float
    note: str = ""
    low: float = -math.inf
    high: float = math.inf
    kind: str = field(default="number", init=False)

    def encode(self, column: Any) -> np.ndarray:
        """Return standardised numbers.

        Returns:
            float32, (N,).
        """
        values = target_numbers(column, self.name)
        return ((values - self.mean) / self.scale).astype(np.float32)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return numbers in the target's own units.

        Returns:
            float64, (N,).
        """
        return np.asarray(codes, np.float64) * self.scale + self.mean

    def to_json(self) -> dict[str, Any]:
        """Return the target as JSON-able data.

        Returns:
            What ``target_from_json`` takes.
        """
        low, high = (v if math.isfinite(v) else None for v in (self.low, self.high))
        return {
            "kind": "number",
            "name": self.name,
            "mean": self.mean,
            "scale": self.scale,
            "note": self.note,
            "low": low,
            "high": high,
        }


@dataclass(frozen=True)
class CountTarget:
    """A count: 0, 1, 2, ...

    Args:
        name: The column.
        note: What was decided, why, and how to overrule it.
        mean: Training mean.
    """

    name: str
    note: str = ""
    mean: float = 1.0
    kind: str = field(default="count", init=False)

    def encode(self, column: Any) -> np.ndarray:
        """Return the counts.

        Returns:
            float32, (N,).

        Raises:
            DataError: If a value is negative or no whole number.
        """
        values = target_numbers(column, self.name)
        bad = np.flatnonzero((values < 0) | (values != np.floor(values)))
        if len(bad):
            raise DataError(
                f"{values[bad[0]]:g} is not a count (row {int(bad[0]) + 1})",
                where=f'target "{shown(self.name)}"',
                mend="predict it as a number: --task number",
            )
        return values.astype(np.float32)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the expected counts.

        Returns:
            float64, (N,).
        """
        return np.asarray(codes, np.float64)

    def to_json(self) -> dict[str, Any]:
        """Return the target as JSON-able data.

        Returns:
            What ``target_from_json`` takes.
        """
        return {"kind": "count", "name": self.name, "note": self.note, "mean": self.mean}


Target = ClassTarget | NumberTarget | CountTarget


def target_from_json(data: Mapping[str, Any]) -> Target:
    """Return the target that ``to_json`` gave, after checking every value.

    Returns:
        The target.

    Raises:
        CheckpointError: If something is missing, of a wrong type, or not possible.
    """  # noqa: DOC501, DOC502 (raised through a helper)
    kind, name, note = (data.get(key) if isinstance(data, Mapping) else None for key in ("kind", "name", "note"))
    if not isinstance(name, str) or not isinstance(note, str) or kind not in ("classes", "number", "count"):
        raise _damaged("kind, name and note must be there")
    if kind == "classes":
        classes, counts = data.get("classes"), data.get("counts")
        if not isinstance(classes, list) or not all(isinstance(label, (str, int, float)) for label in classes):
            raise _damaged("classes must be a list of labels")
        if len({_key(label) for label in classes}) != len(classes) or not 2 <= len(classes) <= MAX_CLASSES:
            raise _damaged("classes must be 2 or more different labels")
        if not isinstance(counts, list) or not all(type(count) is int for count in counts):
            raise _damaged("counts must be a list of whole numbers")
        return ClassTarget(name, tuple(classes), note, tuple(counts))
    if kind == "number":
        mean, scale = _finite(data, "mean"), _finite(data, "scale")
        if not scale > 0:
            raise _damaged("scale must be above 0")
        low = -math.inf if data.get("low") is None else _finite(data, "low")
        high = math.inf if data.get("high") is None else _finite(data, "high")
        return NumberTarget(name, mean, scale, note, low, high)
    return CountTarget(name, note, _finite(data, "mean"))


def target_numbers(
    column: Any, name: str, *, table: Table | None = None, index: np.ndarray | None = None
) -> np.ndarray:
    """Return target values as float64, (N,).

    Returns:
        Finite numbers.

    Raises:
        DataError: If one is missing or infinite.
    """
    if isinstance(column, (pa.Array, pa.ChunkedArray)):
        if pa.types.is_string(column.type):
            blank = is_missing(column)
            column = pc.cast(pc.if_else(blank, pa.scalar(None, pa.string()), column), pa.float64())
        parts = [chunk.cast(pa.float64()).to_numpy(zero_copy_only=False) for chunk in chunks(column)]
        values = np.concatenate(parts) if parts else np.empty(0)
    else:
        values = np.asarray(column, np.float64).reshape(-1)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        row = int(bad[0])
        what = "infinite" if np.isinf(values[row]) else "missing"
        where = f'target "{shown(name)}" row {row + 1}'
        if table is not None and index is not None:
            where = table.location(int(index[row]), name)
        raise DataError(
            f"the target is {what}", where=where, mend="correct it, or leave such rows out: --drop-unlabelled"
        )
    return values


def different_values(column: Any) -> tuple[list[Any], np.ndarray]:
    """Return the different values of a column as Python values, and the index of each cell among them.

    Returns:
        A list, and int64, (N,).
    """
    if isinstance(column, (pa.Array, pa.ChunkedArray)):
        whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if len(whole) == 0:
            return [], np.empty(0, np.int64)
        coded = whole.dictionary_encode(null_encoding="encode")
        return coded.dictionary.to_pylist(), np.asarray(coded.indices).astype(np.int64)
    position: dict[Any, int] = {}
    values: list[Any] = []
    index = np.empty(len(column), np.int64)
    for i, value in enumerate(column.tolist() if isinstance(column, np.ndarray) else column):
        key = _key(value) if value is not None else None
        if key not in position:
            position[key] = len(values)
            values.append(value)
        index[i] = position[key]
    return values, index


def _key(label: Any) -> Any:
    # A label as it is compared: 1, 1.0 and "1" alike (a file does not tell them apart), truth values by their words.
    if isinstance(label, (bool, np.bool_)):
        return str(bool(label)).lower()
    if isinstance(label, (int, float, np.integer, np.floating)):
        number = float(label)
        return str(int(label)) if abs(number) < 2**53 and number.is_integer() else str(number)
    text = label.decode("utf-8", errors="replace") if isinstance(label, bytes) else str(label)
    return text.lower() if text.lower() in {"true", "false"} else text


def plain_label(value: Any) -> Label:
    """Return a label as it is shown: a whole number without its fraction.

    Returns:
        The label.
    """
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, float) and value == int(value) and abs(value) < 2**53:
        return int(value)
    return value  # type: ignore[no-any-return]


def _mixed(classes: Sequence[Label]) -> bool:
    return len({type(label) for label in classes}) > 1


def _finite(data: Mapping[str, Any], key: str) -> float:
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
        raise _damaged(f"{key} must be a finite number")
    return float(value)


def _damaged(what: str) -> CheckpointError:
    return CheckpointError(what, where="the stored target", mend="the run is damaged, or another program wrote it")
