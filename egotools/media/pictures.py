"""Turns decoded frames into upright RGB pictures, of the size of the file's first frame."""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from egotools.errors import ClipError
from egotools.media.containers import reason
from egotools.media.jpeg_damage import jpeg_damage
from egotools.media.limits import check_size
from egotools.media.skipping import data_of
from egotools.types import Frame


@dataclass(frozen=True)
class Turn:
    """How a coded picture is made upright: rows and columns swapped first, then mirrored."""

    swap: bool = False
    left_right: bool = False
    up_down: bool = False


def turn_of(frame: VideoFrame) -> Turn | None:
    """How the display matrix [[a, b, u], [c, d, v], [x, y, w]] turns a picture: x' = a x + c y, y' = b x + d y."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData):
        return None
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Turn(swap=True, left_right=c < 0, up_down=b < 0)
    return Turn(left_right=a < 0, up_down=d < 0)


@dataclass(frozen=True)
class Shape:
    """The size of the first frame, upright, and its rotation, which applies to frames that state none.

    `rotation` is FFmpeg's angle for it, in degrees.
    """

    width: int
    height: int
    turn: Turn
    rotation: int

    @classmethod
    def of(cls, frame: VideoFrame) -> "Shape":
        """The shape of this frame."""
        turn = turn_of(frame) or Turn()
        return cls(*_upright_size(frame, turn), turn, frame.rotation)


class Pictures:
    """Converts the frames of one file to RGB, upright and of one size.

    The first frame of another size that is scaled is appended to `remarks`.
    """

    def __init__(self, path: Path, shape: Shape, remarks: list[str]) -> None:
        self.path, self.shape = path, shape
        self._remarks, self._has_scaled = remarks, False
        self._reformatter = VideoReformatter()

    def picture(self, frame: VideoFrame, index: int, seconds: float) -> Frame:
        """A frame as uint8 [H, W, 3] in its own memory; `index` and `seconds` are for messages.

        Raises:
            ClipError: it is damaged or too large, or FFmpeg cannot convert its pixel format.
        """
        damage = jpeg_damage(data) if (data := data_of(frame)) else ""
        if frame.is_corrupt or damage:
            raise ClipError(f"{self.path}: frame {index} at {seconds:.3f} s is damaged{damage and f': {damage}'}")
        turn = self.shape.turn
        if frame.rotation != self.shape.rotation:  # side data is read only if it may differ: it keeps a frame alive
            turn = turn_of(frame) or turn
        try:
            if _upright_size(frame, turn) != (self.shape.width, self.shape.height):
                frame = self._scaled(frame, turn, seconds)
            pixels = self._reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
        except (av.FFmpegError, ValueError) as error:
            raise ClipError(f"{self.path}: frame {index} cannot be converted to RGB: {reason(error)}") from error
        return _upright(pixels.astype(np.uint8, copy=False), turn)

    def _scaled(self, frame: VideoFrame, turn: Turn, seconds: float) -> VideoFrame:
        check_size(self.path, frame.width, frame.height)
        width, height = self.shape.width, self.shape.height
        if not self._has_scaled:
            found = "{}x{}".format(*_upright_size(frame, turn))
            sizes = f"the frame at {seconds:.3f} s has {found} pixels, the first one {width}x{height}"
            self._remarks.append(f"{sizes}; frames of other sizes are scaled to the first one's")
            self._has_scaled = True
        # FFmpeg's bicubic filter widens when downscaling, so that it averages what becomes one pixel.
        size = {"width": height, "height": width} if turn.swap else {"width": width, "height": height}
        return self._reformatter.reformat(frame, **size, format="rgb24", interpolation=Interpolation.BICUBIC, threads=1)


def _upright_size(frame: VideoFrame, turn: Turn) -> tuple[int, int]:
    return (frame.height, frame.width) if turn.swap else (frame.width, frame.height)


def _upright(pixels: Frame, turn: Turn) -> Frame:
    if turn.swap:
        pixels = pixels.transpose(1, 0, 2)
    pixels = pixels[:: -1 if turn.up_down else 1, :: -1 if turn.left_right else 1]
    return np.ascontiguousarray(pixels)  # FFmpeg pads the rows of odd sizes
