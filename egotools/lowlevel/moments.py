"""Moments of interaction: peaks of how much a sound exceeds its own average, over all frequencies.

Axes: N samples, T frames of the spectrogram.

Source:
    RepLAI (arXiv 2209.13583), `find_audio_peaks` of its code; specification of RepLAI, section 2.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.signal import find_peaks, spectrogram

FRAME, HOP = 256, 224  # samples, whatever the rate
BINS = FRAME // 2 + 1
CLOSEST = 10  # frames between two moments
TOGETHER = 1 << 13  # frames transformed at once, to bound the memory for long sound
FLOOR = 1e-5  # added to a power density, and to a deviation

Samples = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Peaks:
    """Moments: `times` [M] ascending seconds from the first sample, `prominences` [M], and the `activity` [M] there."""

    times: Floats
    prominences: Floats
    activity: Floats


def moments(samples: Samples, rate: int, prominence: float = 0.5) -> Peaks:
    """The moments of interaction in a sound.

    Args:
        samples: [N], mono, in [-1, 1]. All of it decides: spectra are compared with their mean over the whole sound.
        rate: Hz; the result depends on it, so it should be the one that the sound was recorded at.
        prominence: the lowest of a moment. Those of a higher one are found exactly by filtering.
    """
    trace = activity(log_spectrogram(samples, rate))
    return peaks_of(trace, rate, prominence)


def log_spectrogram(samples: Samples, rate: int) -> Floats:
    """Logarithms [129, T] to base 10 of power densities from 0 Hz to rate / 2; T = (N - 32) // 224, or 0 below 256.

    As scipy.signal.spectrogram computes them by default.
    """
    count = (len(samples) - FRAME + HOP) // HOP if len(samples) >= FRAME else 0
    found = np.empty((BINS, count))
    for first in range(0, count, TOGETHER):
        last = min(first + TOGETHER, count)
        part = samples[first * HOP : (last - 1) * HOP + FRAME].astype(np.float64)
        _, _, density = spectrogram(part, rate, nperseg=FRAME, noverlap=FRAME - HOP)
        found[:, first:last] = np.log10(density + FLOOR)
    return found


def activity(spectra: Floats) -> Floats:
    """The mean [T] over frequencies [129, T] of how many standard deviations each lies above its own mean."""
    total = np.zeros(spectra.shape[1])
    for row in spectra if spectra.size else ():  # one at a time: long sound has large spectrograms
        total += deviations(row)
    return total / len(spectra)


def deviations(row: Floats) -> Floats:
    """How many standard deviations the values [T] of one frequency lie above their mean."""
    found: Floats = (row - row.mean()) / (row.std() + FLOOR)
    return found


def frame_times(frames: npt.NDArray[np.int64], rate: int) -> Floats:
    """The middles of frames, in seconds from the first sample."""
    return (FRAME // 2 + HOP * frames) / rate


def peaks_of(trace: Floats, rate: int, prominence: float) -> Peaks:
    """The moments in an `activity` [T]: local maxima, at least ten frames apart, that stand out by `prominence`."""
    found, facts = find_peaks(trace, distance=CLOSEST, prominence=prominence)
    return Peaks(frame_times(found, rate), facts["prominences"], trace[found])
