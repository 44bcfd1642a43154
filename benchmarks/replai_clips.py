"""Made clips with sound for `replai_learning.py`: an object opens or closes, with a bang, and a sound tells which.

Fixed before the first result of a training. A clip is an MP4 of H.264 at 16 frames per second and AAC at 44.1 kHz.

- **Picture.** A round object on a random background that drifts. Its hue, from red to violet, is the *attribute*. At
  the moment it opens (a white core appears) or closes (the core disappears) within an eighth of a second. The core has
  nothing to do with the hue, and neither is changed by mirroring, a crop or a scale.
- **Sound.** At the moment there is a bang, the same for all, and then a tone that decays, whose pitch follows the hue:
  250 Hz for red to 2 kHz for violet. A band of noise decays with it: opening hisses (2.5 to 7.5 kHz), closing rumbles
  (50 to 200 Hz). Neither the tone nor the hue tells which.
- **At random, by clip:** the attribute; the moment; the object's place, size, saturation and lightness; colors,
  shapes and drift of the background; grain; the loudness of everything, of the tone, of the noise and of the hum.

Every other clip opens.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

RATE, SOUND_RATE = 16, 44_100  # frames and samples per second
SIDE = 96  # pixels
MARGIN = 1.05  # seconds of picture and sound on both sides of a moment, at the least
HUES = 0.75  # the attribute 1 is violet, 0 red
LOWEST, OCTAVES = 250.0, 3.0  # Hz of the attribute 0; octaves up to 1
BANDS = {"open": (2_500.0, 7_500.0), "close": (50.0, 200.0)}  # Hz
SECONDS_OPENING = 0.125
CHUNK = 1024  # samples of a frame of AAC

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class MadeClip:
    """What a clip shows.

    Attributes:
        attribute: from 0 to 1: the object's hue and the sound's pitch.
        direction: "open" or "close".
        seconds: how long it is.
        moment: when it happens, in seconds.
    """

    attribute: float
    direction: str
    seconds: float
    moment: float

    @property
    def pitch(self) -> float:
        """In Hz."""
        return LOWEST * 2 ** (OCTAVES * self.attribute)


def write_clip(path: Path, number: int, *, seed: int = 0) -> MadeClip:
    """Writes a clip, which its number and the seed decide: even numbers open, odd ones close."""
    random = np.random.default_rng([seed, number])
    frames = int(random.integers(40, 49))
    seconds = frames / RATE
    moment = float(random.uniform(MARGIN, seconds - MARGIN))
    clip = MadeClip(float(random.uniform()), ("open", "close")[number % 2], seconds, moment)
    _write(path, pictures(clip, random), sound(clip, random))
    return clip


def pictures(clip: MadeClip, random: np.random.Generator) -> npt.NDArray[np.uint8]:
    """uint8 [frames, SIDE, SIDE, 3]."""
    times = (np.arange(round(clip.seconds * RATE)) / RATE)[:, None, None]
    opened = np.clip((times - clip.moment) / SECONDS_OPENING + 0.5, 0, 1)
    core = opened if clip.direction == "open" else 1 - opened
    shown = _background(len(times), random)
    center = random.uniform(0.44, 0.56, 2) * SIDE
    drift = random.uniform(-2, 2, 2)  # pixels per second
    radius = random.uniform(0.24, 0.30) * SIDE
    rows, columns = np.ogrid[:SIDE, :SIDE]
    middle = clip.seconds / 2
    distance = np.hypot(
        rows - center[0] - drift[0] * (times - middle), columns - center[1] - drift[1] * (times - middle)
    )
    color = colorsys.hsv_to_rgb(HUES * clip.attribute, random.uniform(0.75, 1.0), random.uniform(0.6, 0.85))
    for size, of in ((np.full_like(times, radius), color), (0.62 * radius * core, (1.0, 1.0, 1.0))):
        share = np.clip(size - distance + 0.5, 0, 1)[..., None]  # of a pixel, so that edges are smooth
        shown = shown * (1 - share) + share * 255 * np.asarray(of)
    grain = random.uniform(1, 5) * random.standard_normal((len(times), SIDE, SIDE, 1))
    return np.clip(shown + grain, 0, 255).astype(np.uint8)


def sound(clip: MadeClip, random: np.random.Generator) -> Floats:
    """Float32 [samples] in [-1, 1]."""
    times = np.arange(round(clip.seconds * SOUND_RATE)) / SOUND_RATE - clip.moment
    after = np.maximum(times, 0)
    noise = random.standard_normal((3, len(times)))
    bang = 0.4 * noise[0] * np.exp(-after / 0.008)
    phase = 2 * np.pi * clip.pitch * after
    tone = np.sin(phase) + random.uniform(0.1, 0.4) * np.sin(2 * phase)
    tone *= random.uniform(0.2, 0.4) * np.exp(-after / random.uniform(0.3, 0.5))
    band = (
        random.uniform(0.08, 0.15) * _band(noise[1], BANDS[clip.direction]) * np.exp(-after / random.uniform(0.2, 0.4))
    )
    hum = 10 ** random.uniform(-3.5, -2.5) * noise[2]
    made = np.where(times >= 0, bang + tone + band, 0) + hum
    return np.clip(random.uniform(0.4, 1.0) * made, -1, 1).astype(np.float32)


def _band(noise: npt.NDArray[np.float64], band: tuple[float, float]) -> npt.NDArray[np.float64]:
    """White noise within a band of frequencies only, with standard deviation 1."""
    spectrum = np.fft.rfft(noise)
    frequencies = np.fft.rfftfreq(len(noise), 1 / SOUND_RATE)
    spectrum[(frequencies < band[0]) | (frequencies > band[1])] = 0
    kept = np.fft.irfft(spectrum, len(noise))
    return kept / kept.std()


def _background(frames: int, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Gray shapes of a slight tint that drift: float [frames, SIDE, SIDE, 3] in gray levels."""
    margin = 16
    side = SIDE + 2 * margin
    canvas = np.full((side, side, 3), random.uniform(50, 150))
    for _ in range(12):
        top, left = random.integers(-8, side - 8, 2)
        height, width = random.integers(8, 48, 2)
        tint = colorsys.hsv_to_rgb(random.uniform(), random.uniform(0, 0.25), 1.0)
        canvas[max(top, 0) : top + height, max(left, 0) : left + width] = random.uniform(40, 170) * np.asarray(tint)
    speed, first = random.uniform(-6, 6, 2), random.uniform(6, 2 * margin - 6, 2)  # pixels per second
    shown = []
    for frame in range(frames):
        y, x = np.clip(np.round(first + speed * (frame - frames / 2) / RATE), 0, 2 * margin).astype(int)
        shown.append(canvas[y : y + SIDE, x : x + SIDE])
    return np.stack(shown)


def _write(path: Path, frames: npt.NDArray[np.uint8], samples: Floats) -> None:
    with av.open(str(path), "w") as container:
        options = {"crf": "20", "preset": "veryfast", "g": str(RATE), "threads": "1"}
        video = container.add_stream("libx264", rate=RATE, options=options)
        video.height, video.width, video.pix_fmt = SIDE, SIDE, "yuv420p"
        audio = container.add_stream("aac", rate=SOUND_RATE, layout="mono", format="fltp")
        audio.bit_rate = 96_000
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        for first in range(0, len(samples), CHUNK):
            piece = av.AudioFrame.from_ndarray(samples[None, first : first + CHUNK], format="fltp", layout="mono")
            piece.sample_rate, piece.pts, piece.time_base = SOUND_RATE, first, Fraction(1, SOUND_RATE)
            container.mux(audio.encode(piece))
        container.mux(audio.encode())
