"""Whether segments end where they should, on real clips with known cuts: F1 of change points at 0.2 s.

Two lists in ../shared/data/videos: `concat.json`, clips joined to one stream, and `shots.json`, hard cuts inside of
clips. Each has as many segments as there are. Compared: pixels at 16x16, boundaries at equal distances, and the caches
that are given; their clips are found by the names of their files.

python benchmarks/shot_boundaries.py --features random=caches/random/resnet18.lmdb --features ours=caches/rc/rc.lmdb
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
from measuring import SHARED, Ratio, report

from egotools.derive.segments import Cutting, rows_of, segmented_clip
from egotools.extractors.pixels import Pixels
from egotools.media.video import open_frames
from egotools.stores import open_store
from egotools.types import Clip, Rows

FPS = 10
TOLERANCE = 0.2  # seconds
Floats = npt.NDArray[np.float64]


def pixels_of(path: Path, extractor: Pixels) -> tuple[Rows, Floats]:
    """The rows of a video, and the times [F] of its frames."""
    with closing(open_frames(path)) as frames:
        windows = extractor.windows(frames.info, Clip(path.name, path))
        shown, place = np.unique(windows.frames, return_inverse=True)
        pictures = np.array([extractor.prepare(frame) for frame in frames.frames(shown)])
    rows = np.asarray(extractor.network()(pictures[:, np.newaxis]))
    return Rows(rows[place.ravel()], windows.times), frames.info.times


def joined(parts: Sequence[Rows]) -> tuple[Rows, Floats]:
    """Clips one after the other, a row each 1 / FPS seconds, and where they meet."""
    values = np.concatenate([part.values for part in parts])
    edges = np.arange(len(values) + 1) / FPS
    meets = np.cumsum([len(part.values) for part in parts])[:-1]
    return Rows(values, np.stack([edges[:-1], edges[1:]], axis=1)), edges[meets]


def cuts_of(rows: Rows, count: int) -> Floats:
    """Change points in seconds, as many as asked."""
    return segmented_clip("clip", rows, Cutting(segments=count + 1)).seconds[1:-1]


def right(found: Floats, true: Floats, tolerance: float = TOLERANCE) -> int:
    """How many of the true cuts have a found one of their own within the tolerance; both ascend."""
    count = place = 0
    for cut in true:
        while place < len(found) and found[place] < cut - tolerance - 1e-9:
            place += 1
        if place < len(found) and found[place] <= cut + tolerance + 1e-9:
            count, place = count + 1, place + 1
    return count


def rows_of_files(cache: Path) -> dict[str, Rows]:
    """The rows of a cache by the names of their files."""
    store = open_store(cache)
    return {Path(store.source(id).path).name: rows_of(store, id) for id in store}


def f1(counts: dict[str, tuple[int, int]]) -> float:
    """Of all clips together; as many cuts are found as there are."""
    return sum(hit for hit, _ in counts.values()) / sum(total for _, total in counts.values())


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", action="append", default=[], metavar="NAME=CACHE", help="repeatable")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    folder, extractor = SHARED / "videos", Pixels(fps=FPS)
    if not folder.is_dir():
        raise SystemExit(f"no {folder}: these clips are needed")
    caches = {name: rows_of_files(Path(cache)) for name, _, cache in (each.partition("=") for each in options.features)}
    names = [each["file"] for each in json.loads((folder / "concat.json").read_text())]
    stream, joins = joined([pixels_of(folder / name, extractor)[0] for name in names])
    ratios = [Ratio("joined clips, pixels", right(cuts_of(stream, len(joins)), joins) / len(joins), 1.0)]
    hits: dict[str, dict[str, tuple[int, int]]] = {}
    for name, cuts in json.loads((folder / "shots.json").read_text()).items():
        rows, times = pixels_of(folder / name, extractor)
        true, span = times[cuts], (rows.times[0, 0], rows.times[-1, 1])
        found = {"equal distances": np.linspace(*span, len(true) + 2)[1:-1], "pixels": cuts_of(rows, len(true))}
        found |= {kind: cuts_of(of_file[name], len(true)) for kind, of_file in caches.items() if name in of_file}
        for kind, seconds in found.items():
            hits.setdefault(kind, {})[name] = (right(seconds, true), len(true))
    for kind, counts in hits.items():
        note = ", ".join(f"{name} {hit}/{total}" for name, (hit, total) in counts.items())
        ratios.append(Ratio(f"shots, {kind}", f1(counts), None, note))
    report(f"F1 of boundaries at {TOLERANCE} s", ratios, options.json)


if __name__ == "__main__":
    main()
