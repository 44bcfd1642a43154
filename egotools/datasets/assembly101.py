"""Assembly101: synchronized views of people who assemble toys and take them apart, with coarse actions at times.

Source:
    Sener et al., "Assembly101", CVPR 2022; the lists `FINAL_USE_*` are those of the two-stream view-invariance work.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from egotools.config import option
from egotools.datasets.assembly101_files import (
    LABELS,
    TYPES,
    Part,
    Ranges,
    open_labels,
    parts_of,
    read_actions,
    read_list,
    read_published,
    read_statistics,
    recording_of,
)
from egotools.datasets.clips import DatasetClips
from egotools.errors import ManifestError
from egotools.manifests.segments import Segment
from egotools.texts import named
from egotools.types import Clip

FPS = 30  # of all annotations, whatever the video has
ITEM = 24_000  # frames of a training item: 1200 chunks of 20
EXO = ("C10095_rgb", "C10115_rgb", "C10118_rgb", "C10119_rgb", "C10379_rgb", "C10390_rgb", "C10395_rgb", "C10404_rgb")
EGO = (  # a headset has one of two sets of serial numbers
    ("HMC_84346135_mono10bit", "HMC_21176875_mono10bit"),
    ("HMC_84347414_mono10bit", "HMC_21176623_mono10bit"),
    ("HMC_84355350_mono10bit", "HMC_21110305_mono10bit"),
    ("HMC_84358933_mono10bit", "HMC_21179183_mono10bit"),
)
VIEWS: dict[str, tuple[str, ...]] = {
    **{f"v{number}": (camera,) for number, camera in enumerate(EXO, 1)},
    **{f"e{number}": cameras for number, cameras in enumerate(EGO, 1)},
}
NAMED, MANY = 3, 12  # names that a remark shows
Splits = dict[str, tuple[str, ...]]  # the files of each split's lists
OFFICIAL: Splits = {split: tuple(f"{split}_coarse_{kind}.txt" for kind in TYPES) for split in ("train", "val", "test")}
TWO_STREAM: Splits = {
    "train": ("FINAL_USE_Train_vic.txt",),
    "pair": ("FINAL_USE_Pair_vic.txt",),
    "val": ("FINAL_USE_Val_vic.txt",),
    "test": ("FINAL_USE_Test_vic.txt",),
}
JOINT: Splits = {"train": ("FINAL_USE_Train_Pair_Triple.txt",), "val": TWO_STREAM["val"], "test": TWO_STREAM["test"]}
# By name: the lists, in the order in which they claim recordings, and the views
LISTS: dict[str, tuple[Splits, tuple[str, ...]]] = {
    "two-stream": (TWO_STREAM, ("v3", "e4")),
    "joint": (JOINT, ("e4", "v3", "v4")),
    "official": (OFFICIAL, tuple(VIEWS)),
}


@dataclass(frozen=True)
class Assembly101:
    """Assembly101: a clip per recording and camera, the whole video, and coarse actions as segments beside.

    ROOT has actions.csv, coarse_labels/ or coarse_labels.zip, and coarse_splits/. The segments are written to
    NAME.segments.csv beside NAME.csv, with recordings as ids, at frame / 30 seconds.

    \b
    egotools manifest assembly101 ROOT --videos VIDEOS --lists two-stream --out a.csv
    egotools manifest assembly101 ROOT --statistics statistic_input_all.pkl --views v3,e4 --out a.csv
    """

    videos: Path | None = option(  # noqa: RUF009 - frozen
        None, "Folder with <recording>/<camera>.mp4, or <type>_<recording>/<camera>.mp4."
    )
    lists: Literal["two-stream", "official", "joint"] = option("two-stream", "Which lists make the splits.")
    views: tuple[str, ...] = option(
        (), "Views, such as v3,e4; by default v3,e4; all 12 of official; e4,v3,v4 of joint."
    )
    statistics: Path | None = option(  # noqa: RUF009 - frozen
        None, "Pickle of frame ranges; with it clips need no video, for the public features."
    )

    def __post_init__(self) -> None:
        if self.videos is None and self.statistics is None:
            raise ValueError("--videos is needed, or --statistics for features without videos")
        if unknown := [view for view in self.views if view not in VIEWS]:
            raise ValueError(f"--views {unknown[0]!r} is none of {', '.join(VIEWS)}")
        if len({*self.views}) != len(self.views):
            raise ValueError("--views names a view twice")

    def clips(self, root: Path) -> DatasetClips:
        """A clip per recording and camera, and the segments of the lists' sequences, in the order of the lists.

        Raises:
            ManifestError: annotations that cannot be used, or not a single camera.
            WeightsError: statistics that are not plain data.
        """
        splits, views = LISTS[self.lists]
        split_of, remarks = _listed(root, splits)
        labeled = _labeled(root, split_of)
        ranges = read_statistics(self.statistics) if self.statistics else {}
        wanted = {recording_of(name): split_of[name] for name in split_of if name not in labeled.without}
        found = _find(root, wanted, self.views or views, self.videos, ranges)
        if not found.clips:
            example = f", such as {found.missing[0]}" if found.missing else ""
            raise ManifestError(
                f"{self.videos or self.statistics}: no camera of the {len(wanted)} recordings that the lists of"
                f" {root} name{example}"
            )
        segments = [
            Segment(recording_of(name), part.start / FPS, part.end / FPS, part.label, name)
            for name, parts in labeled.parts.items()
            for part in parts
        ]
        if self.statistics:
            remarks.append(f"{self.statistics}: {len(ranges)} recordings, {sum(map(len, ranges.values())):,} cameras")
        remarks += [*labeled.remarks, *found.remarks, *_counts(labeled.parts, found.clips, ranges)]
        return DatasetClips(found.clips, [*labeled.missing, *found.missing], remarks, segments)


def _listed(root: Path, splits: Splits) -> tuple[dict[str, str], list[str]]:
    """The split of each sequence, in the order of the lists. A recording belongs to the first split that names it."""
    claimed: dict[str, str] = {}  # recording -> split
    split_of: dict[str, str] = {}
    remarks, names = [], [name for files in splits.values() for name in files]
    for split, files in splits.items():
        for name in files:
            path = root / "coarse_splits" / name
            sequences = read_list(path) if path.is_file() else []
            if not sequences:
                remarks.append(f"{path} does not exist")
            others = [each for each in sequences if claimed.setdefault(recording_of(each), split) != split]
            twice = [each for each in others if each in split_of]
            remarks += _left(name, twice, f"are in lists of {_splits(twice, claimed)} too, where they stay")
            apart = [each for each in others if each not in split_of]
            remarks += _left(name, apart, f"are left out: their recordings are in {_splits(apart, claimed)}")
            split_of |= {each: split for each in sequences if each not in others}
    if not split_of:
        raise ManifestError(
            f"{root}: no coarse_splits/{names[0]}, nor {named(names[1:], 9)}; is this the right folder?"
        )
    return split_of, remarks


def _splits(sequences: Iterable[str], claimed: Mapping[str, str]) -> str:
    return " and ".join(dict.fromkeys(claimed[recording_of(each)] for each in sequences))


def _left(name: str, sequences: Sequence[str], what: str) -> list[str]:
    return [f"{len(sequences)} sequences of {name} {what} ({named(sequences, MANY)})"] if sequences else []


@dataclass(frozen=True)
class _Labeled:
    """The labels of each sequence, in the order of the lists, and which sequences have none although they should."""

    parts: dict[str, list[Part]] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def _labeled(root: Path, split_of: Mapping[str, str]) -> _Labeled:
    actions, found = {*read_actions(root)}, _Labeled()
    absent = []
    with open_labels(root) as read:
        for sequence in split_of:
            if (file := read(sequence)) is None:
                absent.append(sequence)
            else:
                found.parts[sequence] = parts_of(file[1], file[0], actions)
    labeled = {split_of[sequence] for sequence in found.parts}
    withheld = [each for each in absent if split_of[each] == "test" and "test" not in labeled]
    if withheld:
        found.remarks.append(f"{len(withheld)} sequences of test have no labels: no segments, their clips are listed")
    found.without.extend(each for each in absent if each not in {*withheld})
    found.missing.extend(str(root / LABELS / f"{each}.txt") for each in found.without)
    return found


@dataclass(frozen=True)
class _Found:
    clips: list[Clip] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def _find(root: Path, split_of: Mapping[str, str], views: Sequence[str], videos: Path | None, ranges: Ranges) -> _Found:
    """A clip for each recording and view that has a video or features."""
    if videos is not None and not videos.is_dir():
        raise ManifestError(f"{videos}: --videos is not a folder")
    published = read_published(root / "coarse_seq_views.txt")
    found, unpublished, unlisted, bare = _Found(), [], [], []
    for recording, split in split_of.items():
        for view in views:
            files = {camera: video_of(videos, recording, camera) for camera in VIEWS[view]} if videos else {}
            present = [camera for camera, path in files.items() if path] or [
                camera for camera in VIEWS[view] if camera in ranges.get(recording, {})
            ]
            if len(present) > 1:
                raise ManifestError(f"{videos or root}: {recording} has two cameras of {view}, {' and '.join(present)}")
            if present:
                path = files.get(present[0])
                labels = {"recording": recording, "camera": present[0], "view": view}
                found.clips.append(Clip(f"{recording}/{present[0]}", path or Path(), split=split, labels=labels))
                bare += [] if path or not videos else [f"{recording}/{present[0]}"]
            elif recording in published and published[recording].isdisjoint(VIEWS[view]):
                unpublished.append(f"{recording}/{view}")
            elif videos is None and recording in ranges:
                unlisted.append(f"{recording}/{view}")
            else:
                where = f"{videos}/{recording}/" if videos else f"{recording}/"
                found.missing.append(where + " or ".join(f"{camera}.mp4" for camera in VIEWS[view]))
    found.remarks.extend(
        f"{len(names)} {what}: {named(names, NAMED)}"
        for what, names in (
            ("cameras were not published, says coarse_seq_views.txt", unpublished),
            ("cameras are not in the statistics", unlisted),
            ("clips have features only, as their videos do not exist", bare),
        )
        if names
    )
    return found


def video_of(videos: Path, recording: str, camera: str) -> Path | None:
    """The video of a camera; it may lie in a folder for the recording, or for a part of it.

    Raises:
        ManifestError: both parts have one, of different sizes.
    """
    plain = videos / recording / f"{camera}.mp4"
    if os.path.isfile(plain):  # no error for names that no file can have
        return plain
    paths = [videos / f"{kind}_{recording}" / f"{camera}.mp4" for kind in TYPES]
    there = [path for path in paths if os.path.isfile(path)]
    if len({path.stat().st_size for path in there}) > 1:
        raise ManifestError(
            f"{there[0]} and {there[1]} differ in size: labels count the frames of the whole recording, so both must"
            " be the whole video"
        )
    return there[0] if there else None


def _counts(parts: Mapping[str, Sequence[Part]], clips: Sequence[Clip], ranges: Ranges) -> list[str]:
    """A remark on each split: its sequences, and the items that they make by view."""
    of_recording: dict[str, list[tuple[str, int, int]]] = {}
    for sequence, own in parts.items():
        of_recording.setdefault(recording_of(sequence), []).append((sequence, own[0].start, own[-1].end))
    items: dict[str, Counter[str]] = {clip.split: Counter() for clip in clips}
    sequences: dict[str, set[str]] = {clip.split: set() for clip in clips}
    outside = []  # labeled frames that a camera does not have
    for clip in clips:
        recording, camera = clip.labels["recording"], clip.labels["camera"]
        first, last = ranges.get(recording, {}).get(camera, (0, None))
        for sequence, start, end in of_recording.get(recording, []):
            length = min(end, last or end) - max(start, first)
            outside += [end - start - length] if length < end - start else []
            items[clip.split][clip.labels["view"]] += max(0, -(-length // ITEM))
            sequences[clip.split].add(sequence)
    cut = f"labels exceed the frames of {len(outside)} sequences and cameras by up to {max(outside, default=0)} frames"
    lines = [
        f"{split}: {len(sequences[split])} sequences; items of at most {ITEM:,} frames:"
        f" {', '.join(f'{view} {count}' for view, count in items[split].items()) or 'none'}"
        for split in items
    ]
    return [cut, *lines] if outside else lines
