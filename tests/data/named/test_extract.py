"""Evil archives: S6 (tar), S7 (zip), S8 (bombs), F10 and F14 of the catalogue. Each is made here, by hand."""

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import tracemalloc
import zipfile

import pytest

from lamina.data.named.extract import read_archive
from lamina.errors import DataError

MEMBERS = {"set/a.data": "a", "set/b.data": "b"}
GOOD = {"set/a.data": b"alpha" * 100, "set/b.data": b"beta"}
COMPRESS = {"tar": lambda b: b, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def entry(name, content=b"", kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(content), link
    return info, content


def tar(*entries, form=tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def zipped(*entries) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return stream.getvalue()


def good_tar():
    return [entry("set", kind=tarfile.DIRTYPE), *(entry(name, content) for name, content in GOOD.items())]


def good_zip():
    return [("set/", b"", 0o40755), *((name, content, 0o100644) for name, content in GOOD.items())]


@pytest.fixture
def watched(tmp_path):
    """A folder of its own beside files that an escape would change; checked afterwards."""
    place = tmp_path / "deep" / "er"
    place.mkdir(parents=True)
    (tmp_path / "victim").write_text("untouched")
    yield place
    assert (tmp_path / "victim").read_text() == "untouched"
    assert sorted(os.listdir(tmp_path)) == ["deep", "victim"]
    assert os.listdir(tmp_path / "deep") == ["er"]
    assert os.listdir(place) in (["archive"], [])


def read(place, content, **options):
    (place / "archive").write_bytes(content)
    return read_archive(place / "archive", MEMBERS, **{"max_bytes": 100_000, **options})


def refusal(place, content, **options):
    with pytest.raises(DataError) as caught:
        read(place, content, **options)
    assert str(caught.value).startswith(str(place / "archive"))
    assert caught.value.exit_code == 3
    assert caught.value.mend
    str(caught.value).encode()
    return caught.value.what


@pytest.mark.parametrize("packing", COMPRESS)
@pytest.mark.parametrize(
    "form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["ustar", "gnu", "pax"]
)
def test_good_tar(watched, packing, form):
    assert read(watched, COMPRESS[packing](tar(*good_tar(), form=form))) == {
        "a": GOOD["set/a.data"],
        "b": GOOD["set/b.data"],
    }


def test_good_tar_with_dot_slash(watched):
    assert set(read(watched, tar(*(entry("./" + name, content) for name, content in GOOD.items())))) == {"a", "b"}


def test_good_zip(watched):
    assert read(watched, zipped(*good_zip())) == {"a": GOOD["set/a.data"], "b": GOOD["set/b.data"]}


EVIL_TAR = {
    "dotdot": [entry("../../victim", b"evil")],
    "absolute": [entry("/tmp/evil", b"evil")],
    "symlink": [entry("set/a.data", kind=tarfile.SYMTYPE, link="../../victim")],
    "symlink-unlisted": [entry("x", kind=tarfile.SYMTYPE, link="/etc/passwd")],
    "hardlink": [entry("set/a.data", kind=tarfile.LNKTYPE, link="../../victim")],
    "symlink-chain": [
        entry("one", kind=tarfile.SYMTYPE, link="two"), entry("two", kind=tarfile.SYMTYPE, link=".."),
        entry("one/victim", b"e"),
    ],
    "character-device": [entry("set/a.data", kind=tarfile.CHRTYPE)],
    "block-device": [entry("set/a.data", kind=tarfile.BLKTYPE)],
    "fifo": [entry("set/a.data", kind=tarfile.FIFOTYPE)],
    "duplicate": [entry("set/a.data", b"1"), entry("set/a.data", b"2")],
    "duplicate-dot-slash": [entry("set/a.data", b"1"), entry("./set/a.data", b"2")],
    "case-clash": [entry("SET/A.data", b"1")],
    "long-name": [entry("x" * 5000, b"1")],
    "name-with-escape": [entry("\x1b[31mred\n", b"1")],
    "name-not-utf8": [entry(os.fsdecode(b"caf\xe9"), b"1")],
    "normalised-away": [entry("set/../set/a.data", b"1")],
    "backslash": [entry("set\\a.data", b"1")],
    "contiguous": [entry("other", b"1", kind=tarfile.CONTTYPE)],
}  # fmt: skip


@pytest.mark.parametrize("case", EVIL_TAR, ids="S6-F10-{}".format)
@pytest.mark.parametrize("packing", ["tar", "gz"])
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_S6_evil_tar(watched, case, packing, first):
    evil = EVIL_TAR[case]
    entries = [*evil, *good_tar()] if first else [*good_tar(), *evil]
    what = refusal(watched, COMPRESS[packing](tar(*entries, form=tarfile.GNU_FORMAT)))
    assert "unexpected" in what or "twice" in what
    assert what.isprintable()


def test_S6_sparse_giant(watched):
    # An old GNU sparse header that promises 1 TB and holds one block.
    info = tarfile.TarInfo("set/a.data")
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"%011o\0" % 512
    block[156:157] = tarfile.GNUTYPE_SPARSE
    block[386:398], block[398:410] = b"%011o\0" % 0, b"%011o\0" % 512
    block[483:495] = b"\x80\0\0\0" + struct.pack(">Q", 2**40)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    assert "sparse" in refusal(watched, bytes(block) + b"x" * 512 + b"\0" * 1024)


def test_S6_giant_size_in_the_header(watched):
    info = tarfile.TarInfo("set/a.data")
    info.size = 2**40
    what = refusal(watched, info.tobuf(tarfile.GNU_FORMAT) + b"x" * 512)
    assert "damaged" in what
    what = refusal(watched, info.tobuf(tarfile.GNU_FORMAT) + b"x" * 500_000)
    assert "more than the 100,000 bytes" in what


def test_S6_giant_long_name_header(watched):
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**33
    data = gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + b"x" * 50_000_000)
    tracemalloc.start()
    assert "more than the 100,000 bytes" in refusal(watched, data)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_S6_a_million_members(watched):
    block = tarfile.TarInfo("d")
    block.type = tarfile.DIRTYPE
    header = block.tobuf()
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1) as packed:
        for _ in range(1000):
            packed.write(header * 1000)
    tracemalloc.start()
    assert "more than" in refusal(watched, stream.getvalue())
    assert "more than 50 entries" in refusal(watched, stream.getvalue(), max_members=50)
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


EVIL_ZIP = {
    "dotdot": [("../../victim", b"evil", 0o100644)],
    "absolute": [("/tmp/evil", b"evil", 0o100644)],
    "drive": [("C:\\evil", b"evil", 0o100644)],
    "symlink": [("set/a.data", b"../../victim", stat.S_IFLNK | 0o777)],
    "symlink-unlisted": [("x", b"/etc", stat.S_IFLNK | 0o777)],
    "fifo": [("set/a.data", b"", stat.S_IFIFO | 0o644)],
    "device": [("set/a.data", b"", stat.S_IFCHR | 0o644)],
    "case-clash": [("SET/A.data", b"1", 0o100644)],
    "long-name": [("x" * 5000, b"1", 0o100644)],
    "escape": [("\x1b[2J", b"1", 0o100644)],
}


@pytest.mark.parametrize("case", EVIL_ZIP, ids="S7-F10-{}".format)
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_S7_evil_zip(watched, case, first):
    entries = [*EVIL_ZIP[case], *good_zip()] if first else [*good_zip(), *EVIL_ZIP[case]]
    entries = list(
        {name: (name, content, mode) for name, content, mode in (reversed(entries) if first else entries)}.values()
    )
    what = refusal(watched, zipped(*entries))
    assert "unexpected" in what
    assert what.isprintable()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_S7_duplicate(watched):
    assert 'holds "set/a.data" twice' in refusal(watched, zipped(*good_zip(), ("set/a.data", b"2", 0o100644)))


def test_S7_name_cut_by_a_nul(watched):
    data = zipped(("set/a.dataX../../victim", b"1", 0o100644), *good_zip()[2:])
    assert "unexpected" in refusal(watched, data.replace(b"set/a.dataX", b"set/a.data\0"))


def test_S7_encrypted(watched):
    data = bytearray(zipped(*good_zip()))
    at = data.index(b"PK\1\2", data.index(b"PK\1\2") + 4)  # the second entry of the directory
    data[at + 8] |= 1
    assert "encrypted" in refusal(watched, bytes(data))


def test_S7_giant_directory(watched):
    data = bytearray(zipped(*good_zip()))
    end = data.rindex(b"PK\5\6")
    data[end + 12 : end + 16] = struct.pack("<I", 2**31)
    assert "more than 10,000 entries" in refusal(watched, bytes(data))


@pytest.mark.parametrize("packing", ["gz", "bz2", "xz", "zip"], ids="S8-{}".format)
def test_S8_bombs_stop_at_the_cap(watched, packing):
    zeros = b"\0" * 200_000_000
    if packing == "zip":
        data = zipped(("set/a.data", zeros, 0o100644))
    else:
        data = COMPRESS[packing](tar(entry("set/a.data", zeros))) if packing != "xz" else lzma.compress(
            tar(entry("set/a.data", zeros)), preset=0
        )  # fmt: skip
    del zeros
    assert len(data) < 1_000_000
    tracemalloc.start()
    assert "unpacks to more than the 100,000 bytes" in refusal(watched, data)
    assert tracemalloc.get_traced_memory()[1] < 30_000_000
    tracemalloc.stop()


def test_S8_zip_that_lies_about_its_size(watched):
    data = bytearray(zipped(("set/a.data", b"\0" * 50_000_000, 0o100644), *good_zip()[2:]))
    for mark, offset in ((b"PK\1\2", 24), (b"PK\3\4", 22)):
        at = data.index(mark)
        data[at + offset : at + offset + 4] = struct.pack("<I", 500)
    refusal(watched, bytes(data))


@pytest.mark.parametrize(
    "make",
    [lambda e: tar(*(entry(n, c) for n, c in e)), lambda e: zipped(*((n, c, 0o100644) for n, c in e))],
    ids=["tar", "zip"],
)
def test_F14_missing_and_unexpected_members_are_named(watched, make):
    items = list(GOOD.items())
    assert refusal(watched, make(items[:1])) == "lacks 1 of 2 members: set/b.data"
    assert refusal(watched, make([*items, ("README", b"x")])) == 'holds an unexpected file, "README"'
    assert set(read(watched, make([*items, ("README", b"x")]), exact=False)) == {"a", "b"}


@pytest.mark.parametrize("packing", ["tar", "gz", "bz2", "xz", "zip"])
def test_every_cut_is_refused(watched, packing):
    whole = zipped(*good_zip()) if packing == "zip" else COMPRESS[packing](tar(*good_tar(), form=tarfile.USTAR_FORMAT))
    last = whole.rindex(b"beta") + 4 if packing == "tar" else len(whole)  # after it a tar holds only padding
    for length in [*range(0, last, max(1, last // 60)), last - 1]:
        refusal(watched, whole[:length])


def test_random_damage_is_never_anything_but_a_data_error_or_the_truth(watched):
    import random

    rng = random.Random(0)
    for packing in ("gz", "zip", "tar"):
        whole = zipped(*good_zip()) if packing == "zip" else COMPRESS[packing](tar(*good_tar()))
        for _ in range(150):
            data = bytearray(whole)
            for _ in range(rng.randint(1, 4)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            try:
                found = read(watched, bytes(data))
            except DataError:
                continue
            assert set(found) == {"a", "b"}
            if packing != "tar":  # a tar has no checksum of its contents: the caller has the archive's SHA-256
                assert found["a"] == GOOD["set/a.data"]


def test_plain_names_only():
    with pytest.raises(ValueError, match="not a plain file name"):
        read_archive("x", {"a": "../a"}, max_bytes=1)
