"""NumPy archives with x and y."""

import io
import zipfile

import numpy as np
import pytest

from lamina.data.arrays import Arrays, read_npz
from lamina.data.images.imageset import ImageSet
from lamina.errors import DataError, MachineError

RNG = np.random.default_rng(4)


def saved(tmp_path, **arrays):
    path = tmp_path / "set.npz"
    np.savez(path, **arrays)
    return path


def refusal(path, kind=DataError, **options):
    with pytest.raises(kind) as caught:
        read_npz(path, **options)
    assert str(caught.value).startswith(str(path))
    assert caught.value.mend
    return caught.value.what


class TestVectors:
    @pytest.mark.parametrize(
        "dtype", [np.float32, np.float64, np.int16, np.bool_, np.float16], ids=lambda t: t.__name__
    )
    @pytest.mark.parametrize(
        "y",
        [np.arange(5), np.linspace(0, 1, 5), np.array(list("abcab")), np.ones((5, 2))],
        ids=["int", "float", "text", "two"],
    )
    @pytest.mark.parametrize("compressed", [True, False])
    def test_values(self, tmp_path, dtype, y, compressed):
        x = RNG.integers(0, 2, (5, 3)).astype(dtype)
        path = tmp_path / "my set.npz"
        (np.savez_compressed if compressed else np.savez)(path, x=x, y=y, other=np.zeros(9))
        read = read_npz(path)
        assert isinstance(read, Arrays)
        assert (read.name, read.notes) == ("my set", ())
        assert read.x.dtype == np.float64
        assert np.array_equal(read.x, x.astype(float))
        assert np.array_equal(read.y, y)

    def test_capital_names_one_column_and_a_column_of_targets(self, tmp_path):
        read = read_npz(saved(tmp_path, X=np.arange(4.0), Y=np.arange(4.0)[:, None]))
        assert read.x.shape == (4, 1)
        assert read.y.shape == (4,)
        assert read.notes == ("x has one axis: read as one column",)

    def test_targets_may_be_absent_at_predict(self, tmp_path):
        assert read_npz(saved(tmp_path, x=np.eye(3)), need_targets=False).y is None

    def test_nan(self, tmp_path):
        x = np.zeros((5, 3))
        x[2, 1] = x[4, 0] = np.nan
        path = saved(tmp_path, x=x, y=np.arange(5))
        assert refusal(path) == "nan in row 2, column 1 of x (counted from 0), and 1 more"
        assert np.isnan(read_npz(path, allow_missing=True).x[2, 1])
        x[3, 2] = np.inf
        assert refusal(saved(tmp_path, x=x, y=np.arange(5)), allow_missing=True).startswith("inf in row 3, column 2")

    def test_a_target_may_be_missing_but_not_infinite(self, tmp_path):
        y = np.array([0.0, np.nan, 1.0])
        assert np.isnan(read_npz(saved(tmp_path, x=np.eye(3), y=y)).y).tolist() == [False, True, False]
        y[2] = np.inf
        assert refusal(saved(tmp_path, x=np.eye(3), y=y), allow_missing=True) == "inf in row 2 of y (counted from 0)"


class TestRefused:
    def test_C14_lengths(self, tmp_path):
        assert refusal(saved(tmp_path, x=np.eye(3), y=np.arange(4))) == "x has 3 rows but y has 4"

    def test_missing_keys_are_listed(self, tmp_path):
        path = saved(tmp_path, train=np.eye(3), labels=np.arange(3))
        assert refusal(path) == "there is no array 'x' and 'y'; the file holds train, labels"
        assert refusal(saved(tmp_path, x=np.eye(3), z=np.eye(3))) == "there is no array 'y'; the file holds x, z"

    def test_S16_object_arrays_are_never_unpickled(self, tmp_path):
        class Trap:
            def __reduce__(self):
                return (open, (str(tmp_path / "ran"), "w"))

        for key in ("x", "y"):
            arrays = {"x": np.eye(2), "y": np.arange(2), key: np.array([Trap(), 1], object)}
            path = saved(tmp_path, **arrays)
            assert "Python objects, which lamina never unpickles" in refusal(path)
            assert not (tmp_path / "ran").exists()

    def test_S16_pickled_member(self, tmp_path):
        path = tmp_path / "set.npz"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", b"\x80\x04]\x94(K\x01K\x02e.")  # the list [1, 2] as a pickle
            stream = io.BytesIO()
            np.save(stream, np.arange(2))
            archive.writestr("y.npy", stream.getvalue())
        refusal(path)

    def test_member_without_npy(self, tmp_path):
        path = tmp_path / "set.npz"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x", b"hello")
            archive.writestr("y", b"hello")
        assert "is not an array" in refusal(path)

    @pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + b"\0" * 40], ids=["empty", "text", "half"])
    def test_not_an_archive(self, tmp_path, content):
        path = tmp_path / "set.npz"
        path.write_bytes(content)
        assert "not a whole .npz file" in refusal(path)

    def test_cut_and_flipped(self, tmp_path):
        path = saved(tmp_path, x=RNG.random((50, 3)), y=np.arange(50))
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        refusal(path)
        flipped = bytearray(data)
        flipped[400] ^= 1
        path.write_bytes(bytes(flipped))
        assert "damaged" in refusal(path)

    def test_missing_file(self, tmp_path):
        assert refusal(tmp_path / "no.npz") == "there is no such file"

    def test_S8_zip_bomb(self, tmp_path):
        path = tmp_path / "set.npz"
        np.savez_compressed(path, x=np.zeros((30_000_000, 1), np.uint8), y=np.zeros(1))
        assert path.stat().st_size < 100_000
        assert "unpacked" in refusal(path, MachineError, memory_limit=1_000_000)

    @pytest.mark.parametrize(
        "x",
        [
            np.zeros((0, 3)),
            np.array(1.0),
            np.zeros((3, 0)),
            np.zeros((3, 1, 1, 1, 1)),
            np.array(["a"] * 3),
            np.zeros(3, complex),
            np.zeros(3, "M8[s]"),
        ],
        ids=lambda x: f"{x.dtype}{x.shape}",
    )
    def test_shapes_and_types(self, tmp_path, x):
        refusal(saved(tmp_path, x=x, y=np.arange(3)))


class TestPictures:
    PIXELS = RNG.integers(0, 256, (6, 3, 5, 4), dtype=np.uint8)
    LABELS = np.array([3, 7, 3, 7, 9, 3])

    def read(self, tmp_path, x, y=None) -> ImageSet:
        read = read_npz(saved(tmp_path, x=x, y=self.LABELS if y is None else y))
        assert isinstance(read, ImageSet)
        return read

    def test_bytes(self, tmp_path):
        images = self.read(tmp_path, self.PIXELS)
        assert np.array_equal(images.pixels, self.PIXELS)
        assert images.classes == ("3", "7", "9")
        assert images.labels.tolist() == [0, 1, 0, 1, 2, 0]
        assert images.labels.dtype == np.int64
        assert images.location(2) == "set[2]"

    def test_channels_last(self, tmp_path):
        images = self.read(tmp_path, self.PIXELS.transpose(0, 2, 3, 1))
        assert np.array_equal(images.pixels, self.PIXELS)
        assert "channels" in images.notes[0]

    def test_three_axes_are_grey(self, tmp_path):
        assert np.array_equal(self.read(tmp_path, self.PIXELS[:, 0]).pixels, self.PIXELS[:, :1])

    @pytest.mark.parametrize("scale", [255.0, 1.0], ids=["to-1", "to-255"])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_floats_round_trip(self, tmp_path, scale, dtype):
        images = self.read(tmp_path, (self.PIXELS / scale).astype(dtype))
        assert np.array_equal(images.pixels, self.PIXELS)
        assert "rounded to 8 bits" in images.notes[0]

    def test_wide_integers_and_bits(self, tmp_path):
        assert np.array_equal(self.read(tmp_path, self.PIXELS.astype(np.int64)).pixels, self.PIXELS)
        assert np.array_equal(self.read(tmp_path, self.PIXELS > 9).pixels, (self.PIXELS > 9) * np.uint8(255))

    def test_targets(self, tmp_path):
        assert self.read(tmp_path, self.PIXELS, np.array(list("abbacc"))).classes == ("a", "b", "c")
        numbers = self.read(tmp_path, self.PIXELS, np.linspace(0, 1, 6))
        assert numbers.classes == ()
        assert numbers.labels.dtype == np.float64

    @pytest.mark.parametrize(
        "x, match",
        [
            (np.full((6, 5, 4), -1.0), "run from -1 to -1"),
            (np.full((6, 5, 4), 256), "run from 256"),
            (np.full((6, 5, 4), np.nan), "nan in row 0"),
            (np.zeros((6, 5, 4, 7)), "no axis of 1 or 3 channels"),
            (np.zeros((6, 0, 4), np.uint8), "no pixels"),
        ],
        ids=["negative", "large", "nan", "channels", "empty"],
    )
    def test_refused(self, tmp_path, x, match):
        assert match in refusal(saved(tmp_path, x=x, y=self.LABELS))

    def test_several_targets_are_refused(self, tmp_path):
        assert "one target each" in refusal(saved(tmp_path, x=self.PIXELS, y=np.ones((6, 2))))
