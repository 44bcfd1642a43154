"""The index of a video file: a value that is made once and handed to whoever reads the file."""

from __future__ import annotations

import os
from dataclasses import dataclass

from egotools.frame_index import FrameIndex
from egotools.media.pictures import Shape


@dataclass(frozen=True, eq=False)
class VideoIndex:
    """The frames of a video file, of the file as it was. It can be pickled.

    Attributes:
        frames: when they show, and how they are found.
        shape: of the upright pictures.
        size: bytes of the file.
        written: when the file was, in nanoseconds since 1970.
        fps: the frame rate that was given for it.
    """

    frames: FrameIndex
    shape: Shape
    size: int
    written: int
    fps: float | None

    def is_of(self, file: os.stat_result, fps: float | None) -> bool:
        """Whether it tells of a file as it is now."""
        return (self.size, self.written, self.fps) == (file.st_size, file.st_mtime_ns, fps)
