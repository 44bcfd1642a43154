"""Moments of interaction, found in the sound of a clip."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from egotools.config import option
from egotools.errors import ClipError, NoPicture
from egotools.extractors.audio import STREAM
from egotools.lowlevel.moments import moments
from egotools.manifests.check import is_sound
from egotools.media.audio import Sound, open_sound
from egotools.media.video import open_frames
from egotools.sampling import extent
from egotools.types import Clip, FloatArray, Rows, VideoInfo

MOST_SAMPLES = 86_400_000  # of a clip; half an hour at 48 kHz, 1.5 GB with its spectrogram


@dataclass(frozen=True)
class Moments:
    """Moments of interaction: peaks of the sound's activity; a row is (prominence, activity, D), its time the moment.

    Found in each clip's own sound, so a clip's extent decides: cut videos into windows of 10 s before. D is the seconds
    of the clip that have a picture. Clips without a moment have no rows.

    \b
    egotools manifest windows v.csv --length 10 --out s.csv
    egotools extract --manifest s.csv --out caches/s moments
    """

    version: ClassVar[int] = 1

    prominence: float = option(
        0.5, "The lowest prominence of a peak; those of a higher one are chosen when the cache is read."
    )
    rate: int | None = option(
        None, "Lower the sound to so many samples per second; slower sound, and by default all, keeps its own rate."
    )
    stream: int | None = option(None, STREAM)

    def __post_init__(self) -> None:
        if not 0 < self.prominence < float("inf"):
            raise ValueError(f"--prominence must be above 0, not {self.prominence}")
        if self.rate is not None and self.rate < 1:
            raise ValueError(f"--rate must be above 0, not {self.rate}")
        if self.stream is not None and self.stream < 0:
            raise ValueError(f"--stream must be 0 or above, not {self.stream}")

    def rows(self, clip: Clip) -> Rows:
        """As `sound_rows`, from files that are opened for this clip only.

        Raises:
            NoSound: the file has none, which is not a failure.
            ClipError: the clip cannot be read, or lies outside its file.
        """
        with closing(open_sound(clip.path, self.stream)) as sound:
            return self.sound_rows(sound, picture_of(clip), clip)

    def sound_rows(self, sound: Sound, picture: VideoInfo | None, clip: Clip) -> Rows:
        """The moments of a clip in time order; `picture` is None for a file with sound only.

        Raises:
            ClipError: the clip lies outside its file, is too long, or its sound cannot be read.
        """
        begin, end = seconds_shown(sound, picture, clip)
        samples, rate, first = clip_sound(sound, clip, self.rate)
        found = moments(samples, rate, self.prominence)
        values = [found.prominences, found.activity, np.full(len(found.times), end - begin)]
        return Rows(np.stack(values, axis=1).astype(np.float32), np.repeat((first + found.times)[:, None], 2, axis=1))


def clip_sound(sound: Sound, clip: Clip, most: int | None = None) -> tuple[FloatArray, int, float]:
    """The sound of a clip where it has any, at the file's own rate, or at `most` Hz if that is lower.

    Returns:
        Samples float32 [N] (N = 0: the clip has no sound), their rate, and the second of the file of the first.

    Raises:
        ClipError: it cannot be decoded, is longer than can be searched, or holds samples that are no numbers.
    """
    about = sound.info
    rate = about.rate if most is None else min(most, about.rate)
    end = about.end if clip.end is None else min(clip.end, about.end)
    skipped, count = (round((each - about.start) * rate) for each in (max(clip.start, about.start), end))
    count = max(0, count - skipped)
    first = about.start + skipped / rate
    if count > MOST_SAMPLES:
        raise ClipError(
            f"{clip.path}: the clip has {count / rate:.0f} s of sound, at most {MOST_SAMPLES / rate:.0f} s can be"
            " searched for moments at once; cut it (egotools manifest windows)"
        )
    if not count:
        return np.zeros(0, np.float32), rate, first
    samples = next(sound.windows(np.array([first]), count, rate))
    if not np.isfinite(samples).all():
        raise ClipError(f"{clip.path}: its sound holds samples that are no numbers")
    return samples, rate, first


def seconds_shown(sound: Sound, picture: VideoInfo | None, clip: Clip) -> tuple[float, float]:
    """The seconds of the file in which the clip has a picture; if the file has none, sound.

    Raises:
        ClipError: the clip lies outside the file.
    """
    if picture is None:
        return extent(clip, sound.info.start, sound.info.end, slack=0.1)
    return extent(clip, float(picture.times[0]), picture.end, slack=1 / picture.fps)


def picture_of(clip: Clip) -> VideoInfo | None:
    """What is known about the picture of a clip's file; None if it has sound only.

    Raises:
        ClipError: it cannot be opened.
    """
    if is_sound(clip.path):
        return None
    try:
        with closing(open_frames(clip.path, clip.fps)) as frames:
            return frames.info
    except NoPicture:
        return None
