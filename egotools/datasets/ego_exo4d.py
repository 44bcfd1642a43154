"""Ego-Exo4D: keysteps and descriptions at times of takes, which several synchronized cameras show.

Times are seconds of a take; the videos of its cameras are aligned frame by frame, so they are those of every file.

Source:
    Grauman et al., "Ego-Exo4D", CVPR 2024; the layout of docs.ego-exo4d-data.org.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from egotools.config import option
from egotools.datasets.clips import DatasetClips
from egotools.datasets.ego4d_files import FEATURES, files_below
from egotools.datasets.ego_exo4d_files import Take, read_descriptions, read_keysteps, read_takes
from egotools.errors import ManifestError
from egotools.manifests.segments import TOUCHING, Segment
from egotools.texts import counted, tidy
from egotools.types import Clip

FILES = {"keystep": "keystep_{}.json", "descriptions": "atomic_descriptions_{}.json"}  # of a task, by split
SPLITS = ("train", "val", "test")
STREAMS = ("rgb", "0")  # of Aria glasses the color camera, and of others the only one
DOWNSCALED = ("downscaled", "448")
Views = Literal["ego", "exo", "all"]


class _Camera(NamedTuple):
    """A camera of a take: `view` is `ego` for the first egocentric one."""

    name: str
    stream: str
    view: str
    path: PurePosixPath  # below the folder of the download


@dataclass(frozen=True, eq=False)
class _Found:
    """What rows of annotations become."""

    folder: Path
    clips: list[Clip] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # once for each row that needs it
    refused: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)


class _Row(NamedTuple):
    """A stretch of a take: what follows its camera in its id, seconds, and labels."""

    id: str
    start: float
    end: float | None
    labels: Mapping[str, str]


@dataclass(frozen=True)
class EgoExo4D:
    """Ego-Exo4D: keysteps, or descriptions at times, of the takes in ROOT, a row for each of the cameras.

    ROOT is the folder of the download, with takes.json and keystep_train.json, keystep_val.json, ... (or
    atomic_descriptions_train.json, ...), also in annotations/. Videos are takes/<take>/frame_aligned_videos/*.mp4;
    those of a take share `recording` and differ in `view`. Of Aria glasses it is the color camera.

    \b
    egotools manifest ego-exo4d ROOT --task keystep --out k.csv
    egotools manifest ego-exo4d ROOT --task keystep --whole --views all --out takes.csv
    egotools manifest ego-exo4d ROOT --task descriptions --around 1 --out d.csv
    """

    task: Literal["keystep", "descriptions"] | None = option(None, "Which annotations.")
    views: Literal["ego", "exo", "all"] = option("ego", "Which cameras: egocentric, exocentric, or all.")
    videos: Path | None = option(None, "Folder that has takes/.  [default: ROOT]")  # noqa: RUF009 - frozen
    downscaled: bool = option(False, "The videos of 448 pixels, in downscaled/448.")
    features: Path | None = option(  # noqa: RUF009 - frozen
        None, "Instead of videos: folder with <take_uid>_<camera>_<stream>.pt, the released features, as rows' files."
    )
    whole: bool = option(False, "keystep: a row is a whole take; the keysteps are NAME.segments.csv beside NAME.csv.")
    around: float = option(0.0, "descriptions: seconds before and after the time of one.")

    def __post_init__(self) -> None:
        if self.task is None:
            raise ValueError("--task is needed: keystep or descriptions")
        if self.features is not None and (self.videos is not None or self.downscaled):
            raise ValueError("--features stands instead of videos; leave --videos and --downscaled out")
        if self.whole and self.task != "keystep":
            raise ValueError("--whole is for --task keystep")
        if not 0 <= self.around < float("inf") or (self.around > 0) != (self.task == "descriptions"):
            raise ValueError("--around SECONDS is for --task descriptions, which needs it: they are at single times")

    def clips(self, root: Path) -> DatasetClips:
        """A clip for each row and camera whose file exists: id `<take>/<camera>/<number>`, of whole takes without it.

        Labels: `step`, `step_id`, `step_description`, `is_essential` and `scenario` of keysteps; `text`, `subject`,
        `ego_visible`, `best_exo` and `unsure` of descriptions; of all `recording` (the take), `camera`, `view`,
        `participant` and `activity`.

        Raises:
            ManifestError: a file that cannot be used, or not a single video.
        """
        assert self.task is not None  # __post_init__ refuses it
        takes, found = read_takes(root / "takes.json"), _Found(self.features or self.videos or root)
        there = files_below(self.features, FEATURES, flag="--features") if self.features else {}
        paths = {split: _file(root, FILES[self.task].format(split)) for split in SPLITS}
        if not any(paths.values()):
            raise ManifestError(
                f"{root}: no {FILES[self.task].format('train')}, nor of val or test, also in annotations/"
            )
        for split, path in paths.items():
            if path is not None:
                self._add(found, path, split, takes, there)
        if not found.clips:
            example = f"; {found.refused[0]}" if found.refused else f", such as {(found.missing or ['none'])[0]}"
            raise ManifestError(f"{found.folder}: no video of the takes of {root}{example}")
        names = [*dict.fromkeys(found.missing)]
        found.remarks.extend(
            [f"{counted(len(found.missing), 'row')} left out: of files that do not exist"] if names else []
        )
        segments = found.segments if self.whole else None
        return DatasetClips(found.clips, names, found.remarks, segments, found.refused)

    def _add(self, found: _Found, path: Path, split: str, takes: Mapping[str, Take], there: Mapping[str, Path]) -> None:
        for uid, rows in self._rows(path, found, takes):
            if uid not in takes:
                found.refused.append(f"{path}: the take {uid!r} is not in takes.json")
                continue
            take = takes[uid]
            for camera in _cameras(take, self.views):
                name = f"{uid}_{camera.name}_{camera.stream}"  # of features
                file = there.get(name) if self.features else self._video(found, camera)
                if file is not None:
                    _add_clips(found, f"{path}: {uid}", take, camera, file, rows, split)
                    continue
                absent = f"{name}{FEATURES[0]}" if self.features else str(self._relative(camera))
                found.missing.extend([str(found.folder / absent)] * len(rows))

    def _relative(self, camera: _Camera) -> PurePosixPath:
        return camera.path.parent.joinpath(*DOWNSCALED, camera.path.name) if self.downscaled else camera.path

    def _video(self, found: _Found, camera: _Camera) -> Path | None:
        path = found.folder / self._relative(camera)
        return path if os.path.isfile(path) else None  # no error for names that no file can have

    def _rows(self, path: Path, found: _Found, takes: Mapping[str, Take]) -> Iterator[tuple[str, list[_Row]]]:
        """The rows of each take, by its uid."""
        if self.task == "descriptions":
            rejected, described = read_descriptions(path)
            found.remarks.extend([f"{path}: {rejected} rejected annotations are left out"] if rejected else [])
            for uid, texts in described.items():
                times = [(id, max(time - self.around, 0.0), time + self.around, labels) for id, time, labels in texts]
                yield uid, [_Row(f"/{id}", start, end, labels) for id, start, end, labels in times]
            return
        for uid, steps in read_keysteps(path).items():
            if self.whole:
                _add_segments(found, f"{path}: {uid}", takes[uid]["take_name"] if uid in takes else "", steps.segments)
                yield uid, [_Row("", 0.0, None, {"scenario": steps.scenario})]
            else:
                yield (
                    uid,
                    [_Row(f"/{at}", start, end, labels) for at, (start, end, labels) in enumerate(steps.segments)],
                )


def _add_clips(
    found: _Found, where: str, take: Take, camera: _Camera, file: Path, rows: Sequence[_Row], split: str
) -> None:
    """Adds the rows of a take in the file of a camera."""
    own = {
        "recording": take["take_name"],
        "camera": camera.name,
        "view": camera.view,
        "participant": str(take.get("participant_uid") or ""),
        "activity": take.get("parent_task_name") or "",
    }
    for row in rows:
        id = f"{take['take_name']}/{camera.name}{row.id}"
        try:
            found.clips.append(Clip(id, file, row.start, row.end, split, {**row.labels, **own}))
        except ManifestError as error:  # times out of order
            found.refused.append(f"{where}: {error}")


def _add_segments(found: _Found, where: str, recording: str, steps: list[tuple[float, float, dict[str, str]]]) -> None:
    """Adds the keysteps of a take in order of time; one that begins before the one before has ended is refused."""
    last = 0.0
    for start, end, labels in sorted(steps, key=lambda step: step[:2]) if recording else []:
        label = tidy(labels["step"])
        if not label or end <= start or start < last - TOUCHING:
            why = "overlaps the one before" if label and end > start else "has no name or no length"
            found.refused.append(f"{where}: the keystep {label!r} at {start:g} s {why}")
            continue
        found.segments.append(Segment(recording, start, end, label, recording))
        last = end


def _cameras(take: Take, views: Views) -> list[_Camera]:
    """The cameras of a take, without pictures of the room or the eyes, and without collages."""
    capture = take.get("capture") or {}
    is_ego = {camera.get("cam_id"): camera.get("is_ego") for camera in capture.get("cameras") or []}
    found: list[_Camera] = []
    for name, streams in sorted(take["frame_aligned_videos"].items()):
        for stream, entry in streams.items():
            relative = entry.get("relative_path")
            if stream not in STREAMS or not relative or not entry.get("cam_id"):
                continue
            path = PurePosixPath(take["root_dir"], relative)
            if path.is_absolute() or ".." in path.parts:
                raise ManifestError(f"takes.json: {take['take_name']}: {str(path)!r} leaves the folder")
            said = is_ego.get(name)
            ego = stream == "rgb" if said is None else said
            view = "ego" if ego and not any(camera.view == "ego" for camera in found) else name
            if views == "all" or ego == (views == "ego"):
                found.append(_Camera(name, stream, view, path))
    return found


def _file(root: Path, name: str) -> Path | None:
    return next((path for path in (root / name, root / "annotations" / name) if path.is_file()), None)
