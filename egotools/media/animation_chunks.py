"""Reads the chunks of animated PNG and WebP files: the intact part, the duration of each frame, the frames of a PNG.

Pillow (13) verifies no checksum of an animation, skips incomplete frames of a WebP, and pastes over the picture below a
frame of a PNG; FFmpeg (8) starts from scratch at every frame that covers everything and is to be cleared.

Source: Portable Network Graphics (PNG) Specification, third edition, W3C, section 12.11 and 13.14.
"""

import io
import struct
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from PIL import Image

from egotools.media.chunks import PNG, png_chunks, riff_chunks
from egotools.types import Frame

NEEDED = (b"IDAT", b"fdAT", b"fcTL")  # chunks of a PNG without which its pictures are lost
SHARED = (b"PLTE", b"tRNS")  # chunks of a PNG that apply to every frame
PICTURE = (b"IHDR", *SHARED, b"acTL", *NEEDED, b"IEND")  # chunks of a PNG that are not metadata
CLEAR, RESTORE = 1, 2  # what happens to the box of a PNG frame before the next frame
OVER = 1  # a frame is blended over what is below it
LAST = (b"EXIF", b"XMP ")  # chunks of a WebP that follow its pictures

Problem = Literal["", "truncated", "damaged"]


def whole_part(data: bytes) -> tuple[bytes, Problem]:
    """A PNG or WebP up to the first chunk that is not intact, and the problem; other files unchanged.

    A WebP gets its new length in the header; otherwise it could not be read at all.
    """
    if data.startswith(PNG):
        end, problem = _end_of_png(data)
        return data[:end], problem
    if _is_webp(data):
        end, problem = _end_of_webp(data)
        return data[:4] + struct.pack("<I", end - 8) + data[8:end], problem
    return data, ""


def bare_png(data: bytes) -> bytes | None:
    """A PNG without its metadata, which may be damaged; None for other files."""
    if not data.startswith(PNG):
        return None
    kept = (data[at - 8 : at + length + 4] for kind, at, length in png_chunks(data) if kind in PICTURE)
    return PNG + b"".join(kept)


def frame_seconds(data: bytes) -> list[float] | None:
    """The duration of each frame of a PNG or WebP, as stated in the file; None for other files.

    Args:
        data: intact chunks; the last frame of a PNG may lack some.
    """
    if data.startswith(PNG):
        controls = [data[at : at + length] for kind, at, length in png_chunks(data) if kind == b"fcTL"]
        times = [struct.unpack_from(">HH", control, 20) for control in controls if len(control) == 26]
        return [part / (whole or 100) for part, whole in times]
    if _is_webp(data):
        frames = [at for kind, at, _ in _webp_chunks(data) if kind == b"ANMF"]
        return [int.from_bytes(data[at + 12 : at + 15], "little") / 1000 for at in frames]
    return None


def _is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    return riff_chunks(data[: 8 + int.from_bytes(data[4:8], "little")])


def _end_of_png(data: bytes) -> tuple[int, Problem]:
    end = len(PNG)
    for kind, at, length in png_chunks(data):
        after = at + length
        if not kind.isalpha():
            return end, "damaged"
        if after + 4 > len(data):
            return end, "truncated"
        checksum = int.from_bytes(data[after : after + 4], "big")
        if kind in NEEDED and zlib.crc32(memoryview(data)[at - 4 : after]) != checksum:
            return end, "damaged"
        end = after + 4
        if kind == b"IEND":
            return end, ""
    return end, "truncated"


def _end_of_webp(data: bytes) -> tuple[int, Problem]:
    end, declared = 12, 8 + int.from_bytes(data[4:8], "little")
    for kind, at, length in _webp_chunks(data):
        if not all(32 <= letter < 127 for letter in kind):
            return end, "damaged"
        if at + length > len(data):
            return end, "" if kind in LAST else "truncated" if declared > len(data) else "damaged"
        end = min(at + length + length % 2, len(data))
    return end, "truncated" if declared > len(data) + 1 else ""  # some files lack the last byte, which is padding


@dataclass
class _Part:
    """The part drawn for one frame of a PNG: its box, how it is disposed of and blended, and the compressed pixels."""

    width: int
    height: int
    x: int
    y: int
    dispose: int
    blend: int
    data: list[bytes] = field(default_factory=list)


def png_frames(data: bytes, *, is_whole: bool) -> Generator[Image.Image, None, None]:
    """The frames of an animated PNG, RGBA, in order.

    Args:
        data: the file, or its intact part; the last frame of a part is left out, because it may be incomplete.

    Raises:
        ValueError: a frame outside the picture, or no frame; and whatever Pillow raises.
    """
    head, shared, parts = _taken_apart(data)
    width, height = struct.unpack_from(">II", head)
    canvas = np.zeros((height, width, 4), np.uint8)
    for number, part in enumerate(parts if is_whole else parts[:-1]):
        if part.x + part.width > width or part.y + part.height > height:
            raise ValueError(f"a part of {part.width}x{part.height} pixels is outside the picture")
        box = canvas[part.y : part.y + part.height, part.x : part.x + part.width]
        before = box.copy()
        pixels = _pixels(part, head, shared)
        box[...] = _over(pixels, box) if part.blend == OVER else pixels
        yield Image.fromarray(canvas.copy())
        if part.dispose == RESTORE and number > 0:
            box[...] = before
        elif part.dispose in (CLEAR, RESTORE):
            box[...] = 0


def _taken_apart(data: bytes) -> tuple[bytes, bytes, list[_Part]]:
    """The header, the chunks shared by all frames, and the frames; a picture before the first frame is not one."""
    head, shared = b"", b""
    parts: list[_Part] = []
    for kind, at, length in png_chunks(data):
        content = data[at : at + length]
        if kind == b"IHDR":
            head = content
        elif kind in SHARED and not parts:
            shared += _chunk(kind, content)
        elif kind == b"fcTL":
            _, width, height, x, y, _, _, dispose, blend = struct.unpack(">5I2H2B", content)
            parts.append(_Part(width, height, x, y, dispose, blend))
        elif kind in (b"IDAT", b"fdAT") and parts:
            parts[-1].data.append(content[4:] if kind == b"fdAT" else content)
    return head, shared, parts


def _pixels(part: _Part, head: bytes, shared: bytes) -> Frame:
    """Pixels [H, W, 4] of one part, decoded as a separate PNG."""
    own = struct.pack(">II", part.width, part.height) + head[8:]
    chunks = [_chunk(b"IHDR", own), shared, _chunk(b"IDAT", b"".join(part.data)), _chunk(b"IEND", b"")]
    image = Image.open(io.BytesIO(PNG + b"".join(chunks)))
    if image.mode.startswith("I"):  # 16 bits, which Pillow would clip at 255
        gray = ((np.asarray(image).astype(np.int64) + 128) // 257).astype(np.uint8)
        return np.dstack([gray, gray, gray, np.full_like(gray, 255)])
    return np.asarray(image.convert("RGBA"))


def _over(above: Frame, below: Frame) -> Frame:
    """Pixels [H, W, 4] blended over others, in integers."""
    shine = above[..., 3:].astype(np.int64) * 255
    rest = (255 - above[..., 3:].astype(np.int64)) * below[..., 3:]
    total = shine + rest
    mixed = (above[..., :3] * shine + below[..., :3] * rest) // np.maximum(total, 1)
    return np.where(above[..., 3:] == 0, below, np.dstack([mixed, total // 255])).astype(np.uint8)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
