"""What people see of memorability: reports of trainings and evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import display

SHOWN = ("spearman", "pearson", "kendall", "mse", "mae", "r2")


def show(content: Mapping[str, Any], folder: Path, *, as_json: bool) -> None:
    """The report of a training as JSON, or as a table of its last and its best epochs."""
    for remark in content["remarks"]:
        display.note(f"note: {remark}")
    display.note(f"report, metrics and networks are in {folder}")
    if as_json:
        display.show_json(content)
        return
    rows = [[name, content["last"][name], content["best"][name]] for name in SHOWN]
    for what in ("folds", "seeds"):
        name = f"spearman_deviation_over_{what}"
        rows.append([f"deviation of spearman over {what}", content["last"][name], content["best"][name]])
    rows.append(["epoch", content["last"]["epoch"], content["best"]["epoch"]])
    title = f"train memorability, {content['arguments']['target']}: {content['protocol']}"
    display.show_table(["", "last epoch", "best epoch"], rows, title=title)
