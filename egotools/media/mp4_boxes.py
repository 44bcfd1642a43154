"""Lists the top-level boxes of an MP4 or QuickTime file."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import BinaryIO


def boxes(file: BinaryIO | mmap.mmap) -> Iterator[tuple[bytes, int, int]]:
    """The top-level boxes: their kind, and the start and end of their content; boxes after damage are left out."""
    file.seek(0, 2)  # which returns None for a mapped file before Python 3.13
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
        yield kind, begin, min(end, end_of_file)
        at = end
