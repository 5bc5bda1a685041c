"""The preparation as plain data, and back with every value checked; a damaged file ends in one clear error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lamina.data.tables.dates import DateFormat
from lamina.data.tables.encoders import (
    DATE_PARTS,
    MAX_LEVELS,
    BooleanEncoder,
    CategoryEncoder,
    DateEncoder,
    NumberEncoder,
)
from lamina.data.tables.scale import Scale
from lamina.errors import CheckpointError, shown

FORMAT = 1
_MAX_COLUMNS = 1_000_000
_HUGE = 1e300
Encoder = NumberEncoder | BooleanEncoder | CategoryEncoder | DateEncoder


def save_state(encoders: Mapping[str, Encoder], notes: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return a preparation as JSON-able data and named arrays.

    Returns:
        The data and the arrays.
    """
    arrays: dict[str, np.ndarray] = {}
    columns: list[dict[str, Any]] = []
    for i, (name, encoder) in enumerate(encoders.items()):
        entry: dict[str, Any] = {"name": name}
        if isinstance(encoder, NumberEncoder):
            entry |= {"role": "number", "scale": _scale(encoder.scale), "fill": encoder.fill}
            entry |= {"indicator": encoder.indicator, "low": encoder.low, "high": encoder.high}
            if encoder.scale.kind == "quantile":
                arrays[f"{i}.knots"], arrays[f"{i}.scores"] = encoder.scale.knots, encoder.scale.scores
        elif isinstance(encoder, BooleanEncoder):
            entry |= {"role": "boolean", "fill": encoder.fill, "indicator": encoder.indicator}
        elif isinstance(encoder, CategoryEncoder):
            entry |= {"role": "category", "one_hot": encoder.one_hot, "rare": encoder.rare, "text": encoder.text}
            entry["levels"] = list(encoder.levels)
        else:
            entry |= {"role": "date", "order": encoder.form.order, "has_time": encoder.form.has_time}
            entry |= {"scales": [_scale(scale) for scale in encoder.scales], "fills": list(encoder.fills)}
            entry |= {"indicator": encoder.indicator, "low": encoder.low, "high": encoder.high}
        columns.append(entry)
    return {"format": FORMAT, "columns": columns, "notes": list(notes)}, arrays


def load_state(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, Encoder], tuple[str, ...]]:
    """Return the encoders and notes that ``save_state`` was given.

    Returns:
        The encoders by column, and the notes.

    Raises:
        CheckpointError: If something is missing, of a wrong type, or not possible.
    """  # noqa: DOC501, DOC502 (raised through a helper)
    if not isinstance(meta, Mapping):
        raise _bad("it is not an object")
    if meta.get("format") != FORMAT:
        raise _bad(f"format {shown(meta.get('format'))}, this lamina reads format {FORMAT}")
    columns, notes = meta.get("columns"), meta.get("notes", [])
    if not isinstance(columns, list) or not 0 < len(columns) <= _MAX_COLUMNS:
        raise _bad("columns must be a list with at least one entry")
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise _bad("notes must be a list of texts")
    encoders: dict[str, Encoder] = {}
    for i, entry in enumerate(columns):
        at = f"columns[{i}]"
        if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
            raise _bad(f"{at} must be an object with a name")
        if entry["name"] in encoders:
            raise _bad(f'{at}: the column "{shown(entry["name"])}" occurs twice')
        encoders[entry["name"]] = _encoder(entry, i, at, arrays)
    return encoders, tuple(notes)


def _encoder(entry: Mapping[str, Any], i: int, at: str, arrays: Mapping[str, np.ndarray]) -> Encoder:
    role = entry.get("role")
    if role == "number":
        knots = scores = np.empty(0)
        if isinstance(entry.get("scale"), Mapping) and entry["scale"].get("kind") == "quantile":
            knots, scores = _array(arrays, f"{i}.knots"), _array(arrays, f"{i}.scores")
            if len(knots) != len(scores) or len(knots) < 1 or not (np.diff(knots) > 0).all():
                raise _bad(f"{at}: knots and scores must be of one length, the knots rising")
        low, high = _number(entry, "low", at), _number(entry, "high", at)
        scale = _load_scale(entry.get("scale"), f"{at}.scale", knots, scores)
        return NumberEncoder(scale, _number(entry, "fill", at), _flag(entry, "indicator", at), low, high)
    if role == "boolean":
        fill = _number(entry, "fill", at)
        if not 0 <= fill <= 1:
            raise _bad(f"{at}.fill must be between 0 and 1")
        return BooleanEncoder(fill, _flag(entry, "indicator", at))
    if role == "category":
        levels = entry.get("levels")
        if not isinstance(levels, list) or len(levels) > MAX_LEVELS or not all(isinstance(v, str) for v in levels):
            raise _bad(f"{at}.levels must be a list of at most {MAX_LEVELS} texts")
        if len(set(levels)) != len(levels):
            raise _bad(f"{at}.levels: a level occurs twice")
        rare = entry.get("rare", 0)
        if isinstance(rare, bool) or not isinstance(rare, int) or rare < 0:
            raise _bad(f"{at}.rare must be a whole number")
        return CategoryEncoder(tuple(levels), _flag(entry, "one_hot", at), rare, _flag(entry, "text", at))
    if role == "date":
        if entry.get("order") not in ("ymd", "dmy", "mdy", "typed"):
            raise _bad(f"{at}.order must be ymd, dmy, mdy or typed")
        form = DateFormat(entry["order"], _flag(entry, "has_time", at))
        n_parts = len(DATE_PARTS) + 2 * form.has_time
        scales, fills = entry.get("scales"), entry.get("fills")
        if not isinstance(scales, list) or not isinstance(fills, list) or not len(scales) == len(fills) == n_parts:
            raise _bad(f"{at}: scales and fills must have {n_parts} entries each")
        return DateEncoder(
            form,
            tuple(_load_scale(scale, f"{at}.scales[{k}]") for k, scale in enumerate(scales)),
            tuple(_number({"fill": fill}, "fill", at) for fill in fills),
            _flag(entry, "indicator", at),
            _number(entry, "low", at),
            _number(entry, "high", at),
        )
    raise _bad(f"{at}.role must be number, boolean, category or date, got {shown(role)}")


def _scale(scale: Scale) -> dict[str, Any]:
    return {"kind": scale.kind, "centre": scale.centre, "width": scale.width}


def _load_scale(entry: Any, at: str, knots: np.ndarray | None = None, scores: np.ndarray | None = None) -> Scale:
    if not isinstance(entry, Mapping) or entry.get("kind") not in ("standard", "robust", "quantile"):
        raise _bad(f"{at}.kind must be standard, robust or quantile")
    if entry["kind"] == "quantile" and (knots is None or len(knots) == 0):
        raise _bad(f"{at}: a quantile scale needs its knots")
    width = _number(entry, "width", at)
    if not width > 0:
        raise _bad(f"{at}.width must be above 0")
    none = np.empty(0)
    return Scale(
        entry["kind"],
        _number(entry, "centre", at),
        width,
        none if knots is None else knots,
        none if scores is None else scores,
    )


def _number(entry: Mapping[str, Any], key: str, at: str) -> float:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _HUGE:
        raise _bad(
            f"{at}.{key} must be a finite number, got {shown(value) if isinstance(value, float) else type(value)}"
        )
    return float(value)


def _flag(entry: Mapping[str, Any], key: str, at: str) -> bool:
    value = entry.get(key)
    if not isinstance(value, bool):
        raise _bad(f"{at}.{key} must be true or false, got {shown(value)}")
    return value


def _array(arrays: Mapping[str, np.ndarray], key: str) -> np.ndarray:
    array = arrays.get(key)
    if (
        not isinstance(array, np.ndarray)
        or array.ndim != 1
        or array.dtype != np.float64
        or not np.isfinite(array).all()
    ):
        raise _bad(f"array {key} must be there, float64, one-dimensional and finite")
    return array


def _bad(what: str) -> CheckpointError:
    return CheckpointError(
        what, where="the stored preparation of the table", mend="the run is damaged, or another program wrote it"
    )
