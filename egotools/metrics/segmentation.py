"""How well a sequence is cut into labelled segments. Axes: S segments, N frames, K thresholds.

Times are frames or seconds, whatever the segments of both sides are in.

Source:
    Two-stream View-Invariance SSL on Assembly101, `src/utils.py`, where frames are walked one by one.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from egotools.types import IntArray

Times = npt.NDArray[np.float64]
Average = Literal["corpus", "video"]

THRESHOLDS = (0.1, 0.25, 0.5)  # overlaps (intersection over union) from which on a segment is found
SLACK = 1e-9  # of an overlap: seconds are rounded, and 5 of 10 frames overlap by 0.5
TOUCHING = 1e-6  # two times nearer than that are one


@dataclass(frozen=True, eq=False)
class Segments:
    """Labelled stretches of one sequence, in order of time, none overlapping another; [start, end)."""

    labels: IntArray  # [S] int64
    starts: Times  # [S]
    ends: Times  # [S]

    def __post_init__(self) -> None:
        if not len(self.labels) == len(self.starts) == len(self.ends):
            found = f"{len(self.labels)} labels, {len(self.starts)} starts and {len(self.ends)} ends"
            raise ValueError(f"{found} do not belong together")
        if np.any(self.ends < self.starts) or np.any(self.starts[1:] < self.ends[:-1] - TOUCHING):
            raise ValueError("segments are in order of time, end after their start, and do not overlap")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, which: npt.NDArray[np.bool_]) -> "Segments":
        """Those that are marked, [S] bool."""
        return Segments(self.labels[which], self.starts[which], self.ends[which])


def runs(labels: npt.NDArray[np.integer]) -> Segments:
    """The longest stretches of one label of frames [N] integer, in frames."""
    steps = np.flatnonzero(labels[1:] != labels[:-1]) + 1
    edges = np.concatenate(([0], steps, [len(labels)])) if len(labels) else np.zeros(1, np.int64)
    return Segments(labels[edges[:-1]].astype(np.int64), edges[:-1].astype(np.float64), edges[1:].astype(np.float64))


def merged(segments: Segments) -> Segments:
    """Segments that touch and have one label as one, which is what frames show of them; empty ones are dropped."""
    kept = segments[segments.ends > segments.starts]
    if not len(kept):
        return kept
    apart = (kept.labels[1:] != kept.labels[:-1]) | (kept.starts[1:] > kept.ends[:-1] + TOUCHING)
    first, last = np.concatenate(([True], apart)), np.concatenate((apart, [True]))
    return Segments(kept.labels[first], kept.starts[first], kept.ends[last])


def cut(segments: Segments, begin: float, end: float) -> Segments:
    """What lies between two times."""
    starts, ends = np.maximum(segments.starts, begin), np.minimum(segments.ends, end)
    inside = starts < ends
    return Segments(segments.labels[inside], starts[inside], ends[inside])


def without(segments: Segments, background: Collection[int]) -> Segments:
    """Those whose label is none of the given."""
    return segments[~_among(segments, background)]


def only(segments: Segments, classes: Collection[int]) -> Segments:
    """Those whose label is one of the given."""
    return segments[_among(segments, classes)]


def _among(segments: Segments, classes: Collection[int]) -> npt.NDArray[np.bool_]:
    return np.isin(segments.labels, np.fromiter(classes, np.int64, len(classes)))


def edit(predicted: Segments, true: Segments) -> float:
    """How alike the orders of labels are, in percent: 100 (1 - Levenshtein distance / length of the longer).

    100 where both are empty, 0 where one is.
    """
    longer = max(len(predicted), len(true))
    return 100 * (1 - levenshtein(predicted.labels, true.labels) / longer) if longer else 100.0


def levenshtein(one: IntArray, other: IntArray) -> int:
    """The fewest insertions, deletions and substitutions that make one list of labels the other."""
    short, long = sorted((one, other), key=len)
    places = np.arange(len(long) + 1)
    row = places  # distances from what is read of the short list to each beginning of the long one
    for label in short:
        best = row + 1
        best[1:] = np.minimum(best[1:], row[:-1] + (long != label))
        # An insertion costs 1 a place: the least cost of starting at any place before, plus the way from there.
        row = np.minimum.accumulate(best - places) + places
    return int(row[-1])


def f1_counts(predicted: Segments, true: Segments, thresholds: Sequence[float] = THRESHOLDS) -> IntArray:
    """Segments found (tp), found in vain (fp) and missed (fn), [K, 3] int64.

    A predicted segment finds the true one of its label that it overlaps most (the first of several), if their
    intersection is at least that share of their union and no earlier segment has found it.
    """
    found = np.zeros(len(thresholds), np.int64)
    if len(predicted) and len(true):
        overlaps = _overlaps(predicted, true)
        best = overlaps.argmax(axis=1)
        overlap = overlaps[np.arange(len(best)), best]
        found[:] = [len(np.unique(best[overlap >= threshold - SLACK])) for threshold in thresholds]
    return np.stack([found, len(predicted) - found, len(true) - found], axis=1)


def _overlaps(predicted: Segments, true: Segments) -> Times:
    """Intersection over union of segments of one label, 0 for others, [predicted, true]."""
    starts, ends = predicted.starts[:, None], predicted.ends[:, None]
    common = np.minimum(ends, true.ends) - np.maximum(starts, true.starts)
    whole = np.maximum(ends, true.ends) - np.minimum(starts, true.starts)
    same = (predicted.labels[:, None] == true.labels) & (common > 0)
    overlaps: Times = np.divide(common, whole, out=np.zeros_like(whole), where=same)
    return overlaps


def correct(predicted: Segments, true: Segments) -> tuple[float, float]:
    """For how long the label is right, and how long the true segments are altogether."""
    total = float(np.sum(true.ends - true.starts))
    edges = np.unique(np.concatenate([predicted.starts, predicted.ends, true.starts, true.ends]))
    if not len(predicted) or not len(true):
        return 0.0, total
    middles = (edges[:-1] + edges[1:]) / 2
    (one, has_one), (other, has_other) = _labels_at(predicted, middles), _labels_at(true, middles)
    right = has_one & has_other & (one == other)
    return float(np.sum(np.diff(edges)[right])), total


def _labels_at(segments: Segments, times: Times) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """The labels at the given times, and whether there is one at all."""
    last = np.maximum(np.searchsorted(segments.starts, times, side="right") - 1, 0)
    return segments.labels[last], (segments.starts[last] <= times) & (times < segments.ends[last])


def accuracy(pairs: Sequence[tuple[Segments, Segments]], classes: Collection[int] | None = None) -> float:
    """Share of the time of all sequences, in percent, in which the label is right (MoF); pairs are predicted, true.

    With `classes`, of the time whose true label is one of them; NaN where there is none.
    """
    lengths = np.array([correct(one, true if classes is None else only(true, classes)) for one, true in pairs])
    right, total = lengths.reshape(-1, 2).sum(axis=0)
    return float(100 * right / total) if total else float("nan")


def scores(
    pairs: Sequence[tuple[Segments, Segments]], *, average: Average, background: Collection[int] = ()
) -> dict[str, float]:
    """The usual figures of a test set, in percent, and their sum.

    Args:
        pairs: predicted and true segments of each sequence.
        average: "corpus" counts the time (MoF) and the segments (F1) of all sequences together, and takes the mean of
            their edit scores; "video" takes the plain mean of each sequence's own figures.
        background: labels that are no segments for edit and F1. MoF counts their time like that of others.

    Returns:
        `mof`, `edit`, `f1@10`, `f1@25`, `f1@50`, `total`.
    """
    if not pairs:
        raise ValueError("no sequences: there are no scores")
    if average not in ("corpus", "video"):
        raise ValueError(f"the average is one of corpus and video, not {average!r}")
    kept = [(without(merged(one), background), without(merged(true), background)) for one, true in pairs]
    counts = np.stack([f1_counts(one, true) for one, true in kept])  # [sequences, K, 3]
    if average == "corpus":
        mof, f1 = accuracy(pairs), f1_of(counts.sum(axis=0))
    else:
        mof = float(np.mean([accuracy([pair]) for pair in pairs]))
        f1 = f1_of(counts).mean(axis=0)
    figures = {"mof": mof, "edit": float(np.mean([edit(one, true) for one, true in kept]))}
    figures |= {f"f1@{round(100 * k)}": float(value) for k, value in zip(THRESHOLDS, f1, strict=True)}
    return figures | {"total": sum(figures.values())}


def f1_of(counts: IntArray) -> Times:
    """F1 in percent [...] of counts [..., 3] (tp, fp, fn); 0 where there are none."""
    right, all_named = 2.0 * counts[..., 0], 2 * counts[..., 0] + counts[..., 1] + counts[..., 2]
    f1: Times = 100 * np.divide(right, all_named, out=np.zeros_like(right), where=all_named > 0)
    return f1
