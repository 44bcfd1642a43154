"""Indexes the packets of an audio stream without decoding: when each is heard, and when the last one ends.

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

from egotools.media.clock import CLOCKED, Clock, Read, all_packets, clock_of
from egotools.media.containers import exact, packets_of
from egotools.media.limits import check_times
from egotools.media.sound.lost_sound import FLAC_HEAD, first_lost_flac, first_lost_ogg
from egotools.media.sound.sound_stamps import JITTER_SECONDS, heard, unbroken
from egotools.types import IntArray

# Containers with sound only, packet after packet: FFmpeg counts their timestamps itself, and miscounts if the rate
# changes or files were joined. Decoded sound follows without a gap.
UNSTAMPED = {"mp3", "aac", "flac", "wav", "w64", "aiff", "caf", "au", "amr", "ac3", "eac3", "tta", "wv", "ape"}
# Their last packet may be short if a writer to a pipe left the length open; a fraction of a sample is not sound.
RAW_CODECS = ("pcm_", "adpcm_")
ROUNDING_SECONDS = 0.002  # of lengths in MP4, which are in milliseconds
TAGS = (b"ID3", b"TAG", b"APE")  # inside an MP3 that was joined from several

ADTS_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by the version's bits


@dataclass(frozen=True, eq=False)
class SoundIndex:
    """The packets of one audio stream.

    Attributes:
        stamps: [P] when each packet is heard, if that differs from the packets' own timestamps; None: as they say.
        first: when the first one is heard, in ticks.
        end: when the last one ends, in ticks, without encoder padding.
        last: the length of the last one, in ticks.
        skips: whether the container says that the first packet begins with encoder delay.
        is_steady: whether seeking leads to where the timestamps say.
        gaps: [G, 2] ticks, silences too long to be plausible.
        remarks: what was repaired, in sentences.
        lost: the packet before which sound is missing, P for the end; None if none is.
        lost_at: from when on it is missing, in ticks.
        said_end: when the last one ends by the packets' own timestamps, in ticks.
        damage: what cannot be read, as a message; "" if nothing.
    """

    stamps: IntArray | None
    first: int
    end: int
    last: int
    skips: bool
    is_steady: bool
    gaps: IntArray
    remarks: list[str]
    lost: int | None = None
    lost_at: int = 0
    said_end: int = 0
    damage: str = ""


def is_unstamped(container: InputContainer) -> bool:
    """Whether sound follows without a gap, whatever the packets' timestamps say."""
    return container.format.name in UNSTAMPED


def sound_packets(
    container: InputContainer, stream: AudioStream, packets: Iterator[Packet[Stream]] | None = None
) -> Iterator[Packet[Stream]]:
    """The packets of a stream to decode, those that `index_sound` counts; of all packets or `packets`."""
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
    """When the packets are heard, by their timestamps where these can be trusted. Seeks in the container.

    Args:
        container: of the file, or of a part of it.
        stream: of the container.
        path: the file.
        place: the byte range of the part; None: all.

    Raises:
        ClipError: impossible times.
    """
    ticks = exact(stream.time_base or 1)
    seconds_of = {"aac": _adts_seconds, "mp3": _mp3_seconds}.get(container.format.name)
    said: list[int | None] = []
    durations: list[int] = []
    numbers: list[int] = []
    positions: list[int | None] = []
    heads: list[bytes] = []  # for FLAC
    skips, padding, read, is_clocked = False, 0, Read(), container.format.name in CLOCKED
    every = read.note(all_packets(container) if is_clocked else packets_of(container, stream), of=stream)
    for packet in sound_packets(container, stream, every):
        numbers.append(read.given - 1)
        seconds = seconds_of(bytes(memoryview(packet)[:4])) if seconds_of else None
        if packet.is_corrupt and packet.size:  # a partial one
            seconds = _raw_seconds(packet.size, stream)
        durations.append(packet.duration or 0 if seconds is None else round(seconds / ticks))
        said.append(packet.pts)
        positions.append(packet.pos)
        if container.format.name == "flac":
            heads.append(bytes(memoryview(packet)[:FLAC_HEAD]))
        skipped, padding = _no_sound(packet)  # the last packet's padding counts
        skips = skips or (bool(skipped) and not said[1:])
    if not said:
        return SoundIndex(None, 0, 0, 0, False, True, np.empty((0, 2), np.int64), [])
    clock = clock_of(container, read) if is_clocked else Clock()
    added = clock.added(stream, np.array(numbers, np.int64)).tolist()
    said = [None if stamp is None else stamp + more for stamp, more in zip(said, added, strict=True)]
    lost = None
    if container.format.name == "flac":
        rate_of = stream.codec_context.sample_rate or 1
        lost = first_lost_flac(heads, [round(duration * ticks * rate_of) for duration in durations])
    elif container.format.name == "ogg":
        lost = first_lost_ogg(path, place, stream.index, positions)
    stamps, lengths = unbroken(said, durations, float(ticks))
    lost_at = int(stamps[lost - 1] + lengths[lost - 1]) if lost else 0
    said_end = int((stamps + lengths).max())
    rate = stream.codec_context.sample_rate or 48000
    if padding:  # some containers have already subtracted it from the last packet's duration
        lengths[-1] = max(0, min(lengths[-1], int(lengths.max()) - round(Fraction(padding, rate) / ticks)))
    if is_unstamped(container):
        return SoundIndex(
            stamps=None,
            first=int(stamps[0]),
            end=int(stamps[0] + lengths.sum()),
            last=int(lengths[-1]),
            skips=skips,
            is_steady=lost is None and _is_even(stamps, lengths, float(ticks)),
            gaps=np.empty((0, 2), np.int64),
            remarks=[],
            lost=lost,
            lost_at=lost_at,
            said_end=said_end,
        )
    found = heard(stamps, lengths, float(ticks))
    is_same = np.array_equal(found.stamps, stamps) and not any(added)
    first, end = int(found.stamps[0]), int((found.stamps + lengths).max())
    longest = max(int(np.diff(found.stamps).max(initial=0)), int(lengths.max()))
    whole = max(end - first, int(lengths.sum()))
    check_times(path, float(whole * ticks), float(longest * ticks), len(stamps), "packet")
    return SoundIndex(
        stamps=None if is_same else found.stamps,
        first=first,
        end=_stated_end(container, stream, end, int(lengths[-1])),
        last=int(lengths[-1]),
        skips=skips,
        is_steady=is_same,
        gaps=found.gaps,
        remarks=[*clock.remarks, *found.remarks],
        lost=lost,
        lost_at=lost_at,
        said_end=said_end,
        damage="" if place else read.missed(container, path, f"{float((end - first) * ticks):.2f} s of sound"),
    )


def _is_even(stamps: IntArray, lengths: IntArray, ticks: float) -> bool:
    return bool((np.abs(stamps[:-1] + lengths[:-1] - stamps[1:]) <= JITTER_SECONDS / ticks).all())


def _stated_end(container: InputContainer, stream: AudioStream, end: int, last: int) -> int:
    """The end of the sound inside the last packet, as MP4 states it; encoder padding is not sound."""
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
    """The duration of uncoded samples, in seconds; None if they are coded."""
    bits = re.fullmatch(r"pcm_[suf](\d+)[lb]?e?", stream.codec_context.name)
    if bits is None:
        return None
    samples = size * 8 // (int(bits[1]) * stream.codec_context.channels)
    return Fraction(samples, stream.codec_context.sample_rate)


def _adts_seconds(head: bytes) -> Fraction | None:
    """The duration of an AAC frame, from its first four bytes; None without a header of its own."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xF0 != 0xF0:
        return None
    rate = head[2] >> 2 & 0xF
    return Fraction(1024, ADTS_RATES[rate]) if rate < len(ADTS_RATES) else None


def _mp3_seconds(head: bytes) -> Fraction | None:
    """The duration of an MPEG layer III frame."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, rate = head[1] >> 3 & 3, head[2] >> 2 & 3
    if version not in MP3_RATES or rate == 3:
        return None
    return Fraction(1152 if version == 3 else 576, MP3_RATES[version][rate])
