"""Edit, F1 and accuracy of segments, against the published definition that walks frame by frame.

    python benchmarks/segmentation_metrics.py [--rounds 5] [--json FILE] [--quick]

100 made sequences of about 6,300 frames at 30 Hz, as those of Assembly101's test set: 12 true segments, and predictions
with about 40 (as of a temporal network) or 1,500 (as of a classifier of single frames). Both sides start from a class
number a frame; the figures have to be equal.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from measuring import Cost, Ratio, cost_of, in_turns, median_costs, median_ratio, report

from egotools.metrics.segmentation import runs, scores

CLASSES = 202
FRAMES = 6300
PREDICTED = {"a temporal network": 40, "a classifier of frames": 1500}  # segments
Labels = npt.NDArray[np.int64]
Pairs = Sequence[tuple[Labels, Labels]]
Run = tuple[int, int, int]  # label, first frame, first frame after it


def made(sequences: int, frames: int, segments: int) -> Pairs:
    """Predicted and true labels, [frames] each: predictions are right in three of five segments."""
    generator = np.random.default_rng(0)

    def places(count: int) -> Labels:
        edges = np.sort(generator.choice(np.arange(1, frames), count - 1, replace=False))
        return np.searchsorted(edges, np.arange(frames), side="right")

    found = []
    for _ in range(sequences):
        true = generator.integers(0, CLASSES, 12)[places(12)]
        place = places(segments)
        is_right, other = generator.random(segments) < 0.6, generator.integers(0, CLASSES, segments)
        found.append((np.where(is_right[place], true, other[place]), true))
    return found


def walked_scores(pairs: Pairs) -> dict[str, float]:
    """The published definition, in Python: frames one by one, segments against segments."""
    right = total = 0
    edits, counts = [], np.zeros((3, 3))
    for predicted, true in pairs:
        for one, other in zip(predicted, true, strict=True):
            right, total = right + (one == other), total + 1
        found, wanted = walked_runs(predicted), walked_runs(true)
        distance = walked_distance([run[0] for run in found], [run[0] for run in wanted])
        edits.append(100 * (1 - distance / max(len(found), len(wanted))))
        counts += [walked_counts(found, wanted, threshold) for threshold in (0.1, 0.25, 0.5)]
    f1 = [200 * tp / (2 * tp + fp + fn) if tp else 0.0 for tp, fp, fn in counts]
    figures = {"mof": 100 * right / total, "edit": float(np.mean(edits))}
    figures |= dict(zip(("f1@10", "f1@25", "f1@50"), f1, strict=True))
    return figures | {"total": sum(figures.values())}


def walked_runs(labels: Labels) -> list[Run]:
    """Runs of a label."""
    found, start = [], 0
    for place in range(1, len(labels) + 1):
        if place == len(labels) or labels[place] != labels[start]:
            found.append((int(labels[start]), start, place))
            start = place
    return found


def walked_distance(one: Sequence[int], other: Sequence[int]) -> float:
    """Levenshtein's, entry by entry of its table."""
    table = np.zeros((len(one) + 1, len(other) + 1))
    table[:, 0], table[0] = np.arange(len(one) + 1), np.arange(len(other) + 1)
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            changed = table[i - 1, j - 1] + (one[i - 1] != other[j - 1])
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, changed)
    return float(table[-1, -1])


def walked_counts(found: Sequence[Run], wanted: Sequence[Run], threshold: float) -> tuple[int, int, int]:
    """True positives, false positives and false negatives, one predicted segment after the other."""
    labels, starts, ends = (np.array(column) for column in zip(*wanted, strict=True))
    hit, tp, fp = np.zeros(len(wanted), bool), 0, 0
    for label, start, end in found:
        common = np.minimum(end, ends) - np.maximum(start, starts)
        overlap = common / (np.maximum(end, ends) - np.minimum(start, starts)) * (labels == label)
        best = int(overlap.argmax())
        if overlap[best] >= threshold and not hit[best]:
            tp, hit[best] = tp + 1, True
        else:
            fp += 1
    return tp, fp, len(wanted) - int(hit.sum())


def segment_scores(pairs: Pairs) -> dict[str, float]:
    """Ours."""
    return scores([(runs(one), runs(true)) for one, true in pairs], average="corpus")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="few short sequences: shows that it runs")
    options = parser.parse_args(arguments)
    sequences, frames, rounds = (3, 2000, 1) if options.quick else (100, FRAMES, options.rounds)
    ratios, figures = [], {}
    for name, segments in PREDICTED.items():
        pairs = made(sequences, frames, segments)
        ours, theirs = segment_scores(pairs), walked_scores(pairs)
        if any(abs(ours[key] - theirs[key]) > 1e-9 for key in theirs):
            raise SystemExit(f"figures differ: {ours}, published definition: {theirs}")
        tasks: dict[str, Callable[[], Cost]] = {
            "published": partial(cost_of, partial(walked_scores, pairs)),
            "egotools": partial(cost_of, partial(segment_scores, pairs)),
        }
        costs = in_turns(tasks, rounds)
        figures[name] = median_costs(costs)
        note = f"{1000 * figures[name]['egotools']['cpu'] / sequences:.2f} ms a sequence, F1@50 {ours['f1@50']:.1f}"
        ratios.append(Ratio(f"(m) published / ours, {name}", median_ratio(costs, "published", "egotools"), None, note))
    report(f"Metrics of {sequences} sequences of {frames} frames", ratios, options.json, figures=figures)


if __name__ == "__main__":
    main()
