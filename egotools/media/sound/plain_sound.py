"""Short stretches of sound that needs no repair, without the steps that take most of the time of reading it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from av.audio.frame import AudioFrame

from egotools.media.containers import exact
from egotools.media.sound.sound_file import SoundFile
from egotools.media.sound.steady_sound import Waveform, floats


def plain_stretch(file: SoundFile, begin: int, stop: int) -> Waveform | None:
    """Samples of a stream from number `begin` up to `stop`, the mean of all channels, by a new decoder.

    Returns:
        float32 [N], fewer if the stream ends before; None where frames cannot be read from the middle of the file, do
        not follow one another to the sample, or change their rate or layout.
    """
    if not file.can_jump:
        return None
    frames = file.fresh_frames(file.start + Fraction(begin, file.rate))
    pieces: list[Sequence[Waveform]] = []  # of each frame the channels
    kind = file.rate, file.layout.name
    at, shift = -1, 0  # the sample of the stream that comes next; what timestamps lack to count samples
    for frame in frames or ():
        if frame.pts is None or (frame.sample_rate, frame.layout.name) != kind:
            return None
        if at < 0:
            place = _shift(file, frame)
            if place is None:
                return None
            shift, at = place, frame.pts + place
        if frame.pts + shift != at:
            return None
        low, high = max(begin - at, 0), min(stop - at, frame.samples)
        if low < high:
            pieces.append([channel[low:high] for channel in _channels(frame)])
        at += frame.samples
        if at >= stop:
            break
    if not pieces:
        return None
    first, *others = (np.concatenate(channel) for channel in zip(*pieces, strict=True))
    samples: Waveform = first
    for channel in others:  # the bits of np.mean over channels, without an array of all
        samples += channel
    samples /= 1 + len(others)
    return samples


def _channels(frame: AudioFrame) -> Sequence[Waveform]:
    """The samples [N] of each channel; floats are not copied."""
    if frame.format.name == "fltp":
        return [np.frombuffer(memoryview(plane), np.float32, frame.samples) for plane in frame.planes]
    return [*floats(frame)]


def _shift(file: SoundFile, frame: AudioFrame) -> int | None:
    """What is to be added to timestamps to count samples of the stream; None if ticks are no samples."""
    if frame.time_base is None or exact(frame.time_base) * file.rate != 1:
        return None
    shift = (file.known.parts[0].shift - file.start) * file.rate
    return int(shift) if shift.denominator == 1 else None
