"""Reads one clip: decodes it once, prepares frames once per extractor, and cuts them into windows.

Runs in the reading workers; knows nothing about devices, caches or other clips, but keeps the last video open, since
clips come sorted by file and start.
"""

from __future__ import annotations

import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from egotools.errors import ClipError, NoPicture, NoSound
from egotools.extraction.clip_windows import PictureWindows, SoundWindows, nothing
from egotools.extraction.messages import (
    BegunAgain,
    Done,
    Failure,
    FileIndex,
    FileRemarks,
    Piece,
    repeated,
    windows_of,
)
from egotools.manifests.check import is_sound
from egotools.media.audio import Sound, open_sound
from egotools.media.video import Frames, Video, VideoIndex, open_frames
from egotools.sampling import check_rows, spread
from egotools.types import (
    AudioExtractor,
    Clip,
    ClipExtractor,
    Extractor,
    FrameExtractor,
    VideoInfo,
)

Array = np.ndarray[Any, Any]
FromClip = Piece | Failure | BegunAgain | FileRemarks

PIECE_BYTES = 4 << 20

File = TypeVar("File", Frames, Sound)
Windows = TypeVar("Windows", PictureWindows, SoundWindows)


class Reader:
    """Reads clips for a fixed list of extractors; `seconds` sums processor time by stage.

    `tell` is called with the index of a file as soon as it is open. With `sample`, at most so many windows per clip are
    read, the first, the last and some in between, and no rows are computed.
    """

    def __init__(
        self,
        extractors: Sequence[Extractor],
        piece_rows: int,
        tell: Callable[[FileIndex], object] = lambda _: None,
        sample: int | None = None,
    ) -> None:
        self.extractors, self.piece_rows = extractors, piece_rows
        self._tell, self._sample = tell, sample
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._is_strict = False
        self._done: Mapping[int, Done] = {}
        self._video: Frames | None = None
        self._video_key: tuple[object, float | None] | None = None
        self._index: tuple[Path, VideoIndex] | None = None  # a video's index, in case it is opened again
        self._sound_file: Sound | None = None
        self._sound_key: tuple[object, int | None] | None = None
        self._networks: dict[int, Callable[[Array], Array]] = {}

    def read(
        self,
        clip: Clip,
        positions: Sequence[int],
        number: int,
        attempt: int,
        *,
        strict: bool = False,
        index: VideoIndex | None = None,
        done: Mapping[int, Done] = MappingProxyType({}),
    ) -> Iterator[FromClip]:
        """All pieces of a clip for the extractors at `positions`; a failure affects only its own extractor.

        With `strict` a clip fails if there are remarks on its file. `index` is the index of its file, if known. For the
        positions in `done` only the windows after those rows are read; if these are not the rows of the first windows,
        that is said, and all are read.
        """
        self._is_strict, self._done = strict, done
        if index is not None:
            self._index = (clip.path, index)
        frame_extractors: list[int] = []
        sound_extractors: defaultdict[int | None, list[int]] = defaultdict(list)  # by audio stream
        for position in positions:
            extractor = self.extractors[position]
            if isinstance(extractor, ClipExtractor):
                yield from self._whole(clip, extractor, (number, attempt, position))
            elif isinstance(extractor, AudioExtractor):
                sound_extractors[getattr(extractor, "stream", None)].append(position)
            else:
                frame_extractors.append(position)
        if frame_extractors:  # first: other workers may be waiting for the index
            opened = partial(self._open, clip)
            yield from self._read(
                clip, frame_extractors, (number, attempt), opened, self._windows, self._frames, self.close
            )
        for stream, positions in sound_extractors.items():
            opened_sound = partial(self._open_sound, clip, stream)
            yield from self._read(
                clip, positions, (number, attempt), opened_sound, self._sound_windows, self._sound, self._close_sound
            )

    def close(self) -> None:
        """Closes the open video and sound."""
        self._close_sound()
        if self._video is not None:
            self._video.close()
        self._video = self._video_key = None

    def _whole(self, clip: Clip, extractor: ClipExtractor, place: tuple[int, int, int]) -> Iterator[FromClip]:
        remarks: Sequence[str] = ()
        try:
            if hasattr(extractor, "sound_rows"):
                picture, sound = self._picture(clip), self._open_sound(clip, getattr(extractor, "stream", None))
                before = time.process_time()
                rows, remarks = extractor.sound_rows(sound, picture, clip), sound.remarks
                self.seconds["preparing"] += time.process_time() - before
                self._check_remarks(remarks, clip)
            else:
                rows = extractor.rows(clip)
        except NoSound:  # nothing to do, which is not a failure
            yield nothing(place)
            return
        except ClipError as error:
            self._close_sound()
            yield Failure(*place, str(error))
            return
        count = len(rows.values)
        values = np.asarray(rows.values, np.float32)
        yield Piece(*place, count, np.arange(count), rows.times, values, is_computed=True)
        if remarks:
            yield FileRemarks(place[0], tuple(remarks))

    def _picture(self, clip: Clip) -> VideoInfo | None:
        """What is known about the picture of a clip's file, which stays open; None if it has sound only."""
        try:
            return None if is_sound(clip.path) else self._open(clip).info
        except NoPicture:
            return None

    def _read(
        self,
        clip: Clip,
        positions: Sequence[int],
        task: tuple[int, int],
        opened: Callable[[], File],
        windows_of_clip: Callable[[int, File, Clip, tuple[int, int]], Windows],
        pieces: Callable[[File, Sequence[Windows], Clip], Iterator[Piece]],
        close: Callable[[], None],
    ) -> Iterator[FromClip]:
        """Reads the frames, or the sound, of a clip for several extractors; `task` is its number and attempt."""
        under_way: list[Windows] = []
        left = list(positions)  # those that fail if the file does
        try:
            file = opened()
            for position in positions:
                try:
                    windows = windows_of_clip(position, file, clip, task)
                    if position in self._done and not windows.skipped:
                        yield BegunAgain(*task, position)
                    under_way.append(windows)
                except ClipError as error:  # this extractor cannot use the clip; others may
                    left.remove(position)
                    yield Failure(*task, position, str(error))
            yield from pieces(file, under_way, clip)
            if file.remarks:
                yield FileRemarks(task[0], tuple(file.remarks))
        except NoSound:  # nothing to do, which is not a failure
            yield from (nothing((*task, position)) for position in positions)
        except ClipError as error:
            close()
            done = {windows.position for windows in under_way if windows.is_done}
            yield from (Failure(*task, position, str(error)) for position in left if position not in done)

    def _sound(self, sound: Sound, under_way: Sequence[SoundWindows], clip: Clip) -> Iterator[Piece]:
        yield from (nothing(windows.place, windows.total * windows.each) for windows in under_way if windows.is_done)
        before = time.process_time()
        for asker, samples in sound.together([windows.asked for windows in under_way]):
            self.seconds["decoding"] += time.process_time() - before
            self._check_remarks(sound.remarks, clip)
            yield from (self._computed(piece, clip) for piece in under_way[asker].take(samples))
            before = time.process_time()

    def _open_sound(self, clip: Clip, stream: int | None) -> Sound:
        key = (clip.path, stream)
        if self._sound_file is None or self._sound_key != key:
            self._close_sound()
            before = time.process_time()
            self._sound_file, self._sound_key = open_sound(clip.path, stream), key
            self.seconds["decoding"] += time.process_time() - before
        _check_whole(self._sound_file.damage, self._sound_file.info.end, clip)
        return self._sound_file

    def _close_sound(self) -> None:
        if self._sound_file is not None:
            self._sound_file.close()
        self._sound_file = self._sound_key = None

    def _sound_windows(self, position: int, sound: Sound, clip: Clip, task: tuple[int, int]) -> SoundWindows:
        extractor = self.extractors[position]
        assert isinstance(extractor, AudioExtractor), "other kinds are read elsewhere"
        windows = extractor.sound_windows(sound.info, clip)
        if self._sample is not None:
            chosen = spread(len(windows.starts), self._sample)
            windows = replace(windows, starts=windows.starts[chosen], times=windows.times[chosen])
        check_rows(len(windows.starts))
        done = self._skipped(position, windows.times)
        return SoundWindows(windows, self._rows_of(4 * windows.length), (*task, position), *done)

    def _skipped(self, position: int, times: Array) -> tuple[int, int]:
        """How many windows, of which these are the times [T, 2], are done already, and how many rows each has.

        None are if their rows have other times.
        """
        done = self._done.get(position)
        if done is None or done.windows > len(times):
            return 0, 1
        row_times = getattr(self.extractors[position], "row_times", None) or repeated
        there = times[: done.windows] if done.each == 1 else row_times(times[: done.windows], done.each)
        is_same = zlib.crc32(np.ascontiguousarray(there, "<f8").data) == done.times
        return (done.windows, done.each) if is_same else (0, 1)

    def _check_remarks(self, remarks: Sequence[str], clip: Clip) -> None:
        if remarks and self._is_strict:
            raise ClipError(f"{clip.path}: {remarks[0]}; refused because of --strict")

    def _frames(self, video: Frames, under_way: Sequence[PictureWindows], clip: Clip) -> Iterator[Piece]:
        union = np.unique(np.concatenate([np.empty(0, np.int64), *(windows.needed for windows in under_way)]))
        frames = video.frames(union)
        for index in union.tolist():
            before = time.process_time()
            frame = next(frames)
            self._check_remarks(video.remarks, clip)
            decoded = time.process_time()
            for windows in under_way:
                windows.take(index, frame)
            self.seconds["decoding"] += decoded - before
            self.seconds["preparing"] += time.process_time() - decoded
            for windows in under_way:
                yield from (self._computed(piece, clip) for piece in windows.pieces(index))
        for windows in under_way:
            yield from (self._computed(piece, clip) for piece in windows.pieces(None))

    def _open(self, clip: Clip) -> Frames:
        key = (clip.path, clip.fps)
        if self._video is None or self._video_key != key:
            self.close()
            before = time.process_time()
            known = self._index[1] if self._index is not None and self._index[0] == clip.path else None
            self._video, self._video_key = open_frames(clip.path, clip.fps, known), key
            if isinstance(self._video, Video):
                self._index = (clip.path, self._video.index)
            self.seconds["decoding"] += time.process_time() - before
            self._tell(FileIndex(clip.path, self._video.index if isinstance(self._video, Video) else None))
        _check_whole(self._video.damage, self._video.info.end, clip)
        return self._video

    def _windows(self, position: int, video: Frames, clip: Clip, task: tuple[int, int]) -> PictureWindows:
        extractor = self.extractors[position]
        assert isinstance(extractor, FrameExtractor), "other kinds are read elsewhere"
        windows = extractor.windows(video.info, clip)
        if self._sample is not None:
            chosen = spread(len(windows.frames), self._sample)
            windows = replace(windows, frames=windows.frames[chosen], times=windows.times[chosen])
        check_rows(len(windows.frames))
        if windows.frames.size and not 0 <= windows.frames.min() <= windows.frames.max() < len(video.info):
            raise ClipError(
                f"{clip.path}: the extractor requests frames {windows.frames.min()} to {windows.frames.max()}, "
                f"but the video has {len(video.info)}"
            )
        done = self._skipped(position, windows.times)
        return PictureWindows(extractor, windows, self._rows_of, (*task, position), *done)

    def _rows_of(self, window_bytes: int) -> int:
        """Windows of this size per piece."""
        return max(1, min(self.piece_rows, PIECE_BYTES // max(window_bytes, 1)))

    def _computed(self, piece: Piece, clip: Clip) -> Piece:
        """The piece with its rows, if its extractor's network runs in this worker.

        `complete` adds what only the file knows, `remark` returns a remark on the windows for the user.
        """
        extractor = self.extractors[piece.extractor]
        if piece.is_computed or isinstance(extractor, ClipExtractor) or extractor.place != "worker":
            return piece
        if self._sample is not None:
            return piece
        if piece.extractor not in self._networks:
            self._networks[piece.extractor] = extractor.network()
        before = time.process_time()
        windows = windows_of(piece)
        values = self._networks[piece.extractor](windows)
        if hasattr(extractor, "complete"):
            values = extractor.complete(values, clip)
        remark = extractor.remark(windows) if hasattr(extractor, "remark") else ""
        self.seconds["preparing"] += time.process_time() - before
        return replace(piece, units=values, windows=None, is_computed=True, remark=remark)


def _check_whole(damage: str, end: float, clip: Clip) -> None:
    """Refuses a clip that extends past the readable part of a damaged file, which ends at `end` seconds."""
    if damage and (clip.end is None or clip.end > end):
        raise ClipError(f"{clip.path}: {damage}")
