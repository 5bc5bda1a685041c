"""Folders of pictures: the image part of the bad-input catalogue."""

import multiprocessing
import os
import threading

import numpy as np
import pytest
from PIL import Image

from lamina.data.images import folder as folder_module
from lamina.data.images.folder import read_image_files, read_image_folder
from lamina.data.spec import ImageSpec
from lamina.errors import ConfigError, DataError, MachineError

RNG = np.random.default_rng(1)


def save(path, array=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = RNG.integers(0, 256, (8, 8), dtype=np.uint8) if array is None else array
    Image.fromarray(array).save(path, **options)
    return array


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / "photos"
    for name in ("cat", "dog"):
        for i in range(3):
            save(root / name / f"{i}.png")
    return root


def refusal(path, **options):
    with pytest.raises(DataError) as caught:
        read_image_folder(path, **options)
    assert caught.value.exit_code == 3
    assert caught.value.mend
    return str(caught.value), caught.value.mend


def test_class_folders(photos):
    arrays = {
        f"{name}/{i}.png": np.asarray(Image.open(photos / name / f"{i}.png"))
        for name in ("cat", "dog")
        for i in range(3)
    }
    images = read_image_folder(photos)
    assert images.name == "photos"
    assert images.classes == ("cat", "dog")
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert images.paths == tuple(arrays)
    assert images.part is None
    assert np.array_equal(images.pixels, np.stack(list(arrays.values()))[:, None])
    assert images.notes == ()
    assert images.warnings == ()
    assert not images.pixels.flags.writeable


@pytest.mark.parametrize("valid", ["valid", "val", "validation"])
def test_part_folders(tmp_path, valid):
    for part in ("train", valid, "test"):
        for name in ("b", "a"):
            save(tmp_path / part / name / "1.png")
    images = read_image_folder(tmp_path)
    assert images.part.tolist() == [0, 0, 1, 1, 2, 2]
    assert images.labels.tolist() == [0, 1] * 3
    assert images.paths[0] == "train/a/1.png"
    for part in ("test", valid):
        assert set(images.take(images.part == {"test": 2}.get(part, 1)).paths) == {f"{part}/a/1.png", f"{part}/b/1.png"}


def test_a_class_called_train_is_a_class(tmp_path):
    for name in ("train", "bus"):
        save(tmp_path / name / "1.png")
    assert read_image_folder(tmp_path).classes == ("bus", "train")


def test_C4_class_without_training_pictures(tmp_path):
    for place in ("train/a", "train/b", "test/a", "test/c"):
        save(tmp_path / place / "1.png")
    what, _ = refusal(tmp_path)
    assert "class c has no folder in train/" in what


def test_two_validation_folders(tmp_path):
    for place in ("train/a", "train/b", "val/a", "valid/a"):
        save(tmp_path / place / "1.png")
    assert "both mean the valid part" in refusal(tmp_path)[0]


class TestD1Empty:
    def test_D1_missing_folder(self, tmp_path):
        assert "no such folder" in refusal(tmp_path / "photoz")[0]

    def test_D1_a_file(self, tmp_path):
        (tmp_path / "x.png").write_bytes(b"")
        assert "not a folder" in refusal(tmp_path / "x.png")[0]

    def test_D1_empty_folder(self, tmp_path):
        assert "holds no class folders" in refusal(tmp_path)[0]

    def test_D1_pictures_without_class_folders(self, tmp_path):
        save(tmp_path / "1.png")
        assert "1 pictures but no class folders" in refusal(tmp_path)[0]

    def test_D1_empty_class_folder_is_named(self, photos):
        (photos / "emu").mkdir()
        (photos / "emu" / ".hidden.png").write_bytes(b"")
        what, _ = refusal(photos)
        assert "photos/emu" in what
        assert "holds no pictures" in what

    def test_D1_empty_part(self, tmp_path):
        save(tmp_path / "train" / "a" / "1.png")
        save(tmp_path / "train" / "b" / "1.png")
        (tmp_path / "test").mkdir()
        assert f"{tmp_path}/test: holds no class folders" in refusal(tmp_path)[0]

    def test_C2_one_class_folder(self, tmp_path):
        save(tmp_path / "all" / "cat" / "1.png")
        save(tmp_path / "all" / "dog" / "1.png")
        what, mend = refusal(tmp_path)
        assert 'only one class ("all")' in what
        assert f"give {tmp_path / 'all'} instead" in mend
        assert read_image_folder(tmp_path, min_classes=1).classes == ("all",)


def test_D2_pictures_beside_folders_lists_three(photos):
    for i in range(5):
        save(photos / f"loose{i}.png")
    what, mend = refusal(photos)
    assert "5 pictures lie beside the class folders (loose0.png, loose1.png, loose2.png, ...)" in what
    assert "cat, dog" in mend


class TestD3D4Bad:
    def cut(self, photos, share, form="JPEG", name="0013.jpg"):
        smooth = np.full((200, 200, 3), 200, np.uint8)
        smooth[..., 1] = RNG.integers(100, 255, (200, 200))
        whole = photos / "cat" / name
        save(whole, smooth, format=form)
        data = whole.read_bytes()
        whole.write_bytes(data[: int(len(data) * share)])

    @pytest.mark.parametrize("share", [0.4, 0.8])
    def test_D3_truncated_jpeg_says_how_much_is_there(self, photos, share):
        self.cut(photos, share)
        what, mend = refusal(photos)
        assert "photos/cat/0013.jpg: cut short (the picture ends after " in what
        rows = int(what.split("after ")[1].split("%")[0])
        assert abs(rows - 100 * share) <= 8
        assert "--skip-bad" in mend

    @pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "GIF", "PPM", "WEBP"])
    @pytest.mark.parametrize("share", [0.3, 0.9])
    def test_D3_truncated_in_other_formats(self, photos, form, share):
        self.cut(photos, share, form, f"0013.{form.lower()}")
        what, _ = refusal(photos)
        assert f"photos/cat/0013.{form.lower()}: " in what
        assert "cut short" in what or "damaged" in what or "not a picture" in what

    def test_D3_truncated_in_the_header(self, photos):
        self.cut(photos, 0.003)
        assert "0013.jpg" in refusal(photos)[0]

    def test_D3_skip_bad_counts(self, photos):
        self.cut(photos, 0.5)
        (photos / "dog" / "9.png").write_bytes(b"")
        images = read_image_folder(photos, skip_bad=True)
        assert len(images) == 6
        assert not any("0013" in path or "9.png" in path for path in images.paths)
        assert images.labels.tolist() == [0, 0, 0, 1, 1, 1]
        (note,) = [note for note in images.notes if "left out" in note]
        assert note.startswith("2 damaged pictures left out: ")
        assert "0013.jpg" in note
        assert "9.png" in note
        clean = [np.asarray(Image.open(photos / path).resize(images.pixels.shape[:1:-1])) for path in images.paths]
        assert len(clean) == 6

    def test_D3_skip_bad_keeps_rows_together(self, photos):
        expected = read_image_folder(photos, size=8).pixels
        self.cut(photos, 0.5, name="00.jpg")  # sorts between the sound ones
        images = read_image_folder(photos, size=8, skip_bad=True)
        grey = images.pixels
        assert np.array_equal(grey, expected)

    def test_D3_no_sound_picture_left(self, photos):
        for i in range(3):
            (photos / "dog" / f"{i}.png").write_bytes(b"no")
        what, _ = refusal(photos, skip_bad=True)
        assert 'no sound picture is left of class "dog"' in what

    def test_D4_empty_file(self, photos):
        (photos / "cat" / "a.jpg").write_bytes(b"")
        assert "photos/cat/a.jpg: the file is empty (0 bytes)" in refusal(photos)[0]

    def test_D4_text_named_jpg(self, photos):
        (photos / "cat" / "a.jpg").write_text("Hello,\x1b[31m this is text")
        what, _ = refusal(photos)
        assert "cat/a.jpg: not a picture that can be read (it begins with 'Hello,\\\\x1b[31m" in what
        assert "\x1b" not in what

    def test_D4_first_bad_file_in_order_is_named(self, photos):
        for name in ("z", "a", "m"):
            (photos / "cat" / f"{name}.jpg").write_bytes(b"")
        assert "cat/a.jpg" in refusal(photos)[0]

    def test_D4_system_files_are_passed_over(self, photos):
        before = read_image_folder(photos).fingerprint()
        for name in (
            ".DS_Store",
            "Thumbs.db",
            "desktop.ini",
            "._1.png",
            "cat/Thumbs.db",
            "cat/.DS_Store",
            "dog/._2.png",
        ):
            (photos / name).write_bytes(b"\0")
        (photos / "__MACOSX" / "cat").mkdir(parents=True)
        (photos / ".git").mkdir()
        images = read_image_folder(photos)
        assert images.fingerprint() == before
        assert images.notes == ()

    def test_D4_other_files_are_noted(self, photos):
        (photos / "cat" / "notes.txt").write_text("x")
        assert read_image_folder(photos).notes == ("1 files left out, no pictures by their ending: cat/notes.txt",)

    def test_a_pipe_is_not_opened(self, photos):
        os.mkfifo(photos / "cat" / "pipe.png")
        assert len(read_image_folder(photos)) == 6  # to open it would wait for ever

    def test_permission_is_the_machines_fault(self, photos, monkeypatch):
        monkeypatch.setattr(
            "pathlib.Path.open", lambda *a, **k: (_ for _ in ()).throw(PermissionError(13, "Permission denied"))
        )
        with pytest.raises(MachineError, match="Permission denied") as caught:
            read_image_folder(photos, skip_bad=True)
        assert caught.value.exit_code == 5


def test_D5_converted_alike_in_fit_and_predict_and_said_once(tmp_path):
    grey = RNG.integers(0, 256, (12, 12), dtype=np.uint8)
    picture = Image.fromarray(RNG.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a" / "turned.jpg", exif=exif)
    picture.convert("P").save(tmp_path / "a" / "palette.png")
    picture.convert("CMYK").save(tmp_path / "a" / "cmyk.jpg")
    picture.convert("RGBA").save(tmp_path / "b" / "rgba.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "b" / "sixteen.png")
    picture.save(tmp_path / "b" / "moving.gif", save_all=True, append_images=[picture.rotate(90)])
    images = read_image_folder(tmp_path)
    notes = " | ".join(images.notes)
    for said in ("1 pictures turned upright", "1 pictures with transparency", "1 pictures with several frames",
                 "1 pictures of 16 bits", "1 pictures converted to red, green, blue",
                 "1 pictures that are grey"):  # fmt: skip
        assert notes.count(said) == 1, (said, notes)
    again = read_image_files(tmp_path, ImageSpec(*images.pixels.shape[1:]))
    assert again.paths == images.paths
    assert np.array_equal(again.pixels, images.pixels)
    assert again.labels is None
    row = images.paths.index("b/sixteen.png")
    assert np.array_equal(images.pixels[row], np.stack([grey] * 3))


class TestD6Sizes:
    @pytest.fixture
    def mixed(self, tmp_path):
        sizes = [(30, 20), (100, 400), (40, 40), (50, 60)]
        for i, (height, width) in enumerate(sizes):
            save(tmp_path / "ab"[i % 2] / f"{i}.png", RNG.integers(0, 256, (height, width, 3), dtype=np.uint8))
        return tmp_path

    def test_D6_rule_is_said(self, mixed):
        images = read_image_folder(mixed)
        assert images.pixels.shape == (4, 3, 45, 45)  # the median of 20, 40, 50, 100
        assert (
            "4 sizes from 20 x 30 to 400 x 100: resized to 45 x 45, shorter side fitted, centre cut out" in images.notes
        )

    def test_D6_large_ones_stop_at_the_default(self, tmp_path):
        for i, side in enumerate((200, 300)):
            save(tmp_path / "ab"[i] / "x.png", RNG.integers(0, 256, (side, side), dtype=np.uint8))
        assert read_image_folder(tmp_path).pixels.shape == (2, 1, 64, 64)

    def test_D6_size_asked_for(self, mixed):
        assert read_image_folder(mixed, size=24).pixels.shape == (4, 3, 24, 24)
        assert read_image_folder(mixed, size=(16, 24)).pixels.shape == (4, 3, 16, 24)
        with pytest.raises(ConfigError, match="at least 1"):
            read_image_folder(mixed, size=0)

    def test_D6_equal_sizes_are_kept(self, tmp_path):
        for name in "ab":
            save(tmp_path / name / "x.png", RNG.integers(0, 256, (150, 70), dtype=np.uint8))
        images = read_image_folder(tmp_path)
        assert images.pixels.shape == (2, 1, 150, 70)
        assert "a smaller size trains faster" in images.notes[0]


def test_grey_stored_as_colour_is_grey(tmp_path):
    grey = RNG.integers(0, 256, (9, 9), dtype=np.uint8)
    for name in "ab":
        save(tmp_path / name / "x.png", np.stack([grey] * 3, -1))
    images = read_image_folder(tmp_path)
    assert np.array_equal(images.pixels, np.stack([grey, grey])[:, None])
    assert any("one channel is used" in note for note in images.notes)
    again = read_image_files(tmp_path, ImageSpec(1, 9, 9))
    assert np.array_equal(again.pixels, images.pixels)


def test_one_colour_pixel_keeps_the_colour(tmp_path):
    grey = RNG.integers(0, 256, (9, 9), dtype=np.uint8)
    colour = np.stack([grey] * 3, -1)
    save(tmp_path / "a" / "x.png", colour)
    colour[4, 4, 2] ^= 1
    save(tmp_path / "b" / "x.png", colour)
    assert read_image_folder(tmp_path).pixels.shape[1] == 3


def test_D7_one_pixel_works_and_giants_are_refused(tmp_path):
    for name in "ab":
        save(tmp_path / name / "x.png", np.array([[7]], np.uint8))
    assert read_image_folder(tmp_path).pixels.shape == (2, 1, 1, 1)
    save(tmp_path / "a" / "y.png", np.zeros((100, 100), np.uint8))
    what, _ = refusal(tmp_path, max_pixels=9_999)
    assert "a/y.png: 100 x 100 pixels, more than the 9,999 allowed" in what
    assert len(read_image_folder(tmp_path, max_pixels=9_999, skip_bad=True)) == 2


def test_D8_same_picture_in_two_classes(photos):
    array = save(photos / "cat" / "twin.png")
    save(photos / "dog" / "other.bmp", array)
    (warning,) = read_image_folder(photos).warnings
    assert warning == "W-CONFLICT 1 pictures lie in two classes: cat/twin.png = dog/other.bmp"
    save(photos / "cat" / "twin2.png", array)
    assert "W-CONFLICT 1 pictures" in read_image_folder(photos).warnings[0]


def test_equal_pictures_in_one_class_are_no_conflict(photos):
    save(photos / "cat" / "b.png", save(photos / "cat" / "a.png"))
    assert read_image_folder(photos).warnings == ()


def test_C28_test_pictures_that_are_in_train(tmp_path):
    for place in ("train/a", "train/b", "test/b"):
        save(tmp_path / place / "1.png")
    save(tmp_path / "test" / "a" / "1.png", np.asarray(Image.open(tmp_path / "train" / "a" / "1.png")))
    assert read_image_folder(tmp_path).warnings == (
        "W-DUP 1 pictures of the test part are also in train: test/a/1.png",
    )


def test_twins_within_one_part_are_no_leak(tmp_path):
    for place in ("train/a", "train/b", "test/a", "test/b"):
        save(tmp_path / place / "1.png")
    for part in ("train", "test"):
        save(tmp_path / part / "a" / "2.png", np.asarray(Image.open(tmp_path / part / "a" / "1.png")))
    assert read_image_folder(tmp_path).warnings == ()


def test_D9_file_vanishes_while_being_read(photos, monkeypatch):
    real = folder_module.decode

    def decode(source, *args, **options):
        if str(source).endswith("dog/1.png"):
            os.unlink(source)
        return real(source, *args, **options)

    monkeypatch.setattr(folder_module, "decode", decode)
    assert "photos/dog/1.png: the file is gone" in refusal(photos)[0]


def test_D10_D11_no_worker_process_and_no_thread_is_left(photos):
    before = threading.active_count()
    read_image_folder(photos)
    assert multiprocessing.active_children() == []
    assert threading.active_count() == before


@pytest.mark.parametrize(
    "names", [("a b", "ü"), ("日本", "x..y"), ("con", "<script>alert(1)</script>"), ("=1+1", "x\ty")], ids=str
)
def test_D12_class_names_are_kept_as_text(tmp_path, names):
    for name in names:
        if "/" in name:
            name = name.replace("/", "∕")
        save(tmp_path / name / "1.png")
    images = read_image_folder(tmp_path)
    assert set(images.classes) == {name.replace("/", "∕") for name in names}


@pytest.mark.parametrize(
    "twins", [("Cat", "cat"), ("straße", "STRASSE"), ("\u00e9", "e\u0301")], ids=["case", "sharp-s", "accent"]
)
def test_D12_twins_on_a_case_blind_disk_are_refused(tmp_path, twins):
    for name in twins:
        save(tmp_path / name / "1.png")
    assert "differ only by case or accent form" in refusal(tmp_path)[0]


def test_D12_name_that_is_not_utf8(tmp_path):
    os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")
    save(tmp_path / "b" / "1.png")
    what, _ = refusal(tmp_path)
    assert "not UTF-8" in what
    what.encode()


def test_file_names_that_are_not_utf8_are_readable_and_printable(photos):
    os.rename(photos / "cat" / "0.png", os.fsencode(photos) + b"/cat/caf\xe9.png")
    images = read_image_folder(photos)
    assert "cat/caf\\xe9.png" in images.paths
    "".join(images.paths).encode()


def test_D14_symlink_loop_is_cut_and_said(photos):
    (photos / "cat" / "again").symlink_to(photos / "cat")
    (photos / "cat" / "up").symlink_to(photos)
    (photos / "cat" / "side").symlink_to(photos / "dog")
    images = read_image_folder(photos)
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert images.notes == ("3 links lead back into the folder and were not followed: cat/again, cat/side, cat/up",)


@pytest.mark.parametrize("target", ["", "train", "test", "test/a", "train/b"])
def test_D14_links_do_not_carry_pictures_over_to_another_part(tmp_path, target):
    for place in ("train/a", "train/b", "test/a", "test/b"):
        save(tmp_path / place / "1.png")
    (tmp_path / "train" / "a" / "link").symlink_to(tmp_path / target)
    images = read_image_folder(tmp_path)
    assert images.paths == ("train/a/1.png", "train/b/1.png", "test/a/1.png", "test/b/1.png")
    assert images.notes == ("1 links lead back into the folder and were not followed: train/a/link",)


def test_D14_subfolders_and_dangling_links(photos, tmp_path):
    save(photos / "cat" / "2024" / "may" / "9.png")
    save(tmp_path / "elsewhere" / "8.png")
    (photos / "dog" / "album").symlink_to(tmp_path / "elsewhere")
    (photos / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    images = read_image_folder(photos)
    assert {"cat/2024/may/9.png", "dog/album/8.png"} <= set(images.paths)
    assert "dog/gone.png" in images.notes[0]


def test_D14_many_files_are_listed_quickly(tmp_path):
    from lamina.data.images.listing import list_classes

    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(3000):
            (tmp_path / name / f"{i:05}.png").touch()
    listing = list_classes(tmp_path)
    assert len(listing.files) == 6000
    assert listing.shown[:2] == ["a/00000.png", "a/00001.png"]
    assert listing.labels == [0] * 3000 + [1] * 3000


def test_D15_all_black_pictures(tmp_path):
    from lamina.data.images.prepare import ImagePreparation

    for name in "ab":
        save(tmp_path / name / "x.png", np.zeros((4, 4), np.uint8))
    images = read_image_folder(tmp_path)
    assert images.warnings[0].startswith("W-CONFLICT")
    preparation = ImagePreparation.fit(images)
    assert preparation.std.tolist() == [1.0]
    assert "divided by 1" in preparation.notes[0]


class TestMemory:
    def test_pixels_beyond_the_limit_go_to_the_cache_folder(self, photos, tmp_path):
        inside = read_image_folder(photos)
        cache = tmp_path / "new" / "cache"
        outside = read_image_folder(photos, memory_limit=100, cache=cache)
        assert isinstance(outside.pixels, np.memmap)
        assert outside.fingerprint() == inside.fingerprint()
        assert [p.name for p in cache.iterdir()] == ["pixels.npy"]
        assert "pixels.npy" in outside.notes[-1]
        with pytest.raises(ValueError, match="read-only"):
            outside.pixels[0, 0, 0, 0] = 1
        save(photos / "cat" / "0.png")
        again = read_image_folder(photos, memory_limit=100, cache=cache)  # while the first is still in use
        assert outside.fingerprint() == inside.fingerprint() != again.fingerprint()

    def test_skipping_in_the_file_too(self, photos, tmp_path):
        expected = read_image_folder(photos)
        (photos / "cat" / "00.png").write_bytes((photos / "cat" / "0.png").read_bytes()[:-60])
        outside = read_image_folder(photos, memory_limit=100, cache=tmp_path / "c", skip_bad=True)
        assert np.array_equal(outside.pixels, expected.pixels)

    def test_no_cache_folder(self, photos):
        with pytest.raises(MachineError, match="memory for them") as caught:
            read_image_folder(photos, memory_limit=100)
        assert caught.value.mend

    def test_cache_folder_cannot_be_written(self, photos, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(MachineError, match="cannot take them"):
            read_image_folder(photos, memory_limit=100, cache=tmp_path / "file")


def test_known_classes_fix_the_codes(photos):
    images = read_image_folder(photos, classes=["emu", "dog", "cat"])
    assert images.labels.tolist() == [1, 1, 1, 2, 2, 2]
    assert images.paths[0] == "dog/0.png"
    assert images.classes == ("emu", "dog", "cat")
    what, _ = refusal(photos, classes=["cat", "emu"])
    assert "class dog is not one of the known classes (cat, emu)" in what


class TestFiles:
    SPEC = ImageSpec(1, 8, 8)

    def test_list_keeps_its_order(self, photos):
        paths = [photos / "dog" / "2.png", photos / "cat" / "0.png"]
        images = read_image_files(paths, self.SPEC)
        assert images.paths == tuple(map(str, paths))
        assert np.array_equal(images.pixels[1, 0], np.asarray(Image.open(paths[1])))

    def test_one_file(self, photos):
        assert len(read_image_files(photos / "cat" / "0.png", self.SPEC)) == 1

    def test_nothing(self, tmp_path):
        with pytest.raises(DataError, match="holds no pictures"):
            read_image_files(tmp_path, self.SPEC)
        with pytest.raises(DataError, match="no pictures were given"):
            read_image_files([], self.SPEC)

    def test_missing_and_damaged(self, photos):
        with pytest.raises(DataError, match="the file is gone"):
            read_image_files([photos / "cat" / "77.png"], self.SPEC)
        (photos / "cat" / "b.png").write_bytes(b"")
        with pytest.raises(DataError, match=r"cat/b\.png: the file is empty"):
            read_image_files(photos, self.SPEC)
        images = read_image_files(photos, self.SPEC, skip_bad=True)
        assert len(images) == 6
        assert "1 damaged pictures left out" in images.notes[0]
        with pytest.raises(DataError, match="none of the 1 pictures"):
            read_image_files([photos / "cat" / "b.png"], self.SPEC, skip_bad=True)


def test_progress_counts_to_the_end(photos):
    seen = []
    read_image_folder(photos, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (6, 6)
