"""One picture file to an array, against arrays worked out by hand."""

import contextlib
import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from lamina.data.images.decode import decode_image, read_header, refit
from lamina.data.spec import ImageSpec
from lamina.errors import DataError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)


def packed(picture: Image.Image, form: str, **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def channels_first(array: np.ndarray) -> np.ndarray:
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP"])
def test_lossless_formats_give_their_pixels(form):
    options = {"lossless": True} if form == "WEBP" else {}
    assert np.array_equal(decode_image(packed(Image.fromarray(COLOUR[:1, :1].repeat(4, 0)), form, **options)),
                          channels_first(COLOUR[:1, :1].repeat(4, 0)))  # fmt: skip
    if form not in {"GIF", "WEBP"}:
        assert np.array_equal(decode_image(packed(Image.fromarray(GREY), form)), GREY[None])
        assert np.array_equal(decode_image(packed(Image.fromarray(COLOUR), form)), channels_first(COLOUR))


@pytest.mark.parametrize("turn", range(1, 9), ids="D5-exif{}".format)
def test_exif_turn(turn):
    # What must be done to the stored rows to see the picture upright (the table of the EXIF standard).
    upright = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: np.rot90,
    }[turn]
    picture = Image.fromarray(COLOUR)
    exif = picture.getexif()
    exif[0x0112] = turn
    data = packed(picture, "PNG", exif=exif)
    expected = upright(COLOUR)
    assert np.array_equal(decode_image(data), channels_first(expected))
    header = read_header(data)
    assert (header.height, header.width) == expected.shape[:2]
    assert header.turned == (turn > 1)


def test_D5_16_bits_are_scaled_not_cut():
    levels = np.array([[0, 1, 128, 129, 256, 257, 32767, 65278, 65535]], np.uint16)
    expected = np.array([[[round(v / 257) for v in levels[0].tolist()]]], np.uint8)
    for form in ("PNG", "TIFF", "PPM"):
        assert np.array_equal(decode_image(packed(Image.fromarray(levels), form)), expected), form
    assert not np.array_equal(np.asarray(Image.fromarray(levels).convert("L"))[None], expected)  # what Pillow would do


def test_D5_transparency_lies_over_white():
    rgba = RNG.integers(0, 256, (6, 4, 4), dtype=np.uint8)
    alpha = rgba[..., 3:] / 255.0
    expected = rgba[..., :3] * alpha + 255 * (1 - alpha)
    got = decode_image(packed(Image.fromarray(rgba), "PNG")).transpose(1, 2, 0)
    assert np.abs(got - expected).max() <= 1
    grey_alpha = rgba[..., [0, 3]]
    layers = [Image.fromarray(np.ascontiguousarray(grey_alpha[..., i])) for i in range(2)]
    got = decode_image(packed(Image.merge("LA", layers), "PNG"))
    assert got.shape == (1, 6, 4)
    expected = grey_alpha[..., 0] * alpha[..., 0] + 255 * (1 - alpha[..., 0])
    assert np.abs(got[0] - expected).max() <= 1


def test_D5_palette_with_and_without_transparency():
    palette = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8))
    palette = palette.convert("P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255] + [0] * (253 * 3))
    red, green, blue = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    assert np.array_equal(decode_image(packed(palette, "PNG")).transpose(1, 2, 0), [[red, green], [blue, green]])
    got = decode_image(packed(palette, "PNG", transparency=1)).transpose(1, 2, 0)
    assert np.array_equal(got, [[red, (255, 255, 255)], [blue, (255, 255, 255)]])


def test_D5_cmyk_jpeg_becomes_red_green_blue():
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    got = decode_image(packed(cyan, "JPEG", quality=100))
    assert got.shape == (3, 16, 16)
    assert np.abs(got.mean(axis=(1, 2)) - [0, 255, 255]).max() <= 3


def test_D5_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (4, 3), colour) for colour in ((200, 0, 0), (0, 200, 0))]
    data = packed(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.array_equal(decode_image(data), np.broadcast_to(np.array([200, 0, 0])[:, None, None], (3, 3, 4)))
    assert read_header(data).animated


def test_D5_one_bit_and_bilevel():
    bits = GREY > 127
    assert np.array_equal(decode_image(packed(Image.fromarray(bits), "PNG")), bits[None] * np.uint8(255))


def test_floating_point_pictures_are_refused():
    with pytest.raises(DataError, match="floating-point"):
        decode_image(packed(Image.fromarray(GREY.astype(np.float32)), "TIFF"))


def test_grey_of_equal_channels_is_exact():
    for value in range(256):
        data = packed(Image.new("RGB", (2, 2), (value,) * 3), "PNG")
        assert np.array_equal(decode_image(data, ImageSpec(1, 2, 2)), np.full((1, 2, 2), value))


def triangle_resample(rows: np.ndarray, start: float, length: float, size: int) -> np.ndarray:
    """Resample axis 0 of ``rows`` from [start, start + length) to ``size`` with an antialiasing triangle filter."""
    scale = length / size
    support = max(scale, 1.0)
    out = np.empty((size, *rows.shape[1:]))
    for i in range(size):
        centre = start + (i + 0.5) * scale
        low, high = max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), len(rows))
        weights = np.array([max(0.0, 1 - abs(j + 0.5 - centre) / support) for j in range(low, high)])
        out[i] = np.tensordot(weights / weights.sum(), rows[low:high], 1)
    return out


@pytest.mark.parametrize("height, width", [(40, 90), (90, 40), (9, 7), (64, 64), (1, 1), (1, 50)], ids=str)
@pytest.mark.parametrize("size", [(16, 16), (12, 20)], ids=str)
def test_D6_resize_fits_the_shorter_side_and_cuts_out_the_centre(height, width, size):
    array = RNG.integers(0, 256, (height, width, 3)).astype(np.uint8)
    scale = max(size[0] / height, size[1] / width)
    cut = (min(size[0] / scale, height), min(size[1] / scale, width))
    rows = triangle_resample(array.astype(float), (height - cut[0]) / 2, cut[0], size[0])
    expected = triangle_resample(rows.swapaxes(0, 1), (width - cut[1]) / 2, cut[1], size[1]).swapaxes(0, 1)
    got = decode_image(packed(Image.fromarray(array), "PNG"), ImageSpec(3, *size))
    assert got.shape == (3, *size)
    assert np.abs(got.transpose(1, 2, 0) - expected).max() <= 1.01  # Pillow rounds between the two passes
    if (height, width) == (40, 90):  # a window at the left edge, the obvious mistake, is told apart
        wrong = triangle_resample(rows.swapaxes(0, 1), 0, cut[1], size[1]).swapaxes(0, 1)
        assert np.abs(got.transpose(1, 2, 0) - wrong).max() > 20


def test_jpeg_decoded_at_reduced_size_is_close_to_the_full_one():
    y, x = np.mgrid[0:512, 0:640] / 512
    smooth = np.stack([255 * y, 127 + 127 * np.sin(9 * x), 255 * (1 - y) * x / x.max()], -1).astype(np.uint8)
    spec = ImageSpec(3, 32, 32)
    jpeg = decode_image(packed(Image.fromarray(smooth), "JPEG", quality=95), spec).astype(int)
    png = decode_image(packed(Image.fromarray(smooth), "PNG"), spec).astype(int)
    assert np.abs(jpeg - png).max() <= 6


def test_refit_equals_decoding_to_that_form():
    data = packed(Image.fromarray(COLOUR), "PNG")
    for spec in (ImageSpec(1, 5, 7), ImageSpec(3, 3, 3), ImageSpec(1, 9, 4)):
        assert np.array_equal(refit(decode_image(data), spec), decode_image(data, spec))


def png_header_only(width: int, height: int) -> bytes:
    """A PNG whose header is true and whose pixels are missing: to look at the pixels is to fail differently."""
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("width, height", [(20_000, 20_000), (7_072, 7_072), (2**31 - 1, 2**31 - 1)], ids=str)
@pytest.mark.parametrize("strict_warnings", [True, False], ids=["error", "default"])
def test_D7_S8_pixel_bombs_are_refused_by_their_header(width, height, strict_warnings):
    with warnings.catch_warnings(record=not strict_warnings) as seen:
        warnings.simplefilter("error" if strict_warnings else "always")
        with pytest.raises(DataError, match="allowed for one picture") as caught:
            decode_image(png_header_only(width, height))
    assert caught.value.exit_code == 3
    assert not seen


def test_D7_the_cap_can_be_raised():
    with pytest.raises(DataError, match=r"damaged|cut short"):  # past the cap, on to the missing pixels
        decode_image(png_header_only(7_072, 7_072), ImageSpec(1, 4, 4), max_pixels=60_000_000)
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(DataError, match=r"damaged|cut short"):
        decode_image(png_header_only(10_000, 10_000), ImageSpec(1, 4, 4), max_pixels=200_000_000)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_S9_other_formats_are_not_opened(tmp_path):
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    with pytest.raises(DataError, match="not a picture"):
        decode_image(postscript)
    for form in ("ICO", "TGA", "SGI", "JPEG2000", "DDS", "PDF"):
        try:
            data = packed(Image.fromarray(COLOUR), form)
        except (OSError, KeyError, ValueError):
            continue
        with pytest.raises(DataError):
            decode_image(data)


@pytest.mark.parametrize("seed", range(4))
def test_S9_random_damage_gives_a_picture_or_a_data_error(seed):
    rng = np.random.default_rng(seed)
    picture = Image.fromarray(COLOUR.repeat(9, 0).repeat(9, 1))
    base = [packed(picture, form) for form in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")]
    read = 0
    for data in base * 30:
        damaged = bytearray(data)
        for _ in range(rng.integers(1, 8)):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        damaged = damaged[: rng.integers(1, len(damaged) + 1)] if rng.random() < 0.3 else damaged
        with contextlib.suppress(DataError):
            read += decode_image(bytes(damaged), ImageSpec(3, 8, 8)).shape == (3, 8, 8)
    assert read  # damage to pixels alone need not be visible


def test_the_process_wide_settings_of_pillow_are_put_back_by_many_threads():
    data = packed(Image.fromarray(COLOUR), "PNG")
    before = (list(warnings.filters), Image.MAX_IMAGE_PIXELS)

    def read(i):
        return decode_image(data, max_pixels=(1 + i % 3) * 80_000_000).shape

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(read, range(200))) == {(3, 5, 7)}
    assert (list(warnings.filters), Image.MAX_IMAGE_PIXELS) == before
