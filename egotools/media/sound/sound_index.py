"""Index of an audio stream: when each packet begins and the last one ends, before any is decoded.

Timestamps are in ticks of the stream; P packets.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

from egotools.errors import ClipError
from egotools.media.clock import CLOCKED, Clock, Read, all_packets, clock_of
from egotools.media.containers import exact, packets_of
from egotools.media.limits import check_times
from egotools.media.sound.lost_sound import FLAC_HEAD, first_lost_flac, first_lost_ogg
from egotools.media.sound.sound_stamps import JITTER_SECONDS, Heard, heard, unbroken
from egotools.media.stated_size import unread
from egotools.types import IntArray

# Containers of nothing but sound, packet after packet: FFmpeg counts their timestamps itself, and miscounts where the
# rate changes or files were joined. Decoded frames follow one another without a gap.
UNSTAMPED = {"mp3", "aac", "flac", "wav", "w64", "aiff", "caf", "au", "amr", "ac3", "eac3", "tta", "wv", "ape"}
# Their last packet may be short if a writer to a pipe left the length open; a part of a sample is no sound.
RAW_CODECS = ("pcm_", "adpcm_")
ROUNDING_SECONDS = 0.002  # of lengths in MP4, which are whole milliseconds
TAGS = (b"ID3", b"TAG", b"APE")  # inside an MP3 that was joined from several

ADTS_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by the version's bits


@dataclass(frozen=True, eq=False)
class SoundIndex:
    """The packets of one audio stream; times are in ticks."""

    stamps: IntArray | None  # [P] when each packet begins, if the packets themselves are wrong; None: as they state
    first: int  # when the first one begins
    end: int  # when the last one ends, without encoder padding
    last: int  # length of the last one
    skips: bool  # whether the container says that the first packet begins with encoder delay
    is_steady: bool  # whether a seek leads to where the timestamps say
    gaps: IntArray  # [G, 2] silence that is too long to be plausible
    remarks: list[str]  # what was repaired, in sentences
    lost: int | None  # the packet before which sound is missing, P for the end; None if none is
    lost_at: int  # when it is missing from
    said_end: int  # when the last packet ends by its own timestamp
    damage: str  # what cannot be read, in words; "" if nothing


def is_unstamped(container: InputContainer) -> bool:
    """Whether the sound has no gaps, whatever the timestamps of its packets are."""
    return container.format.name in UNSTAMPED


def sound_packets(
    container: InputContainer, stream: AudioStream, packets: Iterator[Packet[Stream]] | None = None
) -> Iterator[Packet[Stream]]:
    """The packets of a stream that are decoded, as `index_sound` counts them; all, or those among `packets`."""
    is_raw = stream.codec_context.name.startswith(RAW_CODECS)
    is_mp3 = container.format.name == "mp3"
    for packet in packets_of(container, stream) if packets is None else packets:
        if packet.is_corrupt and not (is_raw and _raw_seconds(packet.size, stream) != 0):
            continue
        if not (is_mp3 and bytes(memoryview(packet)[:3]) in TAGS):
            yield packet


def index_sound(
    container: InputContainer, stream: AudioStream, path: Path, place: tuple[int, int] | None = None
) -> SoundIndex:
    """When the packets begin, by their timestamps if these can be trusted. Moves the container.

    Args:
        container: of the file, or of a part of it.
        stream: of the container.
        path: the file.
        place: the byte range of the part; None: all.

    Raises:
        ClipError: no packets, or impossible times.
    """
    format, codec, ticks = container.format.name, stream.codec_context, exact(stream.time_base or 1)
    seconds_of = {"aac": _adts_seconds, "mp3": _mp3_seconds}.get(format)
    said: list[int | None] = []
    durations: list[int] = []
    numbers: list[int] = []
    positions: list[int | None] = []
    heads: list[bytes] = []  # of FLAC
    skips, padding, read, is_clocked = False, 0, Read(), format in CLOCKED
    every = read.note(all_packets(container) if is_clocked else packets_of(container, stream), of=stream)
    for packet in sound_packets(container, stream, every):
        numbers.append(read.given - 1)
        seconds = seconds_of(bytes(memoryview(packet)[:4])) if seconds_of else None
        if packet.is_corrupt and packet.size:  # a partial one
            seconds = _raw_seconds(packet.size, stream)
        durations.append(packet.duration or 0 if seconds is None else round(seconds / ticks))
        said.append(packet.pts)
        positions.append(packet.pos)
        if format == "flac":
            heads.append(bytes(memoryview(packet)[:FLAC_HEAD]))
        skipped, padding = _no_sound(packet)  # the padding of the last packet counts
        skips = skips or (bool(skipped) and not said[1:])
    if not said:
        raise ClipError(f"{path}: no sound of it can be decoded")
    clock = clock_of(container, read) if is_clocked else Clock()
    added = clock.added(stream, np.array(numbers, np.int64)).tolist()
    said = [None if stamp is None else stamp + more for stamp, more in zip(said, added, strict=True)]
    lost = None
    if format == "flac":
        lost = first_lost_flac(heads, [round(duration * ticks * (codec.sample_rate or 1)) for duration in durations])
    elif format == "ogg":
        lost = first_lost_ogg(path, place, stream.index, positions)
    stamps, lengths = unbroken(said, durations, float(ticks))
    lost_at = int(stamps[lost - 1] + lengths[lost - 1]) if lost else 0
    said_end = int((stamps + lengths).max())
    if padding:  # some containers have subtracted it from the last packet's duration already
        padded = round(Fraction(padding, codec.sample_rate or 48000) / ticks)
        lengths[-1] = max(0, min(lengths[-1], int(lengths.max()) - padded))
    last, total = int(lengths[-1]), int(lengths.sum())
    if is_unstamped(container):
        result, damage = Heard(stamps, np.empty((0, 2), np.int64), []), ""
        first, end = int(stamps[0]), int(stamps[0]) + total
        is_steady = lost is None and _is_even(stamps, lengths, float(ticks))
    else:
        result = heard(stamps, lengths, float(ticks))
        is_steady = np.array_equal(result.stamps, stamps) and not any(added)
        first, end = int(result.stamps[0]), int((result.stamps + lengths).max())
        longest = max(int(np.diff(result.stamps).max(initial=0)), int(lengths.max()))
        check_times(path, float(max(end - first, total) * ticks), float(longest * ticks), len(stamps), "packet")
        what = f"{float((end - first) * ticks):.2f} s of sound"
        damage = "" if place else unread(format, path, read.stop, what)
        end = _stated_end(container, stream, end, last)
    return SoundIndex(
        stamps=None if is_steady or is_unstamped(container) else result.stamps,
        first=first,
        end=end,
        last=last,
        skips=skips,
        is_steady=is_steady,
        gaps=result.gaps,
        remarks=[*clock.remarks, *result.remarks],
        lost=lost,
        lost_at=lost_at,
        said_end=said_end,
        damage=damage,
    )


def _is_even(stamps: IntArray, lengths: IntArray, ticks: float) -> bool:
    return bool((np.abs(stamps[:-1] + lengths[:-1] - stamps[1:]) <= JITTER_SECONDS / ticks).all())


def _stated_end(container: InputContainer, stream: AudioStream, end: int, last: int) -> int:
    """MP4 states where in the last packet the sound ends; the encoder's padding after it is no sound."""
    if not container.format.name.startswith("mov") or not stream.duration:
        return end
    stated = (stream.start_time or 0) + stream.duration
    is_padded = end - stated > ROUNDING_SECONDS / float(stream.time_base or 1)
    return stated if is_padded and end - stated < last else end


def _no_sound(packet: Packet[Stream]) -> tuple[int, int]:
    """Samples of encoder delay at the start of a packet, and of padding at its end."""
    for data in packet.iter_sidedata():
        if data.data_type == "skip_samples":
            first, last = struct.unpack_from("<II", memoryview(data))
            return int(first), int(last)
    return 0, 0


def _raw_seconds(size: int, stream: AudioStream) -> Fraction | None:
    """The duration of so many bytes of samples; None if they are compressed."""
    bits = re.fullmatch(r"pcm_[suf](\d+)[lb]?e?", stream.codec_context.name)
    if bits is None:
        return None
    samples = size * 8 // (int(bits[1]) * stream.codec_context.channels)
    return Fraction(samples, stream.codec_context.sample_rate)


def _adts_seconds(head: bytes) -> Fraction | None:
    """The duration of an AAC frame by its first four bytes; None if it has no header of its own."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xF0 != 0xF0:
        return None
    rate = head[2] >> 2 & 0xF
    return Fraction(1024, ADTS_RATES[rate]) if rate < len(ADTS_RATES) else None


def _mp3_seconds(head: bytes) -> Fraction | None:
    """The duration of a frame of MPEG audio layer III; None if these bytes are no header."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, rate = head[1] >> 3 & 3, head[2] >> 2 & 3
    if version not in MP3_RATES or rate == 3:
        return None
    return Fraction(1152 if version == 3 else 576, MP3_RATES[version][rate])
