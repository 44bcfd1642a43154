"""Detects sound files that were cut short: compares their headers with what could be read."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer

from egotools.files.disk import open_file
from egotools.media.chunks import riff_chunks
from egotools.media.containers import exact
from egotools.media.sound.joined_sound import MP3_FIRST_FRAME, after_tag
from egotools.media.sound.sound_index import SoundIndex
from egotools.media.sound.sound_only import has_cover

# Containers whose headers state the duration of the sound, and their tolerance in seconds: MP4 and Matroska round,
# and their streams may end at different times. For others FFmpeg knows it only from the data, or guesses.
EXACT_LENGTHS = {"wav", "aiff", "au", "flac", "caf", "tta", "wv"}
TOLERANCE = Fraction(1, 100)  # some writers count bytes of the header, too
ROUGH = Fraction(1, 2)
FEW_FRAMES = Fraction(1, 5)  # MP3 frames that encoders may not count
OPEN = 0x7FFF0000  # a length of this many bytes or samples, or 0, was left open


def cut_short(path: Path, stream: AudioStream, index: SoundIndex, place: tuple[int, int] | None) -> str:
    """What is missing at the end, as a message; "" if nothing is, or the file states no length.

    Args:
        path: a file.
        stream: its sound.
        index: its packets.
        place: the byte range of the part; None: all.
    """
    format = stream.container.format.name
    ticks = exact(stream.time_base or 1)
    span = (index.end - index.first) * ticks
    said = stream.duration * ticks if stream.duration else Fraction(0)
    tolerance = TOLERANCE
    if format == "wav":
        said = max(said, _wav_seconds(path, stream, place))
    elif format == "mp3":
        said, tolerance = _mp3_seconds(path, stream, place), FEW_FRAMES
    elif format == "matroska,webm":
        said, span, tolerance = _matroska_seconds(stream), index.said_end * ticks, ROUGH
    elif format.startswith("mov"):
        tolerance = ROUGH
    elif format not in EXACT_LENGTHS:
        return ""
    if said - span <= tolerance or said * (stream.codec_context.sample_rate or 1) >= OPEN:
        return ""
    return f"truncated: {float(span):.2f} s of {float(said):.2f} s of sound can be read"


def _matroska_seconds(stream: AudioStream) -> Fraction:
    """The duration of a Matroska file, if it is a single audio stream."""
    container = stream.container
    assert isinstance(container, InputContainer)
    is_alone = len(container.streams) == 1 or (len(container.streams) == 2 and has_cover(container))
    return Fraction(container.duration, av.time_base) if is_alone and container.duration else Fraction(0)


def _mp3_seconds(path: Path, stream: AudioStream, place: tuple[int, int] | None) -> Fraction:
    """The duration in the Xing header of an MP3, including encoder padding; 0 if there is none."""
    with open_file(path) as file:
        file.seek(place[0] if place else 0)
        head = file.read(10)
        file.seek(after_tag(head) + (place[0] if place else 0))
        match = MP3_FIRST_FRAME.search(file.read(1 << 14))
        if match is None:
            return Fraction(0)
        fields = match.string[match.end() : match.end() + 8]
    if not fields[3:4] or not fields[3] & 1:
        return Fraction(0)
    rate = stream.codec_context.sample_rate or 1
    return Fraction(int.from_bytes(fields[4:], "big") * (1152 if rate >= 32000 else 576), rate)


def _wav_seconds(path: Path, stream: AudioStream, place: tuple[int, int] | None) -> Fraction:
    """The duration in a WAV header; 0 if it has none, or left it open."""
    with open_file(path) as file:
        file.seek(place[0] if place else 0)
        head = file.read(1 << 16)
    rate = 0
    for name, begin, size in riff_chunks(head) if head[:4] == b"RIFF" else ():
        if name == b"fmt ":
            rate = int.from_bytes(head[begin + 8 : begin + 12], "little")  # bytes a second
        if name == b"data":
            is_stated = rate and stream.codec_context.name.startswith("pcm_") and size < OPEN
            return Fraction(size, rate) if is_stated else Fraction(0)
    return Fraction(0)
