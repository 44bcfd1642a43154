"""Reads sound by time, at a given rate, from sound files and the audio streams of videos.

Axes: C channels, N samples.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.audio.layout import AudioLayout

from egotools.errors import ClipError, NoSound
from egotools.media.limits import reading
from egotools.media.sound.known_sound import KnownSound
from egotools.media.sound.plain_sound import plain_stretch
from egotools.media.sound.sound_file import SETTLE_SECONDS, SoundFile
from egotools.media.sound.steady_sound import Resampler, Waveform, cut, steady
from egotools.media.stills import IMAGE_SUFFIXES
from egotools.types import AudioInfo, FloatArray

SOUND_SUFFIXES = (
    ".wav", ".flac", ".mp3", ".m4a", ".m4b", ".aac", ".ogg", ".oga", ".opus", ".mka", ".weba", ".wma", ".aiff", ".aif",
    ".caf", ".amr", ".w64", ".au",
)  # fmt: skip

JUMP_SECONDS = 20.0  # a gap of this length is cheaper to seek across than to decode
MOST_CHANNELS = 8  # given to FFmpeg's resampler at once


class Sound:
    """One audio stream of a file. It keeps its position: later windows continue decoding from there.

    Time 0 of a file with sound only is the first sample that players play, after the encoder delay. Files
    that were joined end to end are read one after the other. Rate and layout are those of the first frame;
    sound in others is resampled and mixed to them.

    Args:
        path: a file.
        stream: its number among the audio streams, from 0; None: the default stream, else the first.
        known: from an earlier `Sound` of the same file, unchanged, and stream: the file is not read through again.

    Raises:
        NoSound: the file is fine, but has no audio stream.
        ClipError: the file is missing, empty, has no audio stream with that number, or no sample can be decoded.
    """

    def __init__(self, path: Path, stream: int | None = None, known: KnownSound | None = None) -> None:
        self.path = path
        with reading(path):
            self._file = file = SoundFile(path, stream, known)
        self.known = file.known
        self.remarks = file.remarks  # what was repaired or is unusual, in sentences; reading may add some
        self.damage = file.damage  # what is missing of the file, as "truncated: ..."; "" if nothing is
        span = float(file.start), float(file.end)
        self.info = AudioInfo(file.rate, file.layout.nb_channels, *span, tuple(file.gaps))
        self._reading: _Reading | None = None
        self._kind: tuple[tuple[int, ...], bool] = ((), False)  # rates and mono of the current reading
        self._has_changed = False

    def windows(self, starts: FloatArray, length: int, rate: int, *, mono: bool = True) -> Iterator[Waveform]:
        """Windows of sound, resampled to `rate` by a band-limited filter; zeros outside the stream.

        Sample n of a window is the sound at its start + n / rate, with the start rounded to the nearest sample of
        the stream at `rate`. Only the samples between the first and the last that a window needs are kept in memory.

        Args:
            starts: [T] seconds of the file, ascending.
            length: samples per window.
            rate: Hz.
            mono: the mean of all channels; otherwise all channels.

        Yields:
            float32 [length] if mono, else [C, length]; full scale is [-1, 1].

        Raises:
            ClipError: the stream does not decode.
            ValueError: descending starts, or a length or rate below 1.
        """
        for _, window in self.together([Stretches(starts, length, rate)], mono=mono):
            yield window

    def together(self, wanted: Sequence[Stretches], *, mono: bool = True) -> Iterator[tuple[int, Waveform]]:
        """The windows of several requests from one decoding of the sound, in the order of their starts.

        Yields:
            The index of the request in `wanted`, and its next window; errors as in `windows`.
        """
        moments = [_checked(each) for each in wanted]
        rates = tuple(sorted({each.rate for each in wanted}))
        if not mono and self.info.channels > MOST_CHANNELS and rates != (self.info.rate,):
            raise ClipError(f"{self.path}: with {self.info.channels} channels only their mean can be resampled")
        askers = np.repeat(np.arange(len(wanted)), [len(each) for each in moments])
        starts = np.concatenate([np.empty(0), *moments])
        order = np.argsort(starts, kind="stable")
        with reading(self.path):
            for moment, asker in zip(starts[order].tolist(), askers[order].tolist(), strict=True):
                first = round((moment - self.info.start) * wanted[asker].rate)
                window = self._read(first, wanted[asker], (rates, mono))
                yield asker, window[0] if mono else window

    def alone(self, start: float, end: float) -> Waveform:
        """The sound between two times, by a new decoder: the same bits whatever was read before.

        AAC may hold noise as its loudness alone, which is drawn anew wherever decoding goes on.

        Args:
            start: seconds of the file.
            end: seconds of the file.

        Returns:
            float32 [N], the mean of all channels at the stream's own rate: samples round((start - s) * rate) up to
            round((end - s) * rate), where s is the start of the stream; zeros outside of it.

        Raises:
            ClipError: the stream does not decode.
        """
        rate, self._reading = self.info.rate, None
        first, last = (round((moment - self.info.start) * rate) for moment in (start, end))
        begin, stop = max(first, 0), min(last, round((self.info.end - self.info.start) * rate))
        samples: Waveform | None = None
        if begin < stop:
            with reading(self.path):
                samples = plain_stretch(self._file, begin, stop)
                if samples is None:
                    samples = self._steady_stretch(begin, stop)
            if len(samples) == last - first:
                return samples
        found = np.zeros(last - first, np.float32)
        if samples is not None:
            found[begin - first :][: len(samples)] = samples
        return found

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _steady_stretch(self, begin: int, stop: int) -> Waveform:
        """Samples [N] of the stream from number `begin` up to `stop`, decoded from its beginning on."""
        self._file.renew()
        held = _Held(begin, stop, 1)
        for piece in steady(self._file.frames(), self._file, begin, mono=True, changed=self._changed):
            held.take([piece])
            if held.stop >= stop:
                break
        samples: Waveform = held.window(begin, stop - begin)[0]
        return samples

    def _read(self, first: int, wanted: Stretches, kind: tuple[tuple[int, ...], bool]) -> Waveform:
        """[C, length] from sample `first` on, counted at its rate from the start of the stream; `kind`: rates, mono."""
        length, rate = wanted.length, wanted.rate
        if first >= round((self.info.end - self.info.start) * rate) or first + length <= 0:
            return np.zeros((1 if kind[1] else self.info.channels, length), np.float32)
        reading, self._reading = self._reading, None  # None if what follows fails
        if reading is None or self._kind != kind or not self._leads_to(first, reading.held[rate], rate):
            reading = self._begun(first, rate, *kind)
        window = reading.window(first, length, rate)
        self._reading, self._kind = reading, kind
        return window

    def _leads_to(self, first: int, held: _Held, rate: int) -> bool:
        """Whether continuing the reading gets to a sample, sooner than a seek would."""
        is_near = first - held.stop <= JUMP_SECONDS * rate or not self._file.can_jump
        return held.begin <= max(first, 0) and is_near

    def _begun(self, first: int, rate: int, rates: tuple[int, ...], mono: bool) -> _Reading:
        """Starts a reading of the stream at or before sample `first`."""
        own, frames = self.info.rate, None
        # Only if a sample at the old rate coincides with one at the new rate does the filter start in the same phase.
        step = math.lcm(*(own // math.gcd(own, each) for each in rates))
        begin = max(0, round((first / rate - SETTLE_SECONDS) * own)) // step * step
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
        if not self._has_changed:  # a new reading may repeat it
            self._has_changed = True
            self.remarks.append(sentence)


@dataclass(frozen=True, eq=False)
class Stretches:
    """A request for windows: `starts` [T] ascending seconds, `length` samples each, at `rate` Hz."""

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
    """A running decoding of the stream, at several rates at once."""

    def __init__(self, pieces: Iterator[Waveform], filters: Mapping[int, Resampler], held: Mapping[int, _Held]) -> None:
        self._pieces, self._filters, self.held = pieces, filters, held
        self._is_over = False

    def window(self, first: int, length: int, rate: int) -> Waveform:
        """[C, length] from sample `first` on, zeros beyond the end; drops everything before."""
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
    """The samples at one rate that later windows may need, counted from the start of the stream."""

    def __init__(self, begin: int, total: int, channels: int) -> None:
        self.begin = self.stop = begin
        self.total = total
        self._channels = channels
        self.pieces: deque[Waveform] = deque()

    def take(self, pieces: Iterable[Waveform]) -> None:
        """Adds samples, up to the stream's end."""
        for piece in pieces:
            self.pieces.append(piece[:, : self.total - self.stop])  # a filter rings after the end
            self.stop += self.pieces[-1].shape[1]

    def window(self, first: int, length: int) -> Waveform:
        """[C, length] from sample `first` on, zeros where there are none."""
        window = np.zeros((self._channels, length), np.float32)
        at = self.begin
        for piece in self.pieces:
            low, high = max(first, at), min(first + length, at + piece.shape[1])
            if low < high:
                window[:, low - first : high - first] = piece[:, low - at : high - at]
            at += piece.shape[1]
        return window

    def forget(self, first: int) -> None:
        """Drops the pieces before sample `first`."""
        while self.pieces and self.begin + self.pieces[0].shape[1] <= first:
            self.begin += self.pieces.popleft().shape[1]


def open_sound(path: Path, stream: int | None = None, known: KnownSound | None = None) -> Sound:
    """Opens an audio stream of a sound file or a video: the one with this number, or the default one; as `Sound`.

    Raises:
        NoSound: a video without sound, an image, or a folder or stack of frames: which is not an error.
        ClipError: sound cannot be read from the file.
    """
    if os.path.isdir(path) or (path.suffix.lower() in (*IMAGE_SUFFIXES, ".npy") and os.path.isfile(path)):
        raise NoSound(f"{path}: no audio stream, only pictures")
    return Sound(path, stream, known)


def read_sound(
    path: Path, start: float = 0.0, end: float | None = None, rate: int | None = None, *, mono: bool = True
) -> tuple[Waveform, int]:
    """The sound from `start` to `end` in seconds of the file, and its rate; for inspecting a file.

    Returns:
        float32 [N] if mono, else [C, N]; silence outside the stream.
    """
    with closing(open_sound(path)) as sound:
        rate = rate or sound.info.rate
        length = max(1, round(((sound.info.end if end is None else end) - start) * rate))
        return next(sound.windows(np.array([start]), length, rate, mono=mono)), rate
