"""What people see of memorability: reports of trainings and evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import display

SHOWN = ("spearman", "pearson", "kendall", "mse", "mae", "r2")


def show(content: Mapping[str, Any], folder: Path, *, as_json: bool) -> None:
    """The report of a training as JSON, or as a table of its last and its best epochs."""
    if not display.show_report(content, f"report, metrics and networks are in {folder}", as_json=as_json):
        return
    rows = [[name, content["last"][name], content["best"][name]] for name in SHOWN]
    for what in ("folds", "seeds"):
        name = f"spearman_deviation_over_{what}"
        rows.append([f"deviation of spearman over {what}", content["last"][name], content["best"][name]])
    rows.append(["epoch", content["last"]["epoch"], content["best"]["epoch"]])
    title = f"train memorability, {content['arguments']['target']}: {content['protocol']}"
    display.show_table(["", "last epoch", "best epoch"], rows, title=title)


def show_judged(content: Mapping[str, Any], folder: Path | None, *, as_json: bool) -> None:
    """The report of an evaluation as JSON, or as tables."""
    kept = "" if folder is None else f"report, predictions and pictures are in {folder}"
    if not display.show_report(content, kept, as_json=as_json):
        return
    title = f"eval memorability, {content['arguments']['target']}: {content['protocol']}"
    averaged = content["averaged"]
    rows = [[name, content[name], *_interval(averaged.get(name))] for name in SHOWN]
    display.show_table(["", "mean of the networks", "of their mean score", "95 %"], rows, title=title)
    names = ("folds", "seeds")
    display.show_mapping(
        {"clips": content["clips"]}
        | {f"deviation of spearman over {n}": content[f"spearman_deviation_over_{n}"] for n in names if content[n] > 1}
    )
    if "ablation" in content:
        columns = ["features", "D", "spearman", "over seeds", "over folds"]
        keys = ("columns", "spearman", "spearman_deviation_over_seeds", "spearman_deviation_over_folds")
        best = sorted(content["ablation"], key=lambda entry: (entry["spearman"] is None, -(entry["spearman"] or 0)))
        rows = [["+".join(entry["features"]), *(entry[key] for key in keys)] for entry in best]
        display.show_table(columns, rows, title="trained anew on subsets of the features")


def _interval(found: Mapping[str, Any] | None) -> list[object]:
    if found is None:
        return [None, None]
    low, high = found["interval"]
    return [found["value"], None if low is None else f"{low:.4g} to {high:.4g}"]
