"""The figures of a run as curves."""

from collections.abc import Mapping, Sequence
from typing import Any

from egotools.plots import curves_picture
from egotools.training.runs import Run

Panels = Mapping[str, Sequence[str]]  # titles of a picture, and the figures of each


def run_picture(run: Run, panels: Panels, title: str) -> bytes:
    """A PNG of figures of `metrics.jsonl` by step; where a line has no such figure, the one before it stays."""
    return lines_picture(run.metrics(), panels, title)


def lines_picture(metrics: Sequence[Mapping[str, Any]], panels: Panels, title: str) -> bytes:
    """As `run_picture`, of lines that were read. Any: JSON values."""
    lines: list[dict[str, Any]] = []
    for line in metrics:
        lines.append({**(lines[-1] if lines else {}), **line})
    drawn = {}
    for heading, names in panels.items():
        there = [name for name in names if any(line.get(name) is not None for line in lines)]
        drawn[heading] = {
            name: [float("nan") if line.get(name) is None else line[name] for line in lines] for name in there
        }
    return curves_picture([line["step"] for line in lines], drawn, across="step", title=title)
