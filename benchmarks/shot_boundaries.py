"""Whether segments end where they should, on real clips with known cuts: F1 of boundaries at 0.2 s.

Lists in ../shared/data: `concat.json`, clips joined to one stream; `shots.json`, hard cuts inside of clips; a drive of
ten minutes, whose recording paused 24 times. And first-person clips without a cut, where each boundary is too much.

`uniform` and `cluster` of `egotools segment` are told how many there are, `change` is not. PySceneDetect looks at
every frame, with its defaults; `pip install scenedetect opencv-python-headless` (it is left out where it is absent).
Features: pixels at 16x16, 10 a second, and the caches that are given, whose clips are found by their files' names.

python benchmarks/shot_boundaries.py --features color=caches/color.lmdb --features lite0=caches/efficientnet-lite0.lmdb
"""

from __future__ import annotations

import argparse
import csv
import importlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from measuring import SHARED, Ratio, cost_of, report

from egotools.derive.segments import Cutting, rows_of, segmented_clip
from egotools.extractors.pixels import Pixels
from egotools.media.video import open_frames
from egotools.stores import open_store
from egotools.types import Clip, Rows

FPS = 10
TOLERANCE = 0.2  # seconds
Floats = npt.NDArray[np.float64]
OfFiles = Mapping[str, Rows]  # rows by the name of their file
Cuts = Mapping[str, tuple[Floats, Floats]]  # found and true ones of each clip, seconds

VIDEOS, DRIVE = SHARED / "videos", SHARED / "streams" / "rc_track1.mp4"
UNCUT = ("aria_parking.mp4", "gopro_max_walk.mp4", "ego4d_3c0dffd0_012_014.mp4")
DETECTORS = ("ContentDetector", "AdaptiveDetector")
SMALL = (256, 144)  # of joined clips, which have different sizes; PySceneDetect scales to a width of 256, too
METHODS = ("uniform", "cluster", "change", "change, told how many")


def pixels_of(path: Path) -> Rows:
    """The rows of a video."""
    extractor = Pixels(fps=FPS)
    with closing(open_frames(path)) as frames:
        windows = extractor.windows(frames.info, Clip(path.name, path))
        shown, place = np.unique(windows.frames, return_inverse=True)
        pictures = np.array([extractor.prepare(frame) for frame in frames.frames(shown)])
    rows = np.asarray(extractor.network()(pictures[:, np.newaxis]))
    return Rows(rows[place.ravel()], windows.times)


def times_of(path: Path) -> Floats:
    """When each frame of a video is shown [F]."""
    with closing(open_frames(path)) as frames:
        return frames.info.times


def joined(parts: Sequence[Rows]) -> tuple[Rows, Floats]:
    """Clips one after the other, a row each 1 / FPS seconds, and where they meet."""
    values = np.concatenate([part.values for part in parts])
    edges = np.arange(len(values) + 1) / FPS
    meets = np.cumsum([len(part.values) for part in parts])[:-1]
    return Rows(values, np.stack([edges[:-1], edges[1:]], axis=1)), edges[meets]


def cuts_of(rows: Rows, method: str, count: int) -> Floats:
    """Boundaries in seconds; all methods but `change` are told how many."""
    segments = None if method == "change" else count + 1
    cutting = Cutting(method.partition(",")[0], segments)  # type: ignore[arg-type] # of METHODS
    return segmented_clip("clip", rows, cutting).seconds[1:-1]


def right(found: Floats, true: Floats, tolerance: float = TOLERANCE) -> int:
    """How many of the true cuts have a found one of their own within the tolerance; both ascend."""
    count = place = 0
    for cut in true:
        while place < len(found) and found[place] < cut - tolerance - 1e-9:
            place += 1
        if place < len(found) and found[place] <= cut + tolerance + 1e-9:
            count, place = count + 1, place + 1
    return count


def f1(name: str, cuts: Cuts) -> Ratio:
    """Of all clips together."""
    hits = sum(right(*each) for each in cuts.values())
    found, true = (sum(len(each[which]) for each in cuts.values()) for which in (0, 1))
    return Ratio(name, 2 * hits / max(found + true, 1), None, f"{hits} right of {found} found, {true} true")


def rows_of_files(cache: Path) -> dict[str, Rows]:
    """The rows of a cache by the names of their files."""
    store = open_store(cache)
    return {Path(store.source(id).path).name: rows_of(store, id) for id in store}


def lists_of(of_file: OfFiles) -> dict[str, dict[str, tuple[Rows, Floats]]]:
    """Rows and true cuts of the clips of each list, as far as there are rows."""
    names = [Path(each["file"]).name for each in json.loads((VIDEOS / "concat.json").read_text())]
    shots = json.loads((VIDEOS / "shots.json").read_text())
    found = {
        "shots": {name: (of_file[name], times_of(VIDEOS / name)[shots[name]]) for name in shots if name in of_file}
    }
    if set(names) <= set(of_file):
        found["joined clips"] = {"joined": joined([of_file[name] for name in names])}
    if DRIVE.name in of_file:
        found["drive"] = {DRIVE.name: (of_file[DRIVE.name], pauses())}
    return found


def pauses() -> Floats:
    """Where the recording of the drive paused, in seconds of the video."""
    with DRIVE.with_suffix(".csv").open() as file:
        parts = np.array([int(row["segment"]) for row in csv.DictReader(file)])
    return times_of(DRIVE)[np.flatnonzero(np.diff(parts)) + 1]


def measured(kind: str, of_file: OfFiles) -> list[Ratio]:
    """Of one kind of features."""
    ratios = []
    for name, clips in lists_of(of_file).items():
        for method in METHODS:
            cuts = {id: (cuts_of(rows, method, len(true)), true) for id, (rows, true) in clips.items()}
            ratios.append(f1(f"{name}, {method}, {kind}", cuts))
    uncut = [len(cuts_of(of_file[name], "change", 0)) for name in UNCUT if name in of_file]
    return [*ratios, Ratio(f"boundaries without a cut, change, {kind}", sum(uncut), None, f"in {len(uncut)} clips")]


def scenes_of(path: Path, detector: str) -> list[int]:
    """The first frames of the scenes that PySceneDetect finds in a video, but the first scene's."""
    package: Any = importlib.import_module("scenedetect")
    return [start.frame_num for start, _ in package.detect(str(path), getattr(package, detector)())[1:]]


def detected(path: Path, detector: str) -> Floats:
    """The same in seconds."""
    return times_of(path)[scenes_of(path, detector)]


def detected_joined(files: Sequence[Path], lengths: Sequence[int], detector: str) -> Floats:
    """Of clips one after the other, each of so many rows; what begins a clip is at the place of its first."""
    package, cv2 = (importlib.import_module(name) for name in ("scenedetect", "cv2"))
    watching, seconds, found = getattr(package, detector)(), list[float](), list[int]()
    for path, start in zip(files, np.cumsum([0, *lengths[:-1]]) / FPS, strict=True):
        with closing(open_frames(path)) as frames:
            times = frames.info.times
            for frame, time in zip(frames.frames(np.arange(len(times))), times - times[0], strict=True):
                small = cv2.resize(np.ascontiguousarray(frame[..., ::-1]), SMALL)
                now = package.FrameTimecode(len(seconds), fps=30.0)
                found += [each.frame_num for each in watching.process_frame(now, small)]
                seconds.append(float(start + time))
    return np.array(seconds)[found]


def compared(of_file: OfFiles) -> list[Ratio]:
    """PySceneDetect on the same lists, and its time; `of_file` are the pixels."""
    shots = lists_of(of_file)["shots"]
    names = [each["file"] for each in json.loads((VIDEOS / "concat.json").read_text())]
    lengths = [len(of_file[Path(name).name].values) for name in names]
    _, meets = joined([of_file[Path(name).name] for name in names])
    ratios = []
    for detector in DETECTORS:
        cuts = {name: (detected(VIDEOS / name, detector), true) for name, (_, true) in shots.items()}
        ratios.append(f1(f"shots, {detector}", cuts))
        at = detected_joined([VIDEOS / name for name in names], lengths, detector)
        ratios.append(f1(f"joined clips, {detector}", {"joined": (at, meets)}))
        ratios.append(f1(f"drive, {detector}", {DRIVE.name: (detected(DRIVE, detector), pauses())}))
        uncut = sum(len(detected(VIDEOS / name, detector)) for name in UNCUT)
        ratios.append(Ratio(f"boundaries without a cut, {detector}", uncut, None, f"in {len(UNCUT)} clips"))
    theirs = cost_of(lambda: [scenes_of(VIDEOS / name, "AdaptiveDetector") for name in shots])
    whole = cost_of(lambda: [cuts_of(pixels_of(VIDEOS / name), "change", 0) for name in shots])
    cached = cost_of(lambda: [cuts_of(rows, "change", 0) for rows, _ in shots.values()])
    seconds = f"{theirs.cpu:.2f} / {whole.cpu:.2f} / {cached.cpu:.3f} processor seconds"
    return [
        *ratios,
        Ratio("time of shots, AdaptiveDetector / pixels and change", theirs.cpu / whole.cpu, None, seconds),
        Ratio("time of shots, AdaptiveDetector / change from a cache", theirs.cpu / cached.cpu, None, seconds),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", action="append", default=[], metavar="NAME=CACHE", help="repeatable")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    if not VIDEOS.is_dir():
        raise SystemExit(f"no {VIDEOS}: these clips are needed")
    joins = [each["file"] for each in json.loads((VIDEOS / "concat.json").read_text())]
    shots = list(json.loads((VIDEOS / "shots.json").read_text()))
    files = [*(VIDEOS / name for name in dict.fromkeys([*joins, *shots, *UNCUT])), DRIVE]
    pixels = {path.name: pixels_of(path) for path in files}
    ratios = measured("pixels", pixels)
    for name, _, cache in (each.partition("=") for each in options.features):
        ratios += measured(name, rows_of_files(Path(cache)))
    if importlib.util.find_spec("scenedetect") and importlib.util.find_spec("cv2"):
        ratios += compared(pixels)
    else:
        print("PySceneDetect is left out: pip install scenedetect opencv-python-headless")
    report(f"F1 of boundaries at {TOLERANCE} s", ratios, options.json)


if __name__ == "__main__":
    main()
