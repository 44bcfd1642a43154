"""Sound files that were joined end to end, as `cat a.ogg b.ogg` does: where each of them begins."""

from __future__ import annotations

import itertools
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

from egotools.files import open_file

OGG_FIRST_PAGE = 0x02  # a flag of a page: a stream begins
# A LAME or Xing header stands in the first frame of an MP3, whose other bytes up to there are zero: after its four
# bytes, 32 of side information (MPEG 1, stereo), 17 (MPEG 1 mono, MPEG 2 stereo) or 9 (MPEG 2 mono).
MP3_FIRST_FRAME = re.compile(
    rb"\xff[\xe2-\xff][\x10-\xef].(?:\x00{32}|\x00{17}|\x00{9})(?:Xing|Info)",
    re.DOTALL,
)

NEAR = 4096  # bytes of padding that may stand between a tag and the first frame


def parts_of(path: Path, format: str) -> list[tuple[int, int]]:
    """First and last byte + 1 of each file that was joined; one part for the others, and for other formats.

    Args:
        path: a regular file.
        format: FFmpeg's name of the container.

    Raises:
        OSError: the file cannot be read.
    """
    if format not in ("ogg", "mp3"):
        return [(0, path.stat().st_size)]
    with open_file(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        begins = list(_ogg_links(data) if format == "ogg" else _mp3_files(data))
        own = 0 if format == "ogg" else _after_tag(data) + NEAR  # what begins up to here is the first file itself
        edges = [0, *(begin for begin in begins if begin > own), len(data)]
    return list(itertools.pairwise(edges))


def _ogg_links(data: mmap.mmap) -> Iterator[int]:
    """Where a group of first pages begins: the streams of one link begin together, before any goes on."""
    at, was_first = 0, False
    while (at := data.find(b"OggS", at)) >= 0 and at + 27 <= len(data):
        is_first = bool(data[at + 5] & OGG_FIRST_PAGE)
        if is_first and not was_first:
            yield at
        was_first = is_first
        segments = data[at + 26]
        at += 27 + segments + sum(data[at + 27 : at + 27 + segments])


def _mp3_files(data: mmap.mmap) -> Iterator[int]:
    """Where each file begins that has a LAME or Xing header: with that frame, or the ID3 tag before it."""
    before = 0
    for match in MP3_FIRST_FRAME.finditer(data):
        begin = match.start()
        tag = data.rfind(b"ID3", before, begin)
        while tag >= 0 and tag + 10 + _tag_size(data[tag + 6 : tag + 10]) != begin:
            tag = data.rfind(b"ID3", before, tag)
        yield begin if tag < 0 else tag
        before = begin


def _after_tag(data: mmap.mmap) -> int:
    return 10 + _tag_size(data[6:10]) if data[:3] == b"ID3" else 0


def _tag_size(digits: bytes) -> int:
    """Of an ID3 tag without its first ten bytes: seven bits a byte."""
    return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(reversed(digits)))
