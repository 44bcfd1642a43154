"""Frames that are no video: a folder of images, one image, a `.npy` stack."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from egotools.errors import ClipError
from egotools.files import open_file
from egotools.limits import MOST_FRAMES, check_size, check_times, reading
from egotools.types import Frame, IntArray, VideoInfo

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
BAND_PIXELS = 1 << 22  # of an image that is made RGB at once
STILL_SECONDS = 1 / 25  # how long a single image shows: one frame of the common rate


class FrameFolder:
    """A folder of images, one a frame, in the order of the numbers in their names; frame k shows at k / `fps`."""

    def __init__(self, path: Path, fps: float | None) -> None:
        self.path = path
        self._fps = _given(fps, path)
        with reading(path, "the folder cannot be read"):
            files = [file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.name[0] != "."]
        self._files = sorted(files, key=_by_number)
        if not self._files:
            raise ClipError(f"{path}: the folder holds no images ({', '.join(IMAGE_SUFFIXES)})")
        height, width = read_image(self._files[0]).shape[:2]
        self.info = _steady(path, len(self._files), self._fps, width, height)
        self.damage = ""
        self.remarks: list[str] = []

    def frames(self, indices: Sequence[int] | IntArray) -> Iterator[Frame]:
        """The images at strictly ascending indices, uint8 RGB [H, W, 3].

        Raises:
            ClipError: an image that cannot be read, has another size than the first, or is not there.
        """
        for index in ascending(indices, len(self._files), self.path):
            frame = read_image(self._files[index])
            height, width = frame.shape[:2]
            if (width, height) != (self.info.width, self.info.height):
                first = f"{self._files[0].name} is {self.info.width}x{self.info.height}"
                raise ClipError(f"{self._files[index]}: {width}x{height} pixels, but {first}; frames need one size")
            yield frame

    def close(self) -> None:
        """Nothing is kept open."""


class Still:
    """One image as a video of one frame, which shows from 0 to 1/25 s."""

    def __init__(self, path: Path) -> None:
        self.path = path
        height, width = read_image(path).shape[:2]
        self.info = _steady(path, 1, 1 / STILL_SECONDS, width, height)
        self.damage = ""
        self.remarks: list[str] = []

    def frames(self, indices: Sequence[int] | IntArray) -> Iterator[Frame]:
        """The image, uint8 RGB [H, W, 3], for the index 0."""
        for _ in ascending(indices, 1, self.path):
            yield read_image(self.path)

    def close(self) -> None:
        """Nothing is kept open."""


class Stack:
    """A `.npy` array of frames, uint8 [T, H, W, 3] or grey [T, H, W]; frame k shows at k / `fps`."""

    def __init__(self, path: Path, fps: float | None) -> None:
        self.path = path
        fps = _given(fps, path)
        with reading(path, "not a .npy array, or cut short"):
            array = mapped_array(path)
        if array.dtype != np.uint8 or array.ndim not in (3, 4) or array.shape[3:] not in ((), (1,), (3,)):
            kind = f"{array.dtype} {list(array.shape)}"
            raise ClipError(f"{path}: a stack of frames is uint8 [T, H, W, 3] or [T, H, W], not {kind}")
        if not array.size:
            raise ClipError(f"{path}: the stack holds no frames")
        check_size(path, array.shape[2], array.shape[1])
        if len(array) > MOST_FRAMES:
            raise ClipError(f"{path}: {len(array)} frames, at most {MOST_FRAMES / 1e6:.0f} million can be read")
        self._array: npt.NDArray[np.uint8] = array
        self.info = _steady(path, len(array), fps, array.shape[2], array.shape[1])
        self.damage = ""
        self.remarks: list[str] = []

    def frames(self, indices: Sequence[int] | IntArray) -> Iterator[Frame]:
        """Copies of the frames at strictly ascending indices, uint8 RGB [H, W, 3]."""
        wanted = ascending(indices, len(self._array), self.path)
        with reading(self.path):
            for index in wanted:
                frame = np.array(self._array[index], order="C")
                yield frame if frame.shape[2:] == (3,) else np.repeat(frame.reshape(*frame.shape[:2], 1), 3, axis=2)

    def close(self) -> None:
        """Nothing to do: the file's pages go with the object."""


def mapped_array(path: Path) -> npt.NDArray[Any]:
    """The array of a `.npy` file, mapped into memory: nothing but its header is read.

    Raises:
        OSError, ValueError: no regular file, no array, one of Python objects, or a file that is shorter than it says;
            a broken header can raise anything.
    """
    open_file(path).close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a shape beyond 64 bits overflows before it is refused
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError("an archive of arrays")
    return array


def read_image(path: Path) -> Frame:
    """An image as uint8 RGB [H, W, 3], turned upright; transparency is dropped, 16 bits a channel become 8.

    Raises:
        ClipError: no image, a damaged one, or one of more than 179 megapixels.
    """
    with reading(path, "not an image that can be read"), warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # we have a limit of our own
        with open_file(path) as file:
            try:
                image = Image.open(file)
            except UnidentifiedImageError:
                raise ClipError(f"{path}: not an image that can be read, or damaged from its first bytes on") from None
            check_size(path, *image.size)
            ImageOps.exif_transpose(image, in_place=True)
            return _rgb(image, path)


def ascending(indices: Sequence[int] | IntArray, total: int, path: Path) -> IntArray:
    """Frame indices, checked.

    Raises:
        ValueError: not strictly ascending, or negative.
        ClipError: beyond the last frame.
    """
    wanted = np.asarray(indices, np.int64)
    if wanted.size and (wanted[0] < 0 or (np.diff(wanted) <= 0).any()):
        raise ValueError(f"frame indices must ascend strictly from 0 on, not {wanted[:8].tolist()}")
    if wanted.size and wanted[-1] >= total:
        raise ClipError(f"{path}: frame {wanted[-1]} is not there; there are {total}, counted from 0")
    return wanted


def _rgb(image: Image.Image, path: Path) -> Frame:
    if image.mode == "F":
        raise ClipError(f"{path}: the pixels are floating-point numbers of unknown range; save it with 8 or 16 bits")
    frame = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(1, BAND_PIXELS // max(image.width, 1))
    for top in range(0, image.height, rows):  # Pillow would hold several copies of the whole image
        bottom = min(top + rows, image.height)
        frame[top:bottom] = _rgb_band(image.crop((0, top, image.width, bottom)))
    return frame


def _rgb_band(image: Image.Image) -> Frame:
    if image.mode.startswith("I"):  # Pillow would clip 16 bits at 255 instead of scaling
        grey = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        return np.repeat(((grey + 128) // 257).astype(np.uint8)[..., None], 3, axis=2)
    if "transparency" in image.info:  # a palette's transparent colors have their RGB only by way of RGBA
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB"))


def _steady(path: Path, count: int, fps: float, width: int, height: int) -> VideoInfo:
    check_times(path, count / fps, 1 / fps, count, "frame")
    return VideoInfo(np.arange(count) / fps, count / fps, width, height)


def _given(fps: float | None, path: Path) -> float:
    if fps is None:
        raise ClipError(f"{path}: a frame folder or stack has no frame rate of its own; give it in the column fps")
    if not 0 < fps < float("inf"):
        raise ClipError(f"{path}: fps {fps} is not a frame rate")
    return fps


def _by_number(file: Path) -> list[tuple[int, str]]:
    # "frame2" before "frame10": digits compare as numbers and stand before letters.
    parts = re.split(r"(\d+)", file.name)
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in parts] + [(0, file.name)]
