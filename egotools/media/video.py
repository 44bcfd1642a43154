"""Exact access to the frames of a video by index or time, and one function to open anything that holds frames."""

import os
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from egotools.errors import ClipError, NoPicture
from egotools.media.animation import Animation, is_animated, is_picture
from egotools.media.clock import CLOCKED, whole_at_seams
from egotools.media.containers import decoded, default_stream, only, open_stream, packets_of
from egotools.media.frame_index import FrameIndex, has_tables, index_by_decoding, index_packets, index_tables
from egotools.media.limits import check_size, reading
from egotools.media.pictures import Pictures, Shape
from egotools.media.skipping import NeededFrames, Skipping, keep_labels
from egotools.media.stamps import REORDERED
from egotools.media.stills import IMAGE_SUFFIXES, FrameFolder, Stack, Still, ascending
from egotools.types import Clip, Frame, IntArray, VideoInfo

# Streams without a container, whose header need not state a frame rate.
RAW_SUFFIXES = (
    ".h264", ".264", ".hevc", ".265", ".h265", ".m2v", ".m1v", ".mjpeg", ".mjpg", ".obu", ".y4m",
)  # fmt: skip
VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".ogv",
    ".3gp", ".gif", ".ivf", *RAW_SUFFIXES,
)  # fmt: skip

# Of MP4: a file whose frames are known is opened by its headers alone, which is some times faster.
QUICK_SUFFIXES = (".mp4", ".m4v", ".mov")

X264 = re.compile(rb"x264 - core (\d+)")
AS_SPECIFIED = 151  # the first build whose pictures FFmpeg decodes as those of other encoders

# A seek to a key frame costs the frames that the decoder holds back; it pays off when it skips more than these.
JUMP = 12


class Frames(Protocol):
    """The common interface of videos, animated images, folders of frames, images and stacks."""

    path: Path
    info: VideoInfo
    damage: str  # what is missing, as "truncated: 120 of 300 frames can be read"; "" if nothing is
    remarks: list[str]  # what was repaired or is odd, in sentences; reading may add to them

    def frames(self, indices: Sequence[int] | IntArray) -> Iterator[Frame]:
        """The frames at strictly ascending indices, upright, uint8 RGB [H, W, 3], each in its own memory.

        Raises:
            ClipError: a frame that does not exist or cannot be decoded.
            ValueError: indices that do not ascend.
        """

    def close(self) -> None:
        """Closes the file."""


def open_frames(path: Path, fps: float | None = None, index: "VideoIndex | None" = None) -> Frames:
    """Opens a folder of images, an image, an animated image, a `.npy` stack, or else a video.

    Args:
        path: a file or a folder.
        fps: the frame rate of a folder or a stack, which have none of their own, and of a raw stream whose header
            states none; other videos ignore it.
        index: from an earlier `Video` of the file.

    Raises:
        ClipError: no frames can be read from it.
    """
    if os.path.isdir(path):
        return FrameFolder(path, fps)
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES or (suffix == ".gif" and is_picture(path)):
        return Animation(path) if is_animated(path) else Still(path)
    if suffix == ".npy":
        return Stack(path, fps)
    return Video(path, fps, index)


def middle_frame(clip: Clip) -> Frame:
    """The frame in the middle of a clip, as its thumbnail.

    Raises:
        ClipError: it cannot be read.
    """
    with closing(open_frames(clip.path, clip.fps)) as frames:
        end = frames.info.end if clip.end is None else clip.end
        (frame,) = frames.frames([int(frames.info.at((clip.start + end) / 2))])
    return frame


class Video:
    """A video file, decoded by one thread.

    It keeps its position: a call with later indices decodes from there, and seeks only to a key frame that saves
    decoding. Frames are identified by their timestamps; in files without trustworthy ones (AVI, MPEG-4 part 2,
    transport streams) they are counted from the beginning, and going back reopens the file. `fps` is the frame rate of
    raw streams (.h264) whose header states none. `index`, from an earlier `Video` of the file, is reused unless the
    file has changed. Pixels count as square; of several video streams the first that is marked as default is read.

    Raises:
        ClipError: the file is missing, empty, no video, or none of its frames can be decoded.
    """

    def __init__(self, path: Path, fps: float | None = None, index: "VideoIndex | None" = None) -> None:
        self.path = path
        self._position: int | None = -1  # index of the frame decoded last; -1 at the beginning, None if unknown
        self._current: VideoFrame | None = None  # the frame decoded last
        with reading(path), ExitStack() as stack:
            status = path.stat()
            is_known = index is not None and index.is_of(status, fps)
            self._is_quick = is_known and path.suffix.lower() in QUICK_SUFFIXES  # opened by its headers alone
            self._open()
            stack.callback(self.close)
            if self._is_quick and not has_tables(self._container, self._stream):
                self._open_fully()
            if index is not None and is_known:
                self._skipping = Skipping(index.frames)
                only(self._stream)
            else:
                index = VideoIndex(*self._made_index(fps), status.st_size, status.st_mtime_ns, fps)
            stack.pop_all()
        self.index = index
        frames, shape = index.frames, index.shape
        self.info = VideoInfo(frames.times, frames.end, shape.width, shape.height, frames.gaps)
        self.damage, self.remarks = frames.damage, list(frames.remarks)
        self._frames, self._pictures = frames, Pictures(path, shape, self.remarks)

    def frames(self, indices: Sequence[int] | IntArray) -> Iterator[Frame]:
        """As `Frames.frames`; one decoding pass for indices close together."""
        chosen = ascending(indices, len(self.info), self.path)
        needed = NeededFrames.of(chosen if self._frames.pts is None else self._frames.pts[chosen])
        with reading(self.path):
            for index in chosen.tolist():
                self._skipping.needed = needed  # calls may take turns
                yield self._pictures.picture(self._frame(index), index, float(self.info.times[index]))

    def at(self, seconds: float) -> Frame:
        """The frame shown at a time of the file; the first or last one outside of it."""
        return next(self.frames(self.info.at([seconds])))

    def close(self) -> None:
        """Closes the file."""
        self._decoding.close()
        self._container.close()

    def _open(self) -> None:
        """Opens the file at its beginning, with a fresh decoder."""
        self._container, self._stream = open_stream(self.path, main_stream, headers_only=self._is_quick)
        keep_labels(self._stream)
        self._decoding = self._decoded(leading=None)

    def _decoded(self, leading: int | None) -> Generator[tuple[int, VideoFrame], None, None]:
        """The frames from here on with their labels; unneeded ones may be left out."""
        packets = self._skipping.fed(packets_of(self._container, self._stream), self._stream)
        alone = self._skipping.is_stamped and self._stream.codec_context.codec.intra_only
        with closing(decoded(packets, self._stream, self.path, leading=leading, parts=True, alone=alone)) as frames:
            yield from self._skipping.labelled(frames)

    def _must_see_first(self) -> bool:
        """Whether the first picture says what the decoder must know for all: which old x264 wrote them."""
        if self._stream.codec_context.name != "h264":
            return True
        first = next(packets_of(self._container, self._stream), None)
        build = None if first is None else X264.search(memoryview(first))
        if build is None or int(build[1]) >= AS_SPECIFIED:
            return False
        self._reopen()
        return True

    def _open_fully(self) -> None:
        self._is_quick = False
        self.close()
        self._open()

    def _reopen(self) -> None:
        self.close()
        self._open()
        only(self._stream)

    def _made_index(self, fps: float | None) -> tuple[FrameIndex, Shape]:
        check_size(self.path, self._stream.width, self._stream.height)
        index = None
        if has_tables(self._container, self._stream):
            index = index_tables(self._container, self._stream, self.path)
            self._reopen()
        if index is None:
            index = index_packets(self._container, self._stream, self.path)
            self._reopen()
        if index is None:
            index = self._index_by_decoding(fps)
        self._skipping = Skipping(index)
        label, self._current = next(self._decoding, (0, None))
        if self._current is None:
            raise ClipError(f"{self.path}: none of its frames can be decoded")
        self._position = 0
        return index.from_frame(label), Shape.of(self._current)

    def _index_by_decoding(self, fps: float | None) -> FrameIndex:
        index = index_by_decoding(self._container, self._stream, self.path, fps=fps)
        self._reopen()
        if not index.damage or self._container.format.name not in CLOCKED:
            return index
        whole = whole_at_seams(self._container, self._stream)
        self._reopen()
        if whole:
            index = index_by_decoding(self._container, self._stream, self.path, fps=fps, whole=whole)
            self._reopen()
        return index

    def _frame(self, index: int) -> VideoFrame:
        if self._position == index and self._current is not None:
            return self._current
        position, self._position, self._current = self._position, None, None  # unknown if what follows fails
        try:
            frame = self._whole(index, position)
        except ClipError:
            if not self._is_quick:
                raise
            frame = None
        if frame is None and self._is_quick:  # headers need not tell how many frames a decoder must hold back
            self._open_fully()
            only(self._stream)
            frame = self._whole(index, -1)
        if frame is None:
            moment = f"frame {index} at {self.info.times[index]:.3f} s"
            raise ClipError(f"{self.path}: {moment} is listed in the file but cannot be decoded")
        self._position, self._current = index, frame
        return frame

    def _whole(self, index: int, position: int | None) -> VideoFrame | None:
        """A frame that lacks nothing, or None if decoding does not find it."""
        frame = self._reach(index, position)
        if self._skipping.has_skipped and (frame is None or self._skipping.is_doubtful(frame)):
            self._skipping.stop()
            frame = self._reach(index, None)
        return frame

    def _reach(self, index: int, position: int | None) -> VideoFrame | None:
        if self._frames.pts is not None:
            return self._stamped(index, position, self._frames.pts)
        if position is None or position > index:
            self._reopen()
        return self._decode_to(index)

    def _stamped(self, index: int, position: int | None, pts: IntArray) -> VideoFrame | None:
        keys, wanted = self._frames.keys, int(pts[index])
        alike, after = np.searchsorted(pts, [wanted, wanted + 1]).tolist()  # the frames with this timestamp
        # Of several with one timestamp the first is not after a key frame with that timestamp.
        key = int(np.searchsorted(keys, wanted, side="right" if after - alike == 1 else "left")) - 1
        saved = int(np.searchsorted(pts, keys[key])) - position if key > 0 and position is not None else 0
        if position is not None and position < index and saved <= JUMP:
            frame = self._decode_to(wanted, index - max(alike, position + 1))
            for before in keys[max(key - 1, 0) : key + 1][::-1].tolist():  # it may precede the last one
                if frame is None and self._jump(before):
                    frame = self._decode_to(wanted, index - alike)
            return frame
        if position == -1 and key > 0 and self._must_see_first():
            next(self._decoding, None)
        # A key frame may turn out not to be one (gradual refresh), or the container may seek too far.
        back = 1
        while key > 0:
            if self._jump(int(keys[key])) and (frame := self._decode_to(wanted, index - alike)):
                return frame
            key, back = key - back, 2 * back
        self._reopen()
        return self._decode_to(wanted, index - alike)

    def _decode_to(self, wanted: int, others: int = 0) -> VideoFrame | None:
        """The frame labelled `wanted` after so many others labelled alike, or None if decoding goes past it."""
        past = 0  # a timestamp may be wrong by too little to be noticed before
        for label, frame in self._decoding:
            if label == wanted and not others:
                return frame
            others -= label == wanted
            past += label > wanted
            if past > REORDERED:
                return None
        return None

    def _jump(self, key: int) -> bool:
        self._decoding.close()
        try:
            self._container.seek(key, stream=self._stream)
        except av.FFmpegError:
            return False
        self._decoding = self._decoded(leading=key)
        return True


def main_stream(container: InputContainer, path: Path) -> VideoStream:
    """The stream that players show: the default one, else the first; cover pictures are no video."""
    moving = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    decodable = [stream for stream in moving if stream.codec_context is not None]
    if not moving:
        raise NoPicture(f"{path}: no video stream in this file")
    if not decodable:
        raise ClipError(f"{path}: no video stream that can be decoded in this file")
    return default_stream(decodable)


@dataclass(frozen=True, eq=False)
class VideoIndex:
    """The frames of a video file at the time of indexing. It can be pickled."""

    frames: FrameIndex  # their times, and how they are found
    shape: Shape  # of the upright pictures
    size: int  # of the file, in bytes
    written: int  # when the file was, in nanoseconds since 1970
    fps: float | None  # the frame rate that the caller gave

    def is_of(self, file: os.stat_result, fps: float | None) -> bool:
        """Whether the file is unchanged, and opened with the same frame rate."""
        return (self.size, self.written, self.fps) == (file.st_size, file.st_mtime_ns, fps)
