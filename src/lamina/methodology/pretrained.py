"""What became of pre-trained layers, and how it is kept beside a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from torch import nn

from lamina.errors import CheckpointError
from lamina.io import Generations, dump_json, pack_arrays, tensor_pieces, unpack_arrays, unpack_tensors
from lamina.io.strict_json import parse_json
from lamina.methodology.layer_views import Arrays

_LAYERS, _WEIGHTS, _VIEWS = "layers.json", "weights.safetensors", "views.safetensors"


@dataclass(frozen=True)
class PretrainedLayer:
    """What became of one hidden layer.

    Attributes:
        number: 1 for the layer next to the inputs.
        of: How many layers were pre-trained.
        name: In the network.
        units: Its units, or maps.
        method: What it was trained as, in words.
        inputs: What its machine or autoencoder took its inputs for: ``bernoulli`` or ``gaussian``; empty where it
            learnt with targets.
        figure: What ``loss`` in the history is.
        history: A record an epoch.
        views: What ``views_of`` returned.
    """

    number: int
    of: int
    name: str
    units: int
    method: str
    inputs: str
    figure: str
    history: list[dict[str, Any]]
    views: Arrays = field(default_factory=dict)


def keep(kept: Generations, model: nn.Module, layers: Sequence[PretrainedLayer]) -> None:
    """Write a network's weights and what is shown of its layers, whole or not at all.

    Args:
        kept: Where.
        model: The network after pre-training.
        layers: What became of its layers.
    """
    plain = []
    for layer in layers:
        plain.append({entry.name: getattr(layer, entry.name) for entry in fields(layer) if entry.name != "views"})
    views = {f"{layer.number}.{name}": array for layer in layers for name, array in layer.views.items()}
    files: Mapping[str, Any] = {
        _LAYERS: dump_json(plain).encode(),
        _WEIGHTS: tensor_pieces(model.state_dict()),
        _VIEWS: pack_arrays(views),
    }
    kept.write(files, {})


def find(kept: Generations, model: nn.Module) -> tuple[PretrainedLayer, ...] | None:
    """Put the weights that were kept into the network, if they are whole.

    Args:
        kept: Where ``keep`` wrote.
        model: The network, as it was built.

    Returns:
        The layers, or None where there are none, or damaged ones: pre-training is done again then, with the same bits.

    Raises:
        CheckpointError: If they are those of another network.
    """
    try:
        newest = kept.latest()
    except CheckpointError:
        return None
    if newest is None:
        return None
    where = str(newest.folder)
    weights = unpack_tensors(newest.files[_WEIGHTS], name=f"{where}/{_WEIGHTS}")
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"holds the weights of another network: {error}",
            where=where,
            mend="resume with the settings that the run was started with",
        ) from None
    views = unpack_arrays(newest.files[_VIEWS], name=f"{where}/{_VIEWS}")
    plain: Any = parse_json(newest.files[_LAYERS], f"{where}/{_LAYERS}")
    return tuple(PretrainedLayer(**words, views=_views_of(views, words["number"])) for words in plain)


def _views_of(views: Arrays, number: int) -> Arrays:
    start = f"{number}."
    return {name.removeprefix(start): array for name, array in views.items() if name.startswith(start)}
