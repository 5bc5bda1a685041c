"""Named sets that are computed: the rules under their names, sizes and seeds behind them, what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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
from lamina.data.generated.rectangles import rectangles, rectangles_image
from lamina.data.images.imageset import ImageSet
from lamina.data.named import check_named, is_named, list_named, load_named
from lamina.data.named import load as load_module
from lamina.data.named.catalogue import ENTRIES
from lamina.data.named.table import NamedTable
from lamina.errors import ConfigError, MachineError

SIZES = {"train": 30, "valid": 10, "test": 20}
SMALL = ":train=30:valid=10:test=20"
LAMINA_DATA = os.environ.get("LAMINA_DATA")
needs_mnist = pytest.mark.skipif(
    not (LAMINA_DATA and (Path(LAMINA_DATA) / "mnist").is_dir()),
    reason="LAMINA_DATA does not name a folder with mnist/",
)


@pytest.fixture
def small_mnist(monkeypatch):
    """scikit-learn's digits under the name of MNIST."""
    digits = load_named("digits")
    monkeypatch.setattr(load_module, "fetch", lambda *args, **options: None)
    monkeypatch.setattr(load_module, "_idx_pictures", lambda one, folder: digits)
    return digit_set(digits)


def same(found: ImageSet, parts: object) -> None:
    """Pixels in 256 levels, labels and parts, in this order."""
    for number, (part, size) in enumerate(zip(parts, SIZES.values(), strict=True)):
        here = found.take(found.part == number)
        assert len(here) == size
        assert np.abs(here.pixels / 255 - part.inputs.numpy()).max() <= 0.5 / 255 + 1e-6
        assert np.array_equal(here.labels, part.targets.numpy())


@pytest.mark.parametrize("rule", [rectangles, convex])
def test_shapes_are_those_of_their_rule(rule):
    found = load_named(rule.__name__ + SMALL)
    assert found.pixels.shape == (60, 1, 28, 28)
    same(found, rule(**SIZES))
    assert found.notes == ("computed with seed 0",)
    same(load_named(f"{rule.__name__}{SMALL}:seed=3"), rule(**SIZES, seed=3))


def test_rectangles_on_photographs_and_options_of_a_rule():
    found = load_named("rectangles-images" + SMALL)
    same(found, rectangles_image(Patches(sample_pictures()), **SIZES))
    assert found.classes == ("wide", "tall")
    same(load_named("rectangles:shortest=2" + SMALL), rectangles(**SIZES, shortest=2))


def test_a_taller_rectangle_is_called_tall():
    found = load_named("rectangles" + SMALL)
    for picture, label in zip(found.pixels[:, 0], found.labels, strict=True):
        rows, columns = np.nonzero(picture)
        assert found.classes[label] == ("tall" if np.ptp(rows) > np.ptp(columns) else "wide")


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("mnist-basic", mnist_basic),
        ("mnist-rotation", mnist_rotation),
        ("mnist-random-background", mnist_random_background),
    ],
)
def test_variations_are_made_from_mnist(name, rule, small_mnist):
    found = load_named(name + SMALL)
    same(found, rule(small_mnist, **SIZES))
    assert found.name == name and found.classes == tuple("0123456789")
    same(load_named(f"{name}{SMALL}:seed=2"), rule(small_mnist, **SIZES, seed=2))


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("mnist-image-background", mnist_image_background),
        ("mnist-background-rotation", mnist_background_rotation),
    ],
)
def test_photographs_are_the_bundled_ones_or_the_users(name, rule, small_mnist, tmp_path):
    same(load_named(name + SMALL), rule(small_mnist, Patches(sample_pictures()), **SIZES))
    noise = np.random.default_rng(0).integers(0, 256, (400, 400), np.uint8)
    Image.fromarray(noise).save(tmp_path / "mine.png")
    own = ImageSet("mine", noise[None, None])
    same(load_named(f"{name}{SMALL}:pictures={tmp_path}"), rule(small_mnist, Patches(own), **SIZES))


def test_too_few_digits_are_said_so(small_mnist):
    with pytest.raises(ConfigError, match="62,000 examples are asked for, there are 1,797 digits"):
        load_named("mnist-basic")


def test_two_moons_is_a_table():
    table = load_named("two-moons:n=50:noise=0.1:seed=4")
    made = two_moons(50, noise=0.1, seed=4)
    assert isinstance(table, NamedTable) and (table.target, table.task) == ("moon", "classification")
    assert list(table.columns) == ["x", "y", "moon"]
    np.testing.assert_array_equal(np.stack([table.columns["x"], table.columns["y"]], 1), made.inputs.numpy())
    assert table.columns["moon"].tolist() == [["upper", "lower"][k] for k in made.targets]
    assert table.columns["y"][table.columns["moon"] == "upper"].mean() > table.columns["y"].mean()
    assert len(load_named("two-moons")) == 1_000


@pytest.mark.parametrize(
    ("name", "made", "columns"),
    [
        ("xor:n=40:seed=3", xor(40, seed=3), ["x", "y"]),
        ("parity:n=40:bits=5:noise=0.2", parity_examples(40, bits=5, noise=0.2), [f"bit{k}" for k in range(1, 6)]),
    ],
)
def test_xor_and_parity_are_tables(name, made, columns):
    table = load_named(name)
    assert list(table.columns) == [*columns, "parity"]
    np.testing.assert_array_equal(np.stack([table.columns[c] for c in columns], 1), made.inputs.numpy())
    assert table.columns["parity"].tolist() == [["even", "odd"][k] for k in made.targets]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("parity:bits=21", "bits from 1 to 20"),
        ("rectangles:trian=5", '"trian" is no option of rectangles; did you mean "train"'),
        ("rectangles:pictures=here", '"pictures" is no option of rectangles'),
        ("convex:train=many", "train of convex must be a number"),
        ("convex:train=0", "train, valid and test must be at least 1"),
        ("convex:train=5:train=6", "is given twice"),
        ("iris:n=5", '"n" is no option of iris'),
        ("two-moons:noise=-1", "noise at least 0"),
        ("convexx:train=5", 'no data set is called "convexx:train=5"'),
    ],
)
def test_what_cannot_be_is_refused(name, words):
    with pytest.raises(ConfigError, match=words):
        load_named(name)


def test_names_are_known_with_their_options_and_cards_say_where_they_come_from(tmp_path):
    assert is_named("Mnist_Basic:train=5") and is_named("convex") and not is_named("convexx:train=5")
    where = {card.name: card.where for card in list_named(tmp_path)}
    assert where["convex"] == where["rectangles-images"] == "computed" and where["mnist-basic"] == "to be fetched"
    computed = [one for one in ENTRIES if one.computed]
    assert len(computed) == 11 and not any(one.bundled for one in computed)
    (result,) = check_named("convex")
    assert result.ok and result.what == "has no files"
    assert [one.what for one in check_named("mnist-rotation", data_dir=tmp_path)] == ["not there"] * 4
    with pytest.raises(MachineError, match="mnist: cannot be fetched"):
        load_named("mnist-rotation", data_dir=tmp_path, offline=True)


@needs_mnist
@pytest.mark.slow
def test_the_published_sizes():
    for one in ENTRIES:
        if one.name in {"mnist-basic", "convex", "rectangles"}:
            found = load_named(one.name, offline=True)
            assert len(found) == one.n
            counts = np.bincount(found.part).tolist()
            assert " + ".join(f"{n:,}" for n in counts) in one.description
