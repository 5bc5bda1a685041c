"""Batched augmentation against one picture at a time (NumPy loops and scipy.ndimage)."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lamina.data.images.augment import Augment, Draws, warped
from lamina.errors import ConfigError

INDICES = torch.tensor([5, 0, 123_456, 7, 59_999, 2**40, 8, 9])


def batch(channels=3, height=9, width=12, n=8, dtype=torch.uint8):
    return torch.randint(0, 256, (n, channels, height, width), generator=torch.Generator().manual_seed(3)).to(dtype)


def moved(picture: np.ndarray, down: int, right: int) -> np.ndarray:
    out = np.zeros_like(picture)
    channels, height, width = picture.shape
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                if 0 <= y - down < height and 0 <= x - right < width:
                    out[c, y, x] = picture[c, y - down, x - right]
    return out


def one_by_one(pixels, draws, augment, mistake=lambda down, right, flip: (down, right, flip)):
    rows = []
    for i, picture in enumerate(pixels.numpy()):
        down, right, flip = mistake(int(draws.down[i]), int(draws.right[i]), bool(draws.flip[i]))
        picture = picture[:, :, ::-1] if flip else picture
        picture = moved(picture, down, right)
        if augment.cutout:
            top, left = int(draws.hole_row[i]) - augment.cutout // 2, int(draws.hole_column[i]) - augment.cutout // 2
            for y in range(picture.shape[1]):
                for x in range(picture.shape[2]):
                    if top <= y < top + augment.cutout and left <= x < left + augment.cutout:
                        picture[:, y, x] = 0
        rows.append(picture)
    return torch.from_numpy(np.stack(rows))


@pytest.mark.parametrize(
    "augment",
    [
        Augment(2),
        Augment(4, flip=True),
        Augment(0, flip=True),
        Augment(0, cutout=4),
        Augment(20),
        Augment(3, True, cutout=5),
    ],
    ids=repr,
)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_moves_flips_and_holes_equal_one_at_a_time(augment, dtype):
    pixels = batch(dtype=dtype)
    before = pixels.clone()
    draws = augment.draws(INDICES, 2, 7, height=9, width=12)
    got = augment(pixels, INDICES, 2, 7)
    assert got.dtype == dtype
    assert torch.equal(got, one_by_one(pixels, draws, augment))
    assert torch.equal(pixels, before)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda down, right, flip: (-down, right, flip),
        lambda down, right, flip: (down, -right, flip),
        lambda down, right, flip: (right, down, flip),
        lambda down, right, flip: (down, right, not flip),
        lambda down, right, flip: (down + 1, right, flip),
    ],
    ids=["up-for-down", "left-for-right", "exchanged", "flip", "off-by-one"],
)
def test_the_comparison_sees_mistakes(mistake):
    augment = Augment(4, flip=True)
    pixels = batch()
    draws = augment.draws(INDICES, 2, 7, height=9, width=12)
    assert not torch.equal(augment(pixels, INDICES, 2, 7), one_by_one(pixels, draws, augment, mistake))


def warped_by_scipy(picture, down, right, flip, angle, scale, sign=1.0):
    """Turn counter-clockwise as seen (rows grow downwards), grow, then move: the inverse map, in rows and columns."""
    picture = picture[:, :, ::-1] if flip else picture
    cos, sin = math.cos(sign * angle), math.sin(sign * angle)
    inverse = np.array([[cos, sin], [-sin, cos]]) / scale  # (row, column) of the result -> of the picture
    centre = (np.array(picture.shape[1:]) - 1) / 2
    offset = centre - inverse @ (centre + np.array([down, right]))
    return np.stack([
        ndimage.affine_transform(channel, inverse, offset, order=1, mode="grid-constant") for channel in picture
    ])  # fmt: skip


def warped_one_by_one(pixels, draws, sign=1.0):
    return np.stack([
        warped_by_scipy(picture, int(d), int(r), bool(f), float(a), float(s), sign)
        for picture, d, r, f, a, s in zip(pixels.numpy(), *draws[:5], strict=True)
    ])  # fmt: skip


@pytest.mark.parametrize(
    "augment",
    [
        Augment(0, rotate=20.0),
        Augment(3, rotate=20.0),
        Augment(2, scale=0.4),
        Augment(2, flip=True, rotate=180.0, scale=0.3),
        Augment(2, flip=True, rotate=45.0, cutout=3),
    ],
    ids=repr,
)
@pytest.mark.parametrize("height, width", [(12, 12), (9, 14), (15, 8)], ids=str)
def test_turns_and_sizes_equal_scipy(augment, height, width):
    pixels = batch(2, height, width).double() / 255
    pixels = pixels[:, :1]
    draws = augment.draws(INDICES, 4, 1, height=height, width=width)
    expected = torch.from_numpy(warped_one_by_one(pixels, draws))
    got = warped(pixels, draws)
    assert got.dtype == torch.float64
    assert (got - expected).abs().max() < 1e-5  # the draws are float32
    if augment.rotate:
        assert (got - torch.from_numpy(warped_one_by_one(pixels, draws, sign=-1.0))).abs().max() > 0.1
    if not augment.cutout:
        assert torch.equal(augment(pixels, INDICES, 4, 1), got)


def test_a_quarter_turn_is_counter_clockwise():
    pixels = batch(1, 7, 7).float()
    n = len(pixels)
    zero, half = torch.zeros(n, dtype=torch.long), torch.full((n,), math.pi / 2)
    draws = Draws(zero, zero, zero.bool(), half, torch.ones(n), zero, zero)
    assert torch.allclose(warped(pixels, draws), torch.rot90(pixels, 1, (2, 3)), atol=2e-3)


def test_uint8_becomes_float_on_the_same_scale_only_when_sampled():
    assert Augment(2)(batch(), INDICES, 0, 0).dtype == torch.uint8
    out = Augment(2, rotate=10.0)(batch(), INDICES, 0, 0)
    assert out.dtype == torch.float32
    assert 200 < out.max() <= 255


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_identity_is_exact(dtype):
    pixels = batch(dtype=dtype)
    identity = Augment(0)
    assert identity.is_identity
    assert identity(pixels, INDICES, 3, 4) is pixels
    assert not any(Augment(**one).is_identity for one in ({"flip": True, "shift": 0}, {"rotate": 1.0}, {"cutout": 1}))


class TestDraws:
    AUGMENT = Augment(3, True, 15.0, 0.2, 4)

    def draws(self, indices, epoch=0, seed=0, height=28, width=28):
        return self.AUGMENT.draws(indices, epoch, seed, height=height, width=width)

    @settings(max_examples=30, deadline=None)
    @given(st.permutations(range(8)), st.integers(0, 1000), st.integers(-(2**63), 2**64), st.integers(1, 7))
    def test_a_function_of_seed_epoch_and_index_alone(self, order, epoch, seed, cut):
        whole = self.draws(INDICES, epoch, seed)
        shuffled = self.draws(INDICES[order], epoch, seed)
        parts = [self.draws(INDICES[:cut], epoch, seed), self.draws(INDICES[cut:], epoch, seed)]
        for a, b, *c in zip(whole, shuffled, *parts, strict=True):
            assert torch.equal(a[order], b)
            assert torch.equal(a, torch.cat(c))

    def test_the_global_generator_is_left_alone(self):
        state = torch.random.get_rng_state()
        self.draws(INDICES)
        assert torch.equal(state, torch.random.get_rng_state())

    def test_each_argument_matters(self):
        base = self.draws(torch.arange(64))
        for other in (
            self.draws(torch.arange(64) + 64),
            self.draws(torch.arange(64), epoch=1),
            self.draws(torch.arange(64), seed=1),
        ):
            assert not any(torch.equal(a, b) for a, b in zip(base, other, strict=True))

    def test_seed_and_epoch_do_not_trade_places(self):
        assert not torch.equal(self.draws(INDICES, 1, 2).angle, self.draws(INDICES, 2, 1).angle)

    def test_ranges_and_distribution(self):
        n = 70_000
        draws = self.draws(torch.arange(n), 5, 11)
        for move in (draws.down, draws.right):
            counts = torch.bincount(move + 3, minlength=7).double()
            assert len(counts) == 7
            assert ((counts - n / 7) ** 2 / (n / 7)).sum() < 22.5  # chi-square, 6 degrees, p = 0.001
        assert abs(draws.flip.double().mean() - 0.5) < 4 * 0.5 / math.sqrt(n)
        limit = math.radians(15)
        assert draws.angle.abs().max() <= limit
        assert abs(draws.angle.double().std() - limit / math.sqrt(3)) < 0.005 * limit
        assert 0.8 <= draws.scale.min() < 0.801 < 1.199 < draws.scale.max() <= 1.2
        spots = torch.bincount(draws.hole_row * 28 + draws.hole_column, minlength=784).double()
        assert len(spots) == 784
        assert abs(((spots - n / 784) ** 2 / (n / 784)).sum() - 783) < 4 * math.sqrt(2 * 783)

    def test_draws_are_independent_of_each_other_and_of_neighbours(self):
        n = 50_000
        draws = self.draws(torch.arange(n))
        columns = torch.stack([draw.double() for draw in draws[:5]])
        together = torch.cat((columns, columns.roll(1, -1), self_next := torch.stack(
            [draw.double() for draw in self.draws(torch.arange(n), epoch=1)[:5]]
        )))  # fmt: skip
        assert self_next.shape == columns.shape
        correlations = torch.corrcoef(together) - torch.eye(15)
        assert correlations.abs().max() < 5 / math.sqrt(n)

    def test_golden_value(self):
        # Worked out with Python integers, apart from the tensors.
        mask = (1 << 64) - 1

        def mix(x):
            x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
            x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
            return x ^ (x >> 31)

        def key(x):
            return mix((x + 0x9E3779B97F4A7C15) & mask)

        for index, epoch, seed in ((0, 0, 0), (12_345, 3, 99), (2**40, 7, 2**63 + 5)):
            k = key(key(seed & mask) ^ epoch)
            u = [(mix((mix(index ^ k) + (lane + 1) * 0x9E3779B97F4A7C15) & mask) >> 11) * 2.0**-53 for lane in range(6)]
            draws = self.draws(torch.tensor([index]), epoch, seed)
            assert draws.down.item() == int(u[0] * 7) - 3
            assert draws.right.item() == int(u[1] * 7) - 3
            assert draws.flip.item() == (u[2] < 0.5)
            assert draws.angle.item() == pytest.approx((2 * u[3] - 1) * math.radians(15), abs=1e-6)
            assert draws.scale.item() == pytest.approx(1 + (2 * u[4] - 1) * 0.2, abs=1e-6)
            assert (draws.hole_row * 28 + draws.hole_column).item() == int(u[5] * 784)


@pytest.mark.parametrize(
    "bad", [{"shift": -1}, {"rotate": 181.0}, {"scale": 1.0}, {"cutout": -1}, {"rotate": math.nan}], ids=str
)
def test_values_out_of_range(bad):
    with pytest.raises(ConfigError, match=f"Augment: {next(iter(bad))} must be from 0"):
        Augment(**bad)
