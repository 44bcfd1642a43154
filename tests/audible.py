"""Videos with sound that tests make: frames that show their number, and sound whose every sample is known."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from media_files import numbered
from sounds import write_samples


def sounding(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    """Samples [C, N]: noise, each channel another, loud every half second, which makes moments."""
    count = round(seconds * rate)
    loudness = 0.05 + 0.4 * np.exp(-(np.arange(count) / rate % 0.5) / 0.05)
    return (loudness * np.random.default_rng(rate).uniform(-1, 1, (channels, count))).astype(np.float32)


def write_audible(
    path: Path,
    *,
    seconds: float = 4.0,
    fps: int = 16,
    rate: int = 16000,
    channels: int = 1,
    sound: float | None = None,
    codec: str = "flac",
    gop: int = 16,
    size: tuple[int, int] = (64, 96),
    frames: list[np.ndarray] | None = None,
) -> Path:
    """A video of numbered frames (or of those given), and noise by a codec that loses nothing.

    Args:
        path: the suffix chooses the container.
        seconds: of the picture.
        fps: frames a second.
        rate: samples a second; 0: no sound.
        channels: of the sound.
        sound: its seconds; None: as long as the picture.
        codec: of the sound.
        gop: frames from one key frame to the next.
        size: height and width.
        frames: the frames [H, W, 3] themselves.
    """
    count = round(seconds * fps)
    images = frames or [numbered(number % 256, *size) for number in range(count)]
    samples = sounding(seconds if sound is None else sound, rate or 1, channels)
    with av.open(str(path), "w") as container:
        options = {"g": str(gop), "keyint_min": str(gop), "sc_threshold": "0", "crf": "10"}
        picture = container.add_stream("libx264", rate=fps, options=options)
        assert isinstance(picture, VideoStream)
        picture.height, picture.width = images[0].shape[:2]
        picture.pix_fmt = "yuv420p"
        layout = {1: "mono", 2: "stereo"}[channels]
        quiet = {"aac_pns": "0"} if codec == "aac" else {}
        heard = container.add_stream(codec, rate=rate, layout=layout, options=quiet) if rate else None
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        if isinstance(heard, AudioStream):
            write_samples(container, heard, samples, rate, layout)
    return path
