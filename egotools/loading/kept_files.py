"""What was looked up about a training's files, kept beside its run, so that it is resumed with the same frames."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from egotools.errors import OutputError, TrainingError, reason_of
from egotools.files.disk import new_file
from egotools.files.json_files import check_shape, parse_json
from egotools.files.numpy_files import DAMAGE_ERRORS, Npz, open_npz
from egotools.loading.files import Files, Source, looked_up
from egotools.media.frame_index import FrameIndex
from egotools.media.pictures import Shape, Turn
from egotools.media.sound.known_sound import KnownSound, as_json, from_json
from egotools.media.video import VideoIndex
from egotools.progress import Progress, no_progress
from egotools.types import Clip, VideoInfo

FILES = "files.npz"  # in the folder of a run
Array = npt.NDArray[Any]  # Any: float64 or int64
# The lists of a file, kept one after the other; without timestamps or numbers of packets None.
LISTS: dict[str, type] = {
    "times": np.float64,
    "gaps": np.float64,
    "pts": np.int64,
    "keys": np.int64,
    "packets": np.int64,
}


def files_of(
    clips: Iterable[Clip],
    kept: Path | None = None,
    *,
    sound: bool = False,
    workers: int = 0,
    progress: Progress = no_progress,
) -> Files:
    """Looks the frames of all clips' files up, or takes what a training that is resumed had found.

    Args:
        clips: each file is looked up once, however many clips it has.
        kept: the file of the run that keeps what is found; used if it is there.
        sound: look their sound up, too.
        workers: processes that look up; 0: this one.
        progress: told how many files are done.

    Raises:
        TrainingError: a file has changed since the training began, or `kept` cannot be used.
    """
    wanted = {clip.path: clip.fps for clip in clips}
    if kept is None or not kept.exists():
        found = looked_up(wanted.items(), sound=sound, workers=workers, progress=progress)
        if kept is not None:
            write_files(kept, found)
        return found
    files = read_files(kept)
    known = {*files.sources, *files.failed}
    missing = [path for path in wanted if path not in known]
    if missing:
        raise TrainingError(f"{kept}: {missing[0]} is not among the files that the training began with")
    for path, fps in wanted.items():
        source = files.sources.get(path)
        if source is not None and (source.fps != fps or not source.is_unchanged()):
            what = f"is read at fps {fps}, not {source.fps}," if source.fps != fps else "has changed, or gone,"
            raise TrainingError(f"{path} {what} since the training began; restore it, or train into another --out")
    return files


class _Turn(TypedDict):
    swap: bool
    left_right: bool
    up_down: bool


class _Video(TypedDict):
    """What an index has beside its lists."""

    turn: _Turn
    rotation: int
    whole: list[int]
    damage: str
    remarks: list[str]
    has_far_ends: bool


class _Entry(TypedDict):
    """A file, but for its lists."""

    path: str
    fps: float | None
    size: int
    written: int
    end: float
    width: int
    height: int
    lengths: dict[str, int | None]
    video: _Video | None


class _Odd(TypedDict):
    """Remarks by path, which files of earlier versions do not have."""

    remarks: dict[str, list[str]]


class _Heard(TypedDict):
    """Sounds by path, where they were looked up."""

    sounds: dict[str, dict[str, Any]]  # Any: as `known_sound` has them


class _Content(TypedDict):
    files: list[_Entry]
    failed: dict[str, str]


def write_files(path: Path, files: Files) -> None:
    """Writes an `.npz`: numbers, and the rest as JSON in bytes.

    Raises:
        OutputError: it cannot be written.
    """
    entries: list[_Entry] = []
    parts: dict[str, list[Array]] = {name: [np.zeros(0, kind)] for name, kind in LISTS.items()}
    for source in files.sources.values():
        lists = _lists(source)
        for name, values in lists.items():
            parts[name].append(np.zeros(0, LISTS[name]) if values is None else values.ravel())
        entries.append(_entry(source, {name: None if each is None else each.size for name, each in lists.items()}))
    content = {
        **_Content(files=entries, failed={str(path): reason for path, reason in files.failed.items()}),
        **_Odd(remarks={str(path): list(each.remarks) for path, each in files.sources.items() if each.remarks}),
        **_Heard(sounds={str(path): dict(as_json(each.sound)) for path, each in files.sources.items() if each.sound}),
    }
    arrays = {name: np.concatenate(values) for name, values in parts.items()}
    try:
        with new_file(path) as file:
            text = np.frombuffer(json.dumps(content).encode(), np.uint8)
            np.savez(file, content=text, **arrays)  # type: ignore[arg-type]  # names of lists, not of an option
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def read_files(path: Path) -> Files:
    """What `write_files` wrote.

    Raises:
        TrainingError: it is damaged, or something else.
    """
    try:
        with open_npz(path) as archive:
            content: Any = parse_json(archive["content"].tobytes())  # Any: JSON values
            check_shape(content, _Content)
            odd: _Odd = {"remarks": {}, **content}
            check_shape(odd, _Odd)
            heard: _Heard = {"sounds": {}, **content}
            check_shape(heard, _Heard)
            sounds = {path: from_json(each) for path, each in heard["sounds"].items()}
            lists = _Lists(archive)
        remarks = odd["remarks"]
        sources = [
            _source(entry, lists, remarks.get(entry["path"], []), sounds.get(entry["path"]))
            for entry in content["files"]
        ]
    except (OSError, ValueError, *DAMAGE_ERRORS) as error:
        raise TrainingError(f"{path} cannot be used: {reason_of(error)}; delete the run to start over") from error
    return Files({each.path: each for each in sources}, {Path(name): why for name, why in content["failed"].items()})


class _Lists:
    """The lists of the files, taken in turn."""

    def __init__(self, archive: Npz) -> None:
        self._lists = {name: archive[name] for name in LISTS}
        for name, values in self._lists.items():
            if values.dtype != LISTS[name] or values.ndim != 1:
                raise ValueError(f"{name!r} is {values.dtype} {list(values.shape)}")

    def taken(self, lengths: dict[str, int | None]) -> dict[str, Array | None]:
        """The next of each; None where a file has no such list."""
        found: dict[str, Array | None] = {}
        for name, values in self._lists.items():
            length = lengths[name]
            if length is not None and not 0 <= length <= len(values):
                raise ValueError(f"{name!r} is too short")
            found[name] = None if length is None else values[:length]
            self._lists[name] = values[length or 0 :]
        return found


def _lists(source: Source) -> dict[str, Array | None]:
    if source.index is not None:
        return {name: getattr(source.index.frames, name) for name in LISTS}
    return {**dict.fromkeys(LISTS), "times": source.info.times, "gaps": source.info.gaps}


def _entry(source: Source, lengths: dict[str, int | None]) -> _Entry:
    video: _Video | None = None
    if source.index is not None:
        frames, shape = source.index.frames, source.index.shape
        turn = _Turn(**asdict(shape.turn))  # type: ignore[typeddict-item]  # three truth values
        video = _Video(
            turn=turn,
            rotation=shape.rotation,
            whole=sorted(frames.whole),
            damage=frames.damage,
            remarks=list(frames.remarks),
            has_far_ends=bool(frames.has_far_ends),
        )
    return _Entry(
        path=str(source.path),
        fps=source.fps,
        size=source.size,
        written=source.written,
        end=float(source.info.end),
        width=source.info.width,
        height=source.info.height,
        lengths=lengths,
        video=video,
    )


def _source(entry: _Entry, all_lists: _Lists, remarks: list[str], sound: KnownSound | None) -> Source:
    lists, video = all_lists.taken(entry["lengths"]), entry["video"]
    times, gaps, keys = lists["times"], lists["gaps"], lists["keys"]
    if times is None or not len(times) or gaps is None or len(gaps) % 2 or (video is not None and keys is None):
        raise ValueError(f"the lists of {entry['path']} are not those of frames")
    gaps = gaps.reshape(-1, 2)
    info = VideoInfo(times, entry["end"], entry["width"], entry["height"], gaps)
    index = None
    if video is not None and keys is not None:
        frames = FrameIndex(
            times, entry["end"], gaps, tuple(video["remarks"]), video["has_far_ends"],
            pts=lists["pts"], keys=keys, damage=video["damage"], whole=frozenset(video["whole"]),
            packets=lists["packets"],
        )  # fmt: skip
        shape = Shape(entry["width"], entry["height"], Turn(**video["turn"]), video["rotation"])
        index = VideoIndex(frames, shape, entry["size"], entry["written"], entry["fps"])
    told = Path(entry["path"]), entry["fps"], entry["size"], entry["written"]
    return Source(*told, info, index, tuple(remarks), sound)
