"""Writes the frames of one clip, or the optical flow between them, as a folder of numbered JPEG files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import simplejpeg
from PIL import Image

from egotools.config import option
from egotools.errors import ClipError, OutputError
from egotools.files.disk import remove, write_whole
from egotools.files.json_files import read_json
from egotools.media.video import Frames, open_frames
from egotools.pixels.sizes import even_side
from egotools.sampling import check_positive, extent, frames_inside, single_frames
from egotools.stores.source import Source
from egotools.types import Clip, Frame, IntArray, VideoInfo

if TYPE_CHECKING:
    from egotools.extractors.optical_flow import Method

ABOUT = ".clip.json"  # in a clip's folder: where its frames come from
UNEVEN = 0.5  # of a frame's duration, which a frame may be off the even spacing that a folder's rate means


@dataclass(frozen=True)
class FrameOptions:
    """What is written of each clip, and how."""

    fps: float | None = option(None, "Frames per second; by default every frame.")
    size: int | None = option(None, "Short side in pixels; by default as in the file.")
    height: int | None = option(None, "Instead of --size: height at most; the width is even, as FFmpeg's -2 has it.")
    quality: int | None = option(None, "Of the JPEGs, 1 to 100; by default 95, of flow 100.")
    flow: Literal["tvl1", "dis"] | None = option(
        None, "Write the optical flow to the next frame instead (extra: flow).", choices=("tvl1", "dis")
    )
    bound: float = option(20.0, "Of flow: so many pixels are the largest byte; longer flow is cut off.")

    def __post_init__(self) -> None:
        check_positive(fps=self.fps, size=self.size, height=self.height, bound=self.bound)
        if self.size is not None and self.height is not None:
            raise ValueError("give one of --size and --height")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise ValueError(f"--quality must be from 1 to 100, not {self.quality}")

    @property
    def jpeg_quality(self) -> int:
        return self.quality or (100 if self.flow else 95)


@dataclass(frozen=True)
class FrameTask:
    """A clip, the folder that its frames go to, and which of its files are meant: from 0, the last excluded."""

    clip: Clip
    folder: Path
    options: FrameOptions
    files: tuple[int, int] | None = None  # None: all
    is_numbered_from_0: bool = False  # and so called: 000000.jpg

    def file(self, place: int) -> Path:
        """Where the file at a place, from 0, is written."""
        named = f"{'flow' if self.options.flow else 'image'}_{place + 1:05d}.jpg"
        return self.part / (f"{place:06d}.jpg" if self.is_numbered_from_0 else named)

    @property
    def part(self) -> Path:
        """Where the files are until all are there."""
        return self.folder.with_name(f".{self.folder.name}.part")


@dataclass(frozen=True)
class Written:
    """A clip's folder: how many files it has, and frames a second; or why there is none."""

    files: int = 0
    fps: float = 0.0
    remarks: tuple[str, ...] = field(default=())
    error: str = ""
    is_fatal: bool = False  # the disk failed, not the clip


def write_frames(task: FrameTask) -> Written:
    """Writes a clip's folder, which appears once it is complete; what is there before is replaced."""

    def write() -> Written:
        try:
            begin_folder(task)
            written = _into(task)
            complete_folder(task, written)
        finally:
            remove(task.part)
        return written

    return _tried(task, write)


def plan_frames(task: FrameTask) -> Written:
    """What `write_frames` would write, of which nothing is decoded."""

    def plan() -> Written:
        with closing(_opened(task)) as video:
            chosen, fps, remarks = _chosen(video.info, task)
            return Written(len(chosen) - (task.options.flow is not None), fps, (*video.remarks, *remarks))

    return _tried(task, plan)


def write_piece(task: FrameTask) -> Written:
    """Writes some of a clip's files between `begin_folder` and `complete_folder`."""
    return _tried(task, lambda: _into(task))


def begin_folder(task: FrameTask) -> None:
    """An empty folder for the files, aside.

    Raises:
        OSError: it cannot be made.
    """
    remove(task.part)
    task.part.mkdir(parents=True)


def complete_folder(task: FrameTask, written: Written) -> None:
    """Puts a clip's folder, all of whose files are there, in its place.

    Raises:
        OSError, OutputError: it cannot be written.
    """
    about = {"source": json.loads(Source.of(task.clip).to_json()), "files": written.files, "fps": written.fps}
    write_whole(task.part / ABOUT, json.dumps(about))
    remove(task.folder)
    task.part.rename(task.folder)


def _tried(task: FrameTask, work: Callable[[], Written]) -> Written:
    try:
        return work()
    except ClipError as error:
        return Written(error=str(error))
    except (OSError, OutputError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Written(error=f"{task.folder} cannot be written: {reason}", is_fatal=True)


def about_folder(folder: Path) -> tuple[Source, Written] | None:
    """Where the frames of a folder come from, and what it holds; None if there is no such folder.

    Raises:
        OutputError: it was not written by `write_frames`.
    """
    if not folder.exists():
        return None
    try:
        found = read_json(folder / ABOUT, dict)
        source = Source.from_json(json.dumps(found["source"]))
        return source, Written(int(found["files"]), float(found["fps"]))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise OutputError(
            f"{folder} exists, and is not of 'egotools frames'; choose another --out, or delete it"
        ) from error


def _opened(task: FrameTask) -> Frames:
    if task.clip.path == Path():
        raise ClipError("its row has no file: features only")
    video = open_frames(task.clip.path, task.clip.fps)
    if video.damage and (task.clip.end is None or task.clip.end > video.info.end):
        video.close()
        raise ClipError(f"{task.clip.path}: {video.damage}")
    return video


def _into(task: FrameTask) -> Written:
    options = task.options
    with closing(_opened(task)) as video:
        chosen, fps, remarks = _chosen(video.info, task)
        first, end = task.files or (0, len(chosen))
        chosen = chosen[first : end + 1 if options.flow else end]  # flow needs the frame after, too
        frames = _repeated(video.frames(np.unique(chosen)), chosen)
        pictures: Iterator[Frame] = (_resized(frame, options) for frame in frames)
        if options.flow:
            pictures = _flow(pictures, options.flow, options.bound)
        end = first
        for end, picture in enumerate(pictures, first + 1):
            task.file(end - 1).write_bytes(simplejpeg.encode_jpeg(picture, options.jpeg_quality, "RGB", "420"))
        return Written(end - first, fps, (*video.remarks, *remarks))


def _chosen(video: VideoInfo, task: FrameTask) -> tuple[IntArray, float, list[str]]:
    """The clip's frames, ascending, perhaps some twice; their rate; and remarks on it."""
    chosen, fps, remarks = _sampled(video, task.clip, task.options.fps)
    if task.options.flow and len(chosen) < 2:
        raise ClipError(f"{task.clip.path}: the clip has one frame; flow needs two")
    return chosen, fps, remarks


def _sampled(video: VideoInfo, clip: Clip, fps: float | None) -> tuple[IntArray, float, list[str]]:
    if fps is not None:
        return single_frames(video, clip, fps=fps, frames=None, stride=None).frames[:, 0], fps, []
    inside = frames_inside(video, *extent(clip, video.times[0], video.end, slack=1 / video.fps))
    times, last = video.times[inside], float(video.ends[inside[-1]])
    rate = clip.fps or len(inside) / (last - float(times[0]))
    rate = round(rate) if abs(rate - round(rate)) < 1e-4 * rate else rate
    off = np.abs(times - times[0] - np.arange(len(inside)) / rate).max() * rate
    remarks = []
    if off > UNEVEN:
        remarks = [
            f"its frames are not evenly spaced: at {rate:.3f} fps some are {off:.1f} frames off; --fps evens them"
        ]
    return inside, float(rate), remarks


def _repeated(frames: Iterator[Frame], chosen: IntArray) -> Iterator[Frame]:
    """Each frame as often as it was chosen."""
    for frame, count in zip(frames, np.unique(chosen, return_counts=True)[1], strict=True):
        for _ in range(count):
            yield frame


def _resized(frame: Frame, options: FrameOptions) -> Frame:
    """With the height or short side of the options, the other side even, as FFmpeg's `scale=-2:256` has it; bicubic."""
    height, width = frame.shape[:2]
    if options.height is not None:
        side = min(options.height, height)
        shape = (even_side(width, height, side), side)
    elif options.size is not None and min(height, width) != options.size:
        long = even_side(max(height, width), min(height, width), options.size)
        shape = (options.size, long) if height > width else (long, options.size)
    else:
        return frame
    if shape == (width, height):
        return frame
    return np.asarray(Image.fromarray(frame).resize(shape, Image.Resampling.BICUBIC))


def _flow(frames: Iterator[Frame], method: Method, bound: float) -> Iterator[Frame]:
    from egotools.extractors.optical_flow import flow_pictures

    return flow_pictures(frames, method, bound)
