"""Joins decoded audio frames to one continuous waveform with a fixed rate and layout.

Axes: C channels, N samples.
"""

import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain

import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.resampler import AudioResampler

from egotools.media.sound.sound_file import Heard, SoundFile
from egotools.media.sound.sound_stamps import JITTER_SECONDS

Waveform = npt.NDArray[np.float32]

PIECE = 1 << 15  # samples produced at once
SAMPLE_KINDS = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}


def steady(
    frames: Iterator[Heard], file: SoundFile, begin: int, *, mono: bool, changed: Callable[[str], None]
) -> Iterator[Waveform]:
    """The stream from sample `begin` on, without gaps, at the rate and in the layout of its first frame.

    Args:
        frames: decoded frames from that sample, or an earlier one, on.
        file: the file that the frames are from.
        begin: counted from the start of the stream.
        mono: return the mean of all channels.
        changed: called with a remark when the rate or the layout changes.

    Yields:
        [C, N], or [1, N] if mono.
    """
    position, stretch = begin, None
    seams = [*(round((seam - file.start) * file.rate) for seam in file.seams), sys.maxsize]
    for heard, frame in frames:
        at = stretch.end if stretch else 0
        is_seam = heard in file.seams
        if heard is not None:
            stamped = round((heard - file.start) * file.rate)
            is_near = stretch and not is_seam and abs(stamped - at) <= JITTER_SECONDS * file.rate
            at = at if is_near else stamped
        kind = frame.sample_rate, frame.layout.name
        if stretch is None or is_seam or at != stretch.end or kind != stretch.kind:
            if stretch:
                position = yield from _laid(stretch.rest(), position, seams[0])
            if is_seam:
                seams.pop(0)
            stretch = _Stretch(at, frame, file, mono)
            if kind != (file.rate, file.layout.name):
                before, after = f"{file.rate} Hz, {file.layout.name}", f"{frame.sample_rate} Hz, {frame.layout.name}"
                change = f"at {float(file.start) + at / file.rate:.3f} s the sound changes from {before}, to {after}"
                changed(f"{change}; from there on it is converted to the first rate and layout")
        position = yield from _laid(stretch.take(frame), position, seams[0])
    if stretch:
        yield from _laid(stretch.rest(), position, seams[0])


def _laid(pieces: Iterable[tuple[int, Waveform]], position: int, end: int) -> Generator[Waveform, None, int]:
    """Places pieces at their samples, with silence between, from `position` to `end`; returns how far they reach.

    Padding that an encoder added to the last packet is beyond the end.
    """
    for first, piece in pieces:
        piece = piece[:, : max(end - first, 0)]
        if not piece.shape[1]:
            continue
        for at in range(position, first, PIECE):
            yield np.zeros((len(piece), min(PIECE, first - at)), np.float32)
        if first + piece.shape[1] > position:
            yield piece[:, max(position - first, 0) :]
        position = max(position, first + piece.shape[1])
    return position


class _Stretch:
    """Frames of one kind without a gap, from sample `begin` of the stream on."""

    def __init__(self, begin: int, frame: AudioFrame, file: SoundFile, mono: bool) -> None:
        self.kind = frame.sample_rate, frame.layout.name
        self._begin = self._made = begin
        self._taken = 0  # samples taken from the frames
        self._ratio = (file.rate, frame.sample_rate)
        self._mono = mono
        layouts = (AudioLayout("mono"),) * 2 if mono else (frame.layout, file.layout)
        self._filter = Resampler(frame.sample_rate, file.rate, *layouts)

    @property
    def end(self) -> int:
        """The sample of the stream after the last."""
        return self._begin + round(self._taken * self._ratio[0] / self._ratio[1])

    def take(self, frame: AudioFrame) -> list[tuple[int, Waveform]]:
        """Adds a frame; returns the pieces that are ready, and the samples at which they start."""
        samples = floats(frame)
        self._taken += samples.shape[1]
        mixed = samples.mean(axis=0, keepdims=True) if self._mono else samples
        pieces = cut([mixed], self._ratio[1], self._ratio[0])
        return self._placed(chain.from_iterable(self._filter.take(piece) for piece in pieces))

    def rest(self) -> list[tuple[int, Waveform]]:
        """What the filter still holds."""
        return [(first, piece[:, : max(self.end - first, 0)]) for first, piece in self._placed(self._filter.rest())]

    def _placed(self, pieces: Iterator[Waveform]) -> list[tuple[int, Waveform]]:
        placed = []
        for piece in pieces:
            placed.append((self._made, piece))
            self._made += piece.shape[1]
        return placed


class Resampler:
    """Converts pieces of sound to another rate, by a band-limited filter, and to another layout."""

    def __init__(self, source: int, rate: int, layout: AudioLayout, target: AudioLayout | None = None) -> None:
        target = target or layout
        self._source, self._layout = source, layout
        self._filter = None
        if source != rate or layout.name != target.name:
            self._filter = AudioResampler(format="fltp", layout=target, rate=rate)

    def take(self, piece: Waveform) -> Iterator[Waveform]:
        """Adds a piece [C, N]; yields what is ready."""
        if self._filter is None:
            yield piece
            return
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(piece), format="fltp", layout=self._layout)
        frame.sample_rate = self._source
        yield from _arrays(self._filter.resample(frame))

    def rest(self) -> Iterator[Waveform]:
        """Yields what the filter still holds, at the end."""
        if self._filter is not None:
            yield from _arrays(self._filter.resample(None))


def cut(pieces: Iterable[Waveform], source: int, rate: int) -> Iterator[Waveform]:
    """Cuts pieces so that they stay short at another rate: a piece at a low rate becomes a long one."""
    most = max(1, PIECE * source // max(source, rate))
    for piece in pieces:
        for first in range(0, piece.shape[1], most):
            yield piece[:, first : first + most]


def floats(frame: AudioFrame) -> Waveform:
    """A decoded frame as float32 [C, N]; full scale is [-1, 1].

    Gives the same bits as FFmpeg's converter, which crashes with 64 channels.
    """
    kind = np.dtype(SAMPLE_KINDS[frame.format.name.removesuffix("p")])
    channels = frame.layout.nb_channels
    if frame.format.is_planar:
        samples = np.stack([np.frombuffer(memoryview(plane), kind, frame.samples) for plane in frame.planes])
    else:
        samples = np.frombuffer(memoryview(frame.planes[0]), kind, frame.samples * channels).reshape(-1, channels).T
    if kind.kind == "f":
        return samples.astype(np.float32)
    middle = 128 if kind.kind == "u" else 0
    return (samples.astype(np.float32) - middle) / np.float32(2 ** (8 * kind.itemsize - 1))


def _arrays(frames: list[AudioFrame]) -> Iterator[Waveform]:
    for frame in frames:
        yield frame.to_ndarray().astype(np.float32, copy=False)
