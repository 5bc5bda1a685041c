"""Named data sets that are made on the spot by a rule, with the options that stand behind their name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamina.data.batch import Batch
from lamina.data.generated.backgrounds import Patches, sample_pictures
from lamina.data.generated.convex import convex
from lamina.data.generated.digits import digit_set
from lamina.data.generated.mnist_variations import (
    mnist_background_rotation,
    mnist_basic,
    mnist_image_background,
    mnist_random_background,
    mnist_rotation,
)
from lamina.data.generated.moons import two_moons
from lamina.data.generated.parity import parity_examples, xor
from lamina.data.generated.parts import Parts
from lamina.data.generated.rectangles import rectangles, rectangles_image
from lamina.data.images.folder import read_image_files
from lamina.data.images.imageset import TEST, TRAIN, VALID, ImageSet
from lamina.data.named.catalogue import Entry
from lamina.data.named.table import NamedTable
from lamina.data.spec import ImageSpec
from lamina.io.option_lines import options_of, read_options

_RULES: dict[str, Callable[..., Parts | Batch]] = {
    rule.__name__: rule
    for rule in (
        mnist_basic,
        mnist_rotation,
        mnist_random_background,
        mnist_image_background,
        mnist_background_rotation,
        rectangles,
        rectangles_image,
        convex,
        two_moons,
        xor,
        parity_examples,
    )
}
_POOL_SIDE = 400  # pixels to which the photographs of a folder are brought


def compute(one: Entry, options: Sequence[str], source: Any = None) -> ImageSet | NamedTable:
    """Make a data set: the same for the same options on every machine.

    Pictures are rounded to 256 grey levels, as they are stored everywhere else.

    Args:
        one: Which.
        options: Each ``OPTION=VALUE``: sizes of the parts, ``seed``, and what else the rule takes; ``pictures=FOLDER``
            where photographs stand behind things. An unknown one is a ``ConfigError``.
        source: The data set that it is made from, if from one.

    Returns:
        Pictures with the three parts that were published, or a table.
    """
    rule = _RULES[one.rule]
    arguments = inspect.signature(rule).parameters
    known = options_of(rule)
    if "patches" in arguments:
        known["pictures"] = str
    given = read_options(one.name, options, known, where="data")
    first: list[Any] = []
    if "digits" in arguments:
        first.append(digit_set(source))
    if "patches" in arguments:
        first.append(Patches(_pool(given.pop("pictures", None))))
    if "n" in arguments:
        first.append(given.pop("n", one.n))
    made = rule(*first, **given)
    seed = f"computed with seed {given.get('seed', 0)}"
    return _table(one, made, seed) if isinstance(made, Batch) else _pictures(one, made, seed)


def _pool(folder: str | None) -> ImageSet:
    if folder is None:
        return sample_pictures()
    return read_image_files(Path(folder).expanduser(), ImageSpec(1, _POOL_SIDE, _POOL_SIDE))


def _pictures(one: Entry, parts: Parts, note: str) -> ImageSet:
    pixels = [(part.inputs * 255).round_().byte().numpy() for part in parts]
    labels: list[NDArray[np.int64]] = [_targets(part).astype(np.int64) for part in parts]
    sizes = [len(labels_) for labels_ in labels]
    where = np.repeat(np.array([TRAIN, VALID, TEST], np.int8), sizes)
    return ImageSet(one.name, np.concatenate(pixels), np.concatenate(labels), one.classes, part=where, notes=(note,))


def _table(one: Entry, made: Batch, note: str) -> NamedTable:
    numbers = made.inputs.numpy().astype(np.float64).T
    names = ["x", "y"] if len(numbers) == 2 else [f"bit{k + 1}" for k in range(len(numbers))]
    columns: dict[str, NDArray[Any]] = dict(zip(names, numbers, strict=True))
    columns[one.target] = np.array(one.classes)[_targets(made)]
    return NamedTable(one.name, columns, one.target, one.task, (note,))


def _targets(batch: Batch) -> NDArray[Any]:
    assert batch.targets is not None
    return batch.targets.numpy()
