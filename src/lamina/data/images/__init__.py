"""Pictures: read from folders and files, brought to one form, normalised and augmented in batches.

The names are resolved on first use, because two of them need torch and reading pictures does not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamina.data.images.augment import Augment
    from lamina.data.images.decode import decode_image
    from lamina.data.images.folder import read_image_files, read_image_folder
    from lamina.data.images.imageset import ImageSet
    from lamina.data.images.prepare import ImagePreparation, ImageReport

__all__ = [
    "Augment",
    "ImagePreparation",
    "ImageReport",
    "ImageSet",
    "decode_image",
    "read_image_files",
    "read_image_folder",
]

_HOMES = {
    "Augment": "augment",
    "ImagePreparation": "prepare",
    "ImageReport": "prepare",
    "ImageSet": "imageset",
    "decode_image": "decode",
    "read_image_files": "folder",
    "read_image_folder": "folder",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
