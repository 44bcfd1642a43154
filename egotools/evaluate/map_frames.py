"""The frames of some points of a map: which points, and reading them from the clips' files. Axes: N points."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from egotools.errors import ClipError, first_line
from egotools.manifests.table import read_manifest
from egotools.media.shown_frames import shown_at
from egotools.progress import Progress
from egotools.tables.table import Table
from egotools.texts import counted, named
from egotools.types import FloatArray, Frame, IntArray

SIDE = 160  # pixels of the longer side of a thumbnail
NAMED = 3  # problems that a remark names


def spread(points: FloatArray, count: int, apart: float = 0.0) -> IntArray:
    """Up to `count` points [N, 2] that lie apart: from the middle on, each is the one farthest from those before.

    Args:
        points: the map.
        count: at most so many.
        apart: the least distance of two, across or up, as a share of the map's longer side; equal points count once.
    """
    low, size = points.min(axis=0), np.ptp(points, axis=0)
    places = (points - low - size / 2) / (size.max() or 1)
    chosen = [int(np.abs(places).max(axis=1).argmin())]
    nearest = np.full(len(points), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, np.abs(places - places[chosen[-1]]).max(axis=1))
        if nearest.max() <= apart:
            break
        chosen.append(int(nearest.argmax()))
    return np.sort(np.array(chosen, np.int64))


def read_thumbnails(
    manifest: Path, table: Table, rows: Iterable[int], progress: Progress
) -> tuple[dict[int, Frame], list[str]]:
    """The frame in the middle of each of these rows, as far as they can be read, and remarks on the others."""
    clips = {clip.id: clip for clip in read_manifest(manifest, labels=())}
    wanted: dict[tuple[Path, float | None], list[int]] = defaultdict(list)
    nowhere: dict[str, None] = {}
    for row in rows:
        clip = clips[table.ids[row]]
        if clip.path == Path():
            nowhere[repr(clip.id)] = None
        else:
            wanted[clip.path, clip.fps].append(row)
    found: dict[int, Frame] = {}
    problems: list[str] = []
    for number, ((path, fps), asked) in enumerate(wanted.items()):
        progress("reading frames", number, len(wanted))
        try:
            shown = shown_at(path, fps, table.times[asked].mean(axis=1), SIDE)
            found |= dict(zip(asked, shown, strict=True))
        except ClipError as error:
            problems.append(f"{counted(len(asked), 'row')}, {first_line(error)}")
    remarks = [f"no frames, as the manifest names no files: {named([*nowhere], NAMED)}"] if nowhere else []
    return found, [*remarks, *([f"no frames of {named(problems, NAMED, between='; ')}"] if problems else [])]
