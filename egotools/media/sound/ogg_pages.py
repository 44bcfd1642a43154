"""Finds damaged or missing pages of an Ogg file, which FFmpeg skips silently."""

from __future__ import annotations

import mmap
import zlib
from collections import defaultdict
from pathlib import Path

from egotools.files.disk import open_file

HEADER = 27  # bytes before the table of segments
BEGINS = 0x02  # flag of the first page of a stream
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def lost_pages(path: Path, place: tuple[int, int] | None, stream: int) -> list[int]:
    """Where pages of a stream are damaged, missing or cut off: byte offsets in the part.

    Args:
        path: an Ogg file.
        place: the byte range of the part; None: the entire file.
        stream: its position among the streams of the file.

    Raises:
        OSError: the file cannot be read.
    """
    serials: list[bytes] = []
    numbers: dict[bytes, int] = {}
    lost: defaultdict[bytes, list[int]] = defaultdict(list)
    unknown: list[int] = []  # positions of pages whose stream is unknown
    with open_file(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        begin, end = place or (0, len(data))
        at = data.find(b"OggS", begin, end)
        while 0 <= at < end:
            head = data[at : at + HEADER]
            size = page_size(data, at)
            page = data[at : min(at + size, end)]
            if len(page) < size or len(head) < HEADER or not _is_whole(page):
                unknown.append(at - begin)
                at = data.find(b"OggS", at + 4, end)
                continue
            serial, number = head[14:18], int.from_bytes(head[18:22], "little")
            if head[5] & BEGINS:
                serials.append(serial)
            elif serial in numbers and number != (numbers[serial] + 1) % (1 << 32):
                lost[serial].append(at - begin)
            numbers[serial] = number
            at = data.find(b"OggS", at + size, end)
    if stream >= len(serials):
        return []
    # A page that is damaged is missing in its stream, too, unless it is the last.
    own = lost[serials[stream]]
    return own + [place for place in unknown if len(serials) == 1 and (not own or place < own[0])][:1]


def page_size(data: mmap.mmap, at: int) -> int:
    """The size of the page that starts at `at`, from its header."""
    segments = data[at + HEADER - 1] if at + HEADER <= len(data) else 0
    return HEADER + segments + sum(data[at + HEADER : at + HEADER + segments])


def _is_whole(page: bytes) -> bool:
    """Whether the checksum is right: a CRC-32 starting from 0, with reversed bits compared to zlib's."""
    said = int.from_bytes(page[22:26], "little")
    plain = page[:22] + bytes(4) + page[26:]
    found = zlib.crc32(plain.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(found.to_bytes(4, "little").translate(REVERSED), "big") == said
