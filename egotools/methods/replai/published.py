"""Windows of frames and of sound as RepLAI's published code cuts them, for `--preset reference`.

Source:
    Specification of RepLAI, 1.4 and 1.5, and its quirks Q8 and Q9 (`data/pyav_decoder.py`).
"""

from __future__ import annotations

import math

import numpy as np

from egotools.loading.files import Source
from egotools.media.audio import Sound
from egotools.types import FloatArray, IntArray

PACKET = 1024  # samples, of AAC


def published_run(source: Source, start: float, end: float, random: np.random.Generator) -> IntArray:
    """Indices of the frames between two times of the file, both included: as many as their rate has, rounded down.

    If there are more, a run of them from one of the first on, by chance, but never the last run; if there are fewer,
    from the first on again. A window without a frame, which the published code cannot read, has the one shown at
    `start`.
    """
    inside = published_frames(source, start, end)
    count = max(1, int((end - start) * round(source.info.fps, 3)))
    if len(inside) > count:
        first = int(random.integers(len(inside) - count))
        return inside[first : first + count]
    return np.resize(inside, count)


def published_frames(source: Source, start: float, end: float) -> IntArray:
    """Indices of the frames between two times of the file, which are rounded down to its ticks; both included."""
    times = source.info.times
    ticks, tick = _ticks(source)
    low, high = (int((moment - times[0]) / tick) for moment in (start, end))
    inside: IntArray = np.flatnonzero((low <= ticks) & (ticks <= high)).astype(np.int64)
    return inside if len(inside) else source.info.at([start])


def published_sound(sound: Sound, start: float, end: float) -> FloatArray:
    """Samples float32 [N] between two times of the file, mono at the sound's own rate, late and short.

    Packets that begin in the window are joined, and what the first one is late by is left out once more. Zeros only
    where a packet is missing.
    """
    rate, begin = sound.info.rate, sound.info.start
    low, high = (int((moment - begin) * rate) for moment in (start, end))
    first = max(math.ceil(low / PACKET), 0) * PACKET
    stop = min((high // PACKET + 1) * PACKET, round((sound.info.end - begin) * rate))
    late = first - low
    if stop <= first + late:
        return np.zeros(0, np.float32)
    return sound.alone(begin + first / rate, begin + stop / rate)[late : late + high - low]


def _ticks(source: Source) -> tuple[IntArray, float]:
    """When frames begin [F], in ticks from the first one on, and the seconds of a tick."""
    times = source.info.times
    pts = None if source.index is None else source.index.frames.pts
    if pts is None or len(pts) < 2:
        tick = 1e-6  # frames are counted, or have been given times
        return np.rint((times - times[0]) / tick).astype(np.int64), tick
    return pts - pts[0], float((times[-1] - times[0]) / (pts[-1] - pts[0]))
