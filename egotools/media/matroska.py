"""Checks whether the elements of a Matroska file are contiguous, or data between them is lost."""

from __future__ import annotations

from pathlib import Path

from egotools.files.disk import open_file

ENTERED = {0x1A45DFA3: False, 0x18538067: True, 0x1F43B675: True}  # the file header is skipped; segments, clusters
# What else segments and clusters contain: tables, tags, attachments, chapters; times, blocks and groups, padding.
PASSED = {
    *(0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1254C367, 0x1941A469, 0x1043A770),
    *(0xE7, 0xA3, 0xA0, 0xAB, 0xA7, 0xAF, 0x5854, 0xEC, 0xBF),
}


def coded_number(data: bytes, at: int) -> tuple[int, int]:
    """The coded length of an element, all ones if unknown, and the width of the code in bytes.

    Source: RFC 8794, 4. The first byte is not zero.
    """
    width = 9 - data[at].bit_length()
    return int.from_bytes(data[at : at + width], "big") & not_known(width), width


def not_known(width: int) -> int:
    """The number of this width that means an unknown length."""
    return (1 << 7 * width) - 1


def lost_at(path: Path) -> int | None:
    """The first byte at which a Matroska file does not continue with an element; None if it always does."""
    size, at = path.stat().st_size, 0
    with open_file(path) as file:
        while at < size:
            file.seek(at)
            head = file.read(12)
            if len(head) < 12 or not head[0]:
                return at if len(head) == 12 else None
            wide = 9 - head[0].bit_length()
            number = int.from_bytes(head[:wide], "big")
            if (number not in ENTERED and number not in PASSED) or not head[wide]:
                return at
            length, width = coded_number(head, wide)
            at += wide + width
            if not ENTERED.get(number):
                at += length
    return None
