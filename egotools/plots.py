"""Draws results: confusion matrices, scatter plots, curves, contact sheets, similarities, segments, as PNG bytes."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING

import numpy as np

from egotools.metrics.segmentation import Segments
from egotools.types import FloatArray, Frame, IntArray

if TYPE_CHECKING:  # matplotlib is slow to import
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WRITTEN = 20  # most classes for which cells show their counts
NAMED = 60  # most classes for which axes show their names
COLORED = 20  # most classes with a color of their own
OTHERS = "lightgray"
FEWEST, STRIP = 5, 10  # key frames in a line
SIX = 6  # frames in a line of what was found
WIDE = 10  # inches, of a storyboard
THUMBNAIL = 240  # pixels of the longer side of a small copy of a frame
CLOSEST = 0.018  # minimum distance of two names, as a fraction of the axis


def confusion_picture(counts: IntArray, classes: Sequence[str], *, title: str) -> bytes:
    """Counts [K, K] of true class (down) by prediction (across), colored by their share of the class's rows.

    A further column [K, K + 1] holds predictions outside these classes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(2.5 + 0.35 * len(classes), 4, 16))
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(counts / rows, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the class's rows", shrink=0.8)
    axes.set_title(escaped(title, 80), fontsize=9)
    axes.set(xlabel="predicted", ylabel="true")
    if len(classes) <= NAMED:
        names = [escaped(name) for name in classes]
        across = [*names, "(others)"][: counts.shape[1]]
        axes.set_xticks(range(len(across)), across, rotation=90)
        axes.set_yticks(range(len(names)), names)
    if len(classes) <= WRITTEN:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                shade = "white" if count > rows[row, 0] / 2 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=shade, fontsize=8)
    return png(figure)


def scatter_picture(target: FloatArray, predicted: FloatArray, *, title: str) -> bytes:
    """Predicted scores [N] over true ones [N], one point each."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 5.5), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(target, predicted, s=12, alpha=0.5, linewidths=0)
    axes.axline((0.5, 0.5), slope=1, color="gray", linewidth=0.8)
    span = float(np.ptp(target)) * 0.05 or 0.05
    axes.set(xlabel="score", ylabel="predicted", xlim=(float(target.min()) - span, float(target.max()) + span))
    margin = float(np.ptp(predicted)) * 0.05 or 0.05
    axes.set_ylim(float(predicted.min()) - margin, float(predicted.max()) + margin)
    axes.set_title("\n".join(textwrap.wrap(escaped(title, 200), 70)), fontsize=9)
    return png(figure)


def curves_picture(
    places: Sequence[float], panels: Mapping[str, Mapping[str, Sequence[float]]], *, across: str, title: str
) -> bytes:
    """Named curves over the same places [N], a panel a title; panels without curves are left out."""
    from matplotlib.figure import Figure

    drawn = {name: curves for name, curves in panels.items() if curves}
    figure = Figure(figsize=(4.5 * len(drawn), 3.5), layout="constrained")
    figure.suptitle(escaped(title, 80), fontsize=9)
    for axes, (name, curves) in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn.items(), strict=True):
        for label, values in curves.items():
            axes.plot(places, values, label=escaped(label), linewidth=1, marker="." if len(places) < WRITTEN else None)
        axes.set(xlabel=across)
        axes.set_title(escaped(name, 60), fontsize=9)
        axes.legend(fontsize=7)
    return png(figure)


@dataclass(frozen=True, eq=False)
class Shot:
    """One picture of a contact sheet; `is_right` draws a green or red frame around it, None draws none."""

    frame: Frame  # uint8 [H, W, 3]
    caption: str
    is_right: bool | None = None


def contact_sheet(rows: Sequence[Sequence[Shot]], *, title: str) -> bytes:
    """Frames in rows, each a query followed by its neighbors."""
    from matplotlib.figure import Figure

    columns = max(len(row) for row in rows)
    figure = Figure(figsize=(2.1 * columns, 1.75 * len(rows) + 0.5), layout="constrained")
    figure.suptitle("\n".join(textwrap.wrap(escaped(title, 200), 22 * columns)), fontsize=12)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    shots = (pair for line, row in zip(grid, rows, strict=True) for pair in zip_longest(line, row))
    for axes, shot in shots:
        axes.set(xticks=[], yticks=[])
        if shot is None:
            axes.set_axis_off()
            continue
        axes.imshow(thumbnail(shot.frame))
        axes.set_anchor("N")  # aligns the captions of a row, whatever the shape of the frames
        axes.set_title(escaped(shot.caption, 26), fontsize=8)
        color = {None: "black", True: "tab:green", False: "tab:red"}[shot.is_right]
        axes.spines[:].set(color=color, linewidth=1 if shot.is_right is None else 3)
    return png(figure)


def similarity_picture(similarity: FloatArray, names: Sequence[str], *, title: str) -> bytes:
    """Similarities [N, N] of rows in order; adjacent rows with the same name form a block, labeled if there is room."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 8), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(similarity, cmap="viridis", interpolation="nearest")
    figure.colorbar(image, ax=axes, label="cosine", shrink=0.8)
    axes.set_title(escaped(title, 80))
    starts = [index for index in range(len(names)) if index == 0 or names[index] != names[index - 1]]
    edges = [*starts, len(names)]
    if len(starts) > NAMED:
        return png(figure)
    for edge in starts[1:]:
        axes.axhline(edge - 0.5, color="white", linewidth=0.6)
        axes.axvline(edge - 0.5, color="white", linewidth=0.6)
    middles: list[float] = []
    shown: list[str] = []
    for first, last in pairwise(edges):
        middle = (first + last - 1) / 2
        if not middles or middle - middles[-1] >= CLOSEST * len(names):  # names of small blocks would overlap
            middles.append(middle)
            shown.append(escaped(names[first]))
    size = 9 if len(starts) <= WRITTEN else 6
    axes.set_xticks(middles, shown, rotation=90, fontsize=size)
    axes.set_yticks(middles, shown, fontsize=size)
    return png(figure)


@dataclass(frozen=True, eq=False)
class Storyboard:
    """Similarities [M, M] of the cells of a clip, in order of time, its S segments, and key frames, if there are."""

    similarity: FloatArray
    edges: FloatArray  # [S + 1] in cells
    seconds: FloatArray  # [S + 1], the same places
    labels: Sequence[int]  # [S]
    shots: Sequence[Shot]


def storyboard_picture(board: Storyboard, *, title: str) -> bytes:
    """Similarities with the borders of segments, over a strip of key frames."""
    from matplotlib.figure import Figure

    columns = min(max(len(board.shots), FEWEST), STRIP)
    lines = -(-len(board.shots) // columns)
    high = lines * WIDE / columns  # inches
    figure = Figure(figsize=(WIDE, 8 + high), layout="constrained")
    grid = figure.add_gridspec(1 + bool(lines), 1, height_ratios=[8, high][: 1 + bool(lines)])
    axes = figure.add_subplot(grid[0])
    size = float(board.edges[-1])
    image = axes.imshow(board.similarity, cmap="viridis", extent=(0, size, size, 0), interpolation="nearest")
    figure.colorbar(image, ax=axes, label="cosine", shrink=0.8)
    axes.set_title(escaped(title, 100), fontsize=10)
    for edge in board.edges[1:-1]:
        axes.axhline(edge, color="white", linewidth=0.6)
        axes.axvline(edge, color="white", linewidth=0.6)
    _name_blocks(axes, board)
    if lines:
        _draw_strip(figure.add_subplot(grid[1]), board.shots, columns, lines)
    return png(figure)


@dataclass(frozen=True, eq=False)
class Strip:
    """Frames with a title, in lines of six."""

    title: str
    shots: Sequence[Shot]


def strips_picture(strips: Sequence[Strip], *, title: str) -> bytes:
    """Strips below each other."""
    from matplotlib.figure import Figure

    lines = [max(-(-len(strip.shots) // SIX), 1) for strip in strips]
    heights = [0.3 + count * WIDE / SIX for count in lines]  # inches
    figure = Figure(figsize=(WIDE, 0.5 + sum(heights)), layout="constrained")
    figure.suptitle(escaped(title, 100), fontsize=10)
    grid = figure.subplots(len(strips), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, strip, count in zip(grid, strips, lines, strict=True):
        axes.set_title(escaped(strip.title, 90), fontsize=9, loc="left")
        _draw_strip(axes, strip.shots, SIX, count)
    return png(figure)


def _draw_strip(axes: Axes, shots: Sequence[Shot], columns: int, lines: int) -> None:
    """Key frames in lines, one unit square each with its caption above; a single axes draws much faster than many."""
    for number, shot in enumerate(shots):
        line, column = divmod(number, columns)
        frame = thumbnail(shot.frame)
        height, width = np.array(frame.shape[:2]) * min(0.75 / frame.shape[0], 0.94 / frame.shape[1])
        left, top = column + (1 - width) / 2, line + 0.22
        axes.imshow(frame, extent=(left, left + width, top + height, top))
        caption = "\n".join(escaped(text, 26) for text in shot.caption.split("\n"))
        axes.text(column + 0.5, line + 0.2, caption, fontsize=6, ha="center", va="bottom")
    axes.set(xlim=(0, columns), ylim=(lines, 0))
    axes.set_axis_off()


def _name_blocks(axes: Axes, board: Storyboard) -> None:
    """Seconds at the borders of segments, and the labels of segments down the right, where there is room."""
    least = CLOSEST * float(board.edges[-1])
    places, texts, labels = [float(board.edges[0])], [f"{board.seconds[0]:.1f}"], []
    for edge, second in zip(board.edges[1:].tolist(), board.seconds[1:].tolist(), strict=True):
        if edge - places[-1] >= least:
            places.append(edge)
            texts.append(f"{second:.1f}")
    for (first, last), label in zip(pairwise(board.edges.tolist()), board.labels, strict=True):
        if last - first >= least:
            labels.append(((first + last) / 2, str(label)))
    axes.set_xticks(places, texts, rotation=90, fontsize=7)
    axes.set_yticks(places, texts, fontsize=7)
    axes.set(xlabel="seconds", ylabel="seconds")
    for middle, text in labels:
        axes.text(float(board.edges[-1]) + least / 3, middle, text, fontsize=7, va="center")


@dataclass(frozen=True, eq=False)
class Band:
    """A video of a picture: its true segments, and the predicted ones below them."""

    name: str
    true: Segments
    predicted: Segments


def bands_picture(bands: Sequence[Band], classes: Sequence[str], *, title: str) -> bytes:
    """True segments of videos over predicted ones, a color for each class; time is in seconds of the video.

    The classes that last longest have a color of their own and an entry in the legend, the others share one.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    seconds = np.zeros(len(classes))
    for segments in (each for band in bands for each in (band.true, band.predicted)):
        np.add.at(seconds, segments.labels, segments.ends - segments.starts)
    order = [number for number in np.argsort(-seconds, kind="stable").tolist() if seconds[number]]
    color = {number: colormaps["tab20"](at) for at, number in enumerate(order[:COLORED])}
    shown = order if len(order) <= COLORED else order[:COLORED]
    height = 1.1 * len(bands) + 0.4 + 0.22 * -(-(len(shown) + 1) // 4)
    figure = Figure(figsize=(11, height), layout="constrained")
    figure.suptitle("\n".join(textwrap.wrap(escaped(title, 200), 110)), fontsize=10)
    grid = figure.subplots(len(bands), 1, squeeze=False)[:, 0]
    for axes, band in zip(grid, bands, strict=True):
        for row, segments in enumerate((band.true, band.predicted)):
            spans = list(zip(segments.starts, segments.ends - segments.starts, strict=True))
            colors = [color.get(number, OTHERS) for number in segments.labels.tolist()]
            axes.broken_barh(spans, (1 - row, 0.92), facecolors=colors, linewidth=0)
        axes.set_yticks([1.46, 0.46], ["true", "predicted"], fontsize=8)
        axes.set(ylim=(0, 1.92), xlim=(band.true.starts[0], band.true.ends[-1]))
        axes.tick_params(axis="x", labelsize=7)
        axes.set_title(escaped(band.name, 120), fontsize=8, loc="left")
    grid[-1].set_xlabel("seconds", fontsize=8)
    entries = [Patch(color=color[number], label=escaped(classes[number])) for number in shown]
    if len(order) > COLORED:
        entries.append(Patch(color=OTHERS, label=f"{len(order) - COLORED} other classes"))
    figure.legend(handles=entries, loc="outside lower center", ncols=4, fontsize=7)
    return png(figure)


@dataclass(frozen=True, eq=False)
class HeardMoments:
    """A sound's spectrogram [F, T] up to `highest` Hz, its activity [T], when they are, and moments.

    `spectra` are standard deviations of logarithms above the mean of their frequency, whose mean is the activity.
    """

    spectra: FloatArray
    trace: FloatArray
    seconds: FloatArray  # [T]
    highest: float
    chosen: FloatArray  # [M] seconds
    others: FloatArray  # seconds of those that do not count


def moments_picture(heard: HeardMoments, *, title: str) -> bytes:
    """A spectrogram over the activity in it, with a line at each moment; dotted for the others."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDE, 5), layout="constrained")
    figure.suptitle("\n".join(textwrap.wrap(escaped(title, 200), 110)), fontsize=10)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    half = float(heard.seconds[1] - heard.seconds[0]) / 2 if len(heard.seconds) > 1 else 0.5
    across = (float(heard.seconds[0]) - half, float(heard.seconds[-1]) + half)
    extent = (*across, 0, heard.highest / 1000)
    image = above.imshow(heard.spectra, origin="lower", aspect="auto", cmap="magma", vmin=-1, vmax=4, extent=extent)
    figure.colorbar(image, ax=[above, below], label="standard deviations", extend="max", pad=0.01)
    above.set(ylabel="kHz")
    below.plot(heard.seconds, heard.trace, linewidth=0.8, color="tab:blue")
    at_chosen = np.interp(heard.chosen, heard.seconds, heard.trace)
    below.plot(heard.chosen, at_chosen, "v", color="tab:red", markersize=5)
    below.set(ylabel="activity", xlabel="seconds", xlim=across)
    for moments, style in ((heard.chosen, {}), (heard.others, {"linestyle": ":", "alpha": 0.6})):
        for moment in moments.tolist():
            above.axvline(moment, color="white", linewidth=0.9, **style)
            below.axvline(moment, color="tab:red", linewidth=0.6, **style)
    return png(figure)


def thumbnail(frame: Frame, side: int = THUMBNAIL) -> Frame:
    """A smaller copy of a frame, with its aspect ratio."""
    from PIL import Image

    picture = Image.fromarray(frame)
    picture.thumbnail((side, side))
    return np.asarray(picture)


def png(figure: Figure) -> bytes:
    content = io.BytesIO()
    with warnings.catch_warnings():  # a character missing from the font is drawn as a box
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from")
        figure.savefig(content, format="png", dpi=100)
    return content.getvalue()


def escaped(text: str, most: int = 30) -> str:
    """A shortened text with dollar signs escaped, which matplotlib would read as formulas."""
    return (text if len(text) <= most else text[: most - 1] + "\u2026").replace("$", r"\$")
