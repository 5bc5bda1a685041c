"""Training rows without a target: which lose theirs by the settings, and what is said of all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lamina.data.few_labels import few_labels
from lamina.data.tables.split import Split
from lamina.runs.settings import Settings


def keep_few(split: Split, settings: Settings, codes: np.ndarray | None) -> tuple[Split, np.ndarray]:
    """Take their target away from all training rows but ``labels``; validation and test part keep theirs.

    Args:
        split: The parts.
        settings: What was asked for.
        codes: ``(N,)`` class of each row, or None where numbers are learnt.

    Returns:
        The parts, of which the training part is now what has a target, and the other training rows, rising.
    """
    if settings.labels is None:
        return split, np.empty(0, np.int64)
    kept = few_labels(split.train, settings.labels, seed=settings.seed, codes=codes)
    return replace(split, train=kept), np.setdiff1d(split.train, kept)


def prepared_by(split: Split, free: np.ndarray, settings: Settings) -> np.ndarray:
    """Return the rows that a preparation is fitted on: all that train, with a target or without.

    Args:
        split: The parts.
        free: Rows without a target.
        settings: Whether these are learnt from.

    Returns:
        Positions, rising.
    """
    return np.union1d(split.train, free) if settings.learn_unlabelled and len(free) else split.train


def in_words(n_labelled: int, n_free: int, unit: str, settings: Settings) -> tuple[str, ...]:
    """Say how many training examples have a target, how many have none, and what becomes of those.

    Args:
        n_labelled: Training examples with a target.
        n_free: Those without one.
        unit: What the examples are: ``rows``, ``pictures``.
        settings: What was asked for.

    Returns:
        One sentence; none where all have a target.
    """
    if not n_free:
        return ()
    why = "drop_unlabelled" if settings.labels is None else f"labels={settings.labels}"
    use = "learnt from as well" if settings.learn_unlabelled else f"left out ({why})"
    return (f"{n_labelled:,} training {unit} have a target; {n_free:,} {unit} without a target {use}",)
