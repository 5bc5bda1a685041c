"""Training, validation and test rows: stratified, by group or by time, by seed; and the rows that they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lamina.data.tables.table import Table, chunks
from lamina.errors import ConfigError, DataError

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xFF51AFD7ED558CCD)


@dataclass(frozen=True, eq=False)
class Split:
    """Positions of the rows of each part, rising; together all rows that have a target, each once.

    Args:
        train: int64, (n_train,).
        valid: int64, (n_valid,).
        test: int64, (n_test,).
    """

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


def split_rows(
    n: int,
    *,
    fractions: tuple[float, float, float] = (0.65, 0.10, 0.25),
    seed: int,
    stratify: np.ndarray | None = None,
    groups: Any = None,
    time: Any = None,
) -> Split:
    """Split rows into training, validation and test.

    Args:
        n: Number of rows.
        fractions: Shares of the three parts, together 1; 0 leaves a part empty.
        seed: What decides by chance.
        stratify: Class codes, (n,); every class is in each part in the same share, to within a row.
        groups: A value per row, (n,); no value is in two parts.
        time: A value per row, (n,), numbers or times; training is earlier than validation, validation earlier than
            test, and rows of equal time stay together.

    Returns:
        The split.

    Raises:
        ConfigError: If the fractions are not possible, or two rules are asked for that exclude each other.
        DataError: If there are too few rows, groups, or rows of a class.
    """  # noqa: DOC502 (raised by helpers)
    shares = np.asarray(fractions, np.float64)
    if len(shares) != 3 or not np.isfinite(shares).all() or (shares < 0).any() or abs(shares.sum() - 1) > 1e-6:
        raise ConfigError(f"the three shares must be at least 0 and sum to 1, got {fractions}", mend="--split 65/10/25")
    if shares[0] == 0:
        raise ConfigError("the training share is 0", mend="--split 65/10/25")
    if groups is not None and time is not None:
        raise ConfigError("--group and --time exclude each other", mend="give one of them")
    sizes = _sizes(n, shares)
    generator = np.random.default_rng(seed)
    if time is not None:
        return _by_time(n, sizes, _values(time))
    if groups is not None:
        return _by_group(n, shares, _values(groups), generator)
    if stratify is None:
        order = generator.permutation(n)
    else:
        codes = np.asarray(stratify)
        if len(codes) != n:
            raise ConfigError(f"{len(codes)} class codes for {n} rows")
        order = _stratified(codes, generator)
    split = _cut(order, sizes)
    if stratify is not None:
        _check_classes(np.asarray(stratify), split)
    return split


def duplicates_across(table: Table, split: Split) -> tuple[int, float]:
    """Count the test rows that also stand, cell by cell, in training or validation.

    Args:
        table: The data, the target included.
        split: The parts.

    Returns:
        The number of such test rows, and their share of the test rows.
    """
    hashes = row_hashes(table)
    seen = hashes[np.concatenate([split.train, split.valid])]
    return _shared(seen, hashes[split.test])


def shared_rows(first: Table, second: Table) -> tuple[int, float]:
    """Count the rows of the second table that also stand in the first, by the columns that both have.

    Args:
        first: For example the training file.
        second: For example a test file.

    Returns:
        The number of such rows, and their share of the second table.
    """
    names = [name for name in first.names if name in second.columns]
    if not names:
        return 0, 0.0
    return _shared(row_hashes(first.select(names)), row_hashes(second.select(names)))


def row_hashes(table: Table) -> np.ndarray:
    """Return a 64-bit hash of the cells of each row, the same for the same cells in any table.

    Returns:
        uint64, (N,).
    """
    total = np.zeros(table.n_rows, np.uint64)
    with np.errstate(over="ignore"):
        for name in table.names:
            total = (total ^ _column_hash(table.columns[name])) * _MIX
            total ^= total >> np.uint64(29)
    return total


def _shared(seen: np.ndarray, test: np.ndarray) -> tuple[int, float]:
    if len(test) == 0:
        return 0, 0.0
    if len(seen) == 0:
        return 0, 0.0
    # Sorted on both sides, the search walks through memory; a tenth of the time of np.isin.
    seen, test = np.sort(seen), np.sort(test)
    place = np.minimum(np.searchsorted(seen, test), len(seen) - 1)
    count = int(np.count_nonzero(seen[place] == test))
    return count, count / len(test)


def _sizes(n: int, shares: np.ndarray) -> tuple[int, int, int]:
    # Rows of each part; every part that is asked for has one at least.
    wanted = int((shares > 0).sum())
    least = max(2, wanted)
    if n < least:
        raise DataError(
            f"{n} row{'' if n == 1 else 's'}, but at least {least} are needed to split them",
            mend="give more rows (some hundreds, to learn anything)",
        )
    valid, test = (max(1, round(n * share)) if share > 0 else 0 for share in shares[1:])
    while n - valid - test < 1:
        valid, test = (valid - 1, test) if valid > test else (valid, test - 1)
    return n - valid - test, valid, test


def _cut(order: np.ndarray, sizes: tuple[int, int, int]) -> Split:
    a, b = sizes[0], sizes[0] + sizes[1]
    return Split(*(np.sort(part).astype(np.int64) for part in (order[:a], order[a:b], order[b:])))


def _stratified(codes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    # An order in which every class is spread evenly, so that any cut has its share of each.
    order = generator.permutation(len(codes))
    shuffled = codes[order]
    by_class = np.argsort(shuffled, kind="stable")
    sorted_codes = shuffled[by_class]
    _, starts, counts = np.unique(sorted_codes, return_index=True, return_counts=True)
    rank = np.arange(len(codes)) - np.repeat(starts, counts)
    place = np.empty(len(codes))
    # Each class begins at a random point of its first step, lest the classes' remainders all fall on one side.
    place[by_class] = (rank + np.repeat(generator.random(len(counts)) * 0.5 + 0.25, counts)) / np.repeat(counts, counts)
    result: np.ndarray = order[np.argsort(place, kind="stable")]
    return result


def _check_classes(codes: np.ndarray, split: Split) -> None:
    missing = np.setdiff1d(codes, codes[split.train])
    if len(missing):
        count = int((codes == missing[0]).sum())
        raise DataError(
            f"class code {missing[0]} ({count} row{'' if count == 1 else 's'}) is not in the training part",
            mend="give more rows of it, or leave small classes out: --min-class 2",
        )


def _by_time(n: int, sizes: tuple[int, int, int], time: np.ndarray) -> Split:
    if len(time) != n:
        raise ConfigError(f"{len(time)} times for {n} rows")
    if time.dtype.kind in "fM" and bool((np.isnan(time) if time.dtype.kind == "f" else np.isnat(time)).any()):
        raise DataError("a row has no time", mend="fill in the --time column, or leave these rows out")
    order = np.argsort(time, kind="stable")
    ordered = time[order]
    cuts = []
    for cut in (sizes[0], sizes[0] + sizes[1]):
        # Rows of one time go to the earlier part together.
        cuts.append(int(np.searchsorted(ordered, ordered[cut - 1], side="right")) if 0 < cut < n else cut)
    parts = np.split(order, cuts)
    for part, size, name in zip(parts, sizes, ("training", "validation", "test"), strict=True):
        if size and not len(part):
            raise DataError(
                f"too few different times: no row is left for the {name} part",
                mend="split by chance (without --time), or give finer times",
            )
    return Split(*(np.sort(part).astype(np.int64) for part in parts))


def _by_group(n: int, shares: np.ndarray, groups: np.ndarray, generator: np.random.Generator) -> Split:
    if len(groups) != n:
        raise ConfigError(f"{len(groups)} group values for {n} rows")
    names, codes, counts = np.unique(groups, return_inverse=True, return_counts=True)
    wanted = int((shares > 0).sum())
    if len(names) < wanted:
        raise DataError(
            f"only {len(names)} different group{'' if len(names) == 1 else 's'}, but {wanted} parts to put them into",
            mend="give another --group column, or fewer parts with --split",
        )
    order = generator.permutation(len(names))
    order = order[np.argsort(-counts[order], kind="stable")]
    part_of = np.empty(len(names), np.int64)
    filled = np.zeros(3)
    used = [i for i in range(3) if shares[i] > 0]
    for position, group in enumerate(order):
        empty = [i for i in used if filled[i] == 0]
        left = len(order) - position
        choice = empty if left <= len(empty) else used
        best = max(choice, key=lambda i: shares[i] * n - filled[i])
        part_of[group] = best
        filled[best] += counts[group]
    parts = part_of[codes.reshape(-1)]
    return Split(*(np.flatnonzero(parts == i).astype(np.int64) for i in range(3)))


def _values(column: Any) -> np.ndarray:
    # A column as an array that numpy can sort.
    if not isinstance(column, (pa.Array, pa.ChunkedArray)):
        array = np.asarray(column)
        return array.astype(str) if array.dtype == object else array
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_string(whole.type):
        coded = whole.dictionary_encode(null_encoding="encode")
        ranks = np.argsort(np.argsort(np.array([str(v) for v in coded.dictionary.to_pylist()])))
        result: np.ndarray = ranks[np.asarray(coded.indices)]
        return result
    return np.asarray(whole.to_numpy(zero_copy_only=False))


def _column_hash(column: Any) -> np.ndarray:
    # A 64-bit hash of each cell, by its content.
    kind = column.type
    if pa.types.is_string(kind):
        parts = [_text_hash(chunk) for chunk in chunks(column)]
    elif pa.types.is_timestamp(kind):
        parts = [
            _mix(np.asarray(chunk.cast(pa.int64()).fill_null(-(2**63))).view(np.uint64)) for chunk in chunks(column)
        ]
    else:
        parts = []
        for chunk in chunks(column):
            small = chunk.cast(pa.int8()) if pa.types.is_boolean(kind) else chunk
            values = small.to_numpy(zero_copy_only=False).astype(np.float64)
            # Minus zero equals zero; every NaN is the one missing cell.
            values = np.where(np.isnan(values), np.nan, values + 0.0)
            parts.append(_mix(values.view(np.uint64)))
    return np.concatenate(parts) if parts else np.empty(0, np.uint64)


def _text_hash(chunk: Any) -> np.ndarray:
    # Hash of each text: Σ_i byte_i P^i over 64 bits, mixed with its length.
    text = pc.cast(pc.fill_null(chunk, ""), pa.large_string())
    offsets = np.frombuffer(text.buffers()[1], np.int64)[text.offset : text.offset + len(text) + 1]
    lengths = np.diff(offsets)
    result = np.zeros(len(text), np.uint64)
    buffer = text.buffers()[2]
    if buffer is not None and len(text) and offsets[-1] > offsets[0]:
        data = np.frombuffer(buffer, np.uint8)[offsets[0] : offsets[-1]]
        longest = int(lengths.max())
        with np.errstate(over="ignore"):
            powers = np.cumprod(np.full(longest, _PRIME, np.uint64))
            inside = np.arange(len(data)) - np.repeat(offsets[:-1] - offsets[0], lengths)
            terms = (data.astype(np.uint64) + np.uint64(1)) * powers[inside]
            filled = lengths > 0
            result[filled] = np.add.reduceat(terms, (offsets[:-1] - offsets[0])[filled])
    with np.errstate(over="ignore"):
        return _mix(result + lengths.astype(np.uint64) * _MIX)


def _mix(values: np.ndarray) -> np.ndarray:
    # Spread the bits of 64-bit values.
    with np.errstate(over="ignore"):
        mixed = (values ^ (values >> np.uint64(33))) * _MIX
        mixed = (mixed ^ (mixed >> np.uint64(33))) * _PRIME
        result: np.ndarray = mixed ^ (mixed >> np.uint64(32))
        return result
