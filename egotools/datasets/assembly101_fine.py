"""Assembly101's fine-grained actions: verbs and nouns at times, in all views.

Source:
    Sener et al., "Assembly101", CVPR 2022; `train.csv`, `validation.csv`, `test.csv` of its fine-grained annotations.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from egotools.config import option
from egotools.datasets.assembly101 import FPS, VIEWS, video_of
from egotools.datasets.clips import DatasetClips
from egotools.errors import ManifestError
from egotools.files.csv_files import read_csv
from egotools.texts import is_whole
from egotools.types import Clip

FILES = {"train": "train.csv", "val": "validation.csv", "test": "test.csv"}
FOLDER = "fine-grained-annotations"
NEEDED = ("id", "video", "start_frame", "end_frame")
NUMBERS = ("start_frame", "end_frame", "action_id", "verb_id", "noun_id")
LABELS = {  # columns -> labels; test may have none
    "action_cls": "action",
    "action_id": "action_id",
    "verb_cls": "verb",
    "verb_id": "verb_id",
    "noun_cls": "noun",
    "noun_id": "noun_id",
}
OTHERS = ("toy_id", "toy_name", "is_shared")  # become labels where they are there
VIEW_OF = {camera: view for view, cameras in VIEWS.items() for camera in cameras}


@dataclass(frozen=True, eq=False)
class _Found:
    clips: list[Clip] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    paths: dict[tuple[str, str], Path | None] = field(default_factory=dict)  # of recordings and cameras


@dataclass(frozen=True)
class Assembly101Fine:
    """Assembly101's fine-grained actions: a clip per action and camera, at frame / 30 seconds.

    ROOT has train.csv, validation.csv and test.csv, also in fine-grained-annotations/. Where `video` names a recording
    only, as in the lists for poses, each action has a row for every view.

    \b
    egotools manifest assembly101-fine ROOT --videos VIDEOS --views v3,e4 --out f.csv
    """

    videos: Path | None = option(  # noqa: RUF009 - frozen
        None, "Folder with <recording>/<camera>.mp4, or <type>_<recording>/<camera>.mp4."
    )
    views: tuple[str, ...] = option((), "Views, such as v3,e4; by default all 12.")

    def __post_init__(self) -> None:
        if self.videos is None:
            raise ValueError("--videos is needed, the folder of the videos")
        if unknown := [view for view in self.views if view not in VIEWS]:
            raise ValueError(f"--views {unknown[0]!r} is none of {', '.join(VIEWS)}")
        if len({*self.views}) != len(self.views):
            raise ValueError("--views names a view twice")

    def clips(self, root: Path) -> DatasetClips:
        """The clips in the order of the files; ids are `<file>/<id>/<camera>`, such as `validation/0000007/C10095_rgb`.

        Labels: `action`, `action_id`, `verb`, `verb_id`, `noun`, `noun_id`, `toy_id`, `toy_name`, `is_shared`,
        `recording`, `camera`, `view`.

        Raises:
            ManifestError: no file, one without a column that is needed, or not a single video.
        """
        assert self.videos is not None  # __post_init__ refuses it
        if not self.videos.is_dir():
            raise ManifestError(f"{self.videos}: --videos is not a folder")
        paths = {split: _file(root, name) for split, name in FILES.items()}
        if not any(paths.values()):
            raise ManifestError(f"{root}: no train.csv, nor of validation or test; is this the annotations' folder?")
        found, remarks = _Found(), [f"{FILES[split]} does not exist" for split, path in paths.items() if not path]
        for split, path in paths.items():
            if path is not None:
                self._add(found, path, split)
        if not found.clips:
            example = f", such as {found.missing[0]}" if found.missing else f"; {(found.refused or ['no rows'])[0]}"
            raise ManifestError(f"{self.videos}: no camera of the recordings of {root}{example}")
        return DatasetClips(found.clips, [*dict.fromkeys(found.missing)], remarks, refused=found.refused)

    def _add(self, found: _Found, path: Path, split: str) -> None:
        columns, rows = read_csv(path)
        needed = (*NEEDED, *(LABELS if split != "test" else ()))
        if missing := [name for name in needed if name not in columns]:
            raise ManifestError(f"{path}: no column {missing[0]!r}; there are {', '.join(columns)}")
        numbers, seen = [name for name in NUMBERS if name in columns], dict[str, int]()
        for number, cells in rows:
            if why := _fault(number, cells, numbers, seen):
                found.refused.append(f"{path}, row {number}, {why}")
                continue
            recording, _, file = cells["video"].strip().partition("/")
            labels = {label: _plain(column, cells[column]) for column, label in LABELS.items() if column in columns}
            labels |= {name: cells[name].strip() for name in OTHERS if name in columns}
            times = int(cells["start_frame"]) / FPS, int(cells["end_frame"]) / FPS
            for camera, video in self._cameras(found, recording, file.removesuffix(".mp4")):
                own = {"recording": recording, "camera": camera, "view": VIEW_OF[camera]}
                id = f"{path.stem}/{cells['id'].strip()}/{camera}"
                found.clips.append(Clip(id, video, *times, split, {**labels, **own}))

    def _cameras(self, found: _Found, recording: str, camera: str) -> Iterator[tuple[str, Path]]:
        """The cameras of a row that have a video; those that have none are missing."""
        assert self.videos is not None
        for view in self.views or tuple(VIEWS):
            wanted = [each for each in VIEWS[view] if camera in ("", each)]
            there = []
            for each in wanted:
                if (recording, each) not in found.paths:
                    found.paths[recording, each] = video_of(self.videos, recording, each)
                if (path := found.paths[recording, each]) is not None:
                    there.append((each, path))
            yield from there[:1]  # a headset has one of two sets of serial numbers
            if wanted and not there:
                found.missing.append(f"{self.videos}/{recording}/{' or '.join(f'{each}.mp4' for each in wanted)}")


def _fault(number: int, cells: Mapping[str, str], numbers: Sequence[str], seen: dict[str, int]) -> str:
    """What is wrong with a row, by column; empty if nothing is."""
    if bad := next((name for name in numbers if not is_whole(cells[name].strip())), None):
        return f"column {bad!r}: {cells[bad]!r} is not a number"
    if int(cells["end_frame"]) <= int(cells["start_frame"]):
        return f"column 'end_frame': {cells['end_frame']} is not after {cells['start_frame']}"
    recording, _, file = cells["video"].strip().partition("/")
    if not recording or recording.startswith(".") or "/" in file:
        return f"column 'video': {cells['video']!r} is not <recording> or <recording>/<camera>.mp4"
    if file and file.removesuffix(".mp4") not in VIEW_OF:
        return f"column 'video': {file!r} is none of the cameras"
    if not cells["id"].strip() or (before := seen.setdefault(cells["id"].strip(), number)) != number:
        return f"column 'id': {cells['id']!r} is " + ("also in row " + str(before) if cells["id"].strip() else "empty")
    return ""


def _plain(column: str, cell: str) -> str:
    """A cell, numbers without leading zeros."""
    return str(int(cell)) if column in NUMBERS else cell.strip()


def _file(root: Path, name: str) -> Path | None:
    return next((path for path in (root / name, root / FOLDER / name) if path.is_file()), None)
