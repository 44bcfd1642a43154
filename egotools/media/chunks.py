"""The chunks, boxes and elements that media files consist of: RIFF, PNG, MP4 and Matroska."""

import mmap
import struct
from collections.abc import Iterator
from typing import BinaryIO

PNG = b"\x89PNG\r\n\x1a\n"  # what a file begins with
MATROSKA = b"\x1a\x45\xdf\xa3"  # the same


def riff_chunks(data: bytes | mmap.mmap) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk of an AVI, WAV or WebP file: its kind, where its content begins, and its stated length."""
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        yield kind, at + 8, length
        at += 8 + length + length % 2


def png_chunks(data: bytes | mmap.mmap) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk of a PNG: its kind, where its content begins, and its stated length."""
    at = len(PNG)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, at + 8, length
        at += 12 + length


def boxes(file: BinaryIO | mmap.mmap) -> Iterator[tuple[bytes, int, int]]:
    """Each outermost box of an MP4, up to damage: its kind, and where its content begins and is stated to end."""
    file.seek(0, 2)  # which gives None for a mapped file before Python 3.13
    end_of_file = file.tell()
    at = 0
    while at + 8 <= end_of_file:
        file.seek(at)
        size, kind = struct.unpack(">I4s", file.read(8))
        begin = at + 8
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8).ljust(8, b"\0"))
            begin += 8
        end = at + size if size else end_of_file
        if end < begin:
            return
        yield kind, begin, end
        at = end


def coded_number(data: bytes, at: int) -> tuple[int, int]:
    """The length of a Matroska element, all ones if unknown, and how many bytes state it.

    Source: RFC 8794, 4. The first byte is not zero.
    """
    width = 9 - data[at].bit_length()
    return int.from_bytes(data[at : at + width], "big") & (1 << 7 * width) - 1, width
