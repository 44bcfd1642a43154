"""A map as one HTML file: points say what they are, and show their frames, under the pointer. Axes: N points.

Drawn by plotly.js, which is in the file. Plotly reads some markup in texts, so these are escaped as HTML is. Its button
that uploads the data to a server of its maker, which newer versions show by default, is left out.
"""

import io
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from PIL import Image

from egotools.config import to_json
from egotools.errors import MissingExtra
from egotools.evaluate.map_picture import Colors, MapPanel
from egotools.evaluate.projection import EXTRA
from egotools.files import html
from egotools.plots import OTHERS
from egotools.stores.summary import dotted
from egotools.tables.table import Table
from egotools.types import Frame, IntArray

Trace = dict[str, Any]  # of plotly, JSON-ready

FACTS = ("library", "components", "explained_share", "perplexity", "neighbors", "divergence")
LONGEST = 40  # characters of a legend's entry
HEIGHT = 620  # pixels of the map
CENTERED = {"xanchor": "center", "yanchor": "bottom"}
SCRIPT = """
const map = JSON.parse(document.getElementById("map-data").textContent);
const image = document.getElementById("frame");
for (const trace of map.traces) trace.text = trace.customdata.map(row => map.texts[row]);
const config = {responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: ""};
Plotly.newPlot("map", map.traces, map.layout, config).then(plot => {
  plot.on("plotly_hover", hovered => {
    const source = map.frames[hovered.points[0].customdata];
    image.hidden = !source;
    if (!source) return;
    image.src = source;
    image.style.left = Math.min(hovered.event.clientX + 16, window.innerWidth - 180) + "px";
    image.style.top = Math.min(hovered.event.clientY + 40, window.innerHeight - 180) + "px";
  });
  plot.on("plotly_unhover", () => { image.hidden = true; });
});
"""
FRAME = '<img id="frame" alt="" hidden style="position: fixed; pointer-events: none; border: 2px solid #444">'


def check_installed() -> None:
    """Raises MissingExtra if plotly is not installed."""
    if find_spec("plotly") is None:
        raise MissingExtra("plotly", EXTRA)


def map_page(
    table: Table, panels: Sequence[MapPanel], colors: Colors, frames: Mapping[int, Frame], content: Mapping[str, Any]
) -> bytes:
    """The page.

    Args:
        table: the points' clips.
        panels: projections of these, side by side.
        colors: of the points.
        frames: of some points, by number.
        content: the report, shown below. Any: JSON values.

    Raises:
        MissingExtra: plotly is not installed.
    """
    check_installed()
    from plotly.offline import get_plotlyjs

    data = {
        "traces": [trace for number, panel in enumerate(panels) for trace in _traces(number, panel, colors)],
        "layout": _layout(panels, colors),
        "texts": _texts(table, colors),
        "frames": {str(row): html.data_uri(_jpeg(frame), "image/jpeg") for row, frame in frames.items()},
    }
    shown = {name: value for name, value in content.items() if name not in ("methods", "remarks")}
    lines = [html.element("p", f"{content['rows']:,} rows of {content['clips']:,} clips", "small")]
    lines += [f'<div id="map" style="height: {HEIGHT}px"></div>', FRAME, html.remarks(content["remarks"])]
    titles = [method["title"] for method in content["methods"]]
    facts = [name for name in FACTS if any(name in method for method in content["methods"])]
    rows = [[name.replace("_", " "), *(method.get(name) for method in content["methods"])] for name in facts]
    lines += [html.table(rows, ["", *titles]), html.element("h3", "what made it"), html.table(dotted(shown).items())]
    script = html.data_script("map-data", to_json(data, indent=None))
    return html.page("Map of features", "\n".join([*lines, script]), scripts=[get_plotlyjs(), SCRIPT])


def _traces(number: int, panel: MapPanel, colors: Colors) -> list[Trace]:
    """The points of one panel: a trace for each entry of the legend, and one for those on a scale."""
    made = []
    for label, color, rows in colors.groups():
        name = f"{_plain(_short(label))} ({len(rows)})"
        trace = _trace(number, panel, rows) | {"name": name, "legendgroup": label}
        trace["marker"] |= {"color": color, "opacity": 0.5 if color == OTHERS else 0.85}
        made.append(trace | {"showlegend": bool(colors.name) and number == 0})
    if colors.numbers is not None:
        rows = np.flatnonzero(~np.isnan(colors.numbers))
        trace = _trace(number, panel, rows) | {"showlegend": False}
        trace["marker"] |= {"color": colors.numbers[rows], "coloraxis": "coloraxis"}
        made.append(trace)
    return made


def _trace(number: int, panel: MapPanel, rows: IntArray) -> Trace:
    count = len(panel.points)
    axes = {"xaxis": f"x{_suffix(number)}", "yaxis": f"y{_suffix(number)}"}
    points = np.round(panel.points[rows].T, 4)
    marker = {"size": float(np.clip(5000 / count, 4, 8))}
    # Not scattergl: it compiles code while it runs, which the page's policy forbids, and needs a graphics card.
    kind = {"type": "scatter", "mode": "markers", "hoverinfo": "text"}
    return {**kind, **axes, "x": points[0], "y": points[1], "customdata": rows, "marker": marker}


def _layout(panels: Sequence[MapPanel], colors: Colors) -> dict[str, Any]:
    layout: dict[str, Any] = {
        "margin": {"l": 50, "r": 20, "t": 40, "b": 50},
        "plot_bgcolor": "white",
        "hovermode": "closest",
        "legend": {"title": {"text": _plain(_short(colors.name))}, "itemsizing": "constant"},
        "coloraxis": {"colorscale": "Viridis", "colorbar": {"title": {"text": _plain(_short(colors.name))}}},
        "annotations": [],
    }
    for number, panel in enumerate(panels):
        left, right = ((number + part) / len(panels) for part in (0.04, 0.96))
        suffix, grid = _suffix(number), {"gridcolor": "#eee", "zeroline": False, "showticklabels": bool(panel.axes[0])}
        across = {"title": {"text": panel.axes[0]}, "anchor": f"y{suffix}", "domain": [left, right]}
        up = {"title": {"text": panel.axes[1]}, "anchor": f"x{suffix}", "scaleanchor": f"x{suffix}"}  # equal scales
        layout |= {f"xaxis{suffix}": grid | across, f"yaxis{suffix}": grid | up}
        place = {"x": (left + right) / 2, "y": 1.02, "xref": "paper", "yref": "paper"} | CENTERED
        layout["annotations"].append({"text": panel.heading, "showarrow": False, "font": {"size": 15}} | place)
    return layout


def _suffix(number: int) -> str:
    """How plotly numbers axes: x, x2, x3."""
    return str(number + 1) if number else ""


def _texts(table: Table, colors: Colors) -> list[str]:
    """What each point says: its id, its times, and what colors it."""
    said = []
    for id, (start, end), text in zip(table.ids, table.times.tolist(), colors.texts, strict=True):
        lines = [id, f"{start:.2f} to {end:.2f} s", *([f"{colors.name}: {text or 'no value'}"] if colors.name else [])]
        said.append("<br>".join(_plain(line) for line in lines))
    return said


def _plain(text: str) -> str:
    """Text that plotly shows as it is; of codes for characters it reads those of markup, but not those of quotes."""
    return html.escaped(text, quote=False)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "\u2026"


def _jpeg(frame: Frame) -> bytes:
    content = io.BytesIO()
    Image.fromarray(frame).save(content, "JPEG", quality=80)
    return content.getvalue()
