"""Cached rows in order of time, with a label per row: what temporal segmentation learns from.

Axes: T rows of a sequence, D features, K chunks. A sequence is a stretch of a clip that is annotated as one. A chunk is
a run of rows that become one: their largest values, and their most frequent label.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from egotools.errors import TableError
from egotools.manifests.segments import Segment, by_sequence, read_segments
from egotools.manifests.table import read_manifest
from egotools.stores.opening import open_store
from egotools.stores.store import Store
from egotools.texts import named, split_name, tidy
from egotools.types import Clip, FloatArray, IntArray

UNLABELED = -100  # what losses ignore
RECORDING, VIEW = "recording", "view"  # manifest columns
STEADY = 0.5  # rows may be this share of their spacing off
NAMED = 3


@dataclass(frozen=True)
class Reading:
    """Which rows make a sequence, and which label each gets."""

    views: tuple[str, ...] = ()  # none: all
    frame_shift: int = 0  # a row gets the label this many rows later; Assembly101's published loaders: 1
    span_round: int = 0  # the end of a span, in frames of the annotation, is rounded down to a multiple of it
    shared_span: bool = False  # a camera that ends early shortens the sequence for those after it


@dataclass(frozen=True, eq=False)
class FeatureSequence:
    """Rows `first` to `first + T` of a clip, one after the other in time."""

    name: str  # of the sequence; the clip's id if it is annotated as one
    id: str  # of the clip in the caches
    recording: str
    view: str
    split: str
    first: int
    times: npt.NDArray[np.float64]  # [T, 2] seconds of the file
    labels: IntArray  # [T] numbers of classes; -100 where there is none

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, begin: int, end: int) -> "FeatureSequence":
        """Its rows from `begin` up to `end`."""
        cut = slice(begin, end)
        return replace(self, first=self.first + begin, times=self.times[cut], labels=self.labels[cut])


@dataclass(frozen=True, eq=False)
class Sequences:
    """The sequences of a manifest, in the order of the segments, then of the manifest."""

    sequences: list[FeatureSequence]
    classes: tuple[str, ...]
    caches: tuple[Path, ...]
    width: int  # D, of all caches together
    remarks: tuple[str, ...] = field(default=())

    def of_split(self, *splits: str) -> list[FeatureSequence]:
        """Those of clips in one of these splits."""
        return [each for each in self.sequences if each.split in splits]


def read_sequences(
    manifest: Path | str,
    caches: Sequence[Path | str],
    segments: Path | str | None = None,
    *,
    classes: Sequence[str] | None = None,
    splits: Collection[str] | None = None,
    reading: Reading = Reading(),
) -> Sequences:
    """The labeled stretches of a manifest's clips in caches; values are read later, by `pooled`.

    A segment belongs to the clip with its id, and to all clips whose `recording` is its id. A row gets the label of
    the segment that its middle lies in.

    Args:
        manifest: lists the clips; columns `recording` and `view` are optional.
        caches: their features are concatenated; they must have the same rows.
        segments: labels at times; None: each clip is one sequence without labels.
        classes: names by number; None: the labels of the segments, sorted.
        splits: only clips of these are read; None: all.
        reading: which rows, and how they get their labels.

    Raises:
        TableError: no clip has rows and segments, a label is no class, or rows of a clip have no steady rate.
    """
    manifest, segments = Path(manifest), None if segments is None else Path(segments)
    stores = [open_store(path) for path in caches]
    clips = _clips(manifest, splits, reading.views)
    there, remarks = _present(clips, stores, manifest)
    labeled = _labeled(there, segments)
    if segments is not None and not labeled:
        example = next(iter(by_sequence(read_segments(segments))))[0]
        raise TableError(
            f"{segments} has no segments of the {len(there)} clips of {manifest}; its ids are like {example!r}, those"
            f" of the clips like {there[0].id!r}; ids must be equal, or equal to the clips' {RECORDING!r}"
        )
    names = _classes([each for _, _, parts in labeled for each in parts], classes, segments)
    found = [*_spans(labeled, stores, {name: at for at, name in enumerate(names)}, reading)]
    kept = [each for each in found if len(each)]
    if empty := [f"{each.name} in {each.id}" for each in found if not len(each)]:
        remarks.append(f"{len(empty)} sequences without a row of features left out: {named(empty, NAMED)}")
    if not kept:
        raise TableError(f"no sequence of {segments or manifest} has rows in {', '.join(map(str, caches))}")
    width = sum(store.width for store in stores)
    return Sequences(kept, names, tuple(store.path for store in stores), width, tuple(remarks))


def items(sequence: FeatureSequence, rows: int) -> list[FeatureSequence]:
    """A sequence cut into parts of at most so many rows."""
    return [sequence.part(at, at + rows) for at in range(0, len(sequence), rows)]


def chunk_count(rows: int, chunk: int) -> int:
    """K; the last chunk may have fewer rows."""
    return -(-rows // chunk)


def pooled(stores: Sequence[Store], sequence: FeatureSequence, chunk: int) -> npt.NDArray[np.float32]:
    """The largest values [K, D] of each `chunk` rows of a sequence, straight from the mapped files."""
    count = chunk_count(len(sequence), chunk)
    values = np.empty((count, sum(store.width for store in stores)), np.float32)
    left = 0
    for store in stores:
        columns, at = values[:, left : left + store.width], 0
        for view in store.stored(sequence.id).between(sequence.first, sequence.first + len(sequence)):
            at = _pool_into(columns, view, at, chunk)
        left += store.width
    return values


def pooled_labels(labels: IntArray, chunk: int, classes: int) -> IntArray:
    """The most frequent label [K] of each `chunk` rows; among equally frequent ones the smallest, labels first."""
    count = chunk_count(len(labels), chunk)
    own = np.where(labels == UNLABELED, classes, labels)
    numbers = np.arange(len(labels)) // chunk * (classes + 1) + own
    votes = np.bincount(numbers, minlength=count * (classes + 1)).reshape(count, classes + 1)
    best = votes.argmax(axis=1)
    return np.where(best == classes, UNLABELED, best)


def paired(one: FeatureSequence, other: FeatureSequence) -> tuple[FeatureSequence, FeatureSequence]:
    """The rows of two views at the same times.

    Raises:
        TableError: their rows are at other times, or never at the same time.
    """
    hop = spacing(one)
    offset = (one.times[0, 0] - other.times[0, 0]) / hop
    steps = round(offset)
    if abs(offset - steps) > STEADY / 2 or abs(spacing(other) - hop) > hop * STEADY / max(len(one), len(other)):
        raise TableError(f"{one.id} and {other.id} have rows at different times: extract both with the same rate")
    begin, end = max(0, -steps), min(len(one), len(other) - steps)
    if begin >= end:
        raise TableError(f"{one.id} and {other.id} have no rows at the same time")
    return one.part(begin, end), other.part(begin + steps, end + steps)


def spacing(sequence: FeatureSequence) -> float:
    """Seconds from the start of a row to that of the next."""
    starts = sequence.times[:, 0]
    length = float(sequence.times[0, 1] - starts[0])
    return (float(starts[-1] - starts[0]) / (len(starts) - 1) if len(starts) > 1 else length) or 1.0


def _clips(manifest: Path, splits: Collection[str] | None, views: Collection[str]) -> list[Clip]:
    clips = [replace(clip, split=split_name(clip.split)) for clip in read_manifest(manifest)]
    for column, wanted, own in (
        ("split", None if splits is None else {*map(split_name, splits)}, lambda clip: clip.split),
        (VIEW, {*views} or None, lambda clip: tidy(clip.labels.get(VIEW, ""))),
    ):
        if wanted is None:
            continue
        there = {own(clip) for clip in clips}
        if missing := sorted(wanted - there):
            raise TableError(
                f"{manifest}: no clip has the {column} {missing[0]!r}; there are {', '.join(sorted(there)) or 'none'}"
            )
        clips = [clip for clip in clips if own(clip) in wanted]
    if not clips:
        raise TableError(f"{manifest}: no clips")
    return clips


def _present(clips: Sequence[Clip], stores: Sequence[Store], manifest: Path) -> tuple[list[Clip], list[str]]:
    remarks = []
    for store in stores:
        missing = [clip.id for clip in clips if clip.id not in store]
        clips = [clip for clip in clips if clip.id in store]
        if not clips:
            raise TableError(f"{store.path} has none of the {len(missing)} clips of {manifest}, such as {missing[0]!r}")
        if missing:
            remarks.append(f"{len(missing)} clips missing in {store.path} left out: {named(missing, NAMED)}")
    return [*clips], remarks


def _labeled(clips: Sequence[Clip], segments: Path | None) -> list[tuple[Clip, str, list[Segment]]]:
    """Each sequence of each clip with its segments, in the order of the segments, then of the clips."""
    if segments is None:
        return [(clip, clip.id, []) for clip in clips]
    of_id: dict[str, list[Clip]] = {}
    for clip in clips:
        for id in dict.fromkeys((clip.id, clip.labels.get(RECORDING) or clip.id)):
            of_id.setdefault(id, []).append(clip)
    found = by_sequence(read_segments(segments))
    return [(clip, name, parts) for (id, name), parts in found.items() for clip in of_id.get(id, [])]


def _classes(parts: Sequence[Segment], classes: Sequence[str] | None, segments: Path | None) -> tuple[str, ...]:
    there = {segment.label for segment in parts}
    if classes is None:
        return tuple(sorted(there))
    if unknown := sorted(there - {*classes}):
        raise TableError(f"{segments}: {len(unknown)} labels are none of the classes: {named(unknown, NAMED)}")
    return tuple(classes)


def _spans(
    labeled: Sequence[tuple[Clip, str, list[Segment]]],
    stores: Sequence[Store],
    numbers: Mapping[str, int],
    reading: Reading,
) -> Iterator[FeatureSequence]:
    ends: dict[tuple[str, str], float] = {}  # of sequences that a camera has cut short
    times_of = lru_cache(maxsize=None)(partial(_times, stores))  # a clip may hold several sequences
    for clip, name, parts in labeled:
        times = times_of(clip.id)
        recording = clip.labels.get(RECORDING) or clip.id
        whole = FeatureSequence(
            name,
            clip.id,
            recording,
            tidy(clip.labels.get(VIEW, "")),
            clip.split,
            0,
            times,
            np.full(len(times), UNLABELED),
        )
        if not parts or not len(times):
            yield whole
            continue
        hop = spacing(whole)
        middles = times.mean(axis=1) + reading.frame_shift * hop
        end = max(segment.end for segment in parts)
        if reading.span_round:
            end = np.floor(round(end / hop) / reading.span_round) * reading.span_round * hop
        end = min(end, ends.get((recording, name), end)) if reading.shared_span else end
        begin, stop = np.searchsorted(middles, [parts[0].start, end])
        if reading.shared_span and stop == len(times):
            ends[recording, name] = middles[-1] + hop / 2
        yield replace(whole, labels=_labels(middles, parts, numbers)).part(int(begin), int(max(begin, stop)))


def _labels(middles: FloatArray, parts: Sequence[Segment], numbers: Mapping[str, int]) -> IntArray:
    """The class at each time [T]."""
    starts = np.array([segment.start for segment in parts])
    at = np.searchsorted(starts, middles, side="right") - 1
    own = np.array([numbers[segment.label] for segment in parts])
    is_inside = (at >= 0) & (middles < np.array([segment.end for segment in parts])[at])
    return np.where(is_inside, own[at], UNLABELED)


def _times(stores: Sequence[Store], id: str) -> npt.NDArray[np.float64]:
    """The times [T, 2] of a clip's rows, which follow each other at a steady rate and are the same in all caches."""
    first, *others = [np.array(store.stored(id).times) for store in stores]
    for store, other in zip(stores[1:], others, strict=True):
        if other.shape != first.shape or np.abs(other - first).max(initial=0) > 1e-3:
            raise TableError(f"clip {id!r} has rows at other times in {store.path} than in {stores[0].path}")
    steps = np.diff(first[:, 0])
    usual = float(np.median(steps)) if len(steps) else 0.0
    if (bad := np.flatnonzero(np.abs(steps - usual) > STEADY * usual)).size:
        at = first[bad[0], 0]
        raise TableError(
            f"{stores[0].path}: the rows of clip {id!r} are not evenly spaced: after {at:.3f} s the next comes"
            f" {steps[bad[0]]:.3f} s later, others {usual:.3f} s"
        )
    return first


def _pool_into(values: npt.NDArray[np.float32], rows: FloatArray, at: int, chunk: int) -> int:
    """Pools rows [t, D] that follow `at` others into chunks [K, D]; the number of rows so far."""
    head = min(-at % chunk, len(rows))  # rows of a chunk that has begun
    if head:
        np.maximum(values[at // chunk], rows[:head].max(axis=0), out=values[at // chunk])
    body, first = (len(rows) - head) // chunk, (at + head) // chunk
    rows[head : head + body * chunk].reshape(body, chunk, rows.shape[1]).max(axis=1, out=values[first : first + body])
    tail = rows[head + body * chunk :]
    if len(tail):
        values[first + body] = tail.max(axis=0)
    return at + len(rows)
