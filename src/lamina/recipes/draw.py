"""Figures as files: SVG and PNG, drawn without a screen."""

from __future__ import annotations

import io
import warnings
from typing import Any

from lamina.recipes.recipe import Figure

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}


def drawn(figure: Figure) -> dict[str, bytes]:
    """Draw a figure.

    Args:
        figure: What is drawn.

    Returns:
        File name to content: ``NAME.svg`` and ``NAME.png``; the same bytes for the same results.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    style: Any = {**_STYLE, "svg.hashsalt": figure.name}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # layout complaints are nothing that a reader can act on
        canvas = Canvas(figsize=figure.size, layout="constrained")
        figure.draw(canvas)
        canvas.suptitle(figure.title, fontsize="medium")
        vector, pixels = io.BytesIO(), io.BytesIO()
        svg: Any = FigureCanvasSVG(canvas)
        svg.print_svg(vector, metadata={"Date": None})
        canvas.set_dpi(150)
        png: Any = FigureCanvasAgg(canvas)
        png.print_png(pixels, metadata={"Software": None})
    return {f"{figure.name}.svg": vector.getvalue(), f"{figure.name}.png": pixels.getvalue()}
