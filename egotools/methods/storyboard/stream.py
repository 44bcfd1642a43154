"""One long stream of frames: the clips of a manifest in its order, read by the frames' ids.

A frame's id is its place in the stream, from 0. Axes: N frames of the stream, n ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from egotools.errors import ClipError, TrainingError
from egotools.loading.files import Files, OpenFiles, Source
from egotools.loading.kept_files import files_of
from egotools.loading.spans import frames_of
from egotools.pixels.crops import lowered
from egotools.progress import Progress, no_progress
from egotools.sampling import check_positive, single_frames
from egotools.texts import counted, named
from egotools.types import Clip, Frame, IntArray

NAMED = 3
RECENT = 4  # clips whose frames are known at a time, where not all of a file's are taken


@dataclass(frozen=True, eq=False)
class Read:
    """Frames that were read, and why others could not be."""

    ids: IntArray  # [n] ascending
    frames: list[Frame]  # n, uint8 [H, W, 3] each
    unreadable: Mapping[int, str]  # by id


class Stream:
    """The frames of clips, one clip after the other; `stream_of` makes one.

    Frames are decoded in their order, each file is opened once for ascending ids, and what is not asked for is skipped
    where a file allows it. Any ids read again give the same bytes. It can be pickled; no file is open then.

    Args:
        clips: those that can be read, in the manifest's order.
        files: of all clips.
        fps: frames a second; None: all frames of each file.
        height: frames that are higher are reduced to so many pixels, never enlarged; None: none are.
        remarks: what is to be said about the files.

    Raises:
        ClipError: a clip lies outside of its file.
    """

    def __init__(
        self, clips: Sequence[Clip], files: Files, *, fps: float | None, height: int | None, remarks: Sequence[str] = ()
    ) -> None:
        self.clips, self.remarks, self.files = tuple(clips), tuple(remarks), files
        self._fps, self._height = fps, height
        self._sources: list[Source] = [files.sources[clip.path] for clip in clips]
        self._recent: dict[int, IntArray] = {}
        self._open = OpenFiles()
        counts = [len(self._frames_of(number)) for number in range(len(clips))]
        self.starts: IntArray = np.cumsum([0, *counts])  # [clips + 1] ids with which the clips begin, and N

    def __len__(self) -> int:
        """N."""
        return int(self.starts[-1])

    def clip_numbers(self, ids: IntArray) -> IntArray:
        """Of which clip each frame is [n], by its place among `clips`.

        Raises:
            ValueError: an id that is none of the stream's.
        """
        if len(ids) and not 0 <= ids.min() <= ids.max() < len(self):
            raise ValueError(f"ids of the stream are 0 to {len(self) - 1}, not {int(ids.min())} to {int(ids.max())}")
        found: IntArray = np.searchsorted(self.starts, ids, side="right") - 1
        return found

    def times(self, ids: IntArray) -> npt.NDArray[np.float64]:
        """When each frame appears [n], in seconds of its file."""
        numbers = self.clip_numbers(ids)
        found = np.empty(len(ids))
        for number in np.unique(numbers).tolist():
            rows = numbers == number
            places = self._frames_of(number)[ids[rows] - self.starts[number]]
            found[rows] = self._sources[number].info.times[places]
        return found

    def end(self, number: int) -> float:
        """Where a clip ends, in seconds of its file."""
        end, stated = self._sources[number].info.end, self.clips[number].end
        return end if stated is None else min(stated, end)

    def frames(self, ids: IntArray) -> Iterator[Frame]:
        """The frames with these ids, uint8 [H, W, 3], each in its own memory.

        Raises:
            ClipError: one cannot be decoded; names file and time.
            ValueError: ids that do not ascend.
        """
        for _, found in self._each(ids):
            if isinstance(found, ClipError):
                raise found
            yield found

    def read(self, ids: IntArray, *, skip_unreadable: bool = False) -> Read:
        """As `frames`, all at once; frames that cannot be decoded may be left out, with the reasons."""
        unreadable: dict[int, str] = {}
        kept, frames = [], []
        for each, found in self._each(ids):
            if not isinstance(found, ClipError):
                kept.append(each)
                frames.append(found)
            elif skip_unreadable:
                unreadable[each] = str(found)
            else:
                raise found
        return Read(np.array(kept, np.int64), frames, unreadable)

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_recent": {}}

    def _frames_of(self, number: int) -> IntArray:
        """The frames of a clip, by their numbers in its file: ascending, some perhaps repeated."""
        if number not in self._recent:
            while len(self._recent) >= RECENT:
                del self._recent[next(iter(self._recent))]
            clip, source = self.clips[number], self._sources[number]
            if self._fps is None:
                found = frames_of(clip, source)
            else:
                found = single_frames(source.info, clip, fps=self._fps, frames=None, stride=None).frames[:, 0]
            self._recent[number] = found
        return self._recent[number]

    def _each(self, ids: IntArray) -> Iterator[tuple[int, Frame | ClipError]]:
        if (np.diff(ids) <= 0).any():
            raise ValueError(f"ids must be strictly ascending, not {ids[:8].tolist()}")
        numbers = self.clip_numbers(ids)
        for number in np.unique(numbers).tolist():
            some = ids[numbers == number]
            places = self._frames_of(number)[some - self.starts[number]]
            wanted, copies = np.unique(places, return_counts=True)
            left = iter(some.tolist())
            for frame, count in zip(self._decoded(number, wanted), copies.tolist(), strict=True):
                for copy in range(count):
                    yield next(left), frame.copy() if copy and not isinstance(frame, ClipError) else frame

    def _decoded(self, number: int, places: IntArray) -> Iterator[Frame | ClipError]:
        """Frames of a file, ascending, and in place of each that cannot be decoded its error."""
        done = 0
        while done < len(places):
            try:
                for frame in self._open.frames(self._sources[number]).frames(places[done:]):
                    done += 1
                    yield frame if self._height is None else lowered(frame, self._height)
            except ClipError as error:
                done += 1
                yield error


def stream_of(
    clips: Sequence[Clip],
    kept: Path | None = None,
    *,
    fps: float | None = None,
    height: int | None = None,
    skip_unreadable: bool = False,
    workers: int = 0,
    progress: Progress = no_progress,
) -> Stream:
    """The stream of a manifest's clips; their files' frames are looked up once, and kept with the run.

    Args:
        clips: of the manifest, in its order.
        kept: the file of the run that keeps what is found, see `files_of`.
        fps: frames a second; None: all frames of each file.
        height: frames that are higher are reduced to so many pixels.
        skip_unreadable: clips that cannot be read are left out, with a remark; else they are an error.
        workers: processes that look up; 0: this one.
        progress: told how many files are done.

    Raises:
        TrainingError: a clip cannot be read (the first is named), none can, or a file has changed since the run began.
        ValueError: an option out of range.
    """
    check_positive(fps=fps, height=height)
    for clip in clips:
        if clip.path == Path():
            raise TrainingError(f"clip {clip.id!r}: its row has no file, features only; leave it out of the manifest")
    files = files_of(clips, kept, workers=workers, progress=progress)
    readable, reasons = [], []
    for clip in clips:
        if (reason := _reason(clip, files)) is None:
            readable.append(clip)
        else:
            reasons.append(reason)
    if reasons and not skip_unreadable:
        raise TrainingError(f"{reasons[0]}; mend the file, or leave it out (--skip-unreadable)")
    if not readable:
        raise TrainingError(f"no clip can be read: {named(reasons, NAMED, between='; ')}" if reasons else "no clips")
    remarks = _oddities(readable, files)
    if reasons:
        remarks.append(f"{counted(len(reasons), 'clip')} left out: {named(reasons, NAMED, between='; ')}")
    return Stream(readable, files, fps=fps, height=height, remarks=remarks)


def _oddities(clips: Sequence[Clip], files: Files) -> list[str]:
    """What is missing, or odd, in files that are read."""
    sources = {clip.path: files.sources[clip.path] for clip in clips}
    found = []
    for path, source in sources.items():
        damage = source.index.frames.damage if source.index is not None else ""
        found += [f"{path}: {each}" for each in (*source.remarks, damage) if each]
    return found


def _reason(clip: Clip, files: Files) -> str | None:
    """Why a clip cannot be read, if so."""
    if clip.path in files.failed:
        return files.failed[clip.path]
    try:
        frames_of(clip, files.sources[clip.path])
    except ClipError as error:
        return str(error)
    return None
