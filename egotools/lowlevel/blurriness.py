"""Blurriness: what is left of a frame without its low frequencies."""

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import fft

from egotools.lowlevel.color import gray
from egotools.lowlevel.enlarge import enlarged_gray
from egotools.types import Frame

Floats = npt.NDArray[np.float32]
Spectrum = npt.NDArray[np.complex64]
Enlarge = Callable[[Frame, int, int], Floats]

WIDTH = 500  # pixels that frames are enlarged to
LOW = 60  # frequencies from -60 to 59, in both directions, are taken out
BAND = 100  # rows at a time
FAINTEST = 1e-12 * 255
BLANK = 20 * float(np.log(FAINTEST))  # what a frame of a single gray has, in place of minus infinity


def blurriness(frames: Frame, enlarge: Enlarge = enlarged_gray) -> npt.NDArray[np.float64]:
    """Mean of 20 ln |r| over the pixels, r being the frame in gray, 500 pixels wide, without its low frequencies.

    The sharper, the larger: -100 is a fog, 25 a thicket. A frame of a single gray has exactly `BLANK`, and no other.

    Args:
        frames: [T, H, W, 3] uint8 RGB, at most 500 pixels wide.
        enlarge: a faster function of a frame, a height and a width that gives what `enlarged_gray` gives.

    Returns:
        [T].

    Raises:
        ValueError: frames are wider than 500 pixels.

    Source:
        M3-S, DOI 10.1109/CVPR52729.2023.01035, step 1. The window that it takes out is not symmetric about
        frequency 0, so r is complex; its modulus is meant.
    """
    return np.array([_blurriness(frame, enlarge) for frame in frames], np.float64)


def is_blank(frame: Frame) -> bool:
    """Whether a frame [H, W, 3] is of a single gray, as cuts to black are."""
    some = gray(frame[::32, ::32])  # quick, and mostly enough
    return bool((some == some[0, 0]).all() and (gray(frame) == some[0, 0]).all())


def _blurriness(frame: Frame, enlarge: Enlarge) -> float:
    height, width = frame.shape[:2]
    enlarged = enlarge(frame, int(height * WIDTH / width), WIDTH)
    first = enlarged[0, 0]
    if (enlarged[::40, ::40] == first).all() and (enlarged == first).all():  # the first is quick and mostly enough
        return BLANK
    total = 0.0
    for energy in high_pass_energy(enlarged):
        np.maximum(energy, np.float32(FAINTEST**2), out=energy)
        total += float(np.log(energy, out=energy).sum())  # pairwise, which float32 bears
    return 10 * total / enlarged.size


def high_pass_energy(image: Floats) -> Iterator[Floats]:
    """|r|^2 of a gray image [H, W], H and W above 120, in bands of rows [h, W], which stay in the processor's cache.

    With W the indicator of the window, r = image - low, low = F^-1 W F image. W is the sum of an even part, to which
    low owes its real part, and an odd one, to which it owes its imaginary part. In the half spectrum of a real image
    both are 0 but for the columns 0 to 60.
    """
    height, width = image.shape
    even, odd = _windows(height)
    image = image - image[::10, ::10].mean()  # frequency 0 is taken out anyway; without it float32 bears flat pictures
    columns: Spectrum = np.concatenate([fft.rfft(image[band], axis=1)[:, : LOW + 1] for band in _bands(height)])
    spectrum: Spectrum = fft.fft(columns, axis=0, overwrite_x=True)
    along_y, along_x = _imaginary(spectrum * odd, width)
    spectrum *= even
    columns = fft.ifft(spectrum, axis=0, overwrite_x=True)
    for band in _bands(height):
        energy: Floats = fft.irfft(columns[band], n=width, axis=1)
        np.subtract(image[band], energy, out=energy)
        energy *= energy
        imaginary = along_y[:, band].T @ along_x
        imaginary *= imaginary
        energy += imaginary
        yield energy


def _bands(height: int) -> list[slice]:
    return [slice(at, min(at + BAND, height)) for at in range(0, height, BAND)]


def _imaginary(spectrum: Spectrum, width: int) -> tuple[Floats, Floats]:
    """An image from its half spectrum [H, 61] that is 0 but for the rows 60 and -60 and the column 60.

    It is the sum of four products of a function of y and one of x, [4, H] and [4, W]: two waves along y times what the
    rows say of x, and what the column says of y times two waves along x.
    """
    height = len(spectrum)
    rows = spectrum[[LOW, -LOW], :LOW]
    rows[:, 1:] *= 2  # each stands for its mirror too
    up, down = fft.ifft(rows, n=width, axis=1) / height
    column = fft.ifft(spectrum[:, LOW]) * (2 / width)
    along_y = np.concatenate([_waves(height), [column.real, column.imag]])
    along_x = np.concatenate([[(up + down).real, (up - down).imag], _waves(width)])
    return along_y.astype(np.float32, copy=False), along_x.astype(np.float32, copy=False)


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
