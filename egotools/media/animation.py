"""Reads animated images (WebP, PNG, AVIF) as videos: frames in order, each with its own duration."""

import io
import mmap
from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from egotools.errors import ClipError
from egotools.files.disk import open_file
from egotools.media.animation_chunks import bare_png, frame_seconds, png_frames, whole_part
from egotools.media.chunks import PNG, png_chunks
from egotools.media.limits import check_times
from egotools.media.stills import NO_METADATA, ascending, decoding_image, opened_image, rgb, upright_turn
from egotools.types import Frame, IntArray, VideoInfo

UNTIMED = 0.1  # duration of frames that state none, as in browsers


def is_animated(path: Path) -> bool:
    """Whether an image file is an animation, by its content.

    Raises:
        ClipError: it cannot be read.
    """
    with decoding_image(path), open_file(path) as file:
        head = file.read(32)
        if head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X":
            return bool(head[20] & 2)
        if head[4:8] == b"ftyp" or head[:4] == b"GIF8":  # the latter with the wrong suffix
            return bool(getattr(opened_image(file, path), "is_animated", False))
        if not head.startswith(PNG):
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return next((kind for kind, *_ in png_chunks(data) if kind in (b"acTL", b"IDAT")), b"") == b"acTL"


def is_picture(path: Path) -> bool:
    """Whether a file is a PNG, WebP or JPEG by its content: web servers send them named as GIF.

    Raises:
        ClipError: it cannot be read.
    """
    with decoding_image(path, "cannot be opened"), open_file(path) as file:
        head = file.read(16)
    return head.startswith((PNG, b"\xff\xd8\xff")) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


class Animation:
    """An animated image, decoded forward from its position; going back restarts.

    Raises:
        ClipError: the image cannot be read, or has no complete frame.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.remarks: list[str] = []
        with decoding_image(path):
            with open_file(path) as file:
                self._data, self._problem = whole_part(file.read())
            self._begin_bare()
            self._turn = upright_turn(self._image, path, self.remarks)
            begin, end, count = self._times()
        self.damage = ""
        if self._problem or count > len(begin):
            of = f" of {count}" if count > len(begin) else ""
            self.damage = f"{self._problem or 'damaged'}: {len(begin)}{of} frames can be read, up to {end:.3f} s"
        self.info = self._shown(begin, end)

    def frames(self, indices: Sequence[int] | IntArray) -> Iterator[Frame]:
        """As `Frames.frames`; transparency is dropped."""
        for index in ascending(indices, len(self.info), self.path).tolist():
            with decoding_image(self.path, f"frame {index} at {self.info.times[index]:.3f} s does not decode"):
                image = self._at(index)
                frame = rgb(image if self._turn is None else image.transpose(self._turn), self.path)
            yield frame

    def close(self) -> None:
        """Releases the decoder."""
        self._pictures.close()

    def _begin(self) -> None:
        self._image = opened_image(io.BytesIO(self._data), self.path)
        is_png = self._image.format == "PNG"
        self._pictures = png_frames(self._data, is_whole=not self._problem) if is_png else _by_pillow(self._image)
        self._position = -1  # index of the current frame
        self._current: Image.Image | None = None

    def _begin_bare(self) -> None:
        """Goes to the first frame; reads a PNG without its metadata if that keeps Pillow from reading it."""
        try:
            with decoding_image(self.path):
                self._begin()
        except ClipError:
            if (bare := bare_png(self._data)) is None:
                raise
            self._data = bare
            self._begin()
            self.remarks.append(NO_METADATA)

    def _at(self, index: int) -> Image.Image:
        if index < self._position or self._current is None:
            self._begin()
        if index > self._position:
            steps, self._current = index - self._position - 1, None
            self._current, self._position = next(islice(self._pictures, steps, None)), index
        assert self._current is not None, "just decoded"
        return self._current

    def _times(self) -> tuple[list[float], float, int]:
        """When each frame begins, when the last one ends, and how many there should be."""
        count = getattr(self._image, "n_frames", 1)
        seconds = frame_seconds(self._data)
        if seconds is None:
            return (*self._decoded_times(count), count)
        if self._image.format == "WEBP" and len(seconds) != count:
            raise ClipError(f"{self.path}: {len(seconds)} frames, of which {len(seconds) - count} are damaged")
        if self._image.format == "PNG":
            count -= int(getattr(self._image, "default_image", False))  # for programs without support for animations
            seconds = seconds[: len(seconds) - 1 if self._problem else count]
        if not seconds:
            raise ClipError(f"{self.path}: {self._problem or 'damaged'} before its first frame ends")
        edges = np.cumsum([0, *seconds]).tolist()
        return edges[:-1], edges[-1], count

    def _decoded_times(self, count: int) -> tuple[list[float], float]:
        begin: list[float] = []
        end = 0.0
        try:
            with decoding_image(self.path):
                for index in range(count):
                    said = self._at(index).info
                    # An AVIF's are rounded to milliseconds: summing its durations would give another length.
                    begin.append(said["timestamp"] / 1000 if "timestamp" in said else end)
                    end = begin[-1] + said.get("duration", 0) / 1000
        except ClipError:
            if not begin:
                raise
        return begin, end

    def _shown(self, begin: Sequence[float], end: float) -> VideoInfo:
        times = np.array(begin)
        lasting = np.diff(times, append=end)
        if untimed := int((lasting <= 0).sum()):
            self.remarks.append(f"{untimed} of {len(times)} frames have no duration; each is shown for {UNTIMED} s")
            lasting[lasting <= 0] = UNTIMED
            times = times[0] + np.cumsum([0, *lasting[:-1]])
            end = times[-1] + lasting[-1]
        check_times(self.path, end, float(lasting.max()), len(times), "frame")
        image = Image.new("1", self._image.size)
        width, height = (image if self._turn is None else image.transpose(self._turn)).size
        return VideoInfo(times, float(end), width, height)


def _by_pillow(image: Image.Image) -> Generator[Image.Image, None, None]:
    for index in range(getattr(image, "n_frames", 1)):
        image.seek(index)
        image.load()
        yield image
