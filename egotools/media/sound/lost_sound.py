"""Sound that is missing amid a file, where FFmpeg passes over the damage without a word and moves up what follows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from egotools.media.sound.ogg_pages import lost_pages

FLAC_HEAD = 12  # bytes of a frame that its number lies in
FLAC_VARIABLE = 0x01  # a flag of the second byte: samples are counted, not frames


def first_lost_flac(heads: Sequence[bytes], lengths: Sequence[int]) -> int | None:
    """The first frame of FLAC before which others are missing; None if none are.

    Args:
        heads: the first bytes of each frame.
        lengths: samples of each.
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
    """The first packet of Ogg before which pages are missing or damaged; None if none are.

    Args:
        path: the file.
        place: the bytes of the part that is read; None: all.
        stream: its position among the streams.
        positions: of the packets' pages, bytes from the beginning of the part.
    """
    lost = lost_pages(path, place, stream)
    if not lost:
        return None
    after = np.flatnonzero([position is not None and position >= min(lost) for position in positions])
    return int(after[0]) if len(after) else len(positions)


def _flac_number(head: bytes) -> int:
    """Of a frame, or of its first sample: coded as UTF-8 codes characters, in up to seven bytes."""
    ones = 8 - (head[4] ^ 0xFF).bit_length()
    number = head[4] & (0x7F >> ones)
    for byte in head[5 : 4 + max(ones, 1)]:
        number = number << 6 | byte & 0x3F
    return number
