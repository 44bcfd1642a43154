"""Reads the chunks of animated PNG and WebP files: the intact part of a file, and the duration of each frame.

Pillow verifies no checksum of an animation, and skips frames of a WebP that are not whole.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Literal

from egotools.media.chunks import PNG, png_chunks, riff_chunks

NEEDED = (b"IDAT", b"fdAT", b"fcTL")  # chunks of a PNG by which its pictures stand or fall
PICTURE = (b"IHDR", b"PLTE", b"tRNS", b"acTL", *NEEDED, b"IEND")  # chunks of a PNG that are no metadata
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
