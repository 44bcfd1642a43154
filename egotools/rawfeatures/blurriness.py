"""Blurriness: what is left of a frame without its low frequencies."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import fft

from egotools.rawfeatures.enlarge import enlarged_gray
from egotools.types import Frame

Floats = npt.NDArray[np.float32]
Spectrum = npt.NDArray[np.complex64]

WIDTH = 500  # pixels that frames are enlarged to
LOW = 60  # frequencies from -60 to 59, in both directions, are taken out
FAINTEST = 1e-12 * 255
BLANK = 20 * float(np.log(FAINTEST))  # what a frame of a single gray has, in place of minus infinity


def blurriness(frames: Frame) -> npt.NDArray[np.float64]:
    """Mean of 20 ln |r| over the pixels, r being the frame in gray, 500 pixels wide, without its low frequencies.

    The sharper, the larger: -100 is a fog, 25 a thicket. A frame of a single gray has exactly `BLANK`, and no other.

    Args:
        frames: [T, H, W, 3] uint8 RGB, at most 500 pixels wide.

    Returns:
        [T].

    Raises:
        ValueError: frames are wider than 500 pixels.

    Source:
        M3-S, DOI 10.1109/CVPR52729.2023.01035, step 1. The window that it takes out is not symmetric about
        frequency 0, so r is complex; its modulus is meant.
    """
    return np.array([_blurriness(frame) for frame in frames], np.float64)


def _blurriness(frame: Frame) -> float:
    height, width = frame.shape[:2]
    gray = enlarged_gray(frame, int(height * WIDTH / width), WIDTH)
    if gray.min() == gray.max():
        return BLANK
    energy = high_pass_energy(gray)
    np.maximum(energy, np.float32(FAINTEST**2), out=energy)
    return 10 * float(np.log(energy, out=energy).mean(dtype=np.float64))


def high_pass_energy(gray: Floats) -> Floats:
    """|r|^2 [H, W] of a gray image [H, W], H and W above 120.

    With W the indicator of the window, r = gray - low, low = F^-1 W F gray. W is the sum of an even part, to which low
    owes its real part, and an odd one, to which it owes its imaginary part. In the half spectrum of a real image both
    are 0 but for the columns 0 to 60.
    """
    height, width = gray.shape
    even, odd = _windows(height)
    columns: Spectrum = fft.rfft(gray, axis=1)[:, : LOW + 1]
    spectrum: Spectrum = fft.fft(columns, axis=0)
    imaginary = _imaginary(spectrum * odd, width)
    spectrum *= even
    energy: Floats = fft.irfft(fft.ifft(spectrum, axis=0, overwrite_x=True), n=width, axis=1)
    np.subtract(gray, energy, out=energy)
    energy *= energy
    imaginary *= imaginary
    energy += imaginary
    return energy


def _imaginary(spectrum: Spectrum, width: int) -> Floats:
    """An image [H, W] from its half spectrum [H, 61] that is 0 but for the rows 60 and -60 and the column 60.

    Two waves along y times what the rows say of x, and two waves along x times what the column says of y: a matrix
    product of rank 4 instead of a transform.
    """
    height = len(spectrum)
    rows = spectrum[[LOW, -LOW], :LOW]
    rows[:, 1:] *= 2  # each stands for its mirror too
    up, down = fft.ifft(rows, n=width, axis=1) / height
    column = fft.ifft(spectrum[:, LOW]) * (2 / width)
    along_y = np.concatenate([_waves(height), [column.real, column.imag]])
    along_x = np.concatenate([[(up + down).real, (up - down).imag], _waves(width)])
    image: Floats = (along_y.T @ along_x).astype(np.float32, copy=False)
    return image


@lru_cache(maxsize=16)
def _waves(length: int) -> Floats:
    """The cosine and minus the sine [2, length] of frequency 60."""
    phase = 2 * np.pi * LOW * np.arange(length) / length
    return np.stack([np.cos(phase), -np.sin(phase)]).astype(np.float32)


@lru_cache(maxsize=16)
def _windows(height: int) -> tuple[Floats, Spectrum]:
    """The window's even part, and its odd part times -i, both [H, 61]: over rows as `fft` has them, columns 0 to 60."""
    rows = np.fft.fftfreq(height, 1 / height).round()[:, None]
    columns = np.arange(LOW + 1)[None]
    inside = (rows >= -LOW) & (rows < LOW) & (columns < LOW)
    mirror = (rows > -LOW) & (rows <= LOW) & (columns <= LOW)  # the window at (-row, -column)
    even = (inside * 1.0 + mirror) / 2
    odd = (inside * 1.0 - mirror) / 2
    return even.astype(np.float32), (-1j * odd).astype(np.complex64)
