"""Gaps in FLAC and Ogg files: frames and pages that are damaged or missing, which FFmpeg skips silently."""

import mmap
import zlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from egotools.files.disk import open_file

FLAC_HEAD = 12  # bytes of a frame that hold its number
FLAC_VARIABLE = 0x01  # a flag of the second byte: samples are counted, not frames
OGG_HEADER = 27  # bytes of a page before the table of segments
OGG_BEGINS = 0x02  # a flag: the first page of a stream
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def first_lost_flac(heads: Sequence[bytes], lengths: Sequence[int]) -> int | None:
    """The first FLAC frame before which others are missing; None if none are.

    Args:
        heads: the first bytes of each frame.
        lengths: samples of each frame.
    """
    numbers = np.array([_flac_number(head) for head in heads], np.int64)
    steps = [length if head[1] & FLAC_VARIABLE else 1 for head, length in zip(heads, lengths, strict=True)]
    after = np.flatnonzero(np.diff(numbers) > steps[:-1])
    return int(after[0]) + 1 if len(after) else None


def first_lost_ogg(
    path: Path, place: tuple[int, int] | None, stream: int, positions: Sequence[int | None]
) -> int | None:
    """The first packet of Ogg before which pages are missing or damaged, P for the end; None if none are.

    Args:
        path: the file.
        place: the first byte and the last + 1 of the part that is read; None: all.
        stream: its position among the streams.
        positions: [P] of the packets' pages, bytes from the beginning of the part.

    Raises:
        OSError: the file cannot be read.
    """
    lost = _lost_pages(path, place, stream)
    if not lost:
        return None
    after = np.flatnonzero([position is not None and position >= min(lost) for position in positions])
    return int(after[0]) if len(after) else len(positions)


def _flac_number(head: bytes) -> int:
    """The number of a frame or of its first sample, coded as UTF-8 codes characters, in up to seven bytes."""
    ones = 8 - (head[4] ^ 0xFF).bit_length()
    number = head[4] & (0x7F >> ones)
    for byte in head[5 : 4 + max(ones, 1)]:
        number = number << 6 | byte & 0x3F
    return number


def _lost_pages(path: Path, place: tuple[int, int] | None, stream: int) -> list[int]:
    """Where pages of a stream are damaged, missing or truncated: bytes from the beginning of the part."""
    serials: list[bytes] = []
    numbers: dict[bytes, int] = {}
    lost: defaultdict[bytes, list[int]] = defaultdict(list)
    unknown: list[int] = []  # of pages whose stream is not known either
    with open_file(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        begin, end = place or (0, len(data))
        at = data.find(b"OggS", begin, end)
        while 0 <= at < end:
            head = data[at : at + OGG_HEADER]
            size = page_size(data, at)
            page = data[at : min(at + size, end)]
            if len(page) < size or len(head) < OGG_HEADER or not _is_whole(page):
                unknown.append(at - begin)
                at = data.find(b"OggS", at + 4, end)
                continue
            serial, number = head[14:18], int.from_bytes(head[18:22], "little")
            if head[5] & OGG_BEGINS:
                serials.append(serial)
            elif serial in numbers and number != (numbers[serial] + 1) % (1 << 32):
                lost[serial].append(at - begin)
            numbers[serial] = number
            at = data.find(b"OggS", at + size, end)
    if stream >= len(serials):
        return []
    # A damaged page is missing in its stream, too, unless it is the last.
    own = lost[serials[stream]]
    return own + [place for place in unknown if len(serials) == 1 and (not own or place < own[0])][:1]


def page_size(data: mmap.mmap, at: int) -> int:
    """Bytes of the page that begins at `at`, as its header says."""
    segments = data[at + OGG_HEADER - 1] if at + OGG_HEADER <= len(data) else 0
    return OGG_HEADER + segments + sum(data[at + OGG_HEADER : at + OGG_HEADER + segments])


def _is_whole(page: bytes) -> bool:
    """Whether the checksum fits: a CRC-32 from 0 on, of bits in the other order than zlib's."""
    said = int.from_bytes(page[22:26], "little")
    plain = page[:22] + bytes(4) + page[26:]
    found = zlib.crc32(plain.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(found.to_bytes(4, "little").translate(REVERSED), "big") == said
