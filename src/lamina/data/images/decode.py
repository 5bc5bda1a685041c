"""One picture file to an array: the same conversions at fit and at predict.

Whatever the file holds, the result is 8-bit grey (1, H, W) or colour (3, H, W):

* turned as its EXIF orientation says; of an animation or a multi-page file the first frame;
* 16 bits a channel: v // 257 rounded, so 65535 gives 255; palettes, CMYK, YCbCr, LAB, HSV: to red, green, blue;
* transparency: laid over white;
* colour to grey: ITU-R 601 luma, exact for pictures whose three channels are equal;
* another size: the shorter side is fitted, the centre cut out, with an antialiasing bilinear filter.

The formats are limited to seven, and a picture is refused by the size in its header before anything is decoded.
"""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from lamina.data.spec import ImageSpec
from lamina.errors import DataError, MachineError, shown

MAX_PIXELS = 50_000_000
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
SUFFIXES = frozenset({
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp",
    ".ppm", ".pgm", ".pbm", ".pnm",
})  # fmt: skip

_ORIENTATION = 0x0112  # the EXIF tag
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L"})
_MEND_DAMAGED = "delete the file, or leave damaged pictures out: --skip-bad"
_CUT = ("truncated", "broken data stream", "unexpected end", "not enough image data", "buffer is not large enough")
_JPEG_END = b"\xff\xd9"


class CutShort(DataError):
    """A picture whose file ends before its pixels do."""


@dataclass(frozen=True)
class Header:
    """What a picture file says of itself before it is decoded.

    Args:
        height: Rows, after the EXIF turn.
        width: Columns, after the EXIF turn.
        mode: Pillow's name of the pixel format.
        turned: Whether EXIF asks for a turn or a mirror image.
        animated: Whether there is more than one frame or page.
        transparent: Whether there is an alpha channel or a transparent colour.
    """

    height: int
    width: int
    mode: str
    turned: bool
    animated: bool
    transparent: bool

    @property
    def grey(self) -> bool:
        """Whether the pixel format has no colour."""
        return self.mode in _GREY_MODES


class _Limits:
    # Pillow's limit and Python's warnings belong to the whole process: the first to come in sets them, the last to
    # leave puts them back, however many threads read pictures in between.
    lock = threading.Lock()
    inside = 0
    undo = ExitStack()

    @classmethod
    def enter(cls, max_pixels: int) -> None:
        with cls.lock:
            if cls.inside == 0:
                cls.undo.enter_context(warnings.catch_warnings())
                cls.undo.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
                warnings.filterwarnings("ignore", module=r"PIL\.")  # damaged metadata; damaged pixels raise
                warnings.simplefilter("error", Image.DecompressionBombWarning)
            cls.inside += 1
            if Image.MAX_IMAGE_PIXELS is not None and max_pixels > Image.MAX_IMAGE_PIXELS:
                Image.MAX_IMAGE_PIXELS = max_pixels

    @classmethod
    def leave(cls) -> None:
        with cls.lock:
            cls.inside -= 1
            if cls.inside == 0:
                cls.undo.close()


@contextmanager
def pillow_limits(max_pixels: int) -> Iterator[None]:
    """Make Pillow's pixel warning an error, and silence its others, while pictures are read (once for all threads).

    Args:
        max_pixels: The cap in force; Pillow's own limit is lifted only where this one is higher.
    """
    _Limits.enter(max_pixels)
    try:
        yield
    finally:
        _Limits.leave()


def decode_image(
    source: bytes | str | os.PathLike[str],
    spec: ImageSpec | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
    name: str = "",
) -> NDArray[np.uint8]:
    """Decode one picture.

    Args:
        source: The file's bytes, or its path.
        spec: The form wanted; None keeps the file's own size, and grey where the file is grey.
        max_pixels: Refuse a picture of more pixels than this, by its header.
        name: What messages call it; the path by default.

    Returns:
        ``uint8`` (C, H, W).

    Raises:
        DataError: If it is empty, no picture, cut short, damaged, or too large.
        MachineError: If the file may not be read.
    """  # noqa: DOC501, DOC502
    with pillow_limits(max_pixels):
        try:
            return decode(source, spec, max_pixels=max_pixels, name=name)
        except CutShort as error:
            raise explained(error, source) from error


def read_header(source: bytes | str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS, name: str = "") -> Header:
    """Read the size and form of a picture without decoding it (call it under ``pillow_limits``).

    Returns:
        Its header.

    Raises:
        DataError: If it is empty, no picture, or too large.
        MachineError: If the file may not be read.
    """  # noqa: DOC502
    called = name or _called(source)
    with _opened(source, called, max_pixels) as picture:
        turn = _orientation(picture)
        height, width = picture.height, picture.width
        if turn >= 5:
            height, width = width, height
        return Header(
            height,
            width,
            picture.mode,
            turned=turn > 1,
            animated=_animated(picture),
            transparent=picture.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in picture.info,
        )


def decode(
    source: bytes | str | os.PathLike[str], spec: ImageSpec | None, *, max_pixels: int = MAX_PIXELS, name: str = ""
) -> NDArray[np.uint8]:
    """As ``decode_image``, for many threads at once: call it under ``pillow_limits``.

    Returns:
        ``uint8`` (C, H, W).

    Raises:
        DataError: If it is empty, no picture, cut short, damaged, or too large.
        MachineError: If the file may not be read.
    """  # noqa: DOC501
    called = name or _called(source)
    with _opened(source, called, max_pixels) as picture:
        try:
            if spec is not None and picture.format == "JPEG":
                # libjpeg decodes at 1/2, 1/4 or 1/8 for a fraction of the cost; twice the size wanted keeps detail.
                wanted = 2 * max(spec.height, spec.width)
                picture.draft(None, (wanted, wanted))
            picture.load()
            return to_array(_plain(picture, called), spec)
        except DataError:
            raise
        except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError) as error:
            raise _damaged(error, called) from error
        except (ArithmeticError, AttributeError, RuntimeError, NotImplementedError) as error:
            raise _damaged(error, called) from error
        except MemoryError as error:
            raise MachineError(
                f"not enough memory to decode {picture.width} x {picture.height} pixels",
                where=called,
                mend="leave the picture out or make it smaller",
            ) from error


def to_array(picture: Image.Image, spec: ImageSpec | None) -> NDArray[np.uint8]:
    """Bring an ``L`` or ``RGB`` picture to the form of ``spec``.

    Returns:
        ``uint8`` (C, H, W), its own copy.
    """
    if spec is not None:
        picture = _fitted(picture, spec.height, spec.width)
        picture = picture if picture.mode == ("L" if spec.channels == 1 else "RGB") else picture.convert(
            "L" if spec.channels == 1 else "RGB"
        )  # fmt: skip
    array = np.array(picture, dtype=np.uint8)
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))


def refit(pixels: NDArray[np.uint8], spec: ImageSpec) -> NDArray[np.uint8]:
    """Bring a decoded picture (C, H, W) to another form by the rules of this file.

    Returns:
        ``uint8`` (spec.channels, spec.height, spec.width).
    """
    if pixels.shape == (spec.channels, spec.height, spec.width):
        return pixels
    array = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    return to_array(Image.fromarray(np.ascontiguousarray(array)), spec)


def _fitted(picture: Image.Image, height: int, width: int) -> Image.Image:
    # Fit the shorter side and cut out the centre, in one resampling.
    if (picture.height, picture.width) == (height, width):
        return picture
    scale = max(height / picture.height, width / picture.width)
    cut_h, cut_w = min(height / scale, picture.height), min(width / scale, picture.width)
    top, left = (picture.height - cut_h) / 2, (picture.width - cut_w) / 2
    box = (left, top, left + cut_w, top + cut_h)
    return picture.resize((width, height), Image.Resampling.BILINEAR, box=box)


def _plain(picture: Image.Image, called: str) -> Image.Image:
    # Turn a loaded picture upright and reduce its pixel format to ``L`` or ``RGB``.
    if _orientation(picture) > 1:
        picture = ImageOps.exif_transpose(picture)
    mode = picture.mode
    if mode.startswith("I"):
        return _from_16_bit(picture, called)
    if mode == "F":
        raise DataError(
            "its pixels are floating-point numbers", where=called, mend="save it with 8 or 16 bits a channel"
        )
    if "transparency" in picture.info or mode in {"RGBA", "LA", "PA", "RGBa", "La"}:
        grey = mode in {"L", "LA", "La", "1"}
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(white, picture).convert("RGB")
        return picture.convert("L") if grey else picture
    if mode in {"L", "RGB"}:
        return picture
    return picture.convert("L" if mode == "1" else "RGB")


def _from_16_bit(picture: Image.Image, called: str) -> Image.Image:
    # Scale 16-bit grey to 8 bits; Pillow's own conversion would cut off at 255.
    values: NDArray[np.int64] = np.asarray(picture).astype(np.int64)
    if values.size and (values.min() < 0 or values.max() > 65535):
        raise DataError(
            f"its grey levels run from {values.min()} to {values.max()}, beyond 16 bits",
            where=called,
            mend="save it with 8 or 16 bits a channel",
        )
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _orientation(picture: Image.Image) -> int:
    try:
        turn = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF is no reason to lose a sound picture
        return 1
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1


def _animated(picture: ImageFile.ImageFile) -> bool:
    try:
        return bool(getattr(picture, "is_animated", False))
    except Exception:  # damage beyond the first frame does not matter: only the first is used
        return False


def _called(source: bytes | str | os.PathLike[str]) -> str:
    return "picture" if isinstance(source, bytes) else shown(os.fspath(source), 200)


@contextmanager
def _opened(source: bytes | str | os.PathLike[str], called: str, max_pixels: int) -> Iterator[ImageFile.ImageFile]:
    # Open a picture and read its header; refuse what is no picture and what is too large.
    try:
        stream: IO[bytes] = io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb")  # noqa: SIM115
    except FileNotFoundError as error:
        raise DataError("the file is gone", where=called, mend="put it back, or list the folder anew") from error
    except OSError as error:
        raise MachineError(
            f"cannot be read ({error.strerror or error})", where=called, mend="check the file's permissions"
        ) from error
    with stream:
        try:
            picture = Image.open(stream, formats=FORMATS)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise _too_large("more than Pillow's limit", called, max_pixels) from error
        except UnidentifiedImageError as error:
            raise _no_picture(stream, called) from error
        except Exception as error:  # a decoder met something that it was not written for
            raise _damaged(error, called) from error
        with picture:
            if picture.width * picture.height > max_pixels:
                raise _too_large(f"{picture.width:,} x {picture.height:,} pixels", called, max_pixels)
            yield picture


def _too_large(size: str, called: str, max_pixels: int) -> DataError:
    return DataError(
        f"{size}, more than the {max_pixels:,} allowed for one picture",
        where=called,
        mend="make it smaller, leave it out, or raise max_pixels if you trust its source",
    )


def _no_picture(stream: IO[bytes], called: str) -> DataError:
    stream.seek(0)
    start = stream.read(24)
    if not start:
        what = "the file is empty (0 bytes)"
    else:
        what = f"not a picture that can be read (it begins with {shown(start.decode('latin-1'), 40)!r})"
    return DataError(what, where=called, mend=_MEND_DAMAGED)


def _damaged(error: Exception, called: str) -> DataError:
    text = str(error).lower()
    if isinstance(error, EOFError) or any(sign in text for sign in _CUT):
        return CutShort("cut short", where=called, mend=_MEND_DAMAGED)
    return DataError(f"damaged ({shown(error)})", where=called, mend=_MEND_DAMAGED)


def explained(error: DataError, source: bytes | str | os.PathLike[str]) -> DataError:
    """Say of a JPEG that was cut short how much of it is there.

    With an end-of-image mark put at the cut libjpeg decodes what there is, and fills the rest with one colour.

    Returns:
        ``error`` itself where there is nothing to add.
    """
    if not isinstance(error, CutShort):
        return error
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        with pillow_limits(0), Image.open(io.BytesIO(data + _JPEG_END), formats=("JPEG",)) as picture:
            array = np.asarray(picture.convert("RGB"))
    except Exception:
        return error
    if (array[-1] != array[-1, 0]).any():
        return error
    present = len(array) - int((array != array[-1]).any(axis=(1, 2))[::-1].argmax())
    if present == len(array):
        return error
    what = f"cut short (the picture ends after {present / len(array):.0%} of its rows)"
    return CutShort(what, where=error.where, mend=error.mend)
