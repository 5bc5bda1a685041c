"""The figures of the page: matplotlib's SVG with the page's colours in it and nothing but drawing left.

Colours are CSS variables of the page (``--ink``, ``--s0`` ...), so one figure serves light and dark. No text from the
data goes into a figure; names that the data chose stand in the page beside it. Each figure carries a title and a
description for those who do not see it.
"""

from __future__ import annotations

import io
import math
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from typing import Any

from lamina.report.cards import Histogram
from lamina.report.facts import ClassFacts, Curve, NumberFacts
from lamina.report.gather import thin_history

INK, FAINT, PAPER = "#010101", "#020202", "#030303"
SERIES = tuple(f"#0400{i:02x}" for i in range(10))
_VARIABLES = {INK: "var(--ink)", FAINT: "var(--line)", PAPER: "var(--paper)"} | {
    colour: f"var(--s{i})" for i, colour in enumerate(SERIES)
}
_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
_WIDTH, _HEIGHT = 5.6, 3.6
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.size": 12,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "grid.alpha": 0.7,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "legend.facecolor": PAPER,
    "legend.edgecolor": PAPER,
    "legend.framealpha": 0.8,
    "path.simplify": True,
    "axes.formatter.useoffset": False,
}


def _draw(key: str, title: str, description: str, plot: Callable[[Any], None], *, height: float = _HEIGHT) -> str:
    """Draw on one pair of axes.

    Returns:
        A clean ``<svg>``.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: Any = {**_STYLE, "svg.hashsalt": key}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # layout complaints about tiny or huge axes are nothing a reader can act on
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        canvas: Any = FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        figure.patch.set_visible(False)
        axes.patch.set_visible(False)
        plot(axes)
        buffer = io.BytesIO()
        canvas.print_svg(buffer, metadata={"Date": None})
    return _clean(buffer.getvalue(), key, title, description)


def _clean(svg: bytes, key: str, title: str, description: str) -> str:
    """Leave only drawing: no metadata, style sheet or namespaces; ids unique on the page, colours of the page.

    Returns:
        The element as text, with ``<title>`` and ``<desc>``.
    """
    root = ET.fromstring(svg)
    for parent in list(root.iter()):
        for child in [c for c in parent if c.tag in {f"{_SVG}metadata", f"{_SVG}style"}]:
            parent.remove(child)
    referenced = set(re.findall(r"#([A-Za-z_][\w-]*)", svg.decode("utf-8")))
    for element in root.iter():
        _clean_element(element, key, referenced)
    box = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib.update({"viewBox": box, "role": "img", "aria-labelledby": f"{key}-title {key}-desc"})
    for place, (tag, text) in enumerate({"title": title, "desc": description}.items()):
        said = ET.Element(tag, {"id": f"{key}-{tag}"})
        said.text = text
        root.insert(place, said)
    return ET.tostring(root, encoding="unicode", short_empty_elements=False)


def _clean_element(element: Any, key: str, referenced: set[str]) -> None:
    element.tag = element.tag.removeprefix(_SVG)
    link = element.attrib.pop(_LINK, None)
    if link is not None:
        element.set("href", f"#{key}-{link[1:]}")
    name = element.attrib.pop("id", None)
    if name in referenced:
        element.set("id", f"{key}-{name}")
    for attribute, value in list(element.attrib.items()):
        changed = value.replace("url(#", f"url(#{key}-")
        if attribute in {"style", "fill", "stroke"}:
            for colour, variable in _VARIABLES.items():
                changed = changed.replace(colour, variable)
        element.set(attribute, changed)


def _points(history: Sequence[dict[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """Return epochs and values of a figure where it is defined."""
    pairs = [
        (float(record.get("epoch", i + 1)), float(record[name]))
        for i, record in enumerate(history)
        if isinstance(record.get(name), int | float) and math.isfinite(record[name])
    ]
    return [x for x, _ in pairs], [y for _, y in pairs]


def curves(
    key: str,
    title: str,
    history: Sequence[dict[str, Any]],
    names: dict[str, str],
    *,
    kept: int | None = None,
    logarithmic: bool = False,
    ylabel: str = "",
    band: tuple[float, float] | None = None,
) -> str | None:
    """Draw figures over epochs.

    Args:
        key: Starts the ids in the SVG; unique on the page.
        title: For those who do not see it.
        history: Records.
        names: Recorded name to label.
        kept: The epoch whose weights were kept, marked.
        logarithmic: Draw on a logarithmic scale where all values are above 0.
        ylabel: Of the vertical axis.
        band: A usual range, shaded.

    Returns:
        The SVG, or None where none of the figures was recorded.
    """
    history = thin_history(history, kept)
    series = {label: _points(history, name) for name, label in names.items()}
    series = {label: points for label, points in series.items() if points[0]}
    if not series:
        return None
    values = [y for _, ys in series.values() for y in ys]
    log = min(values) > 0 and (logarithmic or max(values) > 50 * min(values))
    last = "; ".join(f"{label} from {ys[0]:.3g} to {ys[-1]:.3g}" for label, (_, ys) in series.items())

    def plot(axes: Any) -> None:
        if band is not None:
            axes.axhspan(*band, color=SERIES[2], alpha=0.13, linewidth=0)
        for colour, (label, (xs, ys)) in zip(SERIES, series.items(), strict=False):
            mark = "o" if len(xs) == 1 else ""
            axes.plot(xs, ys, color=colour, label=label, marker=mark, markersize=5)
        if kept is not None:
            axes.axvline(kept, color=INK, linewidth=1, linestyle=(0, (3, 3)), label=f"kept: epoch {kept}")
        if log:
            axes.set_yscale("log")
        _whole_ticks(axes.xaxis)
        axes.set_xlabel("epoch")
        axes.set_ylabel(ylabel or (next(iter(series)) if len(series) == 1 else ""))
        if len(series) > 1 or kept is not None:
            axes.legend()

    return _draw(key, title, f"Over {len(history)} recorded epochs: {last}.", plot)


def _whole_ticks(axis: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=7, integer=True))


def precision_recall(key: str, found: Sequence[Curve]) -> str | None:
    """Draw precision over recall, a colour a curve in the order given.

    Returns:
        The SVG, or None where there is nothing to draw.
    """
    if not found:
        return None

    def plot(axes: Any) -> None:
        for colour, curve in zip(SERIES, found, strict=False):
            axes.step(curve.x, curve.y, where="pre", color=colour, linewidth=1.6)
        _unit_square(axes, "recall", "precision")

    areas = ", ".join(f"{curve.area:.3f}" for curve in found if curve.area is not None)
    return _draw(key, "Precision over recall", f"Average precision of the curves: {areas}.", plot)


def calibration(key: str, facts: ClassFacts) -> str | None:
    """Draw how often predictions were right over how sure they were, with the diagonal of honest confidence.

    Returns:
        The SVG, or None where there is nothing to draw.
    """
    bins = [b for b in facts.calibration if b.count and b.confidence is not None and b.accuracy is not None]
    if not bins:
        return None
    largest = max(b.count for b in bins)

    def plot(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (3, 3)))
        axes.plot([b.confidence for b in bins], [b.accuracy for b in bins], color=SERIES[0], linewidth=1, alpha=0.6)
        sizes = [18 + 130 * b.count / largest for b in bins]
        axes.scatter([b.confidence for b in bins], [b.accuracy for b in bins], s=sizes, color=SERIES[0], linewidth=0)
        _unit_square(axes, "confidence", "share that is right")

    return _draw(
        key,
        "Calibration: share right over confidence",
        "On the dashed diagonal, confidence is what it claims. Larger dots hold more examples.",
        plot,
    )


def coverage(key: str, facts: ClassFacts) -> str | None:
    """Draw accuracy over the share of examples answered.

    Returns:
        The SVG, or None where there is nothing to draw.
    """
    curve = facts.coverage
    if not curve.x:
        return None

    def plot(axes: Any) -> None:
        axes.plot(curve.x, curve.y, color=SERIES[0], marker="o" if len(curve.x) == 1 else "", markersize=5)
        axes.set_xlim(-0.02, 1.02)
        low = min(curve.y)
        axes.set_ylim(max(0.0, low - 0.15 * (1 - low) - 0.005), 1.0 + 0.05 * (1 - low) + 0.002)
        axes.set_xlabel("share of the examples answered")
        axes.set_ylabel("accuracy on those")

    return _draw(
        key,
        "Accuracy over coverage",
        f"Answering all examples gives {curve.y[-1]:.3f}; to the left only the surest are answered.",
        plot,
    )


def _unit_square(axes: Any, xlabel: str, ylabel: str) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.04)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)


def predicted_over_true(key: str, facts: NumberFacts) -> str | None:
    """Draw predictions over truth with their 90 % intervals and the diagonal.

    Returns:
        The SVG, or None where there is nothing to draw.
    """
    if not facts.truth:
        return None
    ends = [*facts.truth, *facts.predicted]
    low, high = min(ends), max(ends)
    pad = 0.05 * (high - low) or max(0.5, 0.05 * abs(low))

    def plot(axes: Any) -> None:
        span = [low - pad, high + pad]
        axes.plot(span, span, color=INK, linewidth=1, linestyle=(0, (3, 3)))
        if facts.low:
            axes.vlines(facts.truth, facts.low, facts.high, color=SERIES[0], alpha=0.22, linewidth=1.1)
        axes.scatter(facts.truth, facts.predicted, s=13, color=SERIES[0], alpha=0.8, linewidth=0)
        axes.set_xlim(*span)
        if facts.low:
            inner = [*facts.low, *facts.high, *span]
            axes.set_ylim(max(min(inner), low - 6 * pad), min(max(inner), high + 6 * pad))
        else:
            axes.set_ylim(*span)
        axes.set_xlabel("true")
        axes.set_ylabel("predicted")

    intervals = " Vertical lines are 90 % intervals." if facts.low else ""
    return _draw(
        key,
        "Predicted over true",
        f"{len(facts.truth)} test examples; on the dashed diagonal the prediction is exact.{intervals}",
        plot,
    )


def histogram(key: str, title: str, found: Histogram, *, xlabel: str, ylabel: str) -> str | None:
    """Draw how many values lie where, on a logarithmic scale where one bin towers above the others.

    Returns:
        The SVG, or None where there is nothing to draw.
    """
    if not found.counts:
        return None
    filled = [count for count in found.counts if count]
    log = max(filled, default=0) > 200 * min(filled, default=1)

    def plot(axes: Any) -> None:
        widths = [b - a for a, b in zip(found.edges, found.edges[1:], strict=False)]
        axes.bar(found.edges[:-1], found.counts, widths, align="edge", color=SERIES[0], alpha=0.85, linewidth=0)
        if log:
            axes.set_yscale("log")
        else:
            _whole_ticks(axes.yaxis)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.grid(False, axis="x")

    said = f"Histogram of {sum(found.counts)} values, from {found.edges[0]:.3g} to {found.edges[-1]:.3g}."
    return _draw(key, title, said, plot, height=0.75 * _HEIGHT)


def residuals(key: str, facts: NumberFacts) -> str | None:
    """Draw the histogram of truth minus prediction.

    Returns:
        The SVG, or None where there is nothing to draw.
    """
    if not facts.counts:
        return None

    def plot(axes: Any) -> None:
        widths = [b - a for a, b in zip(facts.edges, facts.edges[1:], strict=False)]
        axes.bar(facts.edges[:-1], facts.counts, widths, align="edge", color=SERIES[0], alpha=0.85, linewidth=0)
        axes.axvline(0, color=INK, linewidth=1, linestyle=(0, (3, 3)))
        axes.set_xlabel("true minus predicted")
        axes.set_ylabel("test examples")
        _whole_ticks(axes.yaxis)
        axes.grid(False, axis="x")

    return _draw(
        key,
        "Residuals",
        f"Histogram over {facts.n} test examples, from {facts.edges[0]:.3g} to {facts.edges[-1]:.3g}.",
        plot,
    )
