"""Crops, elastic distortion, colour and noise against scipy, loops and laws of chance."""

import colorsys
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from lamina.data.images.augment import Augment, Draws, Window, warped
from lamina.data.images.augmentation.colour import Colours, coloured, draw_colours
from lamina.data.images.augmentation.elastic import elastic_displacement, gaussian_matrix
from lamina.data.images.augmentation.hashed import ELASTIC, NOISE, normals, uniform_pairs, uniforms
from lamina.errors import ConfigError

INDICES = torch.tensor([5, 0, 123_456, 7, 59_999, 2**40, 8, 9])
EVERYTHING = Augment(
    2, True, 10.0, 0.1, 3, crop=0.3, elastic=20.0, brightness=0.2, contrast=0.3, saturation=0.4, hue=20.0, noise=0.1
)


def batch(channels=3, height=9, width=12, dtype=torch.uint8):
    return torch.randint(0, 256, (8, channels, height, width), generator=torch.Generator().manual_seed(3)).to(dtype)


def still(n):
    zero = torch.zeros(n, dtype=torch.long)
    return Draws(zero, zero, zero.bool(), zero.float(), torch.ones(n), zero, zero)


# The whole


@pytest.mark.parametrize(
    "augment",
    [
        EVERYTHING,
        Augment(0, crop=0.5),
        Augment(0, elastic=34.0),
        Augment(0, brightness=0.5),
        Augment(0, contrast=0.5),
        Augment(0, saturation=1.0),
        Augment(0, hue=90.0),
        Augment(0, noise=0.1),
    ],
    ids=lambda a: repr({k: v for k, v in vars(a).items() if v != getattr(Augment(0), k)}),
)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64], ids=str)
def test_R08_shape_type_and_originals_stay_and_every_change_changes(augment, dtype):
    pixels = batch(dtype=dtype)
    before = pixels.clone()
    got = augment(pixels, INDICES, 2, 7)
    assert got.shape == pixels.shape
    assert got.dtype == (torch.float32 if dtype == torch.uint8 else dtype)
    assert got.isfinite().all()
    assert torch.equal(pixels, before)
    assert not augment.is_identity
    assert (got - pixels).abs().flatten(1).max(1).values.min() > 1


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(8)), st.integers(0, 1000), st.integers(-(2**63), 2**64), st.integers(1, 7))
def test_R08_each_picture_is_changed_by_seed_epoch_and_index_alone(order, epoch, seed, cut):
    pixels = batch()
    whole = EVERYTHING(pixels, INDICES, epoch, seed)
    shuffled = EVERYTHING(pixels[order], INDICES[order], epoch, seed)
    torch.testing.assert_close(whole[order], shuffled, rtol=0, atol=1e-3)
    parts = [EVERYTHING(pixels[part], INDICES[part], epoch, seed) for part in (slice(cut), slice(cut, None))]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-3)
    assert not torch.allclose(EVERYTHING(pixels, INDICES, epoch + 1, seed), whole, atol=1.0)
    assert not torch.allclose(EVERYTHING(pixels, INDICES, epoch, seed + 1), whole, atol=1.0)


def test_R08_the_global_generator_is_left_alone():
    state = torch.random.get_rng_state()
    EVERYTHING(batch(), INDICES, 0, 0)
    assert torch.equal(state, torch.random.get_rng_state())


def test_R08_new_changes_leave_the_old_draws():
    """Turning one change on moves no other."""
    a = Augment(3, True, 15.0, 0.2, 4).draws(INDICES, 1, 2, height=28, width=28)
    b = Augment(3, True, 15.0, 0.2, 4, crop=0.2, elastic=5.0, noise=0.1).draws(INDICES, 1, 2, height=28, width=28)
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_R08_lanes_do_not_overlap():
    n = 2000
    columns = [*uniforms(torch.arange(n), 0, 0, range(13))]
    columns += [part[:, i].double() for part in uniform_pairs(torch.arange(n), 0, 0, ELASTIC, 3) for i in range(3)]
    columns += [part[:, i].double() for part in uniform_pairs(torch.arange(n), 0, 0, NOISE, 3) for i in range(3)]
    correlations = torch.corrcoef(torch.stack(columns)) - torch.eye(len(columns))
    assert correlations.abs().max() < 5 / math.sqrt(n)


@pytest.mark.parametrize("name", ["crop", "elastic", "brightness", "contrast", "saturation", "hue", "noise"])
def test_R08_values_out_of_range(name):
    for bad in (-0.1, math.nan, *([] if name in {"elastic", "noise"} else [181.0])):
        with pytest.raises(ConfigError, match=f"Augment: {name} must be from 0"):
            Augment(**{name: bad})


@pytest.mark.parametrize("name", ["smoothness", "white"])
@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_R08_values_that_must_be_above_zero(name, bad):
    with pytest.raises(ConfigError, match=f"Augment: {name} must be above 0"):
        Augment(**{name: bad})


# Crops


def test_R08_crop_of_half_the_sides_enlarges_the_window():
    pixels = torch.zeros(4, 1, 8, 8)
    pixels[:, 0, :4, 4:] = 1.0  # the upper right quarter
    corners = Window(torch.full((4,), 0.5), torch.tensor([-1.0, -1.0, 1.0, 1.0]), torch.tensor([1.0, -1.0, 1.0, -1.0]))
    got = warped(pixels, still(4), corners)
    assert got[0, 0, 1:-1, 1:-1].min() == 1.0
    for other in (1, 2, 3):
        assert got[other, 0, 1:-1, 1:-1].max() == 0.0


@pytest.mark.parametrize("height, width", [(12, 12), (9, 14)], ids=str)
def test_R08_crop_with_a_turn_equals_scipy(height, width):
    augment = Augment(2, True, 30.0, 0.2, crop=0.5)
    pixels = batch(1, height, width).double() / 255
    draws, window = augment.draws(INDICES, 1, 2, height=height, width=width), augment.windows(INDICES, 1, 2)
    expected = []
    for i, picture in enumerate(pixels[:, 0].numpy()):
        share, down, right = (float(part[i]) for part in window)
        angle, scale = float(draws.angle[i]), float(draws.scale[i])
        picture = picture[:, ::-1] if draws.flip[i] else picture
        inverse = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]) * share / scale
        centre = (np.array([height, width]) - 1) / 2
        move = np.array([int(draws.down[i]), int(draws.right[i])])
        middle = np.array([down * height, right * width]) * (1 - share) / 2
        offset = centre + middle - inverse @ (centre + move)
        expected.append(ndimage.affine_transform(picture, inverse, offset, order=1, mode="grid-constant"))
    got = augment(pixels, INDICES, 1, 2)
    assert (got[:, 0] - torch.from_numpy(np.stack(expected))).abs().max() < 1e-5


def test_R08_windows_lie_inside_and_anywhere():
    window = Augment(crop=0.4).windows(torch.arange(20_000), 0, 0)
    assert 0.6 <= window.share.min() < 0.601 < 0.999 < window.share.max() <= 1.0
    for place in (window.down, window.right):
        assert -1 <= place.min() < -0.999 < 0.999 < place.max() <= 1
        assert abs(place.mean()) < 4 / math.sqrt(3 * 20_000)


# Elastic distortion


@pytest.mark.parametrize("height, width, sigma", [(20, 20, 2.0), (9, 30, 4.0), (12, 7, 0.5)])
def test_R08_elastic_field_is_scipys_gaussian_of_uniform_noise(height, width, sigma):
    u = uniform_pairs(INDICES, 3, 4, ELASTIC, height * width).double() * 2 - 1
    got = elastic_displacement(INDICES, 3, 4, height=height, width=width, alpha=10.0, smoothness=sigma)
    for n in range(len(INDICES)):
        for axis in range(2):
            noise = u[axis, n].reshape(height, width).numpy()
            expected = 10.0 * ndimage.gaussian_filter(noise, sigma, mode="constant", truncate=4.0)
            np.testing.assert_allclose(got[n, axis], expected, rtol=0, atol=1e-5)


def test_R08_elastic_moves_are_a_pixel_or_so_for_simards_numbers():
    field = elastic_displacement(torch.arange(400), 0, 0, height=28, width=28, alpha=34.0, smoothness=4.0)
    middle = field[:, :, 14, 14]
    assert middle.std().item() == pytest.approx(34 / (4 * math.sqrt(12 * math.pi)), rel=0.1)
    assert abs(middle.mean()) < 4 * 1.4 / math.sqrt(800)
    assert abs(torch.corrcoef(middle.T)[0, 1]) < 4 / math.sqrt(400)
    assert (field[:, :, 14, 15] - middle).std() < 0.3 * middle.std()


def test_R08_gaussian_sums_to_one():
    torch.testing.assert_close(gaussian_matrix(101, 3.0)[50].sum().item(), 1.0)


@pytest.mark.parametrize("height, width", [(12, 12), (9, 14)], ids=str)
@pytest.mark.parametrize("flip", [False, True])
def test_R08_elastic_sampling_equals_scipy(height, width, flip):
    pixels = batch(1, height, width).double() / 255
    draws = still(8)._replace(flip=torch.full((8,), flip))
    displacement = 3 * torch.randn(8, 2, height, width, generator=torch.Generator().manual_seed(1)).double()
    got = warped(pixels, draws, None, displacement)
    rows, columns = np.mgrid[:height, :width]
    for n in range(8):
        right, down = displacement[n].numpy()
        start = width - 1 - columns if flip else columns
        expected = ndimage.map_coordinates(
            pixels[n, 0].numpy(), [rows + down, start + right], order=1, mode="grid-constant"
        )
        np.testing.assert_allclose(got[n, 0], expected, rtol=0, atol=1e-5)


# Colour


def changed_by_hand(picture, brightness, contrast, saturation, hue, white):
    channels, height, width = picture.shape
    grey = [[sum(picture[c][y][x] for c in range(channels)) / channels for x in range(width)] for y in range(height)]
    middle = sum(map(sum, grey)) / (height * width)
    out = np.zeros_like(picture)
    cos, third, cross = math.cos(hue), (1 - math.cos(hue)) / 3, math.sin(hue) / math.sqrt(3)
    turn = np.array([[cos + third, third - cross, third + cross],
                     [third + cross, cos + third, third - cross],
                     [third - cross, third + cross, cos + third]])  # fmt: skip
    for y in range(height):
        for x in range(width):
            pixel = turn @ picture[:, y, x] if channels == 3 else picture[:, y, x]
            for c in range(channels):
                value = grey[y][x] + saturation * (pixel[c] - grey[y][x])
                value = brightness * (middle + contrast * (value - middle))
                out[c, y, x] = min(max(value, 0.0), white)
    return out


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("white", [255.0, 1.0])
def test_R08_colour_equals_one_pixel_at_a_time(channels, white):
    pixels = batch(channels).double() * white / 255
    hue = 60.0 if channels == 3 else 0.0
    augment = Augment(0, brightness=0.5, contrast=0.6, saturation=0.7, hue=hue, white=white)
    draws = draw_colours(INDICES, 5, 6, brightness=0.5, contrast=0.6, saturation=0.7, hue=hue)
    got = augment(pixels, INDICES, 5, 6)
    for n, picture in enumerate(pixels.numpy()):
        expected = changed_by_hand(picture, *(float(part[n]) for part in draws), white)
        np.testing.assert_allclose(got[n], expected, rtol=0, atol=1e-9 * white)


def test_R08_a_third_of_a_turn_takes_red_to_green_and_no_change_is_none():
    red = torch.tensor([200.0, 50.0, 50.0]).reshape(1, 3, 1, 1).expand(1, 3, 2, 2)
    one, third = torch.ones(1), torch.full((1,), 2 * math.pi / 3)
    green = coloured(red, Colours(one, one, one, third), 255.0, turn=True)
    torch.testing.assert_close(green[0, :, 0, 0], torch.tensor([50.0, 200.0, 50.0]))
    assert colorsys.rgb_to_hsv(*(green[0, :, 0, 0] / 255).tolist())[0] == pytest.approx(1 / 3, abs=1e-6)
    same = coloured(batch().float(), Colours(*(torch.ones(8),) * 3, torch.zeros(8)), 255.0, turn=False)
    torch.testing.assert_close(same, batch().float())
    grey = coloured(red, Colours(one, one, 0 * one, 0 * one), 255.0, turn=False)
    torch.testing.assert_close(grey, torch.full((1, 3, 2, 2), 100.0))


def test_R08_colours_are_drawn_uniformly():
    draws = draw_colours(torch.arange(5000), 0, 0, brightness=0.1, contrast=0.2, saturation=0.3, hue=40.0)
    limits = ((0.9, 0.2), (0.8, 0.4), (0.7, 0.6), (math.radians(-40), math.radians(80)))
    for part, (low, width) in zip(draws, limits, strict=True):
        assert stats.kstest(part.double().numpy(), "uniform", (low, width)).pvalue > 0.001


def test_R08_hue_needs_three_channels():
    with pytest.raises(ConfigError, match="hue is of pictures of three channels, and these have 1"):
        Augment(0, hue=10.0)(batch(1), INDICES, 0, 0)


# Noise


@pytest.mark.parametrize("white, dtype", [(255.0, torch.uint8), (1.0, torch.float64)], ids=str)
def test_R08_noise_is_gaussian_of_the_stated_spread(white, dtype):
    pixels = (batch().double() * white / 255).to(dtype)
    indices = torch.arange(8)
    added = torch.cat([Augment(0, noise=0.2, white=white)(pixels, indices, e, 1) - pixels for e in range(40)])
    found = added.double().flatten() / (0.2 * white)
    assert stats.kstest(found.numpy(), "norm").pvalue > 0.001
    assert abs(found.mean()) < 4 / math.sqrt(len(found))
    rows = added.double().flatten(1)
    correlations = torch.corrcoef(rows) - torch.eye(len(rows))
    assert correlations.abs().max() < 6 / math.sqrt(rows.shape[1])


def test_R08_normals_are_box_mullers():
    mask = (1 << 64) - 1

    def mix(x):
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        return x ^ (x >> 31)

    k = mix((mix((99 + 0x9E3779B97F4A7C15) & mask) ^ 3) + 0x9E3779B97F4A7C15 & mask)
    found = normals(torch.tensor([12_345]), 3, 99, NOISE, 5)[0].tolist()
    for i in range(3):
        bits = mix((mix(12_345 ^ k) + (NOISE + i + 1) * 0x9E3779B97F4A7C15) & mask)
        u, v = (bits >> 40) / 2**24, (bits & 0xFFFFFF) / 2**24
        radius = math.sqrt(-2 * math.log(1 - u))
        assert found[i] == pytest.approx(radius * math.cos(2 * math.pi * v), abs=1e-4)
        if i < 2:
            assert found[3 + i] == pytest.approx(radius * math.sin(2 * math.pi * v), abs=1e-4)


def test_R08_noise_comes_before_the_hole():
    got = Augment(0, noise=0.5, cutout=100)(batch(), INDICES, 0, 0)
    assert got.abs().sum() < Augment(0, noise=0.5)(batch(), INDICES, 0, 0).abs().sum()
    draws = Augment(0, cutout=100).draws(INDICES, 0, 0, height=9, width=12)
    assert got[torch.arange(8), :, draws.hole_row, draws.hole_column].abs().max() == 0
