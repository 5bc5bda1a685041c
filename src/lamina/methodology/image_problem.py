"""From pictures to a learning problem: which pictures train, what is predicted."""

from __future__ import annotations

import numpy as np
import torch

from lamina.data.images import ImagePreparation, ImageSet
from lamina.data.stream import as_tensor
from lamina.data.tables.split import Split, split_rows
from lamina.data.tables.targets import ClassTarget
from lamina.errors import ConfigError
from lamina.methodology.problem import Problem
from lamina.runs.settings import Settings


def problem_of_images(images: ImageSet, split: Split, *, name: str = "class") -> Problem:
    """Make the problem of telling the class of pictures.

    Args:
        images: With labels.
        split: Rows of each part.
        name: What the target is called.

    Returns:
        The problem; its inputs share the memory of the pictures.

    Raises:
        ConfigError: If the pictures carry no class labels.
    """
    if images.labels is None or not images.classes:
        raise ConfigError(
            "the pictures have no classes to learn", where=images.name, mend="put them into one folder a class"
        )
    preparation = ImagePreparation.fit(images, split.train)
    target = ClassTarget(name, tuple(images.classes))
    labels = torch.from_numpy(np.asarray(images.labels, np.int64))
    return Problem(images.name, as_tensor(images.pixels), labels, (target,), split, preparation)


def split_of_pictures(images: ImageSet, settings: Settings) -> tuple[Split, str]:
    """Divide pictures as their source does, or by class and seed; what the source leaves open is taken from training.

    Returns:
        The parts, and how they were made in words.
    """
    labels = np.asarray(images.labels)
    a, b, c = settings.split
    if images.part is None:
        split = split_rows(len(images), fractions=(a, b, c), seed=settings.seed, stratify=labels)
        return split, f"{100 * a:g}/{100 * b:g}/{100 * c:g} by class, shuffled with seed {settings.seed}"
    rows = [np.flatnonzero(images.part == k).astype(np.int64) for k in range(3)]
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
