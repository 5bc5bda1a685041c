"""Arrays and tensors as safetensors: bit for bit, the same bytes each time, hostile headers refused."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load as load_independently

from lamina import io
from lamina.errors import CheckpointError, ConfigError

DTYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16", ">f4", ">i2", ">c16"]


@given(data=st.data())
def test_arrays_come_back_bit_for_bit(data):
    """H27."""
    arrays = {}
    for name in data.draw(st.lists(st.text(max_size=8).filter(lambda n: n != "__metadata__"), max_size=4, unique=True)):
        dtype = np.dtype(data.draw(st.sampled_from(DTYPES)))
        shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
        raw = data.draw(
            st.binary(min_size=dtype.itemsize * int(np.prod(shape)), max_size=dtype.itemsize * int(np.prod(shape)))
        )
        array = np.frombuffer(raw, dtype.str.replace("?", "u1").replace("|b1", "u1")).reshape(shape)
        array = (array > 127) if dtype.kind == "b" else array
        arrays[name] = array.T if data.draw(st.booleans()) else array
    try:
        packed = io.pack_arrays(arrays)
    except ConfigError:
        assert any(any(0xD800 <= ord(c) <= 0xDFFF for c in name) for name in arrays)
        return
    found = io.unpack_arrays(packed, name="m")
    assert list(found) == sorted(arrays)
    for name, array in arrays.items():
        assert found[name].shape == array.shape
        assert found[name].dtype == array.dtype.newbyteorder("<")
        assert found[name].tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()


def test_same_bytes_whatever_the_order_and_the_process():
    """R6: safetensors writes its metadata in an order that changes from process to process."""
    code = (
        "import numpy as np, hashlib; from lamina import io; names = list('gfedcba');"
        "packed = io.pack_arrays({n: np.arange(i + 1.) for i, n in enumerate(names)}, {n: n for n in names});"
        "print(hashlib.sha256(packed).hexdigest())"
    )
    runs = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(3)}
    assert len(runs) == 1
    assert io.pack_arrays({"a": np.zeros(2), "b": np.ones(3)}) == io.pack_arrays({"b": np.ones(3), "a": np.zeros(2)})


def test_other_readers_read_it():
    packed = io.pack_arrays({"a": np.arange(6.0).reshape(2, 3)}, {"kind": "weights"})
    assert (load_independently(packed)["a"] == np.arange(6.0).reshape(2, 3)).all()
    assert io.unpack_metadata(packed, name="m") == {"kind": "weights"}
    assert int.from_bytes(packed[:8], "little") % 8 == 0


def test_arrays_are_writable_and_apart():
    found = io.unpack_arrays(io.pack_arrays({"a": np.zeros(3), "c": np.zeros(2, "c16")}), name="m")
    found["a"] += 1
    found["c"] += 1j


@pytest.mark.parametrize(
    "array", [np.array(["x"]), np.array([None]), np.array(["2020-01-01"], "M8[D]"), np.zeros(2, "V3")]
)
def test_arrays_without_a_form_are_refused(array):
    """S16."""
    with pytest.raises(ConfigError, match='"bad" has dtype'):
        io.pack_arrays({"bad": array})


def test_tensors_come_back_bit_for_bit():
    """H27: tied, views, conjugates, all dtypes, no elements, no axes, gradients, not contiguous."""
    generator = torch.Generator().manual_seed(0)
    tied = torch.randn(4, 3, generator=generator)
    numbers = torch.randn(5, generator=generator)
    tensors = {
        "tied.a": tied,
        "tied.b": tied,
        "view": tied[1:, :2],
        "turned": tied.T,
        "expanded": tied[:1].expand(7, 3),
        "none": torch.zeros(0, 3),
        "also none": torch.zeros(0),
        "scalar": torch.tensor(2.5),
        "parameter": torch.nn.Parameter(tied.clone()),
        "conjugate": torch.complex(numbers, numbers + 1).conj(),
        "imaginary": torch.complex(numbers, numbers + 1).conj().imag,
        "double": torch.complex(numbers.double(), numbers.double()),
        "complex scalar": torch.tensor(1 + 2j),
        "no complex": torch.zeros(0, 2, dtype=torch.complex64),
        "nan": torch.tensor([float("nan"), float("inf"), -0.0]),
        **{
            str(dtype): numbers.to(dtype)
            for dtype in (
                *(torch.bfloat16, torch.float16, torch.float64, torch.int8, torch.int16, torch.int32, torch.int64),
                *(torch.uint8, torch.uint16, torch.uint32, torch.bool, torch.float8_e4m3fn),
            )
        },
    }
    packed = io.pack_tensors(tensors)
    found = io.unpack_tensors(packed, name="m")
    assert list(found) == sorted(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype, name
        assert found[name].shape == tensor.shape, name
        raw = [t.detach().resolve_conj().resolve_neg().contiguous().clone() for t in (found[name], tensor)]
        assert raw[0].reshape(-1).view(torch.uint8).tolist() == raw[1].reshape(-1).view(torch.uint8).tolist(), name
    assert len({t.data_ptr() for t in found.values() if t.numel()}) == sum(t.numel() > 0 for t in found.values())
    found["tied.a"].add_(1)
    assert torch.equal(found["tied.b"], tied)
    assert packed == io.pack_tensors(dict(reversed(tensors.items())))
    assert io.pack_tensors(found | {"tied.a": tied}) == packed


def test_lazily_shaped_and_sparse_are_refused():
    for bad in (torch.zeros(2, device="meta"), torch.eye(2).to_sparse()):
        with pytest.raises(ConfigError, match='"bad"'):
            io.pack_tensors({"bad": bad})


def _file(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def _entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


HOSTILE = {
    "J5-1e18-elements": _file({"a": _entry(shape=(10**18,), offsets=(0, 4 * 10**18))}, bytes(8)),
    "J5-product-overflows": _file({"a": _entry(shape=(2**33, 2**33))}, bytes(8)),
    "J5-overlap": _file({"a": _entry(), "b": _entry(offsets=(4, 12))}, bytes(12)),
    "J5-same-offsets": _file({"a": _entry(), "b": _entry()}, bytes(8)),
    "J5-beyond-the-end": _file({"a": _entry()}, bytes(4)),
    "J5-hole": _file({"a": _entry(offsets=(8, 16))}, bytes(16)),
    "J5-rest": _file({"a": _entry()}, bytes(12)),
    "J5-unknown-dtype": _file({"a": _entry(dtype="F128")}, bytes(8)),
    "J5-wrong-dtype": _file({"a": _entry(dtype="F64")}, bytes(8)),
    "J5-negative": _file({"a": _entry(shape=(-2,))}, bytes(8)),
    "J5-backwards": _file({"a": _entry(offsets=(8, 0))}, bytes(8)),
    "J5-header-of-1e18": (10**18).to_bytes(8, "little") + b"{}",
    "J5-header-longer-than-file": (100).to_bytes(8, "little") + b"{}",
    "J5-empty": b"",
    "J5-seven-bytes": bytes(7),
    "J5-no-json": _file(b"{nonsense"),
    "J5-a-list": _file([]),
    "J5-no-utf8": _file(b'{"\xff": 1}'),
    "J5-deep": _file(b"[" * 100_000),
    "J5-metadata-no-words": _file({"__metadata__": {"a": 1}}),
    "J5-metadata-a-list": _file({"__metadata__": [1]}),
    "J5-entry-a-number": _file({"a": 1}),
    "J5-complex-of-integers": _file({"__metadata__": {"lamina.complex": '["a"]'}, "a": _entry(dtype="I32")}, bytes(8)),
    "J5-complex-no-json": _file({"__metadata__": {"lamina.complex": "["}, "a": _entry()}, bytes(8)),
    "J5-complex-axis": _file(
        {"__metadata__": {"lamina.complex": '["a"]'}, "a": _entry(shape=(1, 3), offsets=(0, 12))}, bytes(12)
    ),
    "J7-pickle": b"\x80\x04\x95" + bytes(100),
    "J7-zip": b"PK\x03\x04" + bytes(100),
}  # fmt: skip


@pytest.mark.parametrize("unpack", [io.unpack_arrays, io.unpack_tensors])
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_headers(case, unpack):
    with pytest.raises(CheckpointError) as caught:
        unpack(HOSTILE[case], name="model.safetensors")
    assert str(caught.value).startswith("model.safetensors: ")
    assert caught.value.mend


@pytest.mark.parametrize("unpack", [io.unpack_arrays, io.unpack_tensors])
def test_mutated_files_raise_nothing_else(unpack):
    """R11, a short run: 3,000 mutants of the header, no other exception."""
    chance = random.Random(0)
    whole = io.pack_arrays({"a": np.arange(6.0).reshape(2, 3), "c": np.zeros(2, "c8"), "i": np.array(3)}, {"k": "v"})
    header = 8 + int.from_bytes(whole[:8], "little")
    refused = 0
    for _ in range(3000):
        copy = bytearray(whole)
        for _ in range(chance.choice((1, 1, 2, 5))):
            copy[chance.randrange(header)] = chance.choice((chance.randrange(256), *b'0123456789{}[]",:-'))
        try:
            unpack(bytes(copy), name="m")
        except CheckpointError:
            refused += 1
    assert refused > 1000
