"""The eight sets of pictures: how each is made, and what is known of how well that matches the original."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lamina.data.batch import Batch
from lamina.data.generated.backgrounds import Patches, sample_pictures
from lamina.data.generated.convex import convex
from lamina.data.generated.digits import Digits, digit_set
from lamina.data.generated.mnist_variations import (
    mnist_background_rotation,
    mnist_basic,
    mnist_image_background,
    mnist_random_background,
    mnist_rotation,
)
from lamina.data.generated.parts import Parts
from lamina.data.generated.rectangles import rectangles, rectangles_image
from lamina.data.images.imageset import ImageSet
from lamina.data.named import load_named
from lamina.errors import MachineError

Sizes = tuple[int, int, int]
"""Examples for training, validation and test."""

_MADE_WITH = 0  # the seed of every set: seeds of a recipe vary the networks, the set stays as it is


@dataclass(frozen=True, slots=True)
class PictureSet:
    """One of the sets.

    Attributes:
        name: As in the published table.
        classes: How many.
        sizes: As published.
        absolute: Whether it is made as the original was as far as a support vector machine can tell, so that errors
            can be compared with published ones; on the others only the order of methods can.
        rule: Makes it, from what it needs.
        needs: ``digits``, ``photographs``, both or neither.
    """

    name: str
    classes: int
    sizes: Sizes
    absolute: bool
    rule: Callable[..., Parts]
    needs: tuple[str, ...] = ()


_DIGITS: Sizes = (10_000, 2_000, 50_000)

SETS: Mapping[str, PictureSet] = {
    one.name: one
    for one in (
        PictureSet("basic", 10, _DIGITS, True, mnist_basic, ("digits",)),
        PictureSet("rot", 10, _DIGITS, True, mnist_rotation, ("digits",)),
        PictureSet("bg-rand", 10, _DIGITS, True, mnist_random_background, ("digits",)),
        PictureSet("bg-img", 10, _DIGITS, False, mnist_image_background, ("digits", "photographs")),
        PictureSet("rot-bg-img", 10, _DIGITS, False, mnist_background_rotation, ("digits", "photographs")),
        PictureSet("rect", 2, (1_000, 200, 50_000), True, rectangles),
        PictureSet("rect-img", 2, (10_000, 2_000, 50_000), False, rectangles_image, ("photographs",)),
        PictureSet("convex", 2, (6_000, 2_000, 50_000), False, convex),
    )
}


def settle_digits(data_dir: str | None, offline: bool, say: Callable[[str], None]) -> str:
    """Find out whether MNIST can be had.

    Args:
        data_dir: Where named data sets lie.
        offline: Never fetch.
        say: Told what was found.

    Returns:
        ``mnist``, or ``digits`` for the 1,797 that come with scikit-learn.
    """
    try:
        load_named("mnist", data_dir=data_dir, offline=offline, say=say)
    except MachineError as error:
        say(f"MNIST cannot be had ({error.what}), so the bundled digits are used: 1,797 pictures, enlarged")
        return "digits"
    return "mnist"


def settled_sizes(name: str, digits: str, *, quick: bool) -> Sizes:
    """Return the sizes of a set: as published, a tenth of that, or what the bundled digits are enough for.

    Of the rectangles, which are 1,000, the smaller form has all.

    Args:
        name: Of ``SETS``.
        digits: What ``settle_digits`` found.
        quick: The smaller form.

    Returns:
        Examples for training, validation and test.
    """
    one = SETS[name]
    if "digits" in one.needs and digits == "digits":
        return (1_000, 250, 500)
    train, valid, test = one.sizes
    if not quick:
        return one.sizes
    return (train, valid, test // 10) if train <= 1_000 else (train // 10, valid // 10, test // 10)


@functools.lru_cache(maxsize=1)
def load_parts(name: str, digits: str, sizes: Sizes, data_dir: str | None = None) -> Parts:
    """Make a set.

    Args:
        name: Of ``SETS``.
        digits: ``mnist`` or ``digits``.
        sizes: Examples for training, validation and test.
        data_dir: Where named data sets lie.

    Returns:
        The parts; inputs are (N, 784) float32 from 0 to 1.
    """
    one = SETS[name]
    given: list[Digits | Patches] = []
    if "digits" in one.needs:
        pictures = load_named(digits, data_dir=data_dir)
        assert isinstance(pictures, ImageSet)
        given.append(digit_set(pictures))
    if "photographs" in one.needs:
        given.append(Patches(sample_pictures()))
    train, valid, test = sizes
    made = one.rule(*given, train=train, valid=valid, test=test, seed=_MADE_WITH)
    return Parts(*(_rows(part) for part in made))


def _rows(part: Batch) -> Batch:
    return Batch(part.inputs.flatten(1), part.targets)


def names(needing: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the names of the sets, in the order of the table; only those that need some of these things."""
    return tuple(one.name for one in SETS.values() if not needing or set(needing) & set(one.needs))
