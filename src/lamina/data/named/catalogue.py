"""The data sets that lamina knows by name: facts only, nothing heavy is imported.

Files to be fetched are identified twice: by the SHA-256 of the file that the mirrors serve, and by the SHA-256 of its
unpacked content. The second is what a file that lies there already is judged by, because many copies of MNIST have been
packed again.
"""

from __future__ import annotations

from dataclasses import dataclass

from lamina.errors import ConfigError, nearest, shown


@dataclass(frozen=True)
class RemoteFile:
    """A file of a data set.

    Args:
        name: Its name in the data set's folder, and the last part of its address.
        size: Bytes as served; 0 where that is not known.
        sha256: SHA-256 as served.
        content_size: Bytes unpacked; 0 for an archive.
        content_sha256: SHA-256 of the unpacked file; empty for an archive, which is judged as served.
        member: The member of the archive that is used; empty for other files.
    """

    name: str
    size: int
    sha256: str
    content_size: int
    content_sha256: str
    member: str = ""


@dataclass(frozen=True)
class Entry:
    """A data set.

    Args:
        name: How it is asked for.
        kind: ``table`` or ``pictures``.
        n: Number of examples.
        description: One line.
        source: Who made it, where it was published.
        licence: As stated by its source; "not stated" where there is none.
        task: ``classification`` or ``regression``.
        target: Name of the column to predict; empty for pictures.
        bytes: Size on the disk, or of what is fetched; 0 where that is not known.
        mirrors: Addresses tried in turn, each followed by the file's name (or by nothing, if it ends with ``=``).
        files: What is fetched; empty for the sets that come with scikit-learn and for those that are computed.
        classes: Names of the classes of pictures.
        rule: The function of ``lamina.data.generated`` that computes it; empty for the others.
        made_from: The data set that it is computed from, if from one.
    """

    name: str
    kind: str
    n: int
    description: str
    source: str
    licence: str
    task: str
    target: str = ""
    bytes: int = 0
    mirrors: tuple[str, ...] = ()
    files: tuple[RemoteFile, ...] = ()
    classes: tuple[str, ...] = ()
    rule: str = ""
    made_from: str = ""

    @property
    def computed(self) -> bool:
        """Whether it is made on the spot by a rule."""
        return bool(self.rule)

    @property
    def bundled(self) -> bool:
        """Whether it is installed with scikit-learn."""
        return not self.files and not self.computed


_UCI = "CC BY 4.0 (UCI Machine Learning Repository)"
_DIGITS = tuple("0123456789")

_MNIST_FILES = (
    RemoteFile(
        "train-images-idx3-ubyte.gz", 9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    RemoteFile(
        "train-labels-idx1-ubyte.gz", 28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    RemoteFile(
        "t10k-images-idx3-ubyte.gz", 1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    RemoteFile(
        "t10k-labels-idx1-ubyte.gz", 4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)  # fmt: skip

_FASHION_FILES = (
    RemoteFile(
        "train-images-idx3-ubyte.gz", 26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    RemoteFile(
        "train-labels-idx1-ubyte.gz", 29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    RemoteFile(
        "t10k-images-idx3-ubyte.gz", 4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    RemoteFile(
        "t10k-labels-idx1-ubyte.gz", 5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
)  # fmt: skip

_VARIATIONS = "Larochelle, Erhan, Courville, Bergstra & Bengio, ICML 2007, made anew"


def _variation(name: str, rule: str, description: str, *, photographs: bool = False) -> Entry:
    """Return a set made of MNIST's digits."""
    source = f"{_VARIATIONS} from MNIST" + (" and photographs" if photographs else "")
    return Entry(
        name, "pictures", 62_000, f"{description}, 28 x 28 grey, 10 classes, 10,000 + 2,000 + 50,000", source,
        "that of MNIST", "classification", bytes=sum(file.size for file in _MNIST_FILES), classes=_DIGITS, rule=rule,
        made_from="mnist",
    )  # fmt: skip


ENTRIES = (
    Entry(
        "digits", "pictures", 1797, "handwritten digits, 8 x 8 grey, 10 classes",
        "Alpaydin & Kaynak, 1998, test part; with scikit-learn", _UCI, "classification",
        bytes=57_523, classes=_DIGITS,
    ),
    Entry(
        "iris", "table", 150, "three species of iris by four lengths",
        "Fisher, 1936; with scikit-learn", _UCI, "classification", "species", 2_734,
    ),
    Entry(
        "wine", "table", 178, "three cultivars of wine by 13 chemical measurements",
        "Forina et al., 1988; with scikit-learn", _UCI, "classification", "cultivar", 11_157,
    ),
    Entry(
        "breast-cancer", "table", 569, "malignant or benign by 30 measurements of cell nuclei",
        "Street, Wolberg & Mangasarian, 1993; with scikit-learn", _UCI, "classification", "diagnosis", 119_913,
    ),
    Entry(
        "diabetes", "table", 442, "disease progression after a year by 10 measurements",
        "Efron, Hastie, Johnstone & Tibshirani, 2004; with scikit-learn", "not stated", "regression", "progression",
        30_890,
    ),
    Entry(
        "california-housing", "table", 20_640, "median house value of a district by 8 figures of the 1990 census",
        "Pace & Barry, 1997 (StatLib)", "not stated", "regression", "MedHouseVal", 0,
        ("https://ndownloader.figshare.com/files/5976036?name=", "https://www.dcc.fc.up.pt/~ltorgo/Regression/"),
        (
            RemoteFile(
                "cal_housing.tgz", 0, "aaa5c9a6afe2225cc2aed2723682ae403280c4a3695a2ddda4ffb5d8215ea681",
                0, "", "CaliforniaHousing/cal_housing.data",
            ),
        ),
    ),
    Entry(
        "mnist", "pictures", 70_000, "handwritten digits, 28 x 28 grey, 10 classes, 60,000 + 10,000",
        "LeCun, Cortes & Burges, 1998 (from NIST)", "not stated (CC BY-SA 3.0 is usually quoted)", "classification",
        bytes=sum(file.size for file in _MNIST_FILES),
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        files=_MNIST_FILES, classes=_DIGITS,
    ),
    Entry(
        "fashion-mnist", "pictures", 70_000, "pictures of clothing, 28 x 28 grey, 10 classes, 60,000 + 10,000",
        "Xiao, Rasul & Vollgraf, 2017 (Zalando)", "MIT", "classification",
        bytes=sum(file.size for file in _FASHION_FILES),
        mirrors=(
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        files=_FASHION_FILES,
        classes=(
            "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
        ),
    ),
    _variation("mnist-basic", "mnist_basic", "digits, few of them for training"),
    _variation("mnist-rotation", "mnist_rotation", "digits turned by any angle"),
    _variation("mnist-random-background", "mnist_random_background", "digits with noise behind them"),
    _variation(
        "mnist-image-background", "mnist_image_background", "digits with photographs behind them", photographs=True
    ),
    _variation(
        "mnist-background-rotation", "mnist_background_rotation", "turned digits with photographs behind them",
        photographs=True,
    ),
    Entry(
        "rectangles", "pictures", 51_200, "outlines of rectangles, wide or tall, 28 x 28 grey, 1,000 + 200 + 50,000",
        _VARIATIONS, "none needed: it is computed", "classification", classes=("wide", "tall"), rule="rectangles",
    ),
    Entry(
        "rectangles-images", "pictures", 62_000,
        "wide and tall pieces of photographs on others, 28 x 28 grey, 10,000 + 2,000 + 50,000",
        f"{_VARIATIONS} from photographs", "none needed: it is computed", "classification",
        classes=("wide", "tall"), rule="rectangles_image",
    ),
    Entry(
        "convex", "pictures", 58_000, "white shapes, convex or not, 28 x 28 grey, 6,000 + 2,000 + 50,000",
        _VARIATIONS, "none needed: it is computed", "classification", classes=("not convex", "convex"), rule="convex",
    ),
    Entry(
        "two-moons", "table", 1_000, "two half circles that reach into each other, blurred, by 2 numbers",
        "as scikit-learn's make_moons, with random angles", "none needed: it is computed", "classification", "moon",
        classes=("upper", "lower"), rule="two_moons",
    ),
    Entry(
        "xor", "table", 1_000, "points around the corners of a square, opposite ones of one class, by 2 numbers",
        "exclusive or, blurred", "none needed: it is computed", "classification", "parity",
        classes=("even", "odd"), rule="xor",
    ),
    Entry(
        "parity", "table", 1_000, "rows of bits, 4 unless given: is an odd number of them set?",
        "the truth table, drawn from", "none needed: it is computed", "classification", "parity",
        classes=("even", "odd"), rule="parity_examples",
    ),
)  # fmt: skip


def folded(name: str) -> str:
    """Return a name as it is compared: without its options, case and spaces do not matter, ``_`` is read as ``-``."""
    return name.partition(":")[0].strip().casefold().replace("_", "-")


def entry(name: str) -> Entry:
    """Return the facts of a data set.

    Args:
        name: Its name, see ``folded``; options behind it, ``convex:train=500``, are for who reads it.

    Raises:
        ConfigError: If there is none of that name.
    """
    wanted = folded(name)
    for one in ENTRIES:
        if one.name == wanted:
            return one
    known = [one.name for one in ENTRIES]
    raise ConfigError(
        f'no data set is called "{shown(name)}"{nearest(name, known)}', mend=f"the names are {', '.join(known)}"
    )
