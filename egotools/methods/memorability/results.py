"""What predicted scores are worth, in figures and clip by clip. Axes: N evaluated clips, S seeds."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from egotools.errors import EgotoolsError
from egotools.manifests.table import read_manifest
from egotools.media.video import middle_frame
from egotools.methods.memorability.training import metrics
from egotools.metrics.bootstrap import bootstrap_interval
from egotools.metrics.regression import pearson_score, r2_score, spearman_score, squared_error
from egotools.plots import Shot, contact_sheet
from egotools.tables.table import Table
from egotools.training.members import summarized
from egotools.types import IntArray

Floats = npt.NDArray[np.float64]

WITH_INTERVAL = {"spearman": spearman_score, "pearson": pearson_score, "mse": squared_error, "r2": r2_score}
LEVEL = 0.95
SHOWN = 8  # clips of each kind in the picture


@dataclass(frozen=True, eq=False)
class Evaluated:
    """Predicted scores beside the true ones."""

    table: Table  # the N evaluated clips
    target: Floats  # [N]
    predicted: Floats  # [S, N]
    fold: IntArray  # [N] number of the fold that evaluated a clip
    folds: tuple[str, ...]  # their names

    @property
    def mean(self) -> Floats:
        """Scores [N], averaged over the seeds."""
        mean: Floats = self.predicted.mean(axis=0)
        return mean

    @property
    def strata(self) -> list[IntArray]:
        """The clips of each fold: predictions of different folds are of different networks."""
        return [np.flatnonzero(self.fold == number) for number in range(len(self.folds))]

    def to_csv(self) -> str:
        """The clips as CSV: id, fold, score, predicted (the mean over the seeds), deviation (over the seeds)."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["id", "fold", "score", "predicted", "deviation"])
        numbers = zip(self.target, self.mean, self.predicted.std(axis=0), strict=True)
        for id, fold, values in zip(self.table.ids.tolist(), self.fold, numbers, strict=True):
            writer.writerow([id, self.folds[fold], *(f"{value:.6g}" for value in values)])
        return text.getvalue()


def evaluated_figures(evaluated: Evaluated, *, draws: int, seed: int = 0) -> dict[str, Any]:
    """Figures of the networks, and of their scores averaged over the seeds with intervals; JSON-ready, hence Any."""
    entries = [
        (name, number, metrics(evaluated.target[rows], scores[rows]))
        for name, rows in zip(evaluated.folds, evaluated.strata, strict=True)
        for number, scores in enumerate(evaluated.predicted)
    ]
    return {
        "clips": len(evaluated.target),
        "folds": len(evaluated.folds),
        "seeds": len(evaluated.predicted),
        **summarized(entries, "spearman"),
        "averaged": _averaged(evaluated, draws, seed),
        "by_network": [{"fold": fold or None, "seed": number, **values} for fold, number, values in entries],
    }


def _averaged(evaluated: Evaluated, draws: int, seed: int) -> Mapping[str, Any]:
    """Of the mean scores: each metric as the mean over the folds, and the interval of its draws."""
    found = {}
    strata, mean = evaluated.strata, evaluated.mean
    for name, metric in WITH_INTERVAL.items():

        def statistic(rows: IntArray, metric: Any = metric) -> float:  # Any: a metric of two arrays
            parts = np.split(rows, np.cumsum([len(stratum) for stratum in strata])[:-1])
            return float(np.mean([metric(evaluated.target[part], mean[part]) for part in parts]))

        interval = bootstrap_interval(statistic, strata, draws=draws, level=LEVEL, seed=seed)
        found[name] = {"value": statistic(np.concatenate(strata)), "interval": list(interval)}
    return found


def extremes(evaluated: Evaluated, count: int) -> tuple[Sequence[int], Sequence[int]]:
    """The clips of the highest and of the lowest predicted scores, the most extreme first."""
    order = np.argsort(evaluated.mean, kind="stable")
    count = min(count, max(len(order) // 2, 1))
    return order[::-1][:count].tolist(), order[:count].tolist()


def extremes_picture(evaluated: Evaluated, manifest: Path) -> tuple[bytes | None, list[str]]:
    """A contact sheet, most memorable clips above, least below, and remarks on clips that cannot be shown."""
    clips = {clip.id: clip for clip in read_manifest(manifest)}
    rows, unread = [], []
    for numbers in extremes(evaluated, SHOWN):
        shots = []
        for number in numbers:
            clip = clips[str(evaluated.table.ids[number])]
            if clip.path == Path():
                return None, ["no pictures of clips: the manifest names no files"]
            try:
                frame = middle_frame(clip)
            except EgotoolsError as error:
                unread.append(f"not shown: {error}")
                continue
            shots.append(Shot(frame, f"{evaluated.mean[number]:.3f} ({evaluated.target[number]:.3f})  {clip.id}"))
        rows.append(shots)
    if not any(rows):
        return None, unread
    title = "most and least memorable by their predicted scores (true scores)"
    return contact_sheet([row for row in rows if row], title=title), unread
