"""From pictures to a learning problem: which pictures train, what is predicted."""

from __future__ import annotations

import numpy as np
import torch

from lamina.data.images import ImagePreparation, ImageSet
from lamina.data.images.imageset import TRAIN
from lamina.data.images.listing import few
from lamina.data.stream import as_tensor
from lamina.data.tables.split import Split, split_rows
from lamina.data.tables.targets import ClassTarget
from lamina.errors import ConfigError, DataError, shown
from lamina.methodology.free_rows import in_words, keep_few, prepared_by
from lamina.methodology.problem import Problem
from lamina.runs.settings import Settings


def problem_of_pictures(images: ImageSet, settings: Settings, *, name: str = "class") -> Problem:
    """Divide pictures, take their class away from those that shall have none, and make the problem.

    Args:
        images: With labels, some of which may be missing.
        settings: How to divide, and what becomes of pictures without a class.
        name: What the target is called.

    Returns:
        The problem. Its facts say how the pictures were divided, and where some have no class how many.

    Raises:
        DataError: If pictures without a class are there, and neither to be left out nor to be learnt from.
    """
    _refuse_numbers(images)
    bare = np.asarray(images.labels) < 0
    if bare.any() and not (settings.drop_unlabelled or settings.learn_unlabelled):
        rows = np.flatnonzero(bare)
        listed = few([images.location(int(row)) for row in rows])
        raise DataError(
            f"the class is missing in {len(rows):,} picture{'s' if len(rows) > 1 else ''} ({listed})",
            where=shown(images.name, 200),
            mend="fill it in, leave these out: --drop-unlabelled, or learn from them: --set learn_unlabelled=true",
        )
    split, words = split_of_pictures(images, settings)
    split, hidden = keep_few(split, settings, np.asarray(images.labels))
    # What the source gives for judging would be learnt from too.
    trains = bare if images.part is None else bare & (images.part == TRAIN)
    free = np.union1d(np.flatnonzero(trains), hidden)
    problem = problem_of_images(
        images,
        split,
        name=name,
        free=free if settings.learn_unlabelled else None,
        prepared=prepared_by(split, free, settings),
    )
    problem.facts["split"] = words
    notes = in_words(len(split.train), len(free), "pictures", settings)
    if rest := int(bare.sum() - trains.sum()):
        notes += (f"{rest:,} pictures without a class in the validation and test part left out",)
    if notes:
        problem.facts["targets"] = "; ".join(notes)
    return problem


def problem_of_images(
    images: ImageSet,
    split: Split,
    *,
    name: str = "class",
    free: np.ndarray | None = None,
    prepared: np.ndarray | None = None,
) -> Problem:
    """Make the problem of telling the class of pictures.

    Args:
        images: With labels.
        split: Rows of each part.
        name: What the target is called.
        free: Rows that are learnt from without their class.
        prepared: Rows that the preparation is fitted on; the training part if not given.

    Returns:
        The problem; its inputs share the memory of the pictures, and those without a class are copied.
    """
    _refuse_numbers(images)
    preparation = ImagePreparation.fit(images, split.train if prepared is None else prepared)
    target = ClassTarget(name, tuple(images.classes))
    labels, pixels = torch.from_numpy(np.asarray(images.labels, np.int64)), as_tensor(images.pixels)
    unlabelled = pixels[torch.from_numpy(free)] if free is not None and len(free) else None
    return Problem(images.name, pixels, labels, (target,), split, preparation, unlabelled=unlabelled)


def _refuse_numbers(images: ImageSet) -> None:
    """Refuse pictures that no class is told of.

    Raises:
        ConfigError: If they carry no class labels.
    """
    if images.labels is None or not images.classes:
        raise ConfigError(
            "the pictures have no classes to learn", where=images.name, mend="put them into one folder a class"
        )


def split_of_pictures(images: ImageSet, settings: Settings) -> tuple[Split, str]:
    """Divide pictures as their source does, or by class and seed; what the source leaves open is taken from training.

    Returns:
        The parts, of pictures with a class alone, and how they were made in words.
    """
    labels = np.asarray(images.labels)
    known = np.flatnonzero(labels >= 0)
    a, b, c = settings.split
    if images.part is None:
        inner = split_rows(len(known), fractions=(a, b, c), seed=settings.seed, stratify=labels[known])
        split = Split(known[inner.train], known[inner.valid], known[inner.test])
        return split, f"{100 * a:g}/{100 * b:g}/{100 * c:g} by class, shuffled with seed {settings.seed}"
    rows = [known[images.part[known] == k] for k in range(3)]
    words = "training, validation and test part as the source has them"
    if not len(rows[2]):
        inner = split_rows(len(rows[0]), fractions=(1 - c, 0.0, c), seed=settings.seed, stratify=labels[rows[0]])
        rows[0], rows[2] = rows[0][inner.train], rows[0][inner.test]
        words = f"validation part as the source has it, {100 * c:g} % of training for the test, seed {settings.seed}"
    if not len(rows[1]):
        share = min(b / (a + b), 0.1)
        inner = split_rows(
            len(rows[0]), fractions=(1 - share, share, 0.0), seed=settings.seed, stratify=labels[rows[0]]
        )
        rows[0], rows[1] = rows[0][inner.train], rows[0][inner.valid]
        words = f"test part as the source has it, {100 * share:g} % of the rest for validation, seed {settings.seed}"
    return Split(*rows), words
