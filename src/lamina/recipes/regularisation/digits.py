"""The pictures of digits that the recipe learns from, divided so that a seed decides which are for training."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lamina.data.batch import Batch
from lamina.data.images.imageset import TEST, ImageSet
from lamina.data.named import load_named
from lamina.errors import MachineError

VALIDATION = {"mnist": 5_000, "digits": 247}
"""Examples held out of the training part, the same for every seed."""

_TEST_OF_BUNDLED = 450
_ORDER = 20_260_101  # a seed


@dataclass(frozen=True, slots=True)
class Digits:
    """Pictures as float32 in [0, 1], (N, 1, H, W), with their classes.

    Attributes:
        pool: Those that training examples are drawn from.
        valid: Those by which settings are chosen.
        test: Those that are looked at once a setting is chosen.
    """

    pool: Batch
    valid: Batch
    test: Batch


def settle(quick: bool, data_dir: str | None, offline: bool, say: Callable[[str], None]) -> str:
    """Find out which digits there are: MNIST, or the bundled ones where it cannot be had or the form is the quick one.

    Args:
        quick: Whether the smaller form was asked for.
        data_dir: Where named data sets lie.
        offline: Never fetch.
        say: Told what was found.

    Returns:
        ``mnist`` or ``digits``.
    """
    if quick:
        return "digits"
    try:
        load_named("mnist", data_dir=data_dir, offline=offline, say=say)
    except MachineError as error:
        say(f"MNIST cannot be had ({error.what}), so the bundled digits are used: 1,797 pictures of 8 x 8")
        return "digits"
    return "mnist"


@functools.lru_cache(maxsize=1)
def load_digits(name: str, data_dir: str | None = None) -> Digits:
    """Read the pictures and divide them.

    Args:
        name: ``mnist`` or ``digits``.
        data_dir: Where named data sets lie.

    Returns:
        The three parts.
    """
    pictures = load_named(name, data_dir=data_dir)
    assert isinstance(pictures, ImageSet)
    # a fixed order: the last pictures of MNIST's training part are easier than the rest
    order = np.random.default_rng(_ORDER).permutation(len(pictures))
    if pictures.part is None:
        test, rest = order[:_TEST_OF_BUNDLED], order[_TEST_OF_BUNDLED:]
    else:
        part = pictures.part[order]
        test, rest = order[part == TEST], order[part != TEST]
    held_out = VALIDATION[name]
    return Digits(_batch(pictures, rest[:-held_out]), _batch(pictures, rest[-held_out:]), _batch(pictures, test))


def _batch(pictures: ImageSet, rows: np.ndarray[Any, np.dtype[np.int64]]) -> Batch:
    labels = pictures.labels
    assert labels is not None
    return Batch(
        torch.from_numpy(pictures.pixels[rows]).float().div_(255.0),
        torch.from_numpy(np.ascontiguousarray(labels[rows])),
    )


def drawn(pool: Batch, size: int, generator: torch.Generator) -> Batch:
    """Return ``size`` examples of the pool, drawn without replacement."""
    rows: Tensor = torch.randperm(pool.size, generator=generator)[:size]
    assert pool.targets is not None
    return Batch(pool.inputs[rows], pool.targets[rows])
