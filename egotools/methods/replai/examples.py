"""Moments as RepLAI's networks are shown them: frames before and after each, and the sound around it.

Axes: B moments, L frames of a window, S side in pixels, N samples of sound at 16 kHz.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from egotools.errors import ClipError
from egotools.extraction.failures import read_failures
from egotools.loading.files import Files, OpenFiles, Source
from egotools.loading.items import SECONDS
from egotools.loading.loader import Tensors
from egotools.loading.spans import seconds_of
from egotools.media.sound.known_sound import KnownSound
from egotools.methods.replai.moments import random_moment, read_moments
from egotools.methods.replai.options import Sampling
from egotools.methods.replai.published import published_run, published_sound
from egotools.methods.usable import NAMED, odd_files, unreadable
from egotools.nn.log_mel import RATE, ReplaiLogMel
from egotools.nn.resampled import resampled
from egotools.pixels.preprocessing import Normalize
from egotools.pixels.resized_squares import ResizedSquare, SquareDraws, middle_square, squares
from egotools.sampling import floor_linspace, window_frames
from egotools.texts import counted, named
from egotools.types import Clip, Frame, IntArray

FLIPPED = 0.5  # how often a window is mirrored
NORMALIZE = Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HEARD = "samples"  # the entry that says how many of the sound there are, where they differ


@dataclass(frozen=True, eq=False)
class Audible:
    """A clip with a picture and sound."""

    clip: Clip  # its times are those in which it has a picture
    source: Source
    moments: npt.NDArray[np.float64] | None  # [M >= 1] seconds of the file; None: they are drawn from all of the clip


@dataclass(frozen=True, eq=False)
class Usable:
    """Clips with a moment, and what is to be said of the others, by their ids."""

    found: list[Audible]
    silent: list[str]  # without sound
    empty: list[str]  # without a moment, or too short for one
    failed: dict[str, str]  # why they cannot be read
    remarks: list[str]

    @property
    def ids(self) -> list[str]:
        return [each.clip.id for each in self.found]


class MomentBatch(NamedTuple):
    """What the networks take, normalized, on the device."""

    before: Tensor  # float32 [B, 3, L, S, S], channels last in memory
    after: Tensor
    sound: Tensor  # float32 [B, 1, time, 80], log-mel
    clips: Tensor  # int64 [B], numbers of the clips


def usable(clips: Sequence[Clip], files: Files, sampling: Sampling, cache: Path | None) -> Usable:
    """The clips that have a moment; others are named and counted.

    Args:
        clips: of a manifest.
        files: their files, looked up with their sound.
        sampling: which moments.
        cache: of the extractor `moments`; None: they are drawn at random.

    Raises:
        TableError: as `read_moments`: the cache does not hold a clip that can be read, or another one.
        ValueError: there is no cache, but moments are not drawn at random.
    """
    if cache is None and sampling.moi == "audio":
        raise ValueError("--moments is needed, a cache of 'egotools extract ... moments'; or --moi random")
    there, failed = _readable(clips, files)
    loud = {id: each for id, each in there.items() if each.source.sound is not None}
    silent = [id for id in there if id not in loud]
    if sampling.moi == "audio" and cache is not None:  # no moments could be looked for in some
        failed |= {id: each.reason for id, each in read_failures(cache).items() if id in loud}
        loud = {id: each for id, each in loud.items() if id not in failed}
    remarks = []
    if sampling.moi == "audio" and cache is not None:
        own = [clip for clip in clips if clip.id in loud]
        begins = {id: each.clip.start for id, each in loud.items()}
        known = read_moments(cache, own, prominence=sampling.prominence, margin=sampling.margin, begins=begins)
        found = [replace(loud[id], moments=times) for id, times in known.times.items()]
        empty, without = list(known.none), known.remark
    else:
        found = [each for each in loud.values() if 2 * sampling.margin <= _length(each.clip)]
        empty = [id for id in loud if id not in {each.clip.id for each in found}]
        told = f"{counted(len(empty), 'clip')} left out: shorter than {2 * sampling.margin:g} s: {named(empty, NAMED)}"
        without = told if empty else ""
    if silent:
        remarks.append(f"{counted(len(silent), 'clip')} left out: no sound: {named(silent, NAMED)}")
    remarks += [*unreadable(failed), *([without] if without else []), *_odd(found), *_slow(found, sampling)]
    return Usable(found, silent, empty, failed, remarks)


@dataclass(frozen=True, eq=False)
class MomentExamples:
    """Examples of one moment a clip, drawn from its moments.

    Entries: `before` and `after` uint8 [L, S, S, 3]; `sound` float32 [N]; `clip` int64 [], its number; `moment` float64
    [], seconds of the file. Where sound is read as published, `samples` int64 [], how many of the N there are.
    """

    clips: Sequence[Audible]
    sampling: Sampling
    augment: bool = True  # squares are drawn; else they are those in the middle
    _open: OpenFiles = field(default_factory=OpenFiles, repr=False)

    def __len__(self) -> int:
        return len(self.clips)

    def example(self, index: int, random: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
        """As `Examples.example`."""
        audible, began = self.clips[index], time.perf_counter()
        moment = drawn_moment(audible, self.sampling, random)
        windows = frames_around(audible.source, moment, self.sampling, random)
        before, after = self._decoded(audible.source, windows)
        decoded = time.perf_counter()
        height, width = before[0].shape[:2]
        places = self._squares(height, width, random)
        how = "bilinear" if self.augment else self.sampling.eval_interpolation
        shown = [squares(each, place, how) for each, place in zip((before, after), places, strict=True)]
        resized = time.perf_counter()
        sound = self._heard(audible.source, moment)
        seconds = {"decoding": decoded - began, "resizing": resized - decoded, "sound": time.perf_counter() - resized}
        return {
            "before": shown[0],
            "after": shown[1],
            **sound,
            "clip": np.array(index),
            "moment": np.array(moment),
            **{f"{SECONDS}{name}": np.array(value) for name, value in seconds.items()},
        }

    def _decoded(self, source: Source, windows: tuple[IntArray, IntArray]) -> tuple[list[Frame], list[Frame]]:
        """The frames [H, W, 3] of both windows, decoded in one pass unless skipping a part saves work."""
        needed, places = np.unique(np.concatenate(windows), return_inverse=True)
        frames = list(self._open.frames(source).frames(needed))
        first, second = np.split(places, [len(windows[0])])
        return [frames[place] for place in first], [frames[place] for place in second]

    def _squares(self, height: int, width: int, random: np.random.Generator) -> tuple[ResizedSquare, ResizedSquare]:
        how = self.sampling
        if not self.augment:
            middle = middle_square(height, width, side=how.size, shorter=how.min_size)
            return middle, middle
        draws = SquareDraws(how.size, how.min_size, how.max_size, FLIPPED, how.swap_sides)
        first = draws.draw(height, width, random)
        return first, first if how.shared_augmentation else draws.draw(height, width, random)

    def _heard(self, source: Source, moment: float) -> dict[str, npt.NDArray[Any]]:
        how, sound = self.sampling, self._open.sound(source)
        start, end = moment - how.audio_duration / 2, moment + how.audio_duration / 2
        cut = sound.alone if how.sound_windows == "exact" else lambda *times: published_sound(sound, *times)
        samples = cut(start, end)
        if not np.isfinite(samples).all():
            raise ClipError(f"{source.path}: its sound holds samples that are no numbers, near {moment:.3f} s")
        found = np.zeros(round(how.audio_duration * RATE), np.float32)
        own = resampled(torch.from_numpy(samples), sound.info.rate, RATE).numpy()[: len(found)]
        found[: len(own)] = own
        return {"sound": found} if how.sound_windows == "exact" else {"sound": found, HEARD: np.array(len(own))}


def drawn_moment(audible: Audible, sampling: Sampling, random: np.random.Generator) -> float:
    """One of a clip's moments, seconds of the file."""
    if audible.moments is None:
        return random_moment(audible.clip, _length(audible.clip), random, margin=sampling.margin)
    return float(audible.moments[random.integers(len(audible.moments))])


def frames_around(
    source: Source, moment: float, sampling: Sampling, random: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Indices [L] of the frames before a moment, and of those after it."""
    delta, length = sampling.delta, sampling.video_duration
    times = (moment - delta - length, moment - delta), (moment + delta, moment + delta + length)
    if sampling.frame_windows == "exact":
        before, after = (window_frames(source.info, *each, sampling.frames) for each in times)
    else:
        runs = [published_run(source, *each, random) for each in times]
        before, after = (run[floor_linspace(len(run), sampling.frames)] for run in runs)
    return before, after


def finish(batch: Tensors, *, sampling: Sampling, device: torch.device) -> MomentBatch:
    """A batch of examples as the networks take it; normalized, and sound made log-mel, on the device."""
    before, after, sound = (batch[name].to(device, non_blocking=True) for name in ("before", "after", "sound"))
    spectrum = _log_mel(sampling.audio_duration)
    if HEARD in batch:  # frames of a spectrogram are taken evenly from as many as there are
        lengths = batch[HEARD].clamp(min=spectrum.spectrum.window).tolist()
        heard = torch.cat([spectrum(each[None, :length]) for each, length in zip(sound, lengths, strict=True)])
    else:
        heard = spectrum(sound)
    return MomentBatch(_clip(before), _clip(after), heard, batch["clip"].to(device, non_blocking=True))


def _clip(frames: Tensor) -> Tensor:
    """uint8 [B, L, S, S, 3] to [B, 3, L, S, S]."""
    clip: Tensor = NORMALIZE(frames).transpose(1, 2)
    return clip


@lru_cache(maxsize=2)
def _log_mel(seconds: float) -> ReplaiLogMel:
    return ReplaiLogMel(seconds)


def _readable(clips: Sequence[Clip], files: Files) -> tuple[dict[str, Audible], dict[str, str]]:
    """Clips with a picture, by id, and why others have none."""
    found, failed = {}, {}
    for clip in clips:
        if clip.path in files.failed:
            failed[clip.id] = files.failed[clip.path]
            continue
        source = files.sources[clip.path]
        try:
            start, end = seconds_of(clip, source)
            if source.sound is not None:
                _check_whole(source.sound, source.path, end)
        except ClipError as error:
            failed[clip.id] = str(error)
            continue
        found[clip.id] = Audible(replace(clip, start=float(start), end=float(end)), source, None)
    return found, failed


def _check_whole(sound: KnownSound, path: Path, end: float) -> None:
    """Refuses a clip that goes on where the sound of a damaged file is missing."""
    if sound.damage and end > sound.end:
        raise ClipError(f"{path}: {sound.damage}")


def _length(clip: Clip) -> float:
    """Seconds of a clip that has an end."""
    return 0.0 if clip.end is None else clip.end - clip.start


def _slow(clips: Sequence[Audible], sampling: Sampling) -> list[str]:
    """A remark on files whose frame rate is too low for the frames of a window."""
    rates = {each.source.path: each.source.info.fps for each in clips}
    slow = [str(path) for path, rate in rates.items() if round(rate * sampling.video_duration) < sampling.frames]
    if not slow:
        return []
    needed = f"{sampling.frames / sampling.video_duration:g} frames per second"
    return [
        f"{counted(len(slow), 'file')} with fewer than {needed}, of which some are shown again: {named(slow, NAMED)}"
    ]


def _odd(clips: Sequence[Audible]) -> list[str]:
    """Remarks on the files themselves."""
    return odd_files(
        {
            each.source.path: (*each.source.remarks, *(each.source.sound.remarks if each.source.sound else ()))
            for each in clips
        }
    )
