"""Detects sound missing in the middle of a file, where FFmpeg silently skips the damage and moves up what follows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from egotools.media.sound.ogg_pages import lost_pages

FLAC_HEAD = 12  # bytes at the start of a frame that contain its number
FLAC_VARIABLE = 0x01  # flag in the second byte: samples are counted, not frames


def first_lost_flac(heads: Sequence[bytes], lengths: Sequence[int]) -> int | None:
    """The first FLAC frame before which others are missing; None if none are.

    Args:
        heads: the first bytes of each frame.
        lengths: samples of each frame.
    """
    numbers = [_flac_number(head) for head in heads]
    steps = [length if head[1] & FLAC_VARIABLE else 1 for head, length in zip(heads, lengths, strict=True)]
    for at in range(1, len(numbers)):
        if numbers[at] > numbers[at - 1] + steps[at - 1]:
            return at
    return None


def first_lost_ogg(
    path: Path, place: tuple[int, int] | None, stream: int, positions: Sequence[int | None]
) -> int | None:
    """The first Ogg packet before which pages are missing or damaged; None if none are.

    Args:
        path: the file.
        place: the byte range of the part; None: all.
        stream: its position among the streams.
        positions: byte offsets of the packets' pages in the part.
    """
    lost = lost_pages(path, place, stream)
    if not lost:
        return None
    after = np.flatnonzero([position is not None and position >= min(lost) for position in positions])
    return int(after[0]) if len(after) else len(positions)


def _flac_number(head: bytes) -> int:
    """The number of a frame, or of its first sample: coded like a UTF-8 character, in up to seven bytes."""
    ones = 8 - (head[4] ^ 0xFF).bit_length()
    number = head[4] & (0x7F >> ones)
    for byte in head[5 : 4 + max(ones, 1)]:
        number = number << 6 | byte & 0x3F
    return number
