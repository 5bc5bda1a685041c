"""What the report shows of pre-training: pictures on sheets, curves and histograms, from the arrays that were kept."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamina.methodology.pretrained import PretrainedLayer
from lamina.report.cards import Histogram, LayerCard
from lamina.report.gather import thin_history

MOST_LAYERS = 6
"""Layers whose pictures are shown; of the others the curve and the histograms are."""
_COLUMNS = 12  # tiles in a row
_SIDE = 32  # pixels of a tile's longer side, at most


def layer_cards(layers: Sequence[PretrainedLayer]) -> tuple[LayerCard, ...]:
    """Return the cards of pre-trained layers.

    Args:
        layers: As training gave them.

    Returns:
        A card each.
    """
    return tuple(_card(layer, place < MOST_LAYERS) for place, layer in enumerate(layers))


def _card(layer: PretrainedLayer, pictured: bool) -> LayerCard:
    views = layer.views if pictured else {}
    filters, samples = views.get("filters"), views.get("samples")
    reconstructions = ""
    if "originals" in views:
        pairs = [views["originals"][:_COLUMNS], views["reconstructions"][:_COLUMNS]]
        reconstructions = sheet(np.concatenate(pairs), columns=len(pairs[0]))
    history = thin_history([{"epoch": r["epoch"], "loss": r["loss"]} for r in layer.history])
    return LayerCard(
        number=layer.number,
        of=layer.of,
        name=layer.name,
        units=layer.units,
        method=layer.method,
        inputs=layer.inputs,
        figure=layer.figure,
        history=tuple(history),
        weights=_histogram(layer.views, "weight"),
        activities=_histogram(layer.views, "activity"),
        filters="" if filters is None else sheet(_signed(filters)),
        reconstructions=reconstructions,
        samples="" if samples is None else sheet(samples),
        n_filters=0 if filters is None else len(filters),
    )


def _histogram(views: dict[str, NDArray[Any]], what: str) -> Histogram:
    counts = views["weights" if what == "weight" else "activities"]
    return Histogram(tuple(float(f"{v:.6g}") for v in views[f"{what}_edges"]), tuple(int(c) for c in counts))


def _signed(filters: NDArray[Any]) -> NDArray[Any]:
    """Bring each filter to 0 … 1 by its own largest weight: ½ is a weight of 0, white a positive one.

    Returns:
        The same shape.
    """
    largest = np.abs(filters).max(axis=(1, 2, 3), keepdims=True)
    scaled: NDArray[Any] = 0.5 + 0.5 * filters / np.where(largest > 0, largest, 1.0)
    return scaled


def sheet(tiles: NDArray[Any], columns: int = _COLUMNS) -> str:
    """Lay pictures side by side, a transparent pixel between them.

    Args:
        tiles: ``(n, C, H, W)``, 0 black to 1 white; C is 1 or 3.
        columns: Pictures in a row.

    Returns:
        PNG in base64.
    """
    from PIL import Image

    n, channels, height, width = tiles.shape
    bytes_ = (np.nan_to_num(tiles).clip(0, 1) * 255).round().astype(np.uint8)
    ratio = min(1.0, _SIDE / max(height, width))
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    rows = -(-n // columns)
    paper = Image.new("LA" if channels == 1 else "RGBA", (columns * (size[0] + 1) - 1, rows * (size[1] + 1) - 1))
    for i, tile in enumerate(bytes_):
        image = Image.fromarray(tile[0] if channels == 1 else np.ascontiguousarray(tile.transpose(1, 2, 0)))
        if ratio < 1.0:
            image = image.resize(size)
        place = (i % columns) * (size[0] + 1), (i // columns) * (size[1] + 1)
        paper.paste(image.convert(paper.mode), place)
    buffer = io.BytesIO()
    paper.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
