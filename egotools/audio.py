"""Sound by time, at a wanted rate, from sound files and the sound streams of videos.

Axes: C channels, N samples.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream

from egotools.containers import decoded, exact, only, open_container, packets_of
from egotools.errors import ClipError, NoSound
from egotools.limits import check_times, reading
from egotools.stills import IMAGE_SUFFIXES
from egotools.types import AudioInfo, FloatArray

Waveform = npt.NDArray[np.float32]

SOUND_SUFFIXES = (
    ".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".opus", ".wma", ".aiff", ".aif", ".caf", ".amr", ".w64",
)  # fmt: skip

# Containers whose time stamps after a jump are exact to the sample. Elsewhere (Matroska rounds to milliseconds, MP3
# has no time stamps) sound is decoded from its beginning: some hundred times faster than it plays.
EXACT_CONTAINERS = {"mov,mp4,m4a,3gp,3g2,mj2", "wav", "w64", "flac", "aiff", "caf"}
JUMP_SECONDS = 20.0  # a gap that is cheaper to jump over than to decode
SETTLE_SECONDS = 1.0  # decoded before the wanted sound after a jump: codecs and the resampler refer to what came before
JITTER_SECONDS = 0.02  # time stamps wander by less; more is a gap in the stream, which is silence
PIECE = 1 << 15  # samples that are made at once
MOST_CHANNELS = 8  # that FFmpeg's resampler is given at once
SAMPLE_KINDS = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}


class Sound:
    """One sound stream of a file. It keeps its place: later windows go on decoding from there.

    Raises:
        NoSound: there is nothing wrong with the file, but it has no sound stream.
        ClipError: the file is missing, empty, has no sound stream of that number, or not a sample of it decodes.
    """

    def __init__(self, path: Path, stream: int = 0) -> None:
        self.path = path
        self.remarks: list[str] = []  # what was repaired or is odd, in sentences; reading may add to them
        self._number = stream
        with reading(path), ExitStack() as stack:
            self._open()
            stack.callback(self.close)
            self.info = self._look()
            stack.pop_all()
        self._reading: _Reading | None = None
        self._kind = (0, False)  # rate and mono of what is being read
        self._jumps = self._container.format.name in EXACT_CONTAINERS

    def windows(self, starts: FloatArray, length: int, rate: int, *, mono: bool = True) -> Iterator[Waveform]:
        """Stretches of sound, resampled to `rate` by a band-limited filter; what lies outside the stream is zeros.

        Sample n of a window is the sound at its start + n / rate, the start being rounded to the nearest sample of
        the stream as it is at `rate`. Only the samples between the first and the last that a window needs are held.

        Args:
            starts: [T] seconds of the file, ascending.
            length: samples a window.
            rate: Hz.
            mono: the mean of all channels; otherwise the channels as they are.

        Yields:
            float32 [length] if mono, else [C, length]; full scale is [-1, 1].

        Raises:
            ClipError: the stream does not decode.
            ValueError: starts that descend, or a length or rate below 1.
        """
        moments = np.asarray(starts, np.float64)
        if length < 1 or rate < 1:
            raise ValueError(f"a window needs at least 1 sample at 1 Hz, not {length} at {rate}")
        if not np.isfinite(moments).all() or (np.diff(moments) < 0).any():
            raise ValueError("the starts of windows must be finite and ascend")
        if not mono and self.info.channels > MOST_CHANNELS and rate != self.info.rate:
            raise ClipError(f"{self.path}: of {self.info.channels} channels only the mean is resampled")
        with reading(self.path):
            for moment in moments.tolist():
                first = round((moment - self.info.start) * rate)
                window = self._read(first, length, rate, mono)
                yield window[0] if mono else window

    def close(self) -> None:
        """Closes the file."""
        self._container.close()

    def _open(self) -> None:
        self._container = open_container(self.path)
        try:
            self._stream = _chosen(self._container.streams.audio, self._number, self.path)
        except ClipError:
            self._container.close()
            raise
        only(self._stream)

    def _look(self) -> AudioInfo:
        last = self._span()
        self._begin_anew()
        first = next(self._decoded(), None)
        self._begin_anew()
        if first is None:
            raise ClipError(f"{self.path}: no sound of it can be decoded")
        self._layout, self._start = first.layout, _seconds(first)
        end = max(last, self._start + Fraction(first.samples, first.sample_rate))
        check_times(self.path, float(end - self._start), 0.0, self._packets, "packet")
        return AudioInfo(first.sample_rate, first.layout.nb_channels, float(self._start), float(end))

    def _span(self) -> Fraction:
        """When the last packet ends, in seconds.

        Raises:
            ClipError: times that cannot be.
        """
        first: int | None = None
        last = longest = self._packets = 0
        for packet in packets_of(self._container, self._stream):
            if packet.pts is None or packet.is_corrupt:
                continue
            first = packet.pts if first is None else min(first, packet.pts)
            before = last if self._packets else first
            last = max(before, packet.pts + (packet.duration or 0))
            longest, self._packets = max(longest, last - before), self._packets + 1
        ticks = exact(self._stream.time_base or 1)
        check_times(self.path, float((last - (first or 0)) * ticks), float(longest * ticks), self._packets, "packet")
        return last * ticks

    def _begin_anew(self) -> None:
        self.close()
        self._open()

    def _decoded(self) -> Iterator[AudioFrame]:
        return decoded(packets_of(self._container, self._stream), self._stream, self.path)

    def _read(self, first: int, length: int, rate: int, mono: bool) -> Waveform:
        """[C, length] from sample `first` on, counted at `rate` from the start of the stream."""
        total = round((self.info.end - self.info.start) * rate)
        channels = 1 if mono else self.info.channels
        if first >= total or first + length <= 0:
            return np.zeros((channels, length), np.float32)
        reading, self._reading = self._reading, None  # none if what follows fails
        if reading is None or self._kind != (rate, mono) or not self._leads_to(first, reading, rate):
            reading = _Reading(*self._pieces(first, rate, mono), total, channels)
        window = reading.window(first, length)
        self._reading, self._kind = reading, (rate, mono)
        return window

    def _leads_to(self, first: int, reading: _Reading, rate: int) -> bool:
        """Whether reading on comes to a sample, and sooner than a jump would."""
        near = first - reading.stop <= JUMP_SECONDS * rate or not self._jumps
        return reading.begin <= max(first, 0) and near

    def _pieces(self, first: int, rate: int, mono: bool) -> tuple[Iterator[Waveform], int]:
        """The stream at `rate` from some sample at or before `first` on, and the number of that sample."""
        # Only where a sample at the old rate falls on one at the new rate does the filter begin in the same phase.
        step = self.info.rate // math.gcd(self.info.rate, rate)
        begin = max(0, round((first / rate - SETTLE_SECONDS) * self.info.rate)) // step * step
        frames = self._jumped(begin) if self._jumps and begin > JUMP_SECONDS * self.info.rate else None
        if frames is None:
            begin = 0
            self._begin_anew()
            frames = self._decoded()
        samples = _samples(frames, self.info, self._start, begin, self.path, mono)
        layout = AudioLayout("mono") if mono else self._layout
        return _resampled(samples, self.info.rate, rate, layout), begin * rate // self.info.rate

    def _jumped(self, begin: int) -> Iterator[AudioFrame] | None:
        """The frames from before the sample `begin` on, or None if the container cannot jump there."""
        moment = self._start + Fraction(begin, self.info.rate) - Fraction(SETTLE_SECONDS)
        try:
            self._container.seek(math.floor(moment / (self._stream.time_base or 1)), stream=self._stream)
            frames = self._decoded()
            first = next(frames, None)
        except (av.FFmpegError, ClipError):
            return None
        if first is None or first.pts is None or _seconds(first) > moment + Fraction(SETTLE_SECONDS) / 2:
            return None
        return chain([first], frames)


class _Reading:
    """A stream at one rate, read on from piece to piece; holds those that a window with a later start may need."""

    def __init__(self, pieces: Iterator[Waveform], begin: int, total: int, channels: int) -> None:
        self.begin = self.stop = begin  # the samples that are held, counted at the new rate from the stream's start
        self._pieces = pieces
        self._total = total
        self._channels = channels
        self._held: deque[Waveform] = deque()

    def window(self, first: int, length: int) -> Waveform:
        """[C, length] from sample `first` on, zeros beyond the end; forgets what lies before."""
        self._forget(first)
        while self.stop < min(first + length, self._total):
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._held.append(piece[:, : self._total - self.stop])  # a filter rings on after the end
            self.stop += self._held[-1].shape[1]
            self._forget(first)
        window = np.zeros((self._channels, length), np.float32)
        at = self.begin
        for piece in self._held:
            low, high = max(first, at), min(first + length, at + piece.shape[1])
            if low < high:
                window[:, low - first : high - first] = piece[:, low - at : high - at]
            at += piece.shape[1]
        return window

    def _forget(self, first: int) -> None:
        while self._held and self.begin + self._held[0].shape[1] <= first:
            self.begin += self._held.popleft().shape[1]


def open_sound(path: Path, stream: int = 0) -> Sound:
    """Opens the sound stream of that number among those of a sound file or a video.

    Raises:
        NoSound: a video without sound, an image, or a folder or stack of frames: nothing is wrong with it.
        ClipError: nothing that sound can be read from.
    """
    if os.path.isdir(path) or (path.suffix.lower() in (*IMAGE_SUFFIXES, ".npy") and os.path.isfile(path)):
        raise NoSound(f"{path}: no audio stream: these are pictures")
    return Sound(path, stream)


def _chosen(streams: Sequence[AudioStream], number: int, path: Path) -> AudioStream:
    """The stream of that number, if there is one that can be decoded."""
    if not streams:
        raise NoSound(f"{path}: no audio stream in this file")
    if number >= len(streams):
        raise ClipError(f"{path}: no audio stream {number}, there are {len(streams)} in this file")
    if streams[number].codec_context is None:
        raise ClipError(f"{path}: its sound is of a kind that cannot be decoded")
    return streams[number]


def read_sound(
    path: Path, start: float = 0.0, end: float | None = None, rate: int | None = None, *, mono: bool = True
) -> tuple[Waveform, int]:
    """The sound from `start` to `end` in seconds of the file, and its rate; for a look at a file.

    Returns:
        float32 [N] if mono, else [C, N]; silence outside the stream.
    """
    sound = open_sound(path)
    try:
        rate = rate or sound.info.rate
        length = max(1, round(((sound.info.end if end is None else end) - start) * rate))
        return next(sound.windows(np.array([start]), length, rate, mono=mono)), rate
    finally:
        sound.close()


def _samples(
    frames: Iterator[AudioFrame], info: AudioInfo, start: Fraction, begin: int, path: Path, mono: bool
) -> Iterator[Waveform]:
    """The stream from sample `begin` on without a gap: pieces [C, N], or [1, N] if mono, as its time stamps say."""
    position, expected = begin, None
    for frame in frames:
        at = expected or 0
        if frame.pts is not None:
            at = round((_seconds(frame) - start) * info.rate)
            if expected is not None and abs(at - expected) <= JITTER_SECONDS * info.rate:
                at = expected
        piece = _floats(frame, info, path)
        expected = at + piece.shape[1]
        while position < at:
            yield np.zeros((1 if mono else info.channels, min(PIECE, at - position)), np.float32)
            position = min(position + PIECE, at)
        if expected > position:
            piece = piece[:, position - at :]
            yield piece.mean(axis=0, keepdims=True) if mono else piece
            position = expected


def _floats(frame: AudioFrame, info: AudioInfo, path: Path) -> Waveform:
    """A decoded frame as float32 [C, N]; full scale is [-1, 1].

    The same bits as FFmpeg's converter gives, which ends the process where there are 64 channels.
    """
    channels = frame.layout.nb_channels
    if (frame.sample_rate, channels) != (info.rate, info.channels):
        now = f"{frame.sample_rate} Hz, {channels} channels"
        raise ClipError(
            f"{path}: the sound changes amid the file from {info.rate} Hz, {info.channels} channels to {now}"
        )
    kind = np.dtype(SAMPLE_KINDS[frame.format.name.removesuffix("p")])
    if frame.format.is_planar:
        samples = np.stack([np.frombuffer(memoryview(plane), kind, frame.samples) for plane in frame.planes])
    else:
        samples = np.frombuffer(memoryview(frame.planes[0]), kind, frame.samples * channels).reshape(-1, channels).T
    if kind.kind == "f":
        return samples.astype(np.float32)
    middle = 128 if kind.kind == "u" else 0
    return (samples.astype(np.float32) - middle) / np.float32(2 ** (8 * kind.itemsize - 1))


def _resampled(samples: Iterator[Waveform], source: int, rate: int, layout: AudioLayout) -> Iterator[Waveform]:
    if source == rate:
        yield from samples
        return
    resampler = AudioResampler(format="fltp", layout=layout, rate=rate)
    most = max(1, PIECE * source // rate)  # a piece at a low rate becomes a long one
    for piece in samples:
        for first in range(0, piece.shape[1], most):
            part = np.ascontiguousarray(piece[:, first : first + most])
            frame = AudioFrame.from_ndarray(part, format="fltp", layout=layout)
            frame.sample_rate = source
            yield from _arrays(resampler.resample(frame))
    yield from _arrays(resampler.resample(None))


def _arrays(frames: list[AudioFrame]) -> Iterator[Waveform]:
    for frame in frames:
        yield frame.to_ndarray().astype(np.float32, copy=False)


def _seconds(frame: AudioFrame) -> Fraction:
    return Fraction(0) if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base
