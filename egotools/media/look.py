"""What looking through a video file tells of it: a value that is made once and handed to whoever reads the file."""

from __future__ import annotations

import os
from dataclasses import dataclass

from egotools.frame_index import FrameIndex
from egotools.media.pictures import Shape


@dataclass(frozen=True, eq=False)
class Look:
    """The frames of a video file, of the file as it was. It can be pickled.

    Attributes:
        index: the frames.
        shape: of the upright pictures.
        size: bytes of the file.
        written: when the file was, in nanoseconds since 1970.
        fps: the frame rate that was given for it.
    """

    index: FrameIndex
    shape: Shape
    size: int
    written: int
    fps: float | None

    def is_of(self, file: os.stat_result, fps: float | None) -> bool:
        """Whether it tells of a file as it is now."""
        return (self.size, self.written, self.fps) == (file.st_size, file.st_mtime_ns, fps)
