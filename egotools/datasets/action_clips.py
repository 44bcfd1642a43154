"""What datasets of labeled actions share: entries of lists, their files, and what is held out for validation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from egotools.datasets.clips import DatasetClips, check_differ
from egotools.errors import ManifestError
from egotools.manifests.partition import split_clips
from egotools.texts import named
from egotools.types import Clip

ValFrom = Literal["none", "train", "test"]
VAL_FROM = (
    "Whether val is held out of train, or repeats 30 % of test as in the reference; none: there is no further val."
)
SHARE = 0.3  # of the reference's validation
MOST = 120  # frames up to which the reference drops a video before it draws (8 blocks of 5 frames, stride 3)
IMAGES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Entry:
    """A line of a list."""

    id: str  # <class>/<name>
    place: str  # below the videos, without suffix
    suffix: str  # of the video
    label: str
    split: str
    where: str  # file and row
    group: str = ""
    frames: int | None = None  # how many the list says that there are


@dataclass(frozen=True)
class Held:
    """What is held out for validation."""

    source: ValFrom
    share: float  # of train
    seed: int
    by: str = "id"  # the column whose values stay together


def check_held(share: float) -> None:
    """Refuses, with a ValueError, a share of train that is none."""
    if not 0 < share < 1:
        raise ValueError(f"--val-share must be between 0 and 1, not {share}")


def check_official(lists: Path | None, fps: float, share: float, split: int = 1) -> None:
    """Refuses, with a ValueError, options of a dataset with official lists in up to three splits."""
    if lists is None:
        raise ValueError("--lists is needed, the folder of the official lists")
    if split not in (1, 2, 3):
        raise ValueError(f"--split must be 1, 2 or 3, not {split}")
    check_held(share)
    if not fps > 0:
        raise ValueError(f"--fps must be above 0, not {fps}")


def checked_name(name: str, where: str) -> str:
    """A part of a path as a list names it.

    Raises:
        ManifestError: it is empty or leads elsewhere.
    """
    if not name or name in (".", "..") or "/" in name or "\\" in name:
        raise ManifestError(f"{where}: {name!r} is not the name of a file or folder")
    return name


def clips_of(
    entries: Sequence[Entry], root: Path, held: Held, *, fps: float, remarks: Sequence[str] = ()
) -> DatasetClips:
    """The clips of the entries whose video, or folder of frames, exists, with the labels `label` and `group`.

    Raises:
        ManifestError: two entries of one id, or not a single video.
    """
    if not root.is_dir():
        raise ManifestError(f"{root}: not a folder")
    _check_differ(entries)
    clips, missing, frames = [], [], {}
    for entry in entries:
        path = _found(root, entry)
        if path is None:
            missing.append(f"{root / entry.place}{entry.suffix}")
            continue
        labels = {"label": entry.label, **({"group": entry.group} if entry.group else {})}
        clips.append(Clip(entry.id, path, split=entry.split, labels=labels, fps=fps if path.is_dir() else None))
        frames[entry.id] = entry.frames
    if not clips:
        raise ManifestError(
            f"{root}: none of the {len(entries)} videos of the lists exists, such as {missing[0]}; is this the folder"
            " of the class folders?"
        )
    folders = sum(clip.path.is_dir() for clip in clips)
    notes = [f"{folders} of {len(clips)} clips are folders of frames, taken at {fps:g} a second (--fps)"]
    held_out, said = _held_out(clips, held, frames)
    check_differ(held_out, root)
    return DatasetClips(held_out, missing, [*remarks, *notes[: bool(folders)], *said])


def _found(root: Path, entry: Entry) -> Path | None:
    """The video, or the folder of its frames; the suffix of a list may be missing, as of frames."""
    video = root / f"{entry.place}{entry.suffix}"
    if entry.suffix and video.is_file():
        return video
    folder = root / entry.place
    return folder if folder.is_dir() else None


def _check_differ(entries: Sequence[Entry]) -> None:
    first: dict[str, str] = {}
    for entry in entries:
        if entry.id in first:
            raise ManifestError(f"{entry.where}: {entry.id!r} is also in {first[entry.id]}")
        first[entry.id] = entry.where


def _held_out(clips: list[Clip], held: Held, frames: dict[str, int | None]) -> tuple[list[Clip], list[str]]:
    """The clips with a split val, and what is to be said of it."""
    if held.source == "none":
        return clips, []
    if held.source == "train":
        train = [clip for clip in clips if clip.split == "train"]
        fractions = {"train": 1 - held.share, "val": held.share}
        drawn = split_clips(
            train, by=held.by, fractions=fractions, seed=held.seed, stratify="label" if held.by == "id" else None
        )
        split_of = {clip.id: clip.split for clip in drawn}
        result = [replace(clip, split=split_of.get(clip.id, clip.split)) for clip in clips]
        count = sum(split == "val" for split in split_of.values())
        return result, [f"val: {count} of {len(train)} clips of train held out, by {held.by}"]
    test = [clip for clip in clips if clip.split == "test"]
    long = [clip for clip in test if frames[clip.id] is None or (frames[clip.id] or 0) > MOST]
    order = np.random.RandomState(held.seed).permutation(len(long))[: round(SHARE * len(long))]
    repeated = [replace(long[row], id=f"val/{long[row].id}", split="val") for row in order.tolist()]
    said = f"val repeats {len(repeated)} of {len(test)} clips of test, ids val/..."
    return [*clips, *repeated], [f"{said}: what is chosen on val is chosen on test"]


def frames_in(folder: Path) -> int:
    """How many images a folder holds; its name may have brackets, which patterns would misread."""
    return sum(path.suffix.lower() in IMAGES for path in folder.iterdir())


def file_of(folder: Path, *names: str) -> Path:
    """The first of these files that a folder has.

    Raises:
        ManifestError: it has none of them.
    """
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        there = named(sorted(path.name for path in folder.iterdir()), 6) if folder.is_dir() else ""
        raise ManifestError(
            f"{folder}: no {names[0]}; " + (f"it has {there}" if there else "is this the right folder?")
        )
    return found
