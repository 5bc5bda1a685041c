"""Form and statistics of training pictures, against NumPy in float64."""

import json

import numpy as np
import pytest
import torch

from lamina.data.images.imageset import ImageSet
from lamina.data.images.prepare import ImagePreparation
from lamina.data.spec import ImageSpec
from lamina.errors import CheckpointError, ConfigError, DataError

RNG = np.random.default_rng(2)


def a_set(n=40, channels=3, height=6, width=5):
    pixels = RNG.integers(0, 256, (n, channels, height, width), dtype=np.uint8)
    pixels[:, 0] //= 3
    return ImageSet("toy", pixels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "rows", [None, [3, 5, 8], np.arange(40) % 3 == 0, slice(2, 9)], ids=["all", "list", "mask", "slice"]
)
def test_statistics_are_those_of_the_training_rows(channels, rows):
    images = a_set(channels=channels)
    preparation = ImagePreparation.fit(images, rows)
    chosen = images.pixels[slice(None) if rows is None else rows] / 255.0
    np.testing.assert_allclose(preparation.mean, chosen.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(preparation.std, chosen.std(axis=(0, 2, 3)), rtol=1e-12)
    assert preparation.spec == ImageSpec(channels, 6, 5)
    if rows is not None:  # the other rows, a leak, would be seen
        assert not np.allclose(preparation.mean, (images.pixels / 255.0).mean(axis=(0, 2, 3)), rtol=1e-6)


def test_statistics_in_pieces(monkeypatch):
    images = a_set()
    whole = ImagePreparation.fit(images)
    monkeypatch.setattr("lamina.data.images.prepare._CHUNK", 100)
    parts = ImagePreparation.fit(images, RNG.permutation(40))
    assert np.array_equal(whole.mean, parts.mean)
    assert np.array_equal(whole.std, parts.std)


def test_normalised_training_pixels_have_mean_0_and_spread_1():
    images = a_set(200)
    batch = ImagePreparation.fit(images).normalise(torch.from_numpy(images.pixels))
    assert batch.dtype == torch.float32
    assert torch.allclose(batch.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(batch.std((0, 2, 3), unbiased=False), torch.ones(3), atol=1e-5)


def test_normalise_by_hand():
    images = a_set()
    preparation = ImagePreparation.fit(images)
    expected = (images.pixels / 255.0 - preparation.mean[:, None, None]) / preparation.std[:, None, None]
    pixels = torch.from_numpy(images.pixels)
    got = preparation.normalise(pixels)
    np.testing.assert_allclose(got.numpy(), expected, atol=2e-6)
    floats = pixels.float()
    before = floats.clone()
    assert torch.equal(preparation.normalise(floats), got)
    assert torch.equal(floats, before)  # the input, perhaps a view of the whole set, is left alone
    out = torch.empty(got.shape)
    assert preparation.normalise(pixels, out) is out
    assert torch.equal(out, got)


def test_D15_constant_channel_is_divided_by_1():
    pixels = RNG.integers(0, 256, (10, 3, 4, 4), dtype=np.uint8)
    pixels[:, 1] = 77
    preparation = ImagePreparation.fit(ImageSet("toy", pixels))
    assert preparation.std[1] == 1
    assert preparation.notes == (
        "channel 1 of the training pictures have one value: divided by 1 instead of a spread of 0",
    )
    out = preparation.normalise(torch.from_numpy(pixels))
    assert torch.isfinite(out).all()
    assert out[:, 1].abs().max() < 1e-6
    pixels[:, 1, 0, 0] = 78
    assert torch.isfinite(preparation.normalise(torch.from_numpy(pixels))).all()


def test_no_rows():
    for rows in ([], np.zeros(40, bool), slice(0, 0)):
        with pytest.raises(DataError, match="no pictures"):
            ImagePreparation.fit(a_set(), rows)
    with pytest.raises(ConfigError, match="rows must be"):
        ImagePreparation.fit(a_set(), [0.5])


class TestTransform:
    def test_same_form_is_not_copied(self):
        images = a_set()
        pixels, report = ImagePreparation.fit(images).transform(images)
        assert pixels is images.pixels
        assert report.notes == ()

    @pytest.mark.parametrize("channels", [1, 3])
    def test_other_form(self, channels):
        preparation = ImagePreparation.fit(a_set(channels=channels))
        pixels, report = preparation.transform(a_set(7, 4 - channels, 12, 10))
        assert pixels.shape == (7, channels, 6, 5)
        assert pixels.dtype == np.uint8
        assert (report.resized, report.converted) == (7, 7)
        assert report.notes == (
            "7 pictures resized from 10 x 12 to 5 x 6",
            f"7 pictures converted to {'grey' if channels == 1 else 'colour'}",
        )

    def test_grey_to_colour_repeats_it(self):
        grey = a_set(4, 1)
        pixels, _ = ImagePreparation.fit(a_set()).transform(grey)
        assert np.array_equal(pixels, grey.pixels.repeat(3, 1))


class TestState:
    def test_round_trip_through_json(self):
        preparation = ImagePreparation.fit(a_set())
        facts, arrays = preparation.state()
        again = ImagePreparation.from_state(json.loads(json.dumps(facts)), arrays)
        assert again.spec == preparation.spec
        assert again.notes == preparation.notes
        batch = torch.from_numpy(a_set().pixels)
        assert torch.equal(again.normalise(batch), preparation.normalise(batch))

    @pytest.mark.parametrize(
        "facts, arrays",
        [
            ({"kind": "table"}, {}),
            ({"channels": "3"}, {}),
            ({"channels": True}, {}),
            ({"height": 0}, {}),
            ({"channels": 2}, {}),
            ({"width": None}, {}),
            ({"notes": "x"}, {}),
            ({"notes": [1]}, {}),
            ({}, {"mean": np.zeros(2)}),
            ({}, {"std": np.zeros(3)}),
            ({}, {"std": np.array([1.0, np.nan, 1.0])}),
            ({}, {"more": np.zeros(3)}),
        ],
        ids=str,
    )
    def test_damage_is_refused(self, facts, arrays):
        good_facts, good_arrays = ImagePreparation.fit(a_set()).state()
        with pytest.raises(CheckpointError) as caught:
            ImagePreparation.from_state({**good_facts, **facts}, {**good_arrays, **arrays})
        assert caught.value.exit_code == 4
        assert caught.value.mend
