"""Sound files that tests make, and when their sounds are heard."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer

from egotools.media.audio import Sound

BURSTS = np.arange(1.0, 4.0, 0.5)  # seconds at which `bursts` begin


def bursts(rate: int, seconds: float = 4.0) -> np.ndarray:
    """[1, N]: a tone of 50 ms every half second from 1.0 s on, each of its own pitch."""
    moments = np.arange(int(rate * seconds)) / rate
    samples = np.zeros((1, len(moments)))
    for number, begin in enumerate(BURSTS, start=2):
        on = (moments >= begin) & (moments < begin + 0.05)
        samples[0, on] = 0.6 * np.sin(2 * np.pi * (400 + 200 * number) * (moments[on] - begin))
    return samples


def encoded(
    path: Path,
    codec: str,
    *,
    rate: int = 44100,
    format: str = "",
    channels: int = 1,
    options: dict[str, str] | None = None,
) -> Path:
    """Bursts as a file of a codec; `options` of the muxer."""
    sounds = np.repeat(bursts(rate), channels, axis=0)
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
    with av.open(str(path), "w", format=format or None, container_options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout, options={"strict": "-2"})
        assert isinstance(stream, AudioStream)
        stream.bit_rate = 64000 * channels
        write_samples(container, stream, sounds, rate, layout)
    return path


def write_samples(container: OutputContainer, stream: AudioStream, samples: np.ndarray, rate: int, layout: str) -> None:
    """All samples [C, N] of a stream, encoded to its end."""
    resampler = av.AudioResampler(format=stream.format.name, layout=layout, rate=rate)
    for first in range(0, samples.shape[1], 4096):
        piece = np.ascontiguousarray(samples[:, first : first + 4096], np.float32)
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, first, Fraction(1, rate)
        for part in resampler.resample(frame):
            container.mux(stream.encode(part))
    container.mux(stream.encode())


def heard(sound: Sound, rate: int = 16000) -> np.ndarray:
    """All of a sound in order, mono."""
    starts = np.arange(0, sound.info.end + 1)
    return np.concatenate(list(sound.windows(starts, rate, rate)))


def beginnings(samples: np.ndarray, rate: int = 16000) -> np.ndarray:
    """Seconds at which something is loud after a tenth of a second of silence."""
    loud = np.flatnonzero(np.abs(samples) > 0.2)  # codecs let a sound be heard faintly before it begins
    return loud[np.diff(loud, prepend=-rate) > rate // 10] / rate


def restamped(source: Path, target: Path, stamp: Callable[[int, int, int], int | None]) -> Path:
    """A copy whose packets are stamped `stamp(number, pts, ticks a second)`."""
    options = {"avoid_negative_ts": "disabled"}
    with av.open(str(source)) as read, av.open(str(target), "w", container_options=options) as write:
        stream = write.add_stream_from_template(read.streams.audio[0])
        for number, packet in enumerate(packet for packet in read.demux(read.streams.audio[0]) if packet.size):
            assert packet.pts is not None
            packet.pts = stamp(number, packet.pts, round(1 / packet.time_base))
            packet.dts = number - 10**6  # muxers refuse stamps of decoding that go back, and stamps before them
            packet.stream = stream
            write.mux(packet)
    return target
