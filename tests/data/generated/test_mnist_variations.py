"""Variations of MNIST: turned back by scipy, noise by its statistics, backgrounds found again in the photographs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from lamina.data.generated.backgrounds import Patches, sample_pictures
from lamina.data.generated.digits import Digits, digit_set
from lamina.data.generated.mnist_variations import (
    mnist_background_rotation,
    mnist_basic,
    mnist_correlated_background,
    mnist_image_background,
    mnist_random_background,
    mnist_rotation,
)
from lamina.data.named import load_named
from lamina.errors import ConfigError

SIZES = {"train": 200, "valid": 60, "test": 100}


@pytest.fixture(scope="module")
def digits() -> Digits:
    return digit_set(load_named("digits"))


@pytest.fixture(scope="module")
def patches() -> Patches:
    return Patches(sample_pictures())


def numbered(n: int) -> Digits:
    """Digits that say which they are: 16 bits in the first two pixels, no two alike."""
    images = torch.zeros(n, 1, 28, 28, dtype=torch.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = torch.arange(n) // 256, torch.arange(n) % 256
    return Digits(images, torch.arange(n) % 10)


def numbers(inputs: torch.Tensor) -> list[int]:
    levels = (inputs[:, 0, 0, :2] * 255).round().long()
    return (levels[:, 0] * 256 + levels[:, 1]).tolist()


def all_sets(digits: Digits, patches: Patches):
    return {
        "basic": lambda **k: mnist_basic(digits, **k),
        "rotation": lambda **k: mnist_rotation(digits, **k),
        "random": lambda **k: mnist_random_background(digits, **k),
        "correlated": lambda **k: mnist_correlated_background(digits, 0.6, **k),
        "image": lambda **k: mnist_image_background(digits, patches, **k),
        "both": lambda **k: mnist_background_rotation(digits, patches, **k),
    }


def test_basic_is_the_digits_themselves_each_in_one_part_in_random_order() -> None:
    parts = mnist_basic(numbered(1_000), train=500, valid=300, test=200)
    found = [numbers(part.inputs) for part in parts]
    assert sorted(number for part in found for number in part) == list(range(1_000))
    for part, which in zip(parts, found, strict=True):
        assert part.targets is not None
        assert part.targets.tolist() == [number % 10 for number in which]
    assert abs(np.mean(found[0]) - 499.5) < 4 * 289 / np.sqrt(500)
    assert abs(stats.spearmanr(np.arange(500), found[0]).statistic) < 0.2


def test_published_sizes_and_that_a_part_begins_alike_whatever_the_sizes() -> None:
    small = numbered(62_001)
    whole = mnist_basic(small)
    assert [part.size for part in whole] == [10_000, 2_000, 50_000]
    few = mnist_basic(small, train=30, valid=20, test=10)
    for one, other in zip(few, whole, strict=True):
        assert torch.equal(one.inputs, other.inputs[: one.size])
    more = mnist_basic(small, train=10_001)  # still room for all
    assert torch.equal(more.train.inputs[:10_000], whole.train.inputs)
    assert not set(numbers(more.train.inputs)) & set(numbers(more.valid.inputs))
    assert not torch.equal(mnist_basic(small, seed=1).train.inputs, whole.train.inputs)


@pytest.mark.parametrize("name", ["basic", "rotation", "random", "correlated", "image", "both"])
def test_every_set_has_its_form_and_depends_on_seed_part_and_number_alone(
    name: str, digits: Digits, patches: Patches
) -> None:
    make = all_sets(digits, patches)[name]
    parts = make(**SIZES)
    for part, size in zip(parts, SIZES.values(), strict=True):
        assert part.inputs.shape == (size, 1, 28, 28)
        assert part.inputs.dtype == torch.float32
        assert part.targets is not None
        assert part.targets.dtype == torch.int64
        assert part.inputs.min() >= 0 and part.inputs.max() <= 1
    state = torch.get_rng_state()
    again, longer, other = make(**SIZES), make(**SIZES | {"train": 1_200}), make(**SIZES, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(parts, again, strict=True))
    assert torch.equal(longer.train.inputs[:200], parts.train.inputs)
    assert not torch.equal(other.train.inputs, parts.train.inputs)


def test_parts_have_other_noise_for_the_same_number() -> None:
    black = Digits(torch.zeros(900, 1, 28, 28, dtype=torch.uint8), torch.zeros(900, dtype=torch.int64))
    parts = mnist_random_background(black, train=300, valid=300, test=300)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        equal = (parts[a].inputs == parts[b].inputs).float().mean().item()
        assert equal == pytest.approx(1 / 256, rel=0.15)


def test_turned_digits_are_those_of_scipy_and_every_angle_is_as_likely(digits: Digits) -> None:
    """The angle is found again by trying: the best of 240 must agree nearly, and the best angles must be uniform."""
    turned, plain = (make(digits, **SIZES).train for make in (mnist_rotation, mnist_basic))
    assert torch.equal(turned.targets, plain.targets)
    angles = np.arange(0, 360, 1.5)
    best, errors = [], []
    for after, before in zip(turned.inputs[:120, 0].numpy(), plain.inputs[:120, 0].numpy(), strict=True):
        coarse = [np.abs(ndimage.rotate(before, a, reshape=False, order=1) - after).mean() for a in angles[::4]]
        around = angles[4 * int(np.argmin(coarse))] + np.arange(-6, 6.1, 1.5)
        fine = [np.abs(ndimage.rotate(before, a, reshape=False, order=1) - after).mean() for a in around]
        best.append(around[int(np.argmin(fine))] % 360)
        errors.append(min(fine) / before.mean())
    assert np.mean(errors) < 0.06
    assert stats.kstest(np.array(best) / 360, "uniform").pvalue > 1e-3


def test_turning_back_gives_the_digit(digits: Digits) -> None:
    """One digit turned: the found angle, taken back by a cubic rotation, gives the plain picture."""
    turned, plain = (make(digits, **SIZES).test for make in (mnist_rotation, mnist_basic))
    for row in range(5):
        after, before = turned.inputs[row, 0].numpy(), plain.inputs[row, 0].numpy()
        back = [ndimage.rotate(after, -a, reshape=False, order=3) for a in np.arange(0, 360, 2.0)]
        assert max(np.corrcoef(one.ravel(), before.ravel())[0, 1] for one in back) > 0.98


def test_noise_is_uniform_over_256_levels_and_independent_and_behind_the_digit(digits: Digits) -> None:
    noisy, plain = (make(digits, **SIZES).train.inputs for make in (mnist_random_background, mnist_basic))
    levels = noisy * 255
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)
    assert (noisy >= plain).all()
    behind = levels[plain == 0].round().long()
    counts = torch.bincount(behind, minlength=256)
    assert len(counts) == 256
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3
    # where the digit is brighter than black its level is a floor that noise reaches beyond as often as it should
    some = (plain > 0) & (plain < 1)
    beyond = (noisy > plain)[some].double().mean().item()
    expected = (1 - (plain[some] * 255 + 1) / 256).double().mean().item()
    assert beyond == pytest.approx(expected, abs=0.02)
    black = Digits(torch.zeros(2_000, 1, 28, 28, dtype=torch.uint8), torch.zeros(2_000, dtype=torch.int64))
    noise = mnist_random_background(black, train=1_998, valid=1, test=1).train.inputs.flatten(1).double()
    correlation = torch.corrcoef(noise.T) - torch.eye(784, dtype=torch.float64)
    assert correlation.abs().max() < 6 / np.sqrt(2_000)
    assert torch.corrcoef(noise[:300]).triu(1).abs().max() < 6 / np.sqrt(784)


def test_backgrounds_are_patches_of_the_photographs_and_the_digit_is_in_front(digits: Digits, patches: Patches) -> None:
    pictures = sample_pictures().pixels[:, 0]
    made = mnist_image_background(digits, patches, **SIZES).train.inputs
    plain = mnist_basic(digits, **SIZES).train.inputs
    both = mnist_background_rotation(digits, patches, **SIZES).train.inputs
    turned = mnist_rotation(digits, **SIZES).train.inputs
    for row in range(6):
        # the frame of four pixels where no digit of this set ever is: found exactly once in the photographs
        edge = (made[row, 0] * 255).round().numpy().astype(np.uint8)
        starts = [np.argwhere(picture[:400, :613] == edge[0, 0]) for picture in pictures]
        hits = [
            (number, top, left)
            for number, places in enumerate(starts)
            for top, left in places
            if (pictures[number, top, left : left + 28] == edge[0]).all()
            and (pictures[number, top : top + 28, left] == edge[:, 0]).all()
        ]
        assert len(hits) == 1
        number, top, left = hits[0]
        patch = torch.from_numpy(pictures[number, top : top + 28, left : left + 28]).float() / 255
        torch.testing.assert_close(made[row, 0], torch.maximum(plain[row, 0], patch))
        torch.testing.assert_close(both[row, 0], torch.maximum(turned[row, 0], patch))
        assert patch.double().std(correction=0) >= 0.1


def test_correlated_noise_replaces_the_background(digits: Digits) -> None:
    noisy = mnist_correlated_background(digits, 1.0, **SIZES).train.inputs
    plain = mnist_basic(digits, **SIZES).train.inputs
    assert (noisy >= plain).all()
    behind = noisy[:, 0, :4].flatten()  # where no digit of this set ever is
    assert behind.std() > 0.2
    assert np.corrcoef(noisy[:, 0, 0, 0], noisy[:, 0, 1, 0])[0, 1] > 0.9


def test_too_few_digits_are_refused_with_sizes_that_fit(digits: Digits) -> None:
    with pytest.raises(ConfigError, match="62,000 examples are asked for, there are 1,797") as caught:
        mnist_rotation(digits)
    assert "train=1123, valid=224, test=449" in caught.value.mend
    assert mnist_rotation(digits, train=1_123, valid=224, test=449).test.size == 449
    with pytest.raises(ConfigError, match="at least 1"):
        mnist_basic(digits, train=0, valid=1, test=1)
