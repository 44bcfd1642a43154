"""Makes odd media files: videos whose frames say their own number, in any codec and container; sounds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition

from egotools.media.video import Video

BITS = 8
CELL = 16  # pixels: large enough to survive any codec


def numbered(number: int, height: int = 64, width: int = 96) -> np.ndarray:
    """A frame [H, W, 3] that shows a number as two rows of four black or white cells, top left, on grey."""
    frame = np.full((height, width, 3), 90, np.uint8)
    for bit in range(BITS):
        row, column = divmod(bit, 4)
        value = 235 if number >> bit & 1 else 16
        frame[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = value
    return frame


def number_of(frame: np.ndarray) -> int:
    """The number that a frame of `numbered` shows."""
    cells = frame[: 2 * CELL, : 4 * CELL].mean(axis=2).reshape(2, CELL, 4, CELL)
    return int(sum(1 << bit for bit, value in enumerate(cells.mean(axis=(1, 3)).ravel()) if value > 125))


def numbers(video: Video, indices: Iterable[int]) -> list[int]:
    """The numbers that the frames at these indices show."""
    return [number_of(frame) for frame in video.frames(list(indices))]


def cut(path: Path, part: float) -> Path:
    """A copy of a file that ends early, as after a lost connection."""
    data = path.read_bytes()
    target = path.with_name(f"cut-{path.name}")
    target.write_bytes(data[: int(part * len(data))])
    return target


def noisy(frames: int, height: int = 64, width: int = 128) -> list[np.ndarray]:
    """Numbered frames with noise below, which makes files of some size."""
    rng = np.random.default_rng(0)
    images = [numbered(number, height, width) for number in range(frames)]
    for image in images:
        image[2 * CELL :] = rng.integers(0, 255, (height - 2 * CELL, width, 3))
    return images


def write_video(
    path: Path,
    frames: int | Sequence[np.ndarray] = 60,
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    rate: int = 30,
    size: tuple[int, int] = (64, 96),
    ticks: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    format: str | None = None,
    container_options: dict[str, str] | None = None,
    matrix: Sequence[int] | None = None,
    title: str = "",
) -> Path:
    """A video of numbered frames, or of the given ones.

    Args:
        path: its suffix chooses the container unless `format` does.
        frames: how many numbered ones, or the frames [H, W, 3] themselves.
        codec: FFmpeg's name of an encoder.
        pixels: the pixel format.
        rate: frames per second, or where `ticks` are given, ticks per second.
        size: height and width of numbered frames.
        ticks: when each frame begins to show, in units of 1 / `rate` seconds; one after the other by default.
        options: of the encoder.
        format: the container's name.
        container_options: of the muxer.
        matrix: the display matrix, nine integers.
        title: text among the metadata.
    """
    images = [numbered(index, *size) for index in range(frames)] if isinstance(frames, int) else frames
    ticks = ticks or range(len(images))
    with av.open(str(path), "w", format=format, container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pixels
        stream.codec_context.time_base = Fraction(1, rate)
        if title:
            container.metadata["title"] = title
        if matrix is not None:
            stream.set_display_matrix(matrix)
        for image, tick in zip(images, ticks, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(
    path: Path, samples: np.ndarray, rate: int, *, codec: str = "pcm_s16le", format: str = "s16", first: int = 0
) -> Path:
    """A sound file of float samples [C, N] in [-1, 1]; the first sample is number `first` of the file's time."""
    layout = {1: "mono", 2: "stereo"}[len(samples)]
    with av.open(str(path), "w") as container:
        # Noise that AAC describes by its loudness only is drawn anew by the decoder after each jump.
        options = {"aac_pns": "0"} if codec == "aac" else {}
        stream = container.add_stream(codec, rate=rate, layout=layout, format=format, options=options)
        resampler = av.AudioResampler(format=format, layout=layout, rate=rate)
        for start in range(0, samples.shape[1], 4096):
            piece = np.ascontiguousarray(samples[:, start : start + 4096], np.float32)
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, first + start, Fraction(1, rate)
            for part in resampler.resample(frame):
                container.mux(stream.encode(part))
        container.mux(stream.encode())
    return path


def write_tracks(path: Path, *loud: float, default: int | None) -> Path:
    """A second of several tones, one a stream, of which one is marked as default."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("aac", rate=48000, layout="mono") for _ in loud]
        for number, stream in enumerate(streams):
            stream.disposition = Disposition.default if number == default else Disposition(0)
        for first in range(0, 48000, 1024):
            for stream, strength in zip(streams, loud, strict=True):
                samples = strength * np.sin(2 * np.pi * 440 * np.arange(first, first + 1024) / 48000)
                frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), "fltp", "mono")
                frame.sample_rate, frame.pts, frame.time_base = 48000, first, Fraction(1, 48000)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode())
    return path


def touched(root: Path, *names: str) -> Path:
    """Empty files below a folder, which it gives back."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root
