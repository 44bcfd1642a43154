"""Folders of images, single images and `.npy` stacks, read as videos."""

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
from egotools.media.stamps import gap_remarks, gaps
from egotools.types import Frame, IntArray, VideoInfo

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".apng", ".avif")
BAND_PIXELS = 1 << 22  # of an image that are converted to RGB at once
MOVING = ("AVIF", "GIF", "PNG", "WEBP")  # formats of Pillow whose further pictures are frames; not so MPO and TIFF
MOST_CHANNELS = 4  # an axis so short holds the colors of a picture
ORIENTATION = 0x0112  # the tag of EXIF
AS_STORED = "the picture is used as it is stored"
NO_METADATA = f"its metadata cannot be read; {AS_STORED}"
TURN = Image.Transpose
TURNED = (TURN.FLIP_LEFT_RIGHT, TURN.ROTATE_180, TURN.FLIP_TOP_BOTTOM)  # as the EXIF orientations 2, 3, 4
SWAPPED = (TURN.TRANSPOSE, TURN.ROTATE_270, TURN.TRANSVERSE, TURN.ROTATE_90)  # 5 to 8
TURNS = dict(zip("012345678", (None, None, *TURNED, *SWAPPED), strict=True))  # cameras write 0 if they do not know
STILL_RATE = 25  # a single image is shown for one frame at this common rate


class FrameFolder:
    """A folder of images, one per frame, in the order of the numbers in their names.

    Frame k is shown at k / `fps`; missing numbers do not move the others.
    """

    def __init__(self, path: Path, fps: float | None) -> None:
        self.path, self.damage = path, ""
        fps = _given(fps, path)
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
        self.info = _placed(path, places, fps, width, height)
        self.remarks += gap_remarks(self.info.gaps)

    def frames(self, indices: Sequence[int] | IntArray) -> Iterator[Frame]:
        """As `Frames.frames`; an image of another size than the first is a `ClipError`."""
        for index in ascending(indices, len(self._files), self.path):
            frame = self._read(index)
            height, width = frame.shape[:2]
            if (width, height) != (self.info.width, self.info.height):
                first = f"{self._files[0].name} is {self.info.width}x{self.info.height}"
                raise ClipError(f"{self._files[index]}: {width}x{height} pixels, but {first}; frames need one size")
            yield frame

    def close(self) -> None:
        """Does nothing: no file is open."""

    def _read(self, index: int) -> Frame:
        remarks: list[str] = []
        frame = read_image(self._files[index], remarks)
        self.remarks += [f"{self._files[index].name}: {each}" for each in remarks if each not in self._said]
        self._said.update(remarks)  # of frames that are odd in the same way, the first is named
        return frame


class Still:
    """One image as a video of one frame, which is shown from 0 to 1/25 s."""

    def __init__(self, path: Path) -> None:
        self.path, self.damage = path, ""
        self.remarks: list[str] = []
        height, width = read_image(path, self.remarks).shape[:2]
        self.info = _placed(path, [0], STILL_RATE, width, height)

    def frames(self, indices: Sequence[int] | IntArray) -> Iterator[Frame]:
        """As `Frames.frames`, for the index 0."""
        for _ in ascending(indices, 1, self.path):
            yield read_image(self.path)

    def close(self) -> None:
        """Does nothing: no file is open."""


class Stack:
    """A `.npy` array of frames, uint8 [T, H, W, 3] or gray [T, H, W]; frame k is shown at k / `fps`."""

    def __init__(self, path: Path, fps: float | None) -> None:
        self.path, self.damage = path, ""
        self.remarks: list[str] = []
        fps = _given(fps, path)
        with reading(path, "not a .npy array, or truncated"):
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

    def frames(self, indices: Sequence[int] | IntArray) -> Iterator[Frame]:
        """As `Frames.frames`."""
        chosen = ascending(indices, len(self._array), self.path)
        with reading(self.path):
            for index in chosen:
                frame = np.array(self._array[index], order="C")
                yield frame if frame.shape[2:] == (3,) else np.repeat(frame.reshape(*frame.shape[:2], 1), 3, axis=2)

    def close(self) -> None:
        """Does nothing: the file is unmapped with the object."""


def not_frames(array: npt.NDArray[Any]) -> str:
    """Why an array is no stack of frames, uint8 [T, H, W, 3] or gray [T, H, W] or [T, H, W, 1]; "" if it is one.

    An array of three axes may also be one picture [H, W, 3] or [3, H, W]: frames a few pixels wide, and stacks of three
    gray frames, need a fourth axis.
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
        return f"{kind} may be one picture of {channels} channels; save frames as uint8 [T, H, W, 3] or [T, H, W, 1]"
    return (
        f"{kind} may be one picture of {width}x{height} pixels or {shape[0]} gray frames of {shape[2]}x{shape[1]};"
        f" save the picture as {[1, height, width, channels]}, or the frames as {[*shape, 1]}"
    )


def mapped_array(path: Path) -> npt.NDArray[Any]:
    """The array of a `.npy` file, mapped into memory: only its header is read.

    Raises:
        OSError, ValueError: no regular file, no array, one of Python objects, or a truncated file; a broken header can
            raise anything.
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
        path: a file; of several pictures in a TIFF the first is used.
        remarks: what is odd in the file is appended to it.

    Raises:
        ClipError: not an image, damaged, or larger than 179 megapixels.
    """
    found: list[str] = []
    with decoding_image(path), open_file(path) as file:
        try:
            with decoding_image(path):
                frame = _decoded(file, path, found)
        except ClipError:  # Pillow reads no PNG whose metadata is damaged or very long
            file.seek(0)
            if (bare := bare_png(file.read())) is None:
                raise
            frame = _decoded(io.BytesIO(bare), path, found)
            found.append(NO_METADATA)
    if remarks is not None:
        remarks += found
    return frame


def _decoded(file: BinaryIO, path: Path, remarks: list[str]) -> Frame:
    image = opened_image(file, path)
    if image.format in MOVING and (count := getattr(image, "n_frames", 1)) > 1:
        raise ClipError(f"{path}: an animation of {count} frames, a video of its own and not one picture")
    image.load()
    turn = None if image.format == "TIFF" else upright_turn(image, path, remarks)  # a TIFF is turned when loaded
    frame = rgb(image if turn is None else image.transpose(turn), path)
    if image.format == "TIFF":
        with suppress(ClipError), reading(path):  # if the pages cannot be counted, the first is good all the same
            if (pages := getattr(image, "n_frames", 1)) > 1:
                remarks.append(f"the first of {pages} pictures in the file is used")
    return frame


@contextmanager
def decoding_image(path: Path, what: str = "not an image that can be read") -> Iterator[None]:
    """As `reading`, without Pillow's warnings, mostly of metadata."""
    with reading(path, what), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # also about large images: we have our own limit
        yield


def opened_image(file: BinaryIO, path: Path) -> Image.Image:
    """An image whose pixels are not decoded yet.

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
    """How to turn an image upright by its EXIF or XMP data; None if it is upright, or nothing says how.

    Of the metadata, which programs garble, only the orientation is used.
    """
    try:
        with reading(path, "its EXIF data cannot be read"):
            said: object = image.getexif().get(ORIENTATION, 1)
    except ClipError as error:
        remarks.append(f"{str(error).removeprefix(f'{path}: ')}; {AS_STORED}")
        return None
    value = str(said[0] if isinstance(said, (tuple, bytes)) and said else said).strip("\0 ").removesuffix(".0")
    if value not in TURNS:
        remarks.append(f"its EXIF orientation is {value[:40]!r}, not 1 to 8; {AS_STORED}")
    return TURNS.get(value)


def ascending(indices: Sequence[int] | IntArray, total: int, path: Path) -> IntArray:
    """Checks frame indices.

    Raises:
        ValueError: the indices are not strictly ascending, or negative.
        ClipError: an index is beyond the last frame.
    """
    chosen = np.asarray(indices, np.int64)
    if chosen.size and (chosen[0] < 0 or (np.diff(chosen) <= 0).any()):
        raise ValueError(f"frame indices must be strictly ascending and at least 0, not {chosen[:8].tolist()}")
    if chosen.size and chosen[-1] >= total:
        raise ClipError(f"{path}: frame {chosen[-1]} does not exist; the last one is {total - 1}")
    return chosen


def rgb(image: Image.Image, path: Path) -> Frame:
    """The pixels of an image, uint8 [H, W, 3].

    Raises:
        ClipError: the pixels are floating-point numbers.
    """
    if image.mode == "F":
        raise ClipError(f"{path}: the pixels are floating-point numbers of unknown range; save them with 8 or 16 bits")
    frame = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(1, BAND_PIXELS // max(image.width, 1))
    for top in range(0, image.height, rows):  # Pillow would hold several copies of the whole image
        bottom = min(top + rows, image.height)
        frame[top:bottom] = _rgb_band(image.crop((0, top, image.width, bottom)))
    return frame


def _rgb_band(image: Image.Image) -> Frame:
    if image.mode.startswith("I"):  # Pillow would clip 16 bits at 255 instead of scaling
        gray = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        return np.repeat(((gray + 128) // 257).astype(np.uint8)[..., None], 3, axis=2)
    if "transparency" in image.info:  # transparent colors of a palette get their RGB only via RGBA
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
