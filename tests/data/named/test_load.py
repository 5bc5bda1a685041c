"""The catalogue and what it loads."""

import csv
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sklearn

from lamina.data.named import DataCard, catalogue, check_named, is_named, list_named, load_named
from lamina.data.named import load as load_module
from lamina.data.named.places import cache_folder, data_folder, find
from lamina.errors import ConfigError, DataError, MachineError

SKLEARN = Path(sklearn.__file__).parent / "datasets" / "data"
LAMINA_DATA = os.environ.get("LAMINA_DATA")
needs_mnist = pytest.mark.skipif(
    not (LAMINA_DATA and (Path(LAMINA_DATA) / "mnist").is_dir()),
    reason="LAMINA_DATA does not name a folder with mnist/",
)


def test_listing_imports_nothing_heavy():
    code = (
        "import sys; from lamina.data.named import list_named; cards = list_named('/nowhere'); "
        "heavy = {'numpy', 'torch', 'sklearn', 'PIL', 'platformdirs', 'matplotlib'} & set(sys.modules); "
        "assert not heavy, heavy; print(*[card.name for card in cards])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert out == [
        "digits",
        "iris",
        "wine",
        "breast-cancer",
        "diabetes",
        "california-housing",
        "mnist",
        "fashion-mnist",
        "mnist-basic",
        "mnist-rotation",
        "mnist-random-background",
        "mnist-image-background",
        "mnist-background-rotation",
        "rectangles",
        "rectangles-images",
        "convex",
        "two-moons",
        "xor",
        "parity",
    ]


def test_loading_pictures_does_not_import_torch():
    code = (
        "import sys; from lamina.data.named import load_named; load_named('digits'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_cards(tmp_path):
    for card in list_named(tmp_path):
        assert isinstance(card, DataCard)
        assert card.kind in {"table", "pictures"}
        assert all((card.description, card.source, card.licence))
        assert card.where in {"with scikit-learn", "to be fetched", "computed"}
        assert is_named(card.name)
    assert not is_named("cifar")


@pytest.mark.parametrize("name", ["Breast_Cancer", " breast-cancer "])
def test_names_are_forgiving(name):
    assert load_named(name).name == "breast-cancer"


def test_unknown_name():
    with pytest.raises(ConfigError, match='no data set is called "mnits"; did you mean "mnist"') as caught:
        load_named("mnits")
    assert "fashion-mnist" in caught.value.mend
    with pytest.raises(ConfigError):
        check_named("mnits")


class TestBundled:
    def test_digits_are_the_published_numbers(self):
        with gzip.open(SKLEARN / "digits.csv.gz", "rt") as stream:
            rows = np.array([[int(float(cell)) for cell in row] for row in csv.reader(stream)])
        images = load_named("digits")
        assert images.pixels.shape == (1797, 1, 8, 8)
        assert images.classes == tuple("0123456789")
        assert np.array_equal(images.labels, rows[:, -1])
        levels = rows[:, :-1].reshape(-1, 1, 8, 8)
        assert np.array_equal((images.pixels.astype(int) * 16 + 127) // 255, levels)  # nothing is lost
        assert [int(images.pixels[levels == v][0]) for v in (0, 8, 16)] == [0, 128, 255]
        assert np.abs(images.pixels / 255 - levels / 16).max() <= 0.5 / 255 + 1e-12
        assert images.part is None

    @pytest.mark.parametrize(
        "name, file, target, classes",
        [
            ("iris", "iris.csv", "species", ["setosa", "versicolor", "virginica"]),
            ("wine", "wine_data.csv", "cultivar", ["class_0", "class_1", "class_2"]),
            ("breast-cancer", "breast_cancer.csv", "diagnosis", ["malignant", "benign"]),
        ],
    )
    def test_classes(self, name, file, target, classes):
        rows = list(csv.reader((SKLEARN / file).read_text().splitlines()))[1:]
        table = load_named(name)
        assert (table.target, table.task) == (target, "classification")
        *features, last = table.columns.values()
        assert list(table.columns)[-1] == target
        assert np.array_equal(np.stack(features, 1), [[float(cell) for cell in row[:-1]] for row in rows])
        assert last.tolist() == [classes[int(row[-1])] for row in rows]
        assert len(table) == len(rows)

    def test_diabetes_is_in_its_own_units(self):
        with gzip.open(SKLEARN / "diabetes_data_raw.csv.gz", "rt") as stream:
            rows = [[float(cell) for cell in line.split()] for line in stream]
        table = load_named("diabetes")
        assert (table.task, table.target, len(table)) == ("regression", "progression", 442)
        assert np.array_equal(np.stack(list(table.columns.values())[:-1], 1), rows)

    def test_they_check(self):
        for name in ("digits", "iris"):
            (result,) = check_named(name)
            assert result.ok


class TestCalifornia:
    @pytest.fixture
    def archive(self, tmp_path, monkeypatch):
        """A small archive of the same form, put into the catalogue in place of the real one."""
        rows = np.random.default_rng(0).uniform(1, 9, (50, 9)).round(3)
        text = "\n".join(",".join(map(str, row)) for row in rows).encode()
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w:gz") as tar:
            for name, body in (
                ("CaliforniaHousing/cal_housing.data", text),
                ("CaliforniaHousing/cal_housing.domain", b"x"),
            ):
                info = tarfile.TarInfo(name)
                info.size = len(body)
                tar.addfile(info, io.BytesIO(body))
        one = catalogue.entry("california-housing")
        file = replace(one.files[0], sha256=hashlib.sha256(stream.getvalue()).hexdigest())
        monkeypatch.setattr(load_module, "entry", lambda name: replace(one, n=50, files=(file,)))
        path = tmp_path / "california-housing" / "cal_housing.tgz"
        path.parent.mkdir()
        path.write_bytes(stream.getvalue())
        return rows, path

    def test_columns_are_those_of_scikit_learn(self, archive, tmp_path, monkeypatch):
        from sklearn.datasets import _california_housing as theirs

        _, path = archive
        ours = load_named("california-housing", data_dir=tmp_path, offline=True)
        # scikit-learn's own code on the same archive; it keeps a joblib file, in a folder of its own
        copy = tmp_path / "sklearn" / "cal_housing.tgz"
        copy.parent.mkdir()
        shutil.copy(path, copy)
        monkeypatch.setattr(theirs, "_fetch_remote", lambda *args, **options: str(copy))
        bunch = theirs.fetch_california_housing(data_home=str(copy.parent))
        assert list(ours.columns) == [*bunch.feature_names, "MedHouseVal"]
        np.testing.assert_allclose(np.stack(list(ours.columns.values()), 1)[:, :-1], bunch.data, rtol=1e-14)
        np.testing.assert_allclose(ours.columns["MedHouseVal"], bunch.target, rtol=1e-14)

    def test_F13_altered_archive(self, archive, tmp_path):
        _, path = archive
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        with pytest.raises(DataError, match="not the published content: SHA-256"):
            load_named("california-housing", data_dir=tmp_path, offline=True)

    def test_F1_message(self, tmp_path):
        with pytest.raises(MachineError, match="california-housing: cannot be fetched") as caught:
            load_named("california-housing", data_dir=tmp_path, offline=True)
        assert "aaa5c9a6afe2225cc2aed2723682ae403280c4a3695a2ddda4ffb5d8215ea681" in caught.value.mend


class TestPlaces:
    def test_folder_given_then_variable_then_cache(self, tmp_path, monkeypatch):
        monkeypatch.setenv("LAMINA_DATA", str(tmp_path / "variable"))
        assert data_folder(tmp_path / "given") == tmp_path / "given"
        assert data_folder() == tmp_path / "variable"
        monkeypatch.setenv("LAMINA_DATA", "")
        assert data_folder() == cache_folder()

    def test_F9_no_home(self, monkeypatch):
        monkeypatch.setattr(
            "platformdirs.user_cache_dir", lambda *a, **k: (_ for _ in ()).throw(RuntimeError("no home"))
        )
        with pytest.raises(MachineError, match="no home folder") as caught:
            cache_folder()
        assert "--data-dir" in caught.value.mend
        where = {card.name: card.where for card in list_named()}
        assert where["mnist"] == "to be fetched" or os.environ.get("LAMINA_DATA")

    def test_F9_unresolved_home(self, monkeypatch):
        monkeypatch.setattr("platformdirs.user_cache_dir", lambda *a, **k: "~/.cache/lamina")
        with pytest.raises(MachineError, match="no home folder"):
            cache_folder()

    def test_files_directly_in_a_folder_of_the_same_name(self, tmp_path):
        for folder in ("mnist", "other"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "x.gz").touch()
        assert find(tmp_path / "mnist", "mnist", "x.gz") == tmp_path / "mnist" / "x.gz"
        assert find(tmp_path / "other", "mnist", "x.gz") is None
        assert find(tmp_path / "other", "fashion-mnist", "x.gz") is None


def test_S17_no_data_set_is_a_pickle():
    source = Path(catalogue.__file__).parent
    for path in source.glob("*.py"):
        text = path.read_text()
        for word in ("fetch_openml", "fetch_california", "pickle.", "joblib", "allow_pickle=True"):
            assert word not in text, (path, word)


@pytest.fixture
def copied(tmp_path):
    """MNIST's two small files copied, the large ones linked, so that one can be damaged."""
    source, folder = Path(LAMINA_DATA) / "mnist", tmp_path / "mnist"
    folder.mkdir()
    for path in source.glob("*.gz"):
        if "labels" in path.name:
            shutil.copy(path, folder / path.name)
            (folder / path.name).chmod(0o644)
        else:
            (folder / path.name).symlink_to(path)
    return tmp_path


@needs_mnist
class TestMnist:
    @pytest.mark.parametrize(
        "name, mean, std, counts",
        [
            ("mnist", 0.1307, 0.3081, [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
            ("fashion-mnist", 0.2860, 0.3530, [6000] * 10),
        ],
    )
    def test_known_facts(self, name, mean, std, counts):
        images = load_named(name, offline=True)
        train = images.take(slice(0, 60_000))
        assert images.pixels.shape == (70_000, 1, 28, 28)
        assert (images.part == 0).sum() == 60_000
        assert (train.part == 0).all()
        assert (images.part[60_000:] == 2).all()
        assert np.bincount(train.labels).tolist() == counts
        assert round(float(train.pixels.mean(dtype=np.float64)) / 255, 4) == mean
        assert round(float((train.pixels / np.float32(255)).std(dtype=np.float64)), 3) == round(std, 3)
        assert len(images.classes) == 10

    def test_statistics_of_the_preparation(self):
        from lamina.data.images import ImagePreparation

        images = load_named("mnist", offline=True)
        preparation = ImagePreparation.fit(images, images.part == 0)
        assert round(float(preparation.mean[0]), 4) == 0.1307
        assert round(float(preparation.std[0]), 4) == 0.3081

    def test_unpacked_files_are_accepted(self, copied):
        for path in list((copied / "mnist").glob("*labels*.gz")):
            path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
            path.unlink()
        assert all(result.ok for result in check_named("mnist", data_dir=copied))

    def test_packed_again_is_accepted(self, copied):
        path = copied / "mnist" / "t10k-labels-idx1-ubyte.gz"
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 1))
        assert all(result.ok for result in check_named("mnist", data_dir=copied))

    def test_F13_altered(self, copied):
        path = copied / "mnist" / "train-labels-idx1-ubyte.gz"
        data = bytearray(gzip.decompress(path.read_bytes()))
        data[1000] = (data[1000] + 1) % 10  # one label, which no reader could notice
        path.write_bytes(gzip.compress(bytes(data)))
        with pytest.raises(DataError, match="not the published content: SHA-256") as caught:
            load_named("mnist", data_dir=copied, offline=True)
        assert caught.value.exit_code == 3
        assert hashlib.sha256(data).hexdigest() in str(caught.value)
        results = check_named("mnist", data_dir=copied)
        assert [result.ok for result in results] == [True, False, True, True]

    def test_D13_truncated_names_the_byte(self, copied):
        path = copied / "mnist" / "t10k-labels-idx1-ubyte.gz"
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:5000]))
        with pytest.raises(
            DataError, match=r"cut short at byte 5,000: expected 10,008 bytes for \[10000\], found 5,000"
        ):
            load_named("mnist", data_dir=copied, offline=True)

    def test_fashion_files_under_the_name_of_mnist(self, copied):
        path = copied / "mnist" / "t10k-labels-idx1-ubyte.gz"
        shutil.copy(Path(LAMINA_DATA) / "fashion-mnist" / path.name, path)
        with pytest.raises(DataError, match="not the published content"):
            load_named("mnist", data_dir=copied, offline=True)

    def test_missing_file(self, copied):
        (copied / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
        assert [result.what for result in check_named("mnist", data_dir=copied)][-1] == "not there"
        with pytest.raises(MachineError, match="mnist: cannot be fetched") as caught:
            load_named("mnist", data_dir=copied, offline=True)
        assert caught.value.mend.startswith("put t10k-labels-idx1-ubyte.gz (4,542 bytes, SHA-256 f7ae")
