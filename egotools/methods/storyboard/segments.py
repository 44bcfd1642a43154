"""Segments of a stream's clips, in seconds, to labels of its frames, and back. Axes: N frames of the stream."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from egotools.errors import TrainingError
from egotools.manifests.segments import Segment, read_segments
from egotools.methods.storyboard.labels import Window
from egotools.methods.storyboard.stream import Stream
from egotools.texts import counted, named
from egotools.types import IntArray

SLACK = 1e-4  # seconds by which a frame may lie outside of its segment: times are written rounded


def frame_classes(path: Path, stream: Stream) -> tuple[IntArray, int]:
    """Classes of all frames [N] by a segments CSV, numbered by first appearance, and how many there are.

    Raises:
        ManifestError: the file cannot be read.
        TrainingError: it names clips or times that the stream does not have, or a frame has no segment; says which.
    """
    numbers: dict[str, int] = {}
    segments: defaultdict[str, list[Segment]] = defaultdict(list)
    for segment in read_segments(path):
        numbers.setdefault(segment.label, len(numbers))
        segments[segment.id].append(segment)
    if absent := sorted(segments.keys() - {clip.id for clip in stream.clips}):
        raise TrainingError(f"{path}: {counted(len(absent), 'clip')} not in the stream: {named(absent, 3)}")
    found = np.empty(len(stream), np.int64)
    for clip, (first, end) in zip(stream.clips, pairwise(stream.starts.tolist()), strict=True):
        times = stream.times(np.arange(first, end))
        own = sorted(segments[clip.id], key=lambda each: each.start)
        starts, ends = (np.array([getattr(each, name) for each in own]) for name in ("start", "end"))
        places = np.searchsorted(starts - SLACK, times, side="right") - 1
        bare = places < 0 if len(own) else np.ones(len(times), bool)
        if len(own):
            bare |= times >= ends[places] - SLACK
        if bare.any():
            where = f"{int(bare.sum())} of {len(times)} frames of {clip.id!r}, the first at {times[bare.argmax()]:g} s"
            raise TrainingError(f"{path}: {where}, have no segment")
        empty = sorted({*range(len(own))} - {*places.tolist()})
        if empty:
            raise TrainingError(
                f"{path}: the segment of {clip.id!r} from {own[empty[0]].start:g} s on has no frame of the stream"
            )
        found[first:end] = np.array([numbers[each.label] for each in own])[places]
    return found, len(numbers)


def found_segments(stream: Stream, windows: Sequence[Window], mapping: Mapping[int, int]) -> list[Segment]:
    """The segments that a training found, in seconds of the clips; one that crosses clips has a part in each.

    The last segment of a window is not finished: the next window goes on with it, from its own first frame at the
    latest, and has the last word on all after that frame. The last segment of all is left out.
    """
    starts: dict[int, int] = {}
    for window in windows:
        found_before = {label: start for label, start in starts.items() if start < window.starts[0]}
        starts = dict(zip(range(window.first, window.last + 1), window.starts.tolist(), strict=True)) | found_before
    found = []
    for (label, begin), (_, end) in pairwise(sorted(starts.items())):
        name = str(mapping.get(label, label))
        found += [Segment(id, start, stop, name, id) for id, start, stop in _parts(stream, begin, end)]
    return found


def _parts(stream: Stream, begin: int, end: int) -> list[tuple[str, float, float]]:
    """Clip, start and end in seconds of the frames from `begin` up to `end`, by clip."""
    parts = []
    for number, (first, last) in enumerate(pairwise(stream.starts.tolist())):
        one, other = max(begin, first), min(end, last)
        if one < other:
            start = float(stream.times(np.array([one]))[0])
            stop = stream.end(number) if other == last else float(stream.times(np.array([other]))[0])
            parts.append((stream.clips[number].id, start, stop))
    return parts
