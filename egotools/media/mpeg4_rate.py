"""The frame rate of a raw MPEG-4 stream, from the times in its picture headers.

FFmpeg (8) reports the time resolution of such a stream, which is its rate only if every picture is one tick long.
Source: ISO/IEC 14496-2, 6.2.5 and 6.3.5.
"""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np

HEADER = re.compile(
    rb"\x00\x00\x01([\xb3\xb6])(?=(.{12}))", re.DOTALL
)  # header of a group of pictures, or of a picture
GROUP = b"\xb3"
BETWEEN = 2  # type of a picture shown before the one decoded before it


def picture_rate(data: bytes, counts: int) -> Fraction | None:
    """Pictures per second; None if there are fewer than two.

    Args:
        data: the stream, or its beginning.
        counts: ticks per second.
    """
    width = max((counts - 1).bit_length(), 1)
    times: list[int] = []
    before = second = 0  # times of the last two reference pictures
    for kind, header in HEADER.findall(data):
        bits = f"{int.from_bytes(header, 'big'):0{8 * len(header)}b}"
        if kind == GROUP:
            second = int(bits[:5], 2) * 3600 + int(bits[5:11], 2) * 60 + int(bits[12:18], 2)
            continue
        later = bits.index("0", 2) - 2 if "0" in bits[2:] else 0  # whole seconds
        count = int(bits[later + 4 : later + 4 + width], 2)
        if int(bits[:2], 2) == BETWEEN:
            times.append((before + later) * counts + count)
        else:
            before, second = second, second + later
            times.append(second * counts + count)
    steps = np.diff(np.unique(times))
    return Fraction(counts, int(np.median(steps))) if len(steps) else None
