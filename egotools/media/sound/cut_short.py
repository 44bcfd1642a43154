"""Detects sound files that were cut short: compares their headers with what could be read."""

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
from egotools.media.sound.sound_only import has_picture

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
    format, rate = stream.container.format.name, stream.codec_context.sample_rate or 1
    ticks = exact(stream.time_base or 1)
    span = (index.end - index.first) * ticks
    said = stream.duration * ticks if stream.duration else Fraction(0)
    tolerance = TOLERANCE
    if format == "wav":
        if stream.codec_context.name.startswith("pcm_"):
            said = max(said, _wav_seconds(_bytes(path, place[0] if place else 0, 1 << 16)))
    elif format == "mp3":
        said, tolerance = Fraction(_mp3_samples(path, place, 1152 if rate >= 32000 else 576), rate), FEW_FRAMES
    elif format == "matroska,webm":
        said, span, tolerance = _matroska_seconds(stream), index.said_end * ticks, ROUGH
    elif format.startswith("mov"):
        tolerance = ROUGH
    elif format not in EXACT_LENGTHS:
        return ""
    if said - span <= tolerance or said * rate >= OPEN:
        return ""
    return f"truncated: {float(span):.2f} s of {float(said):.2f} s of sound can be read"


def _matroska_seconds(stream: AudioStream) -> Fraction:
    """The duration of a Matroska file, if it is a single audio stream."""
    container = stream.container
    assert isinstance(container, InputContainer)
    is_alone = len(container.streams) == 1 + len(container.streams.video) <= 2 and not has_picture(container)
    return Fraction(container.duration, av.time_base) if is_alone and container.duration else Fraction(0)


def _mp3_samples(path: Path, place: tuple[int, int] | None, each: int) -> int:
    """The samples that the Xing header of an MP3 states, `each` per frame, with encoder padding; 0 if there is none."""
    begin = place[0] if place else 0
    tag = after_tag(_bytes(path, begin, 10))
    match = MP3_FIRST_FRAME.search(_bytes(path, begin + tag, 1 << 14))
    fields = match.string[match.end() : match.end() + 8] if match else b""
    return int.from_bytes(fields[4:], "big") * each if fields[3:4] and fields[3] & 1 else 0


def _wav_seconds(head: bytes) -> Fraction:
    """The duration in a WAV header; 0 if it states none, or left it open."""
    rate = 0
    for name, begin, size in riff_chunks(head) if head[:4] == b"RIFF" else ():
        if name == b"fmt ":
            rate = int.from_bytes(head[begin + 8 : begin + 12], "little")  # bytes per second
        if name == b"data":
            return Fraction(size, rate) if rate and size < OPEN else Fraction(0)
    return Fraction(0)


def _bytes(path: Path, begin: int, count: int) -> bytes:
    with open_file(path) as file:
        file.seek(begin)
        return file.read(count)
