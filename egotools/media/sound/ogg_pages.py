"""Pages of an Ogg file that are damaged or missing. FFmpeg passes over them without a word."""

from __future__ import annotations

import mmap
import zlib
from collections import defaultdict
from pathlib import Path

from egotools.files.disk import open_file

HEADER = 27  # bytes before the table of segments
BEGINS = 0x02  # a flag: the first page of a stream
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def lost_pages(path: Path, place: tuple[int, int] | None, stream: int) -> list[int]:
    """Where pages of a stream are damaged, missing or cut off: bytes from the beginning of the part.

    Args:
        path: an Ogg file.
        place: the first byte and the last + 1 of the part; None: the whole file.
        stream: its position among the streams of the file.

    Raises:
        OSError: the file cannot be read.
    """
    serials: list[bytes] = []
    numbers: dict[bytes, int] = {}
    lost: defaultdict[bytes, list[int]] = defaultdict(list)
    unknown: list[int] = []  # of pages of which not even the stream is known
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
    """Bytes of the page that begins at `at`, as its header says."""
    segments = data[at + HEADER - 1] if at + HEADER <= len(data) else 0
    return HEADER + segments + sum(data[at + HEADER : at + HEADER + segments])


def _is_whole(page: bytes) -> bool:
    """Whether the checksum fits: a CRC-32 from 0 on, of bits in the other order than zlib's."""
    said = int.from_bytes(page[22:26], "little")
    plain = page[:22] + bytes(4) + page[26:]
    found = zlib.crc32(plain.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(found.to_bytes(4, "little").translate(REVERSED), "big") == said
