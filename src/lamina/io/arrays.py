"""Arrays and tensors as safetensors bytes: the same arrays give the same bytes, and all dtypes come back bit for bit.

The format has no complex numbers of double precision, so complex arrays are stored as real ones with a last axis of 2
(real part, imaginary part); which ones stands in the file's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from lamina.errors import CheckpointError, ConfigError, shown

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

_COMPLEX = "lamina.complex"
_MOST_HEADER = 100_000_000
_TORCH_WORDS = {
    **{"bool": "BOOL", "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64"},
    **{"int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64"},
    **{"float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64"},
    **{"float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2"},
}
_MEND = "use an older checkpoint, or restore the file from a copy"


def pack_arrays(arrays: Mapping[str, np.ndarray[Any, Any]], metadata: Mapping[str, str] | None = None) -> bytes:
    """Return NumPy arrays as one safetensors file.

    Args:
        arrays: By name; booleans, integers, floats, complex numbers, any shape, in any memory order.
        metadata: Words to store beside them.

    Returns:
        The bytes: the same for the same arrays, whatever the order of the mapping.

    Raises:
        ConfigError: If an array's dtype has no form in the file (objects, strings, dates).
    """
    import numpy as np

    parts: list[_Part] = []
    split: list[str] = []
    for name, given in arrays.items():
        array = np.asarray(given, order="C")
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        if array.dtype.kind == "c" and array.dtype.itemsize <= 16:
            split.append(name)
            array = array.reshape(-1).view(f"<f{array.dtype.itemsize // 2}").reshape((*array.shape, 2))
        kind = {"b": "BOOL", "u": "U", "i": "I", "f": "F"}.get(array.dtype.kind, "")
        if not kind or array.dtype.itemsize > 8:
            raise ConfigError(f'the array "{shown(name)}" has dtype {array.dtype}, which safetensors cannot hold')
        word = kind if kind == "BOOL" else f"{kind}{8 * array.dtype.itemsize}"
        data = array.reshape(-1).view(np.uint8).data.toreadonly()
        parts.append(_Part(name, word, array.dtype.itemsize, array.shape, data))
    return b"".join(_file(parts, metadata, split))


def unpack_arrays(data: bytes, *, name: str) -> dict[str, np.ndarray[Any, Any]]:
    """Read the bytes of ``pack_arrays``.

    Args:
        data: The file; verified by hash before (the format itself notices no flipped bit in the numbers).
        name: What the file is called, for messages.

    Returns:
        The arrays by name, writable, sorted by name.

    Raises:
        CheckpointError: If it is not safetensors, or its header promises what is not there.
    """
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import load

    split = _split_names(unpack_metadata(data, name=name), name)
    try:
        flat = load(data)
    except (SafetensorError, KeyError, ValueError, TypeError, OverflowError, MemoryError) as error:
        _refuse_damaged(error, name)
    arrays = {}
    for key in sorted(flat):
        array = flat[key]
        if key in split:
            if array.dtype.kind != "f" or array.ndim == 0 or array.shape[-1] != 2:
                raise CheckpointError(f'"{shown(key)}" is not a complex array', where=name, mend=_MEND)
            array = array.reshape(-1).view(np.dtype(f"<c{array.dtype.itemsize * 2}")).reshape(array.shape[:-1])
        arrays[key] = array
    return arrays


def pack_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Return tensors as one safetensors file; ``tensor_pieces`` says what is raised.

    Args:
        tensors: By name, on any device; tensors that share memory are stored once for each name.
        metadata: Words to store beside them.

    Returns:
        The bytes: the same for the same tensors, whatever the order of the mapping.
    """
    return b"".join(tensor_pieces(tensors, metadata))


def tensor_pieces(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> list[bytes | memoryview[Any]]:
    """Return the pieces of ``pack_tensors`` without copying what lies on the CPU: for models of gigabytes.

    The pieces show the tensors' own memory: write them before the tensors change.

    Args:
        tensors: By name, on any device; tensors that share memory are stored once for each name.
        metadata: Words to store beside them.

    Returns:
        The header, then each tensor's bytes: together one safetensors file.

    Raises:
        ConfigError: If a tensor has no form in the file: sparse, quantised, on the meta device, of an unknown dtype.
    """
    import torch

    parts: list[_Part] = []
    split: list[str] = []
    for name, given in tensors.items():
        tensor = given.detach()
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise ConfigError(f'the tensor "{shown(name)}" is sparse, quantised or empty of data and cannot be stored')
        if tensor.is_complex():
            split.append(name)
            tensor = torch.view_as_real(tensor.resolve_conj())
        word = _TORCH_WORDS.get(str(tensor.dtype).removeprefix("torch."))
        if word is None:
            raise ConfigError(f'the tensor "{shown(name)}" has dtype {tensor.dtype}, which safetensors cannot hold')
        tensor = tensor.resolve_neg().cpu().contiguous()
        data = tensor.reshape(-1).view(torch.uint8).numpy().data.toreadonly()
        parts.append(_Part(name, word, tensor.element_size(), tuple(tensor.shape), data))
    return _file(parts, metadata, split)


def unpack_tensors(data: bytes, *, name: str) -> dict[str, Tensor]:
    """Read the bytes of ``pack_tensors``.

    Args:
        data: The file; verified by hash before (the format itself notices no flipped bit in the numbers).
        name: What the file is called, for messages.

    Returns:
        The tensors by name, on the CPU, none sharing memory with another, sorted by name.

    Raises:
        CheckpointError: If it is not safetensors, or its header promises what is not there.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    split = _split_names(unpack_metadata(data, name=name), name)
    try:
        flat = load(data)
    except (SafetensorError, KeyError, ValueError, TypeError, OverflowError, RuntimeError, MemoryError) as error:
        _refuse_damaged(error, name)
    tensors = {}
    for key in sorted(flat):
        tensor = flat[key]
        if key in split:
            if not tensor.is_floating_point() or tensor.ndim == 0 or tensor.shape[-1] != 2:
                raise CheckpointError(f'"{shown(key)}" is not a complex tensor', where=name, mend=_MEND)
            tensor = torch.view_as_complex(tensor)
        tensors[key] = tensor
    return tensors


def unpack_metadata(data: bytes, *, name: str) -> dict[str, str]:
    """Read the words that were stored beside the arrays.

    Args:
        data: The file.
        name: What the file is called, for messages.

    Returns:
        The words by key; lamina's own keys begin with ``lamina.``.

    Raises:
        CheckpointError: If the header is not that of a safetensors file.
    """
    header = _header(data, name)
    words = header.get("__metadata__") or {}
    if not isinstance(words, dict) or not all(isinstance(word, str) for word in words.values()):
        raise CheckpointError("has metadata that are not words", where=name, mend=_MEND)
    return words


def _header(data: bytes, name: str) -> dict[str, Any]:
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(_MOST_HEADER, len(data) - 8):
        raise CheckpointError(
            f"is not a safetensors file: its header claims {size} bytes of {len(data)}", where=name, mend=_MEND
        )
    try:
        header = json.loads(data[8 : 8 + size])
    except (ValueError, RecursionError) as error:
        _refuse_damaged(error, name)
    if not isinstance(header, dict):
        raise CheckpointError("is not a safetensors file: its header is no object", where=name, mend=_MEND)
    return header


class _Part(NamedTuple):
    name: str
    dtype: str
    itemsize: int
    shape: tuple[int, ...]
    data: memoryview[Any]


def _file(parts: list[_Part], metadata: Mapping[str, str] | None, split: list[str]) -> list[bytes | memoryview[Any]]:
    """Return header and data in the order of the reference implementation: wide dtypes first, then by name.

    Its own writer is not used, because it puts the metadata in an order that changes from one process to the next, and
    copies all data twice.

    Raises:
        ConfigError: If a name cannot be written, or there are too many.
    """
    words = dict(metadata or {})
    if split:
        words[_COMPLEX] = json.dumps(sorted(split))
    header: dict[str, object] = {"__metadata__": {key: words[key] for key in sorted(words)}} if words else {}
    parts = sorted(parts, key=lambda part: (-part.itemsize, part.name))
    at = 0
    for part in parts:
        if part.name == "__metadata__" or not _encodes(part.name):
            raise ConfigError(f'the name "{shown(part.name)}" cannot stand in a safetensors file')
        header[part.name] = {
            "dtype": part.dtype,
            "shape": list(part.shape),
            "data_offsets": [at, at + len(part.data)],
        }
        at += len(part.data)
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode("ascii")
    text += b" " * (-len(text) % 8)
    if len(text) > _MOST_HEADER:
        raise ConfigError(f"{len(parts)} arrays are too many for one safetensors file")
    return [len(text).to_bytes(8, "little") + text, *(part.data for part in parts)]


def _encodes(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _split_names(words: dict[str, str], name: str) -> frozenset[str]:
    try:
        found = json.loads(words.get(_COMPLEX, "[]"))
    except ValueError as error:
        _refuse_damaged(error, name)
    return frozenset(one for one in found if isinstance(one, str)) if isinstance(found, list) else frozenset()


def _refuse_damaged(error: Exception, name: str) -> NoReturn:
    raise CheckpointError(f"is not a whole safetensors file: {shown(error, 120)}", where=name, mend=_MEND) from error
