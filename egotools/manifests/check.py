"""Checks the files of a manifest: opens each one once and reports what is wrong with it."""

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from egotools.errors import ClipError, NoPicture, NoSound
from egotools.machine import usable_cores
from egotools.media.audio import SOUND_SUFFIXES, open_sound
from egotools.media.video import open_frames
from egotools.processes import Crash, apart
from egotools.progress import Progress, no_progress
from egotools.types import Clip, IntArray

Decode = Literal["nothing", "sample", "everything"]

REMARK = "remark"
SLACK = 0.1  # seconds, besides one frame, by which a clip may outlast its file: annotations are rounded


@dataclass(frozen=True)
class Span:
    """What a file holds: the seconds it covers, its frames (None: sound only), any damage, and remarks."""

    start: float
    end: float
    frames: int | None = None
    damage: str = ""
    remarks: Sequence[str] = field(default=())
    gaps: Sequence[tuple[float, float]] = ()  # seconds without a frame nearby

    @property
    def frame(self) -> float:
        """Mean duration of a frame in seconds, outside gaps; 0 for sound."""
        shown = self.end - self.start - sum(end - begin for begin, end in self.gaps)
        return shown / self.frames if self.frames else 0.0


@dataclass(frozen=True)
class Problem:
    """One thing wrong with one clip; `problem` is a keyword, `detail` describes it to people.

    A remark is not a problem: something was repaired in the file, or is unusual. Only a file's first clip gets it.
    """

    id: str
    path: str
    problem: str
    detail: str

    @property
    def is_remark(self) -> bool:
        """Whether this is only a remark."""
        return self.problem == REMARK


def measure(path: Path, fps: float | None = None, *, decode: Decode = "nothing") -> Span:
    """Opens a file (a frame folder, an image, a sound file) and measures what it holds.

    Args:
        path: a file or a frame folder.
        fps: the frame rate of a frame folder or stack.
        decode: how much to decode as a check: nothing, a "sample" from the beginning, middle and end, or
            "everything".

    Raises:
        ClipError: it cannot be opened.
    """
    if is_sound(path):
        return _sound(path, decode)
    try:
        span = _frames(path, fps, decode)
    except NoPicture as error:  # perhaps sound in a video container
        try:
            return _sound(path, decode)
        except NoSound:
            raise error from None
    return span if decode == "nothing" else replace(span, remarks=[*span.remarks, *_of_its_sound(path, decode, span)])


def is_sound(path: Path) -> bool:
    """Whether a file name says sound; a video with sound is a video."""
    return path.suffix.lower() in SOUND_SUFFIXES and not os.path.isdir(path)


def _sound(path: Path, decode: Decode) -> Span:
    with closing(open_sound(path)) as sound:
        info, damage = sound.info, sound.damage
        seconds = _tried(math.ceil(info.end - info.start), decode)
        found = _damage(sound.windows(info.start + seconds, info.rate, info.rate), path)
        return Span(info.start, info.end, None, damage or found, tuple(sound.remarks), info.gaps)


def _frames(path: Path, fps: float | None, decode: Decode) -> Span:
    with closing(open_frames(path, fps)) as frames:
        info, damage = frames.info, frames.damage
        found = _damage(frames.frames(_tried(len(info), decode)), path)
        start = float(info.times[0]) if len(info) else 0.0
        gaps = [(begin, stop) for begin, stop in info.gaps.tolist()]
        return Span(start, info.end, len(info), damage or found, tuple(frames.remarks), gaps)


def _of_its_sound(path: Path, decode: Decode, frames: Span) -> list[str]:
    """Remarks on the sound of a video: not problems, since its frames are what counts."""
    try:  # decoding from the middle of the sound may mean decoding all of it
        sound = _sound(path, decode if decode == "everything" else "nothing")
    except NoSound:
        return []
    except ClipError as error:
        return [f"its sound cannot be read: {str(error).removeprefix(f'{path}: ')}"]
    damage = [f"its sound is {sound.damage}"] if sound.damage and not frames.damage else []
    return [*damage, *(remark for remark in sound.remarks if remark not in frames.remarks)]


def _tried(count: int, decode: Decode) -> IntArray:
    """Indices of the frames, or seconds of sound, that are decoded."""
    if decode == "everything":
        return np.arange(count)
    sample = {0, count // 2, count - 1} if decode == "sample" and count else set()
    return np.array(sorted(sample), np.int64)


def _damage(decoded: Iterator[object], path: Path) -> str:
    """What is damaged in a file, found by decoding; empty if nothing is."""
    try:
        deque(decoded, maxlen=0)
    except ClipError as error:
        return "damaged: " + str(error).removeprefix(f"{path}: ")
    return ""


def measure_files(
    clips: Iterable[Clip], progress: Progress = no_progress, *, decode: Decode = "nothing"
) -> dict[tuple[Path, float | None], Span | ClipError]:
    """What each file of the clips holds, or why it cannot be read, by path and fps; each is opened once.

    Decoders run in separate processes: a crash is reported as a failure of its file.

    Args:
        clips: rows without a file are skipped.
        progress: reports files opened.
        decode: as in `measure`.

    Raises:
        EgotoolsError: a process cannot be started.
    """
    files = files_of(clips)
    spans: dict[tuple[Path, float | None], Span | ClipError] = {}
    for file, found in apart(partial(_measured, decode=decode), files, count=min(len(files), usable_cores())):
        if isinstance(found, Crash):
            found = ClipError(f"{file[0]}: the decoder crashed (exit code {found.status})")
        spans[file] = found
        progress("opening files", len(spans), len(files))
    return {file: spans[file] for file in files}


def _measured(file: tuple[Path, float | None], *, decode: Decode) -> Span | ClipError:
    try:
        return measure(*file, decode=decode)
    except ClipError as error:
        return error


def files_of(clips: Iterable[Clip]) -> list[tuple[Path, float | None]]:
    """The files that contain the clips, each once, with the frame rate that the manifest gives it."""
    return list(dict.fromkeys((clip.path, clip.fps) for clip in clips if clip.path != Path()))


def check_clips(clips: Sequence[Clip], progress: Progress = no_progress, *, decode: Decode = "sample") -> list[Problem]:
    """Everything wrong with clips, in their order; the arguments are those of `measure_files`."""
    spans = measure_files(clips, progress, decode=decode)
    first: dict[tuple[Path, float, float | None], str] = {}
    remarked: set[Path] = set()
    problems = []
    for clip in clips:
        if clip.path == Path():
            continue
        for problem, detail in _problems(clip, spans[clip.path, clip.fps]):
            problems.append(Problem(clip.id, str(clip.path), problem, detail))
        span = spans[clip.path, clip.fps]
        if isinstance(span, Span) and clip.path not in remarked:
            remarked.add(clip.path)
            problems += [Problem(clip.id, str(clip.path), REMARK, remark) for remark in span.remarks]
        same = first.setdefault((clip.path, clip.start, clip.end), clip.id)
        if same != clip.id:
            problems.append(Problem(clip.id, str(clip.path), "duplicate", f"the same span as clip {same!r}"))
    return problems


def _problems(clip: Clip, span: Span | ClipError) -> list[tuple[str, str]]:
    if isinstance(span, ClipError):
        if _is_missing(clip.path):
            return [("missing", "no such file")]
        if os.path.isfile(clip.path) and os.path.getsize(clip.path) == 0:
            return [("empty", "the file has no bytes")]
        return [("unreadable", str(span).removeprefix(f"{clip.path}: "))]
    if span.frames == 0 or span.end <= span.start:
        return [("empty", "the file has no frames" if span.frames is not None else "the file has no sound")]
    problems = []
    if span.damage:
        kind, _, detail = span.damage.partition(": ")  # "truncated: ..." or "damaged: ..."
        problems.append((kind, detail))
    if clip.start >= span.end:
        problems.append(("late", f"starts at {clip.start:g} s, the file ends at {span.end:.3f} s"))
    elif clip.end is not None and clip.end > span.end + span.frame + SLACK:
        problems.append(("short", f"should end at {clip.end:g} s, the file ends at {span.end:.3f} s"))
    return problems


def _is_missing(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):  # too long, no permission, or not encodable in the locale
        pass
    return False
