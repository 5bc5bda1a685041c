"""D. Pictures."""

# ruff: noqa: E501 - a case is a row of a table

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from catalogue.case import Case, Make, Place, Said

FIT = "fit photos --model mlp"


def photos(place: Place) -> Path:
    return place.photos()


def with_file(name: str, data: bytes) -> Make:
    return lambda place: (photos(place), place.write(name, data))


def damaged(place: Place) -> None:
    root = photos(place)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = place.picture("photos/cat/cut.jpg", noise)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert root.is_dir()


def modes(place: Place) -> None:
    photos(place)
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    colour = Image.fromarray(noise)
    place.picture("photos/cat/palette.png", colour.convert("P"))
    place.picture("photos/cat/print.jpg", colour.convert("CMYK"))
    place.picture("photos/dog/clear.png", colour.convert("RGBA"))
    place.picture("photos/dog/deep.png", Image.fromarray(noise[:, :, 0].astype(np.uint16) * 257))
    place.picture("photos/dog/moving.gif", colour, save_all=True, append_images=[colour.convert("L").convert("RGB")])
    turned = Image.Exif()
    turned[0x0112] = 6
    place.picture("photos/dog/turned.jpg", colour, exif=turned)


def huge(place: Place) -> None:
    photos(place)
    place.picture("photos/cat/huge.png", Image.new("1", (20_000, 20_000)))


def twins(place: Place) -> None:
    photos(place)
    place.write("photos/dog/twin.png", (place.path / "photos/cat/3.png").read_bytes())


def case_twins(place: Place) -> None:
    place.photos(classes=("cat", "Cat"))


def strange_names(place: Place) -> None:
    place.photos(classes=("a..cat 猫", "=dog\u202e"))


def loop(place: Place) -> None:
    root = photos(place)
    (root / "cat" / "again").symlink_to(root, target_is_directory=True)


def black(place: Place) -> None:
    for name in ("cat", "dog"):
        for i in range(12):
            place.picture(f"photos/{name}/{i}.png", np.zeros((8, 8), np.uint8))


def vanishing(place: Place) -> None:
    """A picture goes away between the listing and the decoding."""
    photos(place)
    from lamina.data.images import folder

    before = folder._common_form

    def then_gone(*arguments: object) -> object:
        (place.path / "photos/cat/3.png").unlink(missing_ok=True)
        return before(*arguments)  # type: ignore[arg-type]

    place.patch.setattr(folder, "_common_form", then_gone)


def idx(magic: int = 2051, n: int = 10, promised: int = 10) -> bytes:
    return gzip.compress(struct.pack(">IIII", magic, promised, 28, 28) + bytes(28 * 28 * n))


def mnist(**changes: int) -> Make:
    def make(place: Place) -> None:
        place.write("data/mnist/train-images-idx3-ubyte.gz", idx(**changes))
        for name in ("train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
            place.write(f"data/mnist/{name}-ubyte.gz", gzip.compress(struct.pack(">II", 2049, 0)))

    return make


def no_bomb(place: Place, said: Said) -> None:
    assert not (place.path / "runs").exists()


def plain_name(place: Place, said: Said) -> None:
    assert sorted(os.listdir(place.path)) == ["photos", "runs"]


CASES = [
    Case("D1-empty-folder", lambda p: (p.path / "photos").mkdir(), FIT, 3, ["photos", "no class folders"], ["photos/cat/1.jpg"]),
    Case("D1-no-class-folders", lambda p: [p.picture(f"photos/{i}.png") for i in range(9)], FIT, 3,
         ["photos", "9 pictures but no class folders"], ["one folder for each class"]),
    Case("D1-empty-class", lambda p: (photos(p), (p.path / "photos/emu").mkdir()), FIT, 3, ["photos/emu", "no pictures"], ["end in"]),
    Case("D1-one-class", lambda p: p.photos(classes=("cat",)), FIT, 3, ["photos", 'only one class ("cat")'], ["one folder for each class"]),
    Case("D2-pictures-beside-folders", lambda p: (photos(p), [p.picture(f"photos/{i}.png") for i in range(4)]), FIT, 3,
         ["photos", "4 pictures lie beside", "0.png, 1.png, 2.png"], ["move them"]),
    Case("D3-cut-jpeg", damaged, FIT, 3, ["photos/cat/cut.jpg", "cut short", "%"], ["--skip-bad"]),
    Case("D3-skipped", damaged, FIT + " --skip-bad", 0, ["1 damaged pictures left out", "cut.jpg"]),
    Case("D4-no-bytes", with_file("photos/cat/none.png", b""), FIT, 3, ["photos/cat/none.png", "empty"], ["--skip-bad"]),
    Case("D4-text-named-jpg", with_file("photos/cat/text.jpg", b"hello"), FIT, 3, ["photos/cat/text.jpg", "not a picture"], ["--skip-bad"]),
    Case("D4-system-files", with_file("photos/cat/.DS_Store", b"\0\0"), FIT, 0, silent=["DS_Store"]),
    Case("D4-thumbs-db", with_file("photos/cat/Thumbs.db", b"\0\0"), FIT, 0, silent=["Thumbs"]),
    Case("D5-all-kinds-of-pixels", modes, FIT, 0, ["transparency", "16 bits", "several frames", "EXIF", "red, green, blue"]),
    Case("D6-sizes-differ", lambda p: (photos(p), p.picture("photos/cat/wide.png", np.zeros((9, 30), np.uint8))), FIT, 0,
         ["2 sizes", "resized to 8 x 8", "centre cut out"]),
    Case("D7-one-pixel", lambda p: p.photos(side=1), FIT, 0, ["1 x 1 pixels"]),
    Case("D7-one-pixel-resnet", lambda p: p.photos(side=1), "fit photos --epochs 1 --threads 1 --set width=2", 0, ["1 x 1 pixels"], fast=False),
    Case("D7-400-megapixels", huge, FIT, 3, ["photos/cat/huge.png", "50,000,000 allowed"], ["smaller"], after=no_bomb),
    Case("D8-same-picture-in-two-classes", twins, FIT, 0, ["W-CONFLICT", "cat/3.png", "dog/twin.png"]),
    Case("D9-vanishes", vanishing, FIT, 3, ["photos/cat/3.png", "gone"], ["put it back"], changed=["photos/cat/3.png"]),
    Case("D12-strange-names", strange_names, FIT, 0, ["2 classes"], after=plain_name),
    Case("D12-case-twins", case_twins, FIT, 3, ['"Cat" and "cat"', "differ only by case"], ["rename"]),
    Case("D13-wrong-content", mnist(), "fit mnist --data-dir data --model mlp", 3, ["train-images-idx3-ubyte.gz"], ["delete the file"]),
    Case("D14-link-loop", loop, FIT, 0, ["1 links lead back", "not followed"]),
    Case("D15-all-black", black, FIT, 0, ["24 pictures"]),
]  # fmt: skip
