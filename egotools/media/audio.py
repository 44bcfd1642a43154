"""Sound by time, at a wanted rate, from sound files and the audio streams of videos.

Axes: C channels, N samples.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.audio.layout import AudioLayout

from egotools.errors import ClipError, NoSound
from egotools.media.limits import reading
from egotools.media.sound.sound_file import SETTLE_SECONDS, SoundFile
from egotools.media.sound.steady_sound import Resampler, Waveform, cut, steady
from egotools.media.stills import IMAGE_SUFFIXES
from egotools.types import AudioInfo, FloatArray

SOUND_SUFFIXES = (
    ".wav", ".flac", ".mp3", ".m4a", ".m4b", ".aac", ".ogg", ".oga", ".opus", ".mka", ".weba", ".wma", ".aiff", ".aif",
    ".caf", ".amr", ".w64", ".au",
)  # fmt: skip

JUMP_SECONDS = 20.0  # a gap that is cheaper to jump over than to decode
MOST_CHANNELS = 8  # that FFmpeg's resampler is given at once


class Sound:
    """One audio stream of a file. It keeps its place: later windows go on decoding from there.

    Time 0 of a file of sound alone is the first sample that players play: what encoders put before it is off. Files
    that were joined end to end are read one after the other. The rate and the layout are those of the first frame;
    sound that comes in others is resampled and mixed to them.

    Args:
        path: a file.
        stream: its number among the audio streams, from 0; None: the default stream, else the first.

    Raises:
        NoSound: there is nothing wrong with the file, but it has no audio stream.
        ClipError: the file is missing, empty, has no audio stream of that number, or not a sample of it decodes.
    """

    def __init__(self, path: Path, stream: int | None = None) -> None:
        self.path = path
        with reading(path):
            self._file = file = SoundFile(path, stream)
        self.remarks = file.remarks  # what was repaired or is odd, in sentences; reading may add to them
        self.damage = file.damage  # what of the file is missing, as "truncated: ..."; "" if nothing is
        span = float(file.start), float(file.end)
        self.info = AudioInfo(file.rate, file.layout.nb_channels, *span, tuple(file.gaps))
        self._reading: _Reading | None = None
        self._kind: tuple[tuple[int, ...], bool] = ((), False)  # rates and mono of what is being read
        self._change = ""

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
        for _, window in self.together([Stretches(starts, length, rate)], mono=mono):
            yield window

    def together(self, wanted: Sequence[Stretches], *, mono: bool = True) -> Iterator[tuple[int, Waveform]]:
        """The windows of several askers from one decoding of the sound, in the order of their starts.

        Yields:
            The position of the asker in `wanted`, and its next window, as `windows` gives it.

        Raises:
            As `windows`.
        """
        moments = [_checked(each) for each in wanted]
        rates = tuple(sorted({each.rate for each in wanted}))
        if not mono and self.info.channels > MOST_CHANNELS and rates != (self.info.rate,):
            raise ClipError(f"{self.path}: of {self.info.channels} channels only the mean is resampled")
        askers = np.repeat(np.arange(len(wanted)), [len(each) for each in moments])
        starts = np.concatenate([np.empty(0), *moments])
        order = np.argsort(starts, kind="stable")
        with reading(self.path):
            for moment, asker in zip(starts[order].tolist(), askers[order].tolist(), strict=True):
                each = wanted[asker]
                first = round((moment - self.info.start) * each.rate)
                window = self._read(first, each.length, each.rate, rates, mono)
                yield asker, window[0] if mono else window

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _read(self, first: int, length: int, rate: int, rates: tuple[int, ...], mono: bool) -> Waveform:
        """[C, length] from sample `first` on, counted at `rate` from the start of the stream."""
        total = round((self.info.end - self.info.start) * rate)
        if first >= total or first + length <= 0:
            return np.zeros((1 if mono else self.info.channels, length), np.float32)
        reading, self._reading = self._reading, None  # none if what follows fails
        if reading is None or self._kind != (rates, mono) or not self._leads_to(first, reading, rate):
            reading = self._begun(first, rate, rates, mono)
        window = reading.window(first, length, rate)
        self._reading, self._kind = reading, (rates, mono)
        return window

    def _leads_to(self, first: int, reading: _Reading, rate: int) -> bool:
        """Whether reading on comes to a sample, and sooner than a jump would."""
        held = reading.held[rate]
        near = first - held.stop <= JUMP_SECONDS * rate or not self._file.can_jump
        return held.begin <= max(first, 0) and near

    def _begun(self, first: int, rate: int, rates: tuple[int, ...], mono: bool) -> _Reading:
        """A reading of the stream from some sample at or before `first` on."""
        own = self.info.rate
        # Only where a sample at the old rate falls on one at the new rate does the filter begin in the same phase.
        step = math.lcm(*(own // math.gcd(own, each) for each in rates))
        begin = max(0, round((first / rate - SETTLE_SECONDS) * own)) // step * step
        frames = None
        if self._file.can_jump and begin > JUMP_SECONDS * own:
            frames = self._file.frames_from(self._file.start + Fraction(begin, own))
        if frames is None:
            begin, frames = 0, self._file.frames()
        layout = AudioLayout("mono") if mono else self._file.layout
        span = self.info.end - self.info.start
        held = {each: _Held(begin * each // own, round(span * each), layout.nb_channels) for each in rates}
        filters = {each: Resampler(own, each, layout) for each in rates}
        pieces = steady(frames, self._file, begin, mono=mono, changed=self._changed)
        return _Reading(cut(pieces, own, max(rates)), filters, held)

    def _changed(self, sentence: str) -> None:
        if not self._change:  # reading anew may come to it again
            self._change = sentence
            self.remarks.append(sentence)


@dataclass(frozen=True, eq=False)
class Stretches:
    """Windows that somebody asks for: `starts` [T] ascending seconds, `length` samples each, at `rate` Hz."""

    starts: FloatArray
    length: int
    rate: int


def _checked(wanted: Stretches) -> FloatArray:
    starts = np.asarray(wanted.starts, np.float64)
    if wanted.length < 1 or wanted.rate < 1:
        raise ValueError(f"a window needs at least 1 sample at 1 Hz, not {wanted.length} at {wanted.rate}")
    if not np.isfinite(starts).all() or (np.diff(starts) < 0).any():
        raise ValueError("the starts of windows must be finite and ascend")
    return starts


class _Reading:
    """A stream read on from piece to piece, at several rates at once."""

    def __init__(self, pieces: Iterator[Waveform], filters: Mapping[int, Resampler], held: Mapping[int, _Held]) -> None:
        self._pieces, self._filters, self.held = pieces, filters, held
        self._is_over = False

    def window(self, first: int, length: int, rate: int) -> Waveform:
        """[C, length] from sample `first` on, zeros beyond the end; forgets what lies before."""
        held = self.held[rate]
        held.forget(first)
        while held.stop < min(first + length, held.total) and not self._is_over:
            piece = next(self._pieces, None)
            self._is_over = piece is None
            for each, filter in self._filters.items():
                self.held[each].take(filter.rest() if piece is None else filter.take(piece))
            held.forget(first)
        return held.window(first, length)


class _Held:
    """The samples at one rate that a window with a later start may need, counted from the stream's start."""

    def __init__(self, begin: int, total: int, channels: int) -> None:
        self.begin = self.stop = begin
        self.total = total
        self._channels = channels
        self.pieces: deque[Waveform] = deque()

    def take(self, pieces: Iterable[Waveform]) -> None:
        """Adds samples, up to the stream's end."""
        for piece in pieces:
            self.pieces.append(piece[:, : self.total - self.stop])  # a filter rings on after the end
            self.stop += self.pieces[-1].shape[1]

    def window(self, first: int, length: int) -> Waveform:
        """[C, length] from sample `first` on, zeros where nothing is held."""
        window = np.zeros((self._channels, length), np.float32)
        at = self.begin
        for piece in self.pieces:
            low, high = max(first, at), min(first + length, at + piece.shape[1])
            if low < high:
                window[:, low - first : high - first] = piece[:, low - at : high - at]
            at += piece.shape[1]
        return window

    def forget(self, first: int) -> None:
        """Lets go of the pieces before sample `first`."""
        while self.pieces and self.begin + self.pieces[0].shape[1] <= first:
            self.begin += self.pieces.popleft().shape[1]


def open_sound(path: Path, stream: int | None = None) -> Sound:
    """Opens an audio stream of a sound file or a video: the one with a number, or the default one.

    Raises:
        NoSound: a video without sound, an image, or a folder or stack of frames: nothing is wrong with it.
        ClipError: nothing that sound can be read from.
    """
    if os.path.isdir(path) or (path.suffix.lower() in (*IMAGE_SUFFIXES, ".npy") and os.path.isfile(path)):
        raise NoSound(f"{path}: no audio stream: these are pictures")
    return Sound(path, stream)


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
