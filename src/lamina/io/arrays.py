"""Arrays and tensors as safetensors bytes: the same arrays give the same bytes, and all dtypes come back bit for bit.

The format has no complex numbers of double precision, so complex arrays are stored as real ones with a last axis of 2
(real part, imaginary part); which ones stands in the file's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from lamina.errors import CheckpointError, ConfigError, shown

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

_COMPLEX = "lamina.complex"
_MOST_HEADER = 100_000_000
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
    from safetensors import SafetensorError
    from safetensors.numpy import save

    flat: dict[str, np.ndarray[Any, Any]] = {}
    split: list[str] = []
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        if array.dtype.kind not in "biufc" or array.dtype.itemsize > (16 if array.dtype.kind == "c" else 8):
            raise ConfigError(f'the array "{shown(name)}" has dtype {array.dtype}, which safetensors cannot hold')
        if array.dtype.kind == "c":
            split.append(name)
            real = np.dtype(f"<f{array.dtype.itemsize // 2}")
            array = array.reshape(-1).view(real).reshape((*array.shape, 2))
        flat[name] = array
    try:
        return _with_metadata(save(flat), metadata, split)
    except SafetensorError as error:
        raise ConfigError(f"cannot be stored as safetensors: {shown(error, 200)}") from error


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
    """Return tensors as one safetensors file.

    Args:
        tensors: By name, on any device; tensors that share memory are stored once for each name.
        metadata: Words to store beside them.

    Returns:
        The bytes: the same for the same tensors, whatever the order of the mapping.

    Raises:
        ConfigError: If a tensor has no form in the file: sparse, quantised, on the meta device, of an unknown dtype.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save

    flat: dict[str, Tensor] = {}
    split: list[str] = []
    owned: set[int] = set()
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise ConfigError(f'the tensor "{shown(name)}" is sparse, quantised or empty of data and cannot be stored')
        if tensor.is_complex():
            split.append(name)
            tensor = torch.view_as_real(tensor.resolve_conj())
        tensor = tensor.resolve_neg().cpu().contiguous()
        storage = tensor.untyped_storage().data_ptr()
        if storage in owned:
            tensor = tensor.clone()
        owned.add(storage)
        flat[name] = tensor
    try:
        return _with_metadata(save(flat), metadata, split)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ConfigError(f"cannot be stored as safetensors: {shown(error, 200)}") from error


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


def _with_metadata(data: bytes, metadata: Mapping[str, str] | None, split: list[str]) -> bytes:
    """Return the file with metadata in sorted order: safetensors' own order changes from one process to the next."""
    words = dict(metadata or {})
    if split:
        words[_COMPLEX] = json.dumps(split)
    if not words:
        return data
    header = _header(data, "")
    header = {"__metadata__": {key: words[key] for key in sorted(words)}, **header}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    text += b" " * (-len(text) % 8)
    old = 8 + int.from_bytes(data[:8], "little")
    return b"".join((len(text).to_bytes(8, "little"), text, memoryview(data)[old:]))


def _split_names(words: dict[str, str], name: str) -> frozenset[str]:
    try:
        found = json.loads(words.get(_COMPLEX, "[]"))
    except ValueError as error:
        _refuse_damaged(error, name)
    return frozenset(one for one in found if isinstance(one, str)) if isinstance(found, list) else frozenset()


def _refuse_damaged(error: Exception, name: str) -> NoReturn:
    raise CheckpointError(f"is not a whole safetensors file: {shown(error, 120)}", where=name, mend=_MEND) from error
