"""Reads frames that are not in a video: a folder of images, one image, a `.npy` stack."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from egotools.errors import ClipError
from egotools.files.disk import open_file
from egotools.media.animation_chunks import bare_png
from egotools.media.limits import MOST_FRAMES, check_size, check_times, reading
from egotools.media.numbering import positions
from egotools.media.stamps import gaps
from egotools.types import Frame, IntArray, VideoInfo

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".apng", ".avif")
BAND_PIXELS = 1 << 22  # of an image converted to RGB at once
MOVING = ("AVIF", "GIF", "PNG", "WEBP")  # Pillow formats whose pictures are frames; not so for MPO and TIFF
MOST_CHANNELS = 4  # a shorter axis is taken as color channels
ORIENTATION = 0x0112  # the tag of EXIF
NO_METADATA = "its metadata cannot be read; the picture is taken as it is stored"
TURNS = {
    "0": None,  # written by some cameras for unknown
    "1": None,
    "2": Image.Transpose.FLIP_LEFT_RIGHT,
    "3": Image.Transpose.ROTATE_180,
    "4": Image.Transpose.FLIP_TOP_BOTTOM,
    "5": Image.Transpose.TRANSPOSE,
    "6": Image.Transpose.ROTATE_270,
    "7": Image.Transpose.TRANSVERSE,
    "8": Image.Transpose.ROTATE_90,
}
STILL_SECONDS = 1 / 25  # how long a single image shows: one frame of the common rate


class FrameFolder:
    """A folder of images, one per frame, in the order of the numbers in their names.

    Frame k shows at k / `fps`; if numbers are missing, the others keep their times.
    """

    def __init__(self, path: Path, fps: float | None) -> None:
        self.path = path
        self._fps = _given(fps, path)
        with reading(path, "the folder cannot be read"):
            files = [file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.name[0] != "."]
        self._files = sorted(files, key=_by_number)
        if not self._files:
            raise ClipError(f"{path}: the folder contains no images ({', '.join(IMAGE_SUFFIXES)})")
        try:
            places, self.remarks = positions([file.name for file in self._files])
        except ValueError as error:
            raise ClipError(f"{path}: {error}") from None
        self._said: set[str] = set()
        height, width = self._read(0).shape[:2]
        self.info = _placed(path, places, self._fps, width, height)
        self.remarks += [f"no frame from {a:.1f} s to {b:.1f} s; no rows there" for a, b in self.info.gaps[:3].tolist()]
        self.damage = ""

    def frames(self, indices: Sequence[int] | IntArray) -> Iterator[Frame]:
        """The images at strictly ascending indices, uint8 RGB [H, W, 3].

        Raises:
            ClipError: an image cannot be read, differs in size from the first one, or does not exist.
        """
        for index in ascending(indices, len(self._files), self.path):
            frame = self._read(index)
            height, width = frame.shape[:2]
            if (width, height) != (self.info.width, self.info.height):
                first = f"{self._files[0].name} is {self.info.width}x{self.info.height}"
                raise ClipError(f"{self._files[index]}: {width}x{height} pixels, but {first}; frames need one size")
            yield frame

    def close(self) -> None:
        """Does nothing: no file is kept open."""

    def _read(self, index: int) -> Frame:
        remarks: list[str] = []
        frame = read_image(self._files[index], remarks)
        self.remarks += [f"{self._files[index].name}: {each}" for each in remarks if each not in self._said]
        self._said.update(remarks)  # each remark names the first frame it applies to
        return frame


class Still:
    """One image as a video of one frame, shown from 0 to 1/25 s."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.remarks: list[str] = []
        height, width = read_image(path, self.remarks).shape[:2]
        self.info = _placed(path, [0], 1 / STILL_SECONDS, width, height)
        self.damage = ""

    def frames(self, indices: Sequence[int] | IntArray) -> Iterator[Frame]:
        """The image, uint8 RGB [H, W, 3], for the index 0."""
        for _ in ascending(indices, 1, self.path):
            yield read_image(self.path)

    def close(self) -> None:
        """Does nothing: no file is kept open."""


class Stack:
    """A `.npy` array of frames, uint8 [T, H, W, 3] or gray [T, H, W]; frame k shows at k / `fps`."""

    def __init__(self, path: Path, fps: float | None) -> None:
        self.path = path
        fps = _given(fps, path)
        with reading(path, "not a .npy array, or cut short"):
            array = mapped_array(path)
        if problem := not_frames(array):
            raise ClipError(f"{path}: {problem}")
        if not array.size:
            raise ClipError(f"{path}: the stack contains no frames")
        check_size(path, array.shape[2], array.shape[1])
        if len(array) > MOST_FRAMES:
            raise ClipError(f"{path}: {len(array)} frames; at most {MOST_FRAMES / 1e6:.0f} million can be read")
        self._array: npt.NDArray[np.uint8] = array
        self.info = _placed(path, range(len(array)), fps, array.shape[2], array.shape[1])
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
        """Does nothing: the mapped file is released with the object."""


def not_frames(array: npt.NDArray[Any]) -> str:
    """Why an array is not a stack of frames, uint8 [T, H, W, 3] or gray [T, H, W] or [T, H, W, 1]; empty if it is one.

    An array of three axes may also be one picture [H, W, 3] or [3, H, W]: frames a few pixels wide, and stacks of three
    gray frames, need an additional axis.
    """
    shape = list(array.shape)
    kind = f"{array.dtype} {shape}"
    if array.dtype != np.uint8 or array.ndim not in (3, 4) or array.shape[3:] not in ((), (1,), (3,)):
        advice = f"; save one picture as {[1, *shape]}" if array.dtype == np.uint8 and array.ndim == 2 else ""
        return f"a stack of frames is uint8 [T, H, W, 3] or [T, H, W], not {kind}{advice}"
    if array.ndim == 4 or (shape[2] > MOST_CHANNELS and shape[0] != 3):
        return ""
    height, width, channels = shape if shape[2] <= MOST_CHANNELS else (*shape[1:], shape[0])
    if channels not in (1, 3):
        return (
            f"{kind} may be one picture of {channels} channels; a stack of frames is uint8 [T, H, W, 3] or [T, H, W, 1]"
        )
    return (
        f"{kind} may be one picture of {width}x{height} pixels or {shape[0]} gray frames of {shape[2]}x{shape[1]};"
        f" save the picture as {[1, height, width, channels]}, or the frames as {[*shape, 1]}"
    )


def mapped_array(path: Path) -> npt.NDArray[Any]:
    """The array of a `.npy` file, mapped into memory: only its header is read.

    Raises:
        OSError, ValueError: not a regular file, not an array, Python objects, or a file shorter than it says;
            a broken header can raise other exceptions.
    """
    open_file(path).close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a shape beyond 64 bits overflows before it is refused
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError("an archive of arrays")
    return array


def read_image(path: Path, remarks: list[str] | None = None) -> Frame:
    """An image as uint8 RGB [H, W, 3], turned upright; transparency is dropped, 16 bits per channel become 8.

    Args:
        path: a file; the first of several pictures in a TIFF is used.
        remarks: collects what is unusual about the file.

    Raises:
        ClipError: not an image, damaged, or larger than 179 megapixels.
    """
    found: list[str] = []
    try:
        with decoding_image(path), open_file(path) as file:
            frame = _decoded(file, path, found)
    except ClipError:
        if (bare := _without_metadata(path)) is None:
            raise
        with decoding_image(path):
            frame = _decoded(bare, path, found)
        found.append(NO_METADATA)
    if remarks is not None:
        remarks += found
    return frame


def _decoded(file: BinaryIO, path: Path, remarks: list[str]) -> Frame:
    image = opened_image(file, path)
    if image.format in MOVING and (count := getattr(image, "n_frames", 1)) > 1:
        raise ClipError(f"{path}: an animation of {count} frames, which is a video, not one picture")
    image.load()
    turn = None if image.format == "TIFF" else upright_turn(image, path, remarks)  # a TIFF is rotated when it is loaded
    frame = rgb(image if turn is None else image.transpose(turn), path)
    if image.format == "TIFF":
        _count_pages(image, path, remarks)
    return frame


def _without_metadata(path: Path) -> io.BytesIO | None:
    """A PNG without metadata, because Pillow refuses PNGs with damaged or very long metadata; None for other files."""
    with decoding_image(path), open_file(path) as file:
        bare = bare_png(file.read())
    return None if bare is None else io.BytesIO(bare)


@contextmanager
def decoding_image(path: Path, what: str = "not an image that can be read") -> Iterator[None]:
    """Turns whatever Pillow raises into a one-line failure of the file; its warnings, mainly on metadata, are ignored.

    Raises:
        ClipError: for the file.
    """
    with reading(path, what), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # also about large images: we have our own limit
        yield


def opened_image(file: BinaryIO, path: Path) -> Image.Image:
    """An image whose pixels are not read yet.

    Raises:
        ClipError: not an image, or larger than 179 megapixels.
    """
    try:
        image = Image.open(file)
    except UnidentifiedImageError:
        raise ClipError(f"{path}: not an image that can be read, or damaged at its beginning") from None
    check_size(path, *image.size)
    return image


def upright_turn(image: Image.Image, path: Path, remarks: list[str]) -> Image.Transpose | None:
    """The rotation that makes an image upright, by its EXIF or XMP data; None if it is upright, or unknown.

    Only the orientation is read: the rest of the metadata, which programs often corrupt, is not needed.
    """
    try:
        with reading(path, "its EXIF data cannot be read"):
            said: object = image.getexif().get(ORIENTATION, 1)
    except ClipError as error:
        remarks.append(str(error).removeprefix(f"{path}: ") + "; the picture is taken as it is stored")
        return None
    value = str(said[0] if isinstance(said, (tuple, bytes)) and said else said).strip("\0 ").removesuffix(".0")
    if value not in TURNS:
        remarks.append(f"its EXIF orientation is {value[:40]!r}, not 1 to 8; the picture is taken as it is stored")
    return TURNS.get(value)


def _count_pages(image: Image.Image, path: Path, remarks: list[str]) -> None:
    with suppress(ClipError), reading(path):  # if pages cannot be counted, the first one can still be used
        if (pages := getattr(image, "n_frames", 1)) > 1:
            remarks.append(f"the first of {pages} pictures in the file is used")


def ascending(indices: Sequence[int] | IntArray, total: int, path: Path) -> IntArray:
    """Checks frame indices.

    Raises:
        ValueError: the indices are not strictly ascending, or negative.
        ClipError: an index is beyond the last frame.
    """
    wanted = np.asarray(indices, np.int64)
    if wanted.size and (wanted[0] < 0 or (np.diff(wanted) <= 0).any()):
        raise ValueError(f"frame indices must ascend strictly, from 0, not {wanted[:8].tolist()}")
    if wanted.size and wanted[-1] >= total:
        raise ClipError(f"{path}: frame {wanted[-1]} does not exist; there are {total} frames, counted from 0")
    return wanted


def rgb(image: Image.Image, path: Path) -> Frame:
    """The pixels of an image, uint8 [H, W, 3].

    Raises:
        ClipError: the pixels are floating-point numbers.
    """
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
    if "transparency" in image.info:  # transparent palette colors are converted correctly only via RGBA
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB"))


def _placed(path: Path, places: Sequence[int], fps: float, width: int, height: int) -> VideoInfo:
    times = np.asarray(places, np.float64) / fps
    end = (places[-1] + 1) / fps
    check_times(path, end, float(np.diff(times, append=end).max()), len(times), "frame")
    return VideoInfo(times, end, width, height, gaps(times, step=1 / fps, second=1.0))


def _given(fps: float | None, path: Path) -> float:
    if fps is None:
        raise ClipError(f"{path}: a frame folder or stack has no frame rate; give it in the column fps")
    if not 0 < fps < float("inf"):
        raise ClipError(f"{path}: fps {fps} is not a frame rate")
    return fps


def _by_number(file: Path) -> list[tuple[int, str]]:
    # "frame2" before "frame10": digits compare as numbers and sort before letters.
    parts = re.split(r"(\d+)", file.name)
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in parts] + [(0, file.name)]
