"""Reads the exact frames of a video by index or time; and opens any source of frames."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from egotools.errors import ClipError, NoPicture
from egotools.media.animation import Animation, is_animated, is_picture
from egotools.media.clock import CLOCKED, whole_at_seams
from egotools.media.containers import decoded, default_stream, only, open_container, packets_of
from egotools.media.frame_index import FrameIndex, has_tables, index_by_decoding, index_packets, index_tables
from egotools.media.limits import check_size, reading
from egotools.media.pictures import Pictures, Shape
from egotools.media.skipping import NeededFrames, Skipping, keep_labels
from egotools.media.stamps import REORDERED
from egotools.media.stills import IMAGE_SUFFIXES, FrameFolder, Stack, Still, ascending
from egotools.types import Clip, Frame, IntArray, VideoInfo

# Streams without a container, whose header may not state a frame rate.
RAW_SUFFIXES = (
    ".h264", ".264", ".hevc", ".265", ".h265", ".m2v", ".m1v", ".mjpeg", ".mjpg", ".obu", ".y4m",
)  # fmt: skip
VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".ogv",
    ".3gp", ".gif", ".ivf", *RAW_SUFFIXES,
)  # fmt: skip

# Seeking to a key frame costs the frames that the decoder holds back; it pays if it skips more than these.
JUMP = 12


class Frames(Protocol):
    """The interface of videos, folders of frames, images and stacks."""

    path: Path
    info: VideoInfo
    damage: str  # what is missing of the file, as "truncated: 120 of 300 frames can be read"; "" if nothing is
    remarks: list[str]  # what was repaired or is unusual, in sentences; reading may add some

    def frames(self, indices: Sequence[int] | IntArray) -> Iterator[Frame]:
        """The frames at strictly ascending indices, upright, uint8 RGB [H, W, 3].

        Raises:
            ClipError: a frame does not exist or does not decode.
            ValueError: the indices do not ascend.
        """

    def close(self) -> None:
        """Closes the file."""


def open_frames(path: Path, fps: float | None = None, index: VideoIndex | None = None) -> Frames:
    """Opens any source of frames: a folder of images, an image, an animated one, a `.npy` stack, else a video.

    Args:
        path: a file or a folder.
        fps: the frame rate of a folder or a stack, which store none, and of a raw stream whose header has
            none; ignored for other videos.
        index: the index of a video, from an earlier `Video` of the file.

    Raises:
        ClipError: frames cannot be read from it.
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
    """The frame in the middle of a clip, for display.

    Raises:
        ClipError: it cannot be read.
    """
    frames = open_frames(clip.path, clip.fps)
    try:
        end = frames.info.end if clip.end is None else clip.end
        (frame,) = frames.frames([int(frames.info.at((clip.start + end) / 2))])
        return frame
    finally:
        frames.close()


class Video:
    """A video file, decoded by one thread.

    It keeps its position: a later call with later indices continues decoding from there, and seeks only if a key frame
    in between saves decoding. Frames are identified by their timestamps; those of files without reliable
    ones (AVI, MPEG-4 part 2, transport streams) are counted from the beginning, and going back restarts there.
    `fps` is the frame rate of raw streams (.h264) whose header has none. `index` is that of an earlier `Video` of the
    file, which saves indexing; if the file has changed, it is indexed again.
    Pixels are assumed to be square; of several video streams the first one marked as default is read.

    Raises:
        ClipError: the file is missing, empty or not a video, or no frame decodes.
    """

    def __init__(self, path: Path, fps: float | None = None, index: VideoIndex | None = None) -> None:
        self.path = path
        self._standing: int | None = -1  # index of the frame decoded last; -1 at the beginning, None if unknown
        self._frame_there: VideoFrame | None = None
        with reading(path), ExitStack() as stack:
            self._open()
            stack.callback(self.close)
            status = path.stat()
            if index is not None and index.is_of(status, fps):
                self._skipping = Skipping(index.frames)
                only(self._stream)
            else:
                index = VideoIndex(*self._made_index(fps), status.st_size, status.st_mtime_ns, fps)
            stack.pop_all()
        self.index = index
        self._frames, self._pictures = index.frames, Pictures(path, index.shape)
        times, end, gaps = index.frames.times, index.frames.end, index.frames.gaps
        self.info = VideoInfo(times, end, index.shape.width, index.shape.height, gaps)
        self.damage = index.frames.damage
        self.remarks = list(index.frames.remarks)

    def frames(self, indices: Sequence[int] | IntArray) -> Iterator[Frame]:
        """The frames at strictly ascending indices, upright, uint8 RGB [H, W, 3], each in its own memory.

        Raises:
            ClipError: a frame does not exist or does not decode.
            ValueError: the indices do not ascend.
        """
        chosen = ascending(indices, len(self.info), self.path)
        wanted = NeededFrames.of(chosen if self._frames.pts is None else self._frames.pts[chosen])
        with reading(self.path):
            for index in chosen.tolist():
                self._skipping.wanted = wanted  # calls may be interleaved
                yield self._pixels(self._frame(index), index)

    def at(self, seconds: float) -> Frame:
        """The frame shown at a time of the file; before the first frame the first one, after the last the last one."""
        return next(self.frames(self.info.at([seconds])))

    def close(self) -> None:
        """Closes the file."""
        self._decoding.close()
        self._container.close()

    def _open(self) -> None:
        """Opens the file at its beginning, with a new decoder."""
        self._container = open_container(self.path)
        try:
            self._stream = main_stream(self._container.streams.video, self.path)
        except ClipError:
            self._container.close()
            raise
        keep_labels(self._stream)
        self._decode_on(leading=None)

    def _decode_on(self, leading: int | None) -> None:
        self._decoding = self._decoded(leading)

    def _decoded(self, leading: int | None) -> Generator[tuple[int, VideoFrame], None, None]:
        """The frames from here on with their labels; unneeded ones may be missing."""
        packets = self._skipping.fed(packets_of(self._container, self._stream), self._stream)
        alone = self._skipping.is_stamped and self._stream.codec_context.codec.intra_only
        with closing(decoded(packets, self._stream, self.path, leading=leading, parts=True, alone=alone)) as frames:
            yield from self._skipping.labelled(frames)

    def _restart(self) -> None:
        self.close()
        self._open()
        only(self._stream)

    def _made_index(self, fps: float | None) -> tuple[FrameIndex, Shape]:
        check_size(self.path, self._stream.width, self._stream.height)
        index = None
        if has_tables(self._container, self._stream):
            index = index_tables(self._container, self._stream, self.path)
            self._restart()
        if index is None:
            index = index_packets(self._container, self._stream, self.path)
            self._restart()
        if index is None:
            index = self._index_by_decoding(fps)
        self._skipping = Skipping(index)
        label, first = next(self._decoding, (0, None))
        if first is None:
            raise ClipError(f"{self.path}: none of its frames can be decoded")
        index = index.from_frame(label)
        self._standing, self._frame_there = 0, first
        return index, Shape.of(first)

    def _index_by_decoding(self, fps: float | None) -> FrameIndex:
        index = index_by_decoding(self._container, self._stream, self.path, fps=fps)
        self._restart()
        if not index.damage or self._container.format.name not in CLOCKED:
            return index
        whole = whole_at_seams(self._container, self._stream)
        self._restart()
        if whole:
            index = index_by_decoding(self._container, self._stream, self.path, fps=fps, whole=whole)
            self._restart()
        return index

    def _frame(self, index: int) -> VideoFrame:
        if self._standing == index and self._frame_there is not None:
            return self._frame_there
        standing, self._standing, self._frame_there = self._standing, None, None  # unknown if the following fails
        frame = self._reach(index, standing)
        if self._skipping.has_skipped and (frame is None or self._skipping.is_doubtful(frame)):
            self._skipping.stop()
            frame = self._reach(index, None)
        if frame is None:
            moment = f"frame {index} at {self.info.times[index]:.3f} s"
            raise ClipError(f"{self.path}: {moment} is listed in the file but does not decode")
        self._standing, self._frame_there = index, frame
        return frame

    def _reach(self, index: int, standing: int | None) -> VideoFrame | None:
        if self._frames.pts is not None:
            return self._stamped(index, standing, self._frames.pts)
        if standing is None or standing > index:
            self._restart()
        return self._decode_to(index)

    def _stamped(self, index: int, standing: int | None, pts: IntArray) -> VideoFrame | None:
        keys, wanted = self._frames.keys, int(pts[index])
        alike, after = np.searchsorted(pts, [wanted, wanted + 1]).tolist()  # the frames with this stamp
        # The first of several with the same timestamp is not after a key frame with that timestamp.
        key = int(np.searchsorted(keys, wanted, side="right" if after - alike == 1 else "left")) - 1
        saved = int(np.searchsorted(pts, keys[key])) - standing if key > 0 and standing is not None else 0
        if standing is not None and standing < index and saved <= JUMP:
            frame = self._decode_to(wanted, index - max(alike, standing + 1))
            for before in keys[max(key - 1, 0) : key + 1][::-1].tolist():  # it may precede the last one
                if frame is None and self._jump(before):
                    frame = self._decode_to(wanted, index - alike)
            return frame
        if standing == -1 and key > 0:
            # Only the first picture has what the decoder must know for all: which x264 wrote it (4:4:4 by old ones).
            next(self._decoding, None)
        # A key frame may turn out not to be one (gradual refresh), or the container may seek too far.
        back = 1
        while key > 0:
            if self._jump(int(keys[key])) and (frame := self._decode_to(wanted, index - alike)):
                return frame
            key, back = key - back, 2 * back
        self._restart()
        return self._decode_to(wanted, index - alike)

    def _decode_to(self, wanted: int, others: int = 0) -> VideoFrame | None:
        """The frame with the label `wanted` after this many others with it, or None if decoding goes past it."""
        past = 0  # a timestamp may be wrong by so little that it cannot be detected earlier
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
        self._decode_on(leading=key)
        return True

    def _pixels(self, frame: VideoFrame, index: int) -> Frame:
        picture = self._pictures.picture(frame, index, float(self.info.times[index]))
        if self._pictures.remark and self._pictures.remark not in self.remarks:
            self.remarks.append(self._pictures.remark)
        return picture


def main_stream(streams: Sequence[VideoStream], path: Path) -> VideoStream:
    """The stream that players show: not a cover picture, the default one first."""
    moving = [stream for stream in streams if not stream.disposition & Disposition.attached_pic]
    decodable = [stream for stream in moving if stream.codec_context is not None]
    if not decodable:
        if not moving:
            raise NoPicture(f"{path}: no video stream in this file")
        raise ClipError(f"{path}: no video stream that can be decoded in this file")
    return default_stream(decodable)


@dataclass(frozen=True, eq=False)
class VideoIndex:
    """The frame index of a video file, valid for the file at that time. It can be pickled.

    Attributes:
        frames: their times, and how they are found.
        shape: shape of the upright pictures.
        size: size of the file in bytes.
        written: modification time of the file, in nanoseconds since 1970.
        fps: the frame rate that was given for it.
    """

    frames: FrameIndex
    shape: Shape
    size: int
    written: int
    fps: float | None

    def is_of(self, file: os.stat_result, fps: float | None) -> bool:
        """Whether it is valid for a file in its current state."""
        return (self.size, self.written, self.fps) == (file.st_size, file.st_mtime_ns, fps)
