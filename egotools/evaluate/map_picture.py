"""Draws maps of rows: points of several projections in the same colors. Axes: N points."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from egotools.plots import OTHERS, escaped, png, thumbnail
from egotools.types import FloatArray, Frame, IntArray

if TYPE_CHECKING:  # matplotlib is slow to import
    from matplotlib.axes import Axes

OTHER, MISSING = -1, -2  # points of classes without a color, and of none
NOT_GRAY = {"#7f7f7f": "#000000", "#c7c7c7": "#00584b"}  # of a palette: gray is for points without a color


@dataclass(frozen=True, eq=False)
class Colors:
    """What colors N points: classes, or numbers on a scale, or nothing."""

    name: str  # of the legend
    texts: Sequence[str]  # [N] what each point is said to be
    classes: Sequence[str] = ()  # those with a color of their own
    at: IntArray | None = None  # [N] their numbers, OTHER, or MISSING
    numbers: FloatArray | None = None  # [N]; NaN: missing

    def groups(self) -> list[tuple[str, str, IntArray]]:
        """The entries of a legend, each with its color and its points; those on a scale have none."""
        from matplotlib import colormaps
        from matplotlib.colors import to_hex

        at = np.zeros(len(self.texts), np.int64) if self.at is None else self.at
        if self.numbers is not None:
            at = np.where(np.isnan(self.numbers), MISSING, len(self.texts))
        shades = colormaps["tab10" if len(self.classes) <= 10 else "tab20"]
        colors = [NOT_GRAY.get(color, color) for color in map(to_hex, shades.colors)]  # type: ignore[attr-defined]
        named = list(zip(self.classes or [self.name], colors, strict=False))
        entries = [(number, *each) for number, each in enumerate(named)]
        entries += [(OTHER, "other values", OTHERS), (MISSING, "no value", "darkgray")]
        return [(text, color, np.flatnonzero(at == number)) for number, text, color in entries if (at == number).any()]


@dataclass(frozen=True, eq=False)
class MapPanel:
    """Points [N, 2] of one projection, its axes' names, and frames to draw, by the number of their point."""

    heading: str
    axes: tuple[str, str]
    points: FloatArray
    frames: Mapping[int, Frame]


def map_picture(panels: Sequence[MapPanel], colors: Colors, *, title: str) -> bytes:
    """Points of the same rows by several projections, side by side, in the same colors."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize, to_rgba
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(5.5 * len(panels) + 1.5, 5.8), layout="constrained")
    figure.suptitle("\n".join(textwrap.wrap(escaped(title, 200), 55 * len(panels))), fontsize=10)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    fills, groups = np.zeros((len(colors.texts), 4)), colors.groups()
    if colors.numbers is not None:
        shown = ScalarMappable(Normalize(float(np.nanmin(colors.numbers)), float(np.nanmax(colors.numbers))), "viridis")
        fills[:] = shown.to_rgba(colors.numbers)
        figure.colorbar(shown, ax=[*grid], label=escaped(colors.name), shrink=0.8, pad=0.02)
    for _, color, rows in groups:
        fills[rows] = to_rgba(color)
    for axes, panel in zip(grid, panels, strict=True):
        _draw_points(axes, panel, fills)
    marks = [Line2D([], [], color=color, marker="o", linestyle="", markersize=5) for _, color, _ in groups]
    names = [f"{escaped(text)} ({len(rows)})" for text, _, rows in groups]
    if colors.name and groups:
        figure.legend(marks, names, title=escaped(colors.name), loc="outside right upper", fontsize=8)
    return png(figure)


def _draw_points(axes: Axes, panel: MapPanel, fills: FloatArray) -> None:
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    axes.scatter(
        panel.points[:, 0],
        panel.points[:, 1],
        c=fills,
        s=float(np.clip(8000 / len(fills), 3, 30)),
        alpha=0.8,
        linewidths=0,
    )
    for row, frame in panel.frames.items():
        image = OffsetImage(thumbnail(frame, 64), zoom=0.7)
        edge = {"edgecolor": fills[row], "linewidth": 2}
        axes.add_artist(AnnotationBbox(image, panel.points[row], pad=0, bboxprops=edge))
    axes.set(xlabel=panel.axes[0], ylabel=panel.axes[1])
    axes.set_title(panel.heading, fontsize=10)
    axes.margins(0.08)  # room for frames at the edge
    axes.set_aspect("equal", adjustable="datalim")
    axes.tick_params(labelsize=7)
    if not panel.axes[0]:  # coordinates that mean nothing
        axes.set(xticks=[], yticks=[])
