"""EPIC-KITCHENS: annotated actions and sounds in kitchens, by the official CSVs; or RepLAI's ten-second cuts.

Source:
    Damen et al., "Rescaling Egocentric Vision", IJCV 2022, and "Scaling Egocentric Vision", ECCV 2018; Huh et al.,
    "EPIC-SOUNDS", ICASSP 2023; layouts and subsets of RepLAI's code (`datasets/epic_kitchens.py`).
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from egotools.config import option
from egotools.datasets.clips import DatasetClips, check_differ
from egotools.datasets.epic_releases import RELEASES, Release
from egotools.datasets.epic_subsets import SUBSETS, Subsets
from egotools.datasets.video_names import VideoNames
from egotools.errors import ManifestError
from egotools.files.csv_files import read_csv
from egotools.texts import is_whole
from egotools.types import Clip

TIME = re.compile(r"(\d{1,6}):([0-5]?\d):([0-5]?\d(?:\.\d+)?)")
# P01_04_000070_000080 is cut from second 70 to 80; names of actions' files have eight digits.
CUT = re.compile(r"P\d+_\d+_\d{6}_\d{6}")


@dataclass(frozen=True)
class EpicKitchens:
    """EPIC-KITCHENS: the actions of the official CSVs in ROOT that exist (train, validation, test timestamps).

    A clip is an action (of --release sounds a sound): its stretch of <video_id>.MP4, or RepLAI's file of it,
    <video_id>_<start>_<stop>.MP4, which is preferred; they are found by name anywhere below --videos. Times are the
    timestamps, in seconds, whatever frame rate a video has. The columns subset_head, subset_tail and subset_unseen
    (participants) say 1 or 0.

    \b
    egotools manifest epic-kitchens ROOT --videos VIDEOS --out e.csv
    egotools manifest epic-kitchens ROOT --release 55 --videos VIDEOS --out e55.csv
    egotools manifest epic-kitchens ROOT --videos VIDEOS --kind segments --out s.csv
    """

    videos: Path | None = option(None, "Folder below which the videos are, in any layout.")  # noqa: RUF009 - frozen
    release: Literal["100", "55", "sounds"] = option("100", "EPIC-KITCHENS-100 or -55, or EPIC-SOUNDS.")
    kind: Literal["actions", "segments"] = option(
        "actions", "Annotated actions; or files cut as <video_id>_<second>_<second>.MP4, whole and without labels."
    )
    reference_subsets: bool = option(
        False, "Subsets as RepLAI's code has them: head if verb or noun is no tail class, unseen: everybody."
    )

    def __post_init__(self) -> None:
        if self.videos is None:
            raise ValueError("--videos is needed, the folder below which the videos are")
        if self.reference_subsets and self.release != "100":
            raise ValueError(f"--reference-subsets is for --release 100, not {self.release}")

    def clips(self, root: Path) -> DatasetClips:
        """The clips, sorted as annotated, with the labels `participant` and `video`.

        Those of actions have `verb`, `verb_class`, `noun`, `noun_class`, `narration` and the subsets, too; those of
        sounds `class`, `class_id` and `description`.

        Raises:
            ManifestError: no annotations, one without a column that is needed, or not a single video.
        """
        release = RELEASES[self.release]
        tables = [
            _Annotations.read(root / name, split, release)
            for split, names in release.files.items()
            for name in names
            if (root / name).is_file()
        ]
        if not tables:
            raise ManifestError(f"{root}: no {release.names[0]}, nor of {release.others}; {_instead(root)}")
        there = {table.path.name for table in tables}
        remarks = [f"{name} does not exist" for name in release.names if name not in there]
        names = VideoNames.below(self.videos or root)
        remarks += names.remarks
        if self.kind == "segments":
            found = _segments(tables, names)
        elif self.release == "100":
            subsets = Subsets.read(root, is_reference=self.reference_subsets)
            found = _actions(tables, names, lambda table, action: subsets.of(table.split, action.labels))
            remarks += [*subsets.remarks, *_counts(tables, subsets)]
        else:
            found = _actions(tables, names, lambda table, _: release.subsets(table.path.name))
        refused = [line for table in tables for line in table.refused]
        return DatasetClips(found.clips, found.missing, [*remarks, *found.remarks], refused=refused)


def _instead(root: Path) -> str:
    """What a folder without the files of a release may be instead."""
    there = [name for name, release in RELEASES.items() if any((root / each).is_file() for each in release.names)]
    return f"there are those of --release {there[0]}" if there else "is this the annotations' folder?"


@dataclass(frozen=True)
class _Action:
    """A row of an annotation file. `times` are the texts of start and stop, which name files."""

    id: str
    video: str
    times: tuple[str, str]
    start: float
    stop: float
    labels: Mapping[str, str]


@dataclass(frozen=True)
class _Annotations:
    """The rows of a file that can be used, and why the others cannot."""

    path: Path
    split: str
    actions: list[_Action]
    refused: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, split: str, release: Release) -> "_Annotations":
        columns, rows = read_csv(path)
        needed = release.needed(split)
        if missing := [name for name in needed if name not in columns]:
            raise ManifestError(f"{path}: no column {missing[0]!r}; there are {', '.join(columns)}")
        table, first = cls(path, split, []), dict[str, int]()
        for number, cells in rows:
            why = _fault(cells, needed, release.classes)
            if not why and (before := first.setdefault(cells[release.id].strip(), number)) != number:
                why = f"column {release.id!r}: {cells[release.id]!r} is also in row {before}"
            if why:
                table.refused.append(f"{path}, row {number}, {why}")
            else:
                table.actions.append(_action(cells, needed, release))
        if not table.actions:
            raise ManifestError(table.refused[0] if table.refused else f"{path}: it has no rows")
        return table


def _fault(cells: Mapping[str, str], needed: tuple[str, ...], classes: Mapping[str, int]) -> str:
    """What is wrong with a row, by column; empty if nothing is."""
    for name in needed:
        text = cells[name].strip()
        if not text:
            return f"column {name!r}: it is empty"
        if name in classes and not is_whole(text):
            return f"column {name!r}: {text!r} is not the number of a class"
        if name in classes and int(text) >= classes[name]:
            return f"column {name!r}: {text!r}, but the classes are 0 to {classes[name] - 1}"
        if name.endswith("_timestamp") and not TIME.fullmatch(text):
            return f"column {name!r}: {text!r} is not a time like 00:01:02.50"
    if _seconds(cells["stop_timestamp"]) <= _seconds(cells["start_timestamp"]):
        return f"column 'stop_timestamp': {cells['stop_timestamp']!r} is not after {cells['start_timestamp']!r}"
    return ""


def _action(cells: Mapping[str, str], needed: tuple[str, ...], release: Release) -> _Action:
    text = {name: cell.strip() for name, cell in cells.items()}
    times = text["start_timestamp"], text["stop_timestamp"]
    labels = {"participant": text["participant_id"], "video": text["video_id"]}
    own = [name for name in release.labeled if name in needed]
    labels |= {name: str(int(text[name])) if name in release.classes else text[name] for name in own}
    labels |= {name: text[name] for name in release.described if name in text}
    return _Action(text[release.id], text["video_id"], times, _seconds(times[0]), _seconds(times[1]), labels)


def _seconds(text: str) -> float:
    """Of a time that `_fault` has let pass, exact to the microsecond."""
    match = TIME.fullmatch(text.strip())
    hours, minutes, seconds = match.groups() if match else ("0", "0", "0")
    return round(3600 * int(hours) + 60 * int(minutes) + float(seconds), 6)


def _actions(
    tables: Sequence[_Annotations], names: VideoNames, subsets: Callable[[_Annotations, _Action], Mapping[str, str]]
) -> DatasetClips:
    """A clip an action, in the order of the files."""
    clips, missing, cut = [], [], 0
    for table in tables:
        split = table.split
        for action in table.actions:
            labels = {**action.labels, **subsets(table, action)}
            start, stop = (re.sub(r"[:.]", "", text) for text in action.times)
            path = names.find(f"{action.video}_{start}_{stop}")
            if path is not None:
                cut += 1
                clips.append(Clip(action.id, path, split=split, labels=labels))
            elif (path := names.find(action.video)) is not None:
                clips.append(Clip(action.id, path, action.start, action.stop, split, labels))
            else:
                missing.append(f"{action.video}.MP4 of {action.id}")
    count = len(clips) + len(missing)
    if not clips:
        raise ManifestError(
            f"{names.root}: none of the videos of {count} actions is below it, such as {missing[0]}; is this the folder"
            " of the videos?"
        )
    check_differ(clips, tables[0].path.parent)
    return DatasetClips(clips, missing, [f"{cut} of {len(clips)} actions are files of their own"] if cut else [])


def _segments(tables: Sequence[_Annotations], names: VideoNames) -> DatasetClips:
    """A clip a ten-second cut of a video that a file of annotations names, sorted by name."""
    split_of = {action.video: table.split for table in tables for action in table.actions}
    clips, others = [], 0
    for name in names.like(CUT):
        video = name.rsplit("_", 2)[0]
        path = names.find(name) if video in split_of else None
        if path is None:
            others += 1
        else:
            labels = {"participant": video.partition("_")[0], "video": video}
            clips.append(Clip(name, path, split=split_of[video], labels=labels))
    if not clips:
        raise ManifestError(
            f"{names.root}: not a single file such as P01_04_000070_000080.MP4 of an annotated video"
            + (f", but {others} of other videos" if others else "")
        )
    return DatasetClips(clips, remarks=[f"{others} files are of videos without annotations"] if others else [])


def _counts(tables: Sequence[_Annotations], subsets: Subsets) -> Iterator[str]:
    """How many annotated actions are in which subset, by the right definition and by the reference's."""
    for table in tables:
        split = table.split
        if split == "test" or not table.actions:
            continue
        found = {
            is_reference: Counter(
                name
                for action in table.actions
                for name, value in subsets.of(split, action.labels, is_reference=is_reference).items()
                if value == "1"
            )
            for is_reference in (subsets.is_reference, not subsets.is_reference)
        }
        own, other = found.values()
        told = ", ".join(f"{name} {own[name]} ({other[name]})" for name in SUBSETS if name in subsets.names)
        flag = "--no-reference-subsets" if subsets.is_reference else "--reference-subsets"
        yield f"{split}: {len(table.actions)} actions; {told}; in brackets with {flag}"
