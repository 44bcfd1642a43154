"""EGTEA Gaze+: actions in kitchens, by the official lists of a split, or by RULSTM's lists of them.

The name of an official clip holds its milliseconds and frames: <video>-<start>-<end>-F<first>-F<last>. RULSTM's frames
are those milliseconds at 30 per second, rounded down, whatever rate the video has (EGTEA's have 24).

Source:
    Li et al., "In the Eye of Beholder", ECCV 2018; Furnari and Farinella, "What Would You Expect?", ICCV 2019.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from egotools.config import check_positive, option
from egotools.datasets.clips import DatasetClips
from egotools.datasets.video_names import VideoNames
from egotools.errors import ManifestError
from egotools.files.text_files import numbered_lines
from egotools.texts import is_whole, tidy
from egotools.types import Clip

FILES = {  # of a split's number, by --lists
    "official": {"train": "train_split{}.txt", "test": "test_split{}.txt"},
    "rulstm": {"train": "training{}.csv", "val": "validation{}.csv"},
}
CLIP = re.compile(r"(?P<video>[A-Z]+\d+-R\d+-\w+)-(?P<start>\d{1,12})-(?P<end>\d{1,12})-F\d+-F\d+")
VIDEO = re.compile(r"(?P<participant>[A-Z]+\d+)-(?P<recipe>R\d+-\w+)")
NAMES = {"action": "action_idx.txt", "verb": "verb_idx.txt", "noun": "noun_idx.txt"}  # beside the official lists
CELLS = ("id", "video", "start frame", "end frame", "verb", "noun", "action")  # of a row of RULSTM's


class _Action(NamedTuple):
    """A row: its id, its video, seconds, and the numbers of its classes. `cut` is its file of its own, if there is."""

    id: str
    video: str
    start: float
    end: float
    classes: Mapping[str, str]
    cut: str = ""


@dataclass(frozen=True)
class _Rows:
    """The rows of a list that can be used, and why the others cannot."""

    split: str
    actions: list[_Action] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class EGTEA:
    """EGTEA Gaze+: the actions of a split's lists in ROOT, as clips of the videos.

    official: train_split1.txt and test_split1.txt, with names of classes from action_idx.txt, verb_idx.txt and
    noun_idx.txt where they are; times are the milliseconds in the names of the clips. A clip is its file
    (cropped_clips) where there is one, or else its stretch of <video>.mp4. rulstm: training1.csv, validation1.csv and
    actions.csv; times are frame / --fps. Videos are found by name anywhere below --videos.

    \b
    egotools manifest egtea ROOT --videos VIDEOS --split-number 1 --out g.csv
    egotools manifest egtea ROOT --lists rulstm --videos VIDEOS --out g.csv
    """

    videos: Path | None = option(None, "Folder below which the videos are, in any layout.")  # noqa: RUF009 - frozen
    lists: Literal["official", "rulstm"] = option("official", "Whose lists ROOT has.")
    split_number: int = option(1, "Which of the three splits.")
    fps: float = option(30.0, "rulstm: the frame rate that its frames count at; 30 in the published lists.")

    def __post_init__(self) -> None:
        if self.videos is None:
            raise ValueError("--videos is needed, the folder below which the videos are")
        check_positive(self, "fps", "split_number")

    def clips(self, root: Path) -> DatasetClips:
        """The clips in the order of the lists; labels `participant`, `recipe`, `video` and the classes.

        Those are `action_class`, `verb_class`, `noun_class` (numbers, as the lists have them: official from 1, RULSTM's
        from 0), `action`, and of the official lists `verb`, `noun` and `noun_classes`: all nouns of the action.

        Raises:
            ManifestError: no lists, or not a single video.
        """
        files = {split: root / name.format(self.split_number) for split, name in FILES[self.lists].items()}
        there = {split: path for split, path in files.items() if path.is_file()}
        if not there:
            raise ManifestError(
                f"{root}: no {' nor '.join(path.name for path in files.values())}; {self._instead(root)}"
            )
        remarks = [f"{path.name} does not exist" for split, path in files.items() if split not in there]
        names, said = _class_names(root) if self.lists == "official" else _rulstm_names(root / "actions.csv")
        read = _official if self.lists == "official" else _rulstm
        lists = [read(path, split, self.fps) for split, path in there.items()]
        found = _found(lists, VideoNames.below(self.videos or root), names)
        if self.lists == "rulstm":
            remarks.append(f"frames are counted at {self.fps:g} per second")
        return DatasetClips(found.clips, found.missing, [*remarks, *said, *found.remarks], refused=found.refused)

    def _instead(self, root: Path) -> str:
        other = "rulstm" if self.lists == "official" else "official"
        has_other = any((root / name.format(self.split_number)).is_file() for name in FILES[other].values())
        return f"there are those of --lists {other}" if has_other else "is this the folder of the lists?"


def _official(path: Path, split: str, _: float) -> _Rows:
    rows = _Rows(split)
    for row, line in numbered_lines(path):
        words = line.split()
        if not words:
            continue
        match = CLIP.fullmatch(words[0])
        numbers = words[1:]
        if match is None:
            rows.refused.append(f"{path}, row {row}: {words[0]!r} is not <video>-<ms>-<ms>-F<frame>-F<frame>")
        elif len(numbers) < 3 or not all(map(is_whole, numbers)):
            rows.refused.append(f"{path}, row {row}: after the clip come the numbers of action, verb and noun(s)")
        elif int(match["end"]) <= int(match["start"]):
            rows.refused.append(f"{path}, row {row}: the end {match['end']} ms is not after {match['start']} ms")
        else:
            times = int(match["start"]) / 1000, int(match["end"]) / 1000
            classes = dict(zip(("action_class", "verb_class", "noun_class"), numbers, strict=False))
            classes["noun_classes"] = " ".join(numbers[2:])
            rows.actions.append(_Action(words[0], match["video"], *times, classes, words[0]))
    return rows


def _rulstm(path: Path, split: str, fps: float) -> _Rows:
    rows = _Rows(split)
    for row, line in numbered_lines(path):
        cells = [cell.strip() for cell in line.split(",")]
        if cells == [""]:
            continue
        numbers = [cell for name, cell in zip(CELLS, cells, strict=False) if name != "video"]
        if len(cells) != len(CELLS) or not all(map(is_whole, numbers)):
            rows.refused.append(f"{path}, row {row}: not {', '.join(CELLS)}, all numbers but the video")
        elif int(cells[3]) <= int(cells[2]):
            rows.refused.append(f"{path}, row {row}: the end frame {cells[3]} is not after {cells[2]}")
        else:
            classes = {"action_class": cells[6], "verb_class": cells[4], "noun_class": cells[5]}
            rows.actions.append(_Action(cells[0], cells[1], int(cells[2]) / fps, int(cells[3]) / fps, classes))
    return rows


def _class_names(root: Path) -> tuple[dict[str, dict[str, str]], list[str]]:
    """The names of classes by number, of `action`, `verb` and `noun`; and remarks on files that are not there."""
    gone = [file for file in NAMES.values() if not (root / file).is_file()]
    names = {kind: dict(_numbered(root / file)) for kind, file in NAMES.items() if file not in gone}
    return names, [f"{', '.join(gone)} not in {root}: no names of these classes"] if gone else []


def _numbered(path: Path) -> Iterator[tuple[str, str]]:
    """Lines of a name and its number."""
    for row, line in numbered_lines(path):
        name, _, number = tidy(line).rpartition(" ")
        if line.strip() and not (name and number.isdecimal()):
            raise ManifestError(f"{path}, row {row}: {line!r} is not a name and its number")
        if line.strip():
            yield number, name


def _rulstm_names(path: Path) -> tuple[dict[str, dict[str, str]], list[str]]:
    """The names of actions by number, from lines like `0, 0_0, Open_fridge`."""
    if not path.is_file():
        return {}, [f"{path} does not exist: no names of the actions"]
    names = {}
    for row, line in numbered_lines(path):
        cells = [tidy(cell) for cell in line.split(",")]
        if line.strip() and (len(cells) != 3 or not cells[0].isdecimal()):
            raise ManifestError(f"{path}, row {row}: {line!r} is not a number, <verb>_<noun> and a name")
        if line.strip():
            names[cells[0]] = cells[2]
    return {"action": names}, []


def _found(lists: Sequence[_Rows], videos: VideoNames, names: Mapping[str, Mapping[str, str]]) -> DatasetClips:
    clips: list[Clip] = []
    missing, refused = [], [line for rows in lists for line in rows.refused]
    splits: dict[str, str] = {}
    for rows in lists:
        for action in rows.actions:
            if action.id in splits:
                refused.append(f"{action.id} of {rows.split} is also in {splits[action.id]}")
                continue
            splits[action.id] = rows.split
            labels = {**_video_labels(action.video), **action.classes}
            labels |= {kind: each.get(action.classes[f"{kind}_class"], "") for kind, each in names.items()}
            if action.cut and (path := videos.find(action.cut)) is not None:
                clips.append(Clip(action.id, path, split=rows.split, labels=labels))
            elif (path := videos.find(action.video)) is not None:
                clips.append(Clip(action.id, path, action.start, action.end, rows.split, labels))
            else:
                missing.append(f"{action.video}.mp4 of {action.id}")
    if not clips:
        example = f", such as {missing[0]}" if missing else f"; {refused[0]}" if refused else ""
        raise ManifestError(f"{videos.root}: none of the videos of the lists' actions is below it{example}")
    return DatasetClips(clips, missing, videos.remarks, refused=refused)


def _video_labels(video: str) -> dict[str, str]:
    match = VIDEO.fullmatch(video)
    parts = match.groupdict() if match else {"participant": "", "recipe": ""}
    return {**parts, "video": video}
