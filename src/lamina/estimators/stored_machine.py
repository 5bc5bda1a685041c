"""A Boltzmann machine for scikit-learn in a folder: parameters as JSON, weights and state as safetensors, no pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from lamina.energy.rbm import RBM
from lamina.errors import CheckpointError, ConfigError, shown
from lamina.estimators.stored import plain
from lamina.io import (
    read_generation,
    refuse_foreign,
    tensor_pieces,
    unpack_tensors,
    write_generation,
)
from lamina.io.atomic import Content
from lamina.io.strict_json import guarded_bytes, parse_guarded

CARD, WEIGHTS = "machine.json", "machine.safetensors"
KIND = "machine"
_PARTS = ("model", "velocity", "offset", "state", "own")
_COPY = "use an intact copy"
_M = TypeVar("_M")


def write_machine(estimator: Any, path: Path, own: dict[str, Tensor]) -> Path:
    """Write a fitted estimator.

    Args:
        estimator: A ``MachineTransformer``, fitted.
        path: The folder.
        own: Arrays of its class.

    Returns:
        The folder.
    """
    given = {name: plain(value) for name, value in estimator.get_params(deep=False).items()}
    names = getattr(estimator, "feature_names_in_", None)
    card = {
        "class": type(estimator).__name__,
        "parameters": {
            name: value for name, value in given.items() if value is None or isinstance(value, str | int | float | bool)
        },
        "names": None if names is None else [str(name) for name in names],
        "n_visible": estimator.machine_.n_visible,
        "n_hidden": estimator.machine_.n_hidden,
        "chains": 0 if estimator.machine_.chains is None else len(estimator.machine_.chains),
        "seed": estimator._seed,
        "history": estimator.history_,
    }
    progress = estimator._progress
    velocities = progress["optimizer"]["state"]
    tensors = {f"model.{name}": value for name, value in estimator.machine_.state_dict().items()}
    tensors |= {
        f"velocity.{k}": v["momentum_buffer"] for k, v in velocities.items() if v.get("momentum_buffer") is not None
    }
    tensors |= {f"offset.{k}": value for k, value in enumerate(progress.get("offsets", ()))}
    tensors["state.generator"] = progress["generator"]
    tensors |= {f"own.{name}": value for name, value in own.items()}
    files: dict[str, Content] = {CARD: guarded_bytes(card, KIND), WEIGHTS: tensor_pieces(tensors)}
    return write_generation(path.parent, path.name, files, {"kind": KIND})


def read_machine(kind: type[_M], path: Path) -> _M:
    """Read an estimator of a class.

    Args:
        kind: The class.
        path: The folder.

    Returns:
        The estimator, as it was when it was written.

    Raises:
        CheckpointError: If it is none, of another class, or damaged.
    """
    refuse_foreign(path, "manifest.json")
    files = read_generation(path).files
    for name in (CARD, WEIGHTS):
        if name not in files:
            raise CheckpointError(f"{name} is missing", where=shown(path, 200), mend=_COPY)
    where = str(path / CARD)
    card = parse_guarded(files[CARD], KIND, 1, where)
    if card.get("class") != kind.__name__:
        raise CheckpointError(f"holds a {shown(card.get('class'))}, not a {kind.__name__}", where=where)
    kept: dict[str, dict[str, Tensor]] = {part: {} for part in _PARTS}
    try:
        for name, value in unpack_tensors(files[WEIGHTS], name=str(path / WEIGHTS)).items():
            part, _, rest = name.partition(".")
            kept[part][rest] = value
        return _restored(kind, card, kept)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CheckpointError(
            f"what it says of the estimator cannot be used: {shown(repr(error), 120)}", where=where, mend=_COPY
        ) from error


def _restored(kind: type[_M], card: dict[str, Any], kept: dict[str, dict[str, Tensor]]) -> _M:
    estimator: Any = kind(**card["parameters"])
    sizes = [card[name] for name in ("n_visible", "n_hidden", "chains", "seed")]
    if not all(isinstance(size, int) and not isinstance(size, bool) for size in sizes):
        raise TypeError("sizes are no whole numbers")
    n_visible, n_hidden, chains, seed = sizes
    shapes = {tuple(kept["model"]["weight"].shape): (n_hidden, n_visible)}
    if any(found != said for found, said in shapes.items()):
        raise ConfigError(f"weights have shape {next(iter(shapes))}")  # before memory for them is taken
    machine = RBM(n_visible, n_hidden, estimator._units(), std=0.0, chains=min(chains, 1))
    if chains:
        machine.chains = torch.zeros(chains, n_visible)
    machine.load_state_dict(kept["model"])
    step = estimator._step(machine)
    state = step.state_dict()
    state["optimizer"]["state"] = {int(k): {"momentum_buffer": value} for k, value in kept["velocity"].items()}
    state["generator"] = kept["state"]["generator"]
    if kept["offset"]:
        state["offsets"] = [kept["offset"][str(k)] for k in range(2)]
    step.load_state_dict(state)
    estimator._seed, estimator.history_, estimator.n_features_in_ = seed, list(card["history"]), n_visible
    if card["names"] is not None:
        estimator.feature_names_in_ = np.asarray(card["names"], dtype=object)
    estimator._adopt(kept["own"])
    estimator._take(step)
    restored: _M = estimator
    return restored
