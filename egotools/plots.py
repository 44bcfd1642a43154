"""Pictures of results, as the bytes of PNG files."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from egotools.types import IntArray

WRITTEN = 20  # classes up to which the cells hold their counts
NAMED = 60  # classes up to which the axes hold their names


def confusion_picture(counts: IntArray, classes: Sequence[str], *, title: str) -> bytes:
    """Counts [K, K] of label (down) by prediction (across), colored by their share of the label's rows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(2.5 + 0.35 * len(classes), 4, 16))
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(counts / rows, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the label's rows", shrink=0.8)
    axes.set(title=_escaped(title), xlabel="predicted", ylabel="label")
    if len(classes) <= NAMED:
        names = [_escaped(name) for name in classes]
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
    if len(classes) <= WRITTEN:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                shade = "white" if count > rows[row, 0] / 2 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=shade, fontsize=8)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=100)
    return content.getvalue()


def _escaped(text: str) -> str:
    """Shortened, and with dollar signs that matplotlib does not take for formulas."""
    return (text if len(text) <= 30 else text[:29] + "\u2026").replace("$", r"\$")
