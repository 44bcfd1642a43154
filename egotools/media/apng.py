"""Composes the frames of an animated PNG as its specification says.

Pillow (13) pastes over the picture below a frame, and FFmpeg (8) starts from scratch at every frame that
covers everything and is to be cleared, whatever shows through it.

Source: Portable Network Graphics (PNG) Specification, third edition, W3C, section 12.11 and 13.14.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from egotools.media.chunks import PNG, png_chunks
from egotools.types import Frame

SHARED = (b"PLTE", b"tRNS")  # chunks that apply to every frame
CLEAR, RESTORE = 1, 2  # what happens to a frame's box before the next frame
OVER = 1  # a frame is blended over what is below it


@dataclass
class _Part:
    """The part drawn for one frame: its box, how it is blended and disposed of, and the compressed pixels."""

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
        grey = ((np.asarray(image).astype(np.int64) + 128) // 257).astype(np.uint8)
        return np.dstack([grey, grey, grey, np.full_like(grey, 255)])
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
