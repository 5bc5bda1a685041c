"""A run's state as data: a JSON tree beside named tensors. Nothing in it can run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lamina.errors import CheckpointError


def flatten_state(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """Split nested dicts and lists into a JSON tree and its tensors.

    In the tree a tensor stands as ``{"$tensor": name}``, a number that JSON lacks as ``{"$float": "nan"}``, and a dict
    with other keys than strings as ``{"$items": [[key, value], ...]}``. Tuples become lists.

    Args:
        state: Dicts, lists, tuples, tensors, numbers, strings, booleans and None.

    Returns:
        The tree and the tensors by name, on the CPU.

    A ``TypeError`` says where something else was found: a state must be data.
    """
    tensors: dict[str, Tensor] = {}

    def walk(value: Any, path: str) -> Any:
        if isinstance(value, Tensor):
            tensors[path] = value.detach().to("cpu")
            return {"$tensor": path}
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"$float": repr(value)}
        if isinstance(value, list | tuple):
            return [walk(item, f"{path}/{i}") for i, item in enumerate(value)]
        if isinstance(value, Mapping):
            if all(isinstance(key, str) and not key.startswith("$") for key in value):
                return {key: walk(item, f"{path}/{key}") for key, item in value.items()}
            return {
                "$items": [
                    [walk(k, f"{path}/key{i}"), walk(v, f"{path}/{i}")] for i, (k, v) in enumerate(value.items())
                ]
            }
        raise TypeError(f"state at {path or '/'} is a {type(value).__name__}; it may hold only data")

    return walk(state, ""), tensors


def unflatten_state(tree: Any, tensors: Mapping[str, Tensor], *, where: str) -> Any:
    """Put a state together again.

    Args:
        tree: As ``flatten_state`` returned it.
        tensors: By name.
        where: The file, for messages.

    Returns:
        Nested dicts and lists; a ``CheckpointError`` if a tensor that the tree names is missing.
    """

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "$tensor" in value:
            if value["$tensor"] not in tensors:
                raise CheckpointError(f'the tensor "{value["$tensor"]}" is missing', where=where)
            return tensors[value["$tensor"]]
        if "$float" in value:
            return float(value["$float"])
        if "$items" in value:
            return {walk(key): walk(item) for key, item in value["$items"]}
        return {key: walk(item) for key, item in value.items()}

    return walk(tree)


def copy_state(state: Any) -> Any:
    """Return a deep copy whose tensors share no memory with the state's."""
    if isinstance(state, Tensor):
        return state.detach().clone()
    if isinstance(state, Mapping):
        return {key: copy_state(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [copy_state(value) for value in state]
    return state


def all_finite(tensors: list[Tensor]) -> bool:
    """Return whether every element of every floating-point tensor is finite; waits for the device once."""
    floating = [t for t in tensors if t.is_floating_point() and t.numel()]
    return not floating or bool(torch.stack([t.isfinite().all() for t in floating]).all())
