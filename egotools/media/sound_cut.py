"""Sound files that were cut short: what their headers promise, against what there is."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from av.audio.stream import AudioStream

from egotools.containers import exact
from egotools.files import open_file

# Containers whose headers tell the length of the sound, and seconds by which they may be off: MP4 and Matroska round,
# and their streams may end apart. FFmpeg knows that of others only from what there is, or guesses it.
EXACT_LENGTHS = {"wav", "aiff", "au", "flac", "tta", "wv"}
TOLERANCE = Fraction(1, 100)  # some writers count bytes of the header, too
ROUGH = Fraction(1, 2)
OPEN = 0x7FFF0000  # bytes or samples from which on a length was left open; so are none


def cut_short(path: Path, stream: AudioStream, span: Fraction) -> str:
    """What is missing at the end, in words; "" if nothing is, or the file promises nothing.

    Args:
        path: a file of one part.
        stream: its sound.
        span: seconds that can be read.
    """
    format = stream.container.format.name
    said = stream.duration * exact(stream.time_base or 1) if stream.duration else Fraction(0)
    if format == "wav":
        said = max(said, _wav_seconds(path, stream))
    elif not format.startswith("mov") and format not in EXACT_LENGTHS:
        return ""
    tolerance = ROUGH if format.startswith("mov") else TOLERANCE
    if said - span <= tolerance or said * (stream.codec_context.sample_rate or 1) >= OPEN:
        return ""
    return f"truncated: {float(span):.2f} s of {float(said):.2f} s of sound can be read"


def _wav_seconds(path: Path, stream: AudioStream) -> Fraction:
    """The length that a WAV's header tells, 0 if it is of a kind that does not, or left it open."""
    with open_file(path) as file:
        head = file.read(1 << 16)
    rate = at = 0
    while len(head) >= at + 8:
        name, size = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
        if name == b"fmt ":
            rate = int.from_bytes(head[at + 16 : at + 20], "little")  # bytes a second
        if name == b"data":
            is_told = rate and stream.codec_context.name.startswith("pcm_") and size < OPEN
            return Fraction(size, rate) if is_told else Fraction(0)
        at += 12 if name == b"RIFF" else 8 + size + size % 2
    return Fraction(0)
