"""Reads one audio stream of a file, from packets to decoded frames, across all files that were joined in it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

from egotools.errors import ClipError, NoSound
from egotools.media.containers import decoded, default_stream, exact, only, open_stream
from egotools.media.sound.cut_short import cut_short
from egotools.media.sound.joined_sound import parts_of
from egotools.media.sound.known_sound import KnownSound, Part
from egotools.media.sound.sound_index import SoundIndex, index_sound, is_unstamped, sound_packets
from egotools.media.sound.sound_only import has_picture

# Containers in which seeking is exact to the sample. In others (Matroska rounds to milliseconds, MP3
# has no timestamps) sound is decoded from its beginning: some hundred times faster than real time.
EXACT_CONTAINERS = {"mov,mp4,m4a,3gp,3g2,mj2", "flac", "caf"}
EXACT_FOR_PCM = {"wav", "w64", "aiff"}  # for ADPCM, and MP3, FFmpeg lands some samples away
SETTLE_SECONDS = 1.0  # decoded before the requested sound after a seek: codecs refer to earlier samples
# By a decoder's name and profile, where less suffices: a frame of plain AAC refers to the one before it.
SETTLED_SOON = {("aac", "LC"): 0.25}

# Their decoders drop the encoder delay, but do not adjust the timestamps of the rest.
TRIMMED_LATE = {"wmav1", "wmav2"}

JUST_BEGUN = 1 << 14  # size of a file with headers but no sound yet, from a recorder stopped at once

# The time at which a frame is heard, in seconds of the file; None: when the one before it ends.
Heard = tuple[Fraction | None, AudioFrame]


class SoundFile:
    """The frames of one audio stream, from its beginning or from a given time.

    Args:
        path: a file.
        stream: its number among the audio streams; None: the default stream, else the first.
        known: what an earlier `SoundFile` of the same file and stream found out; None: it is found out.

    Attributes:
        known: what was found out.
        rate, layout: of the first frame.
        start, end: the seconds of the file that it covers.
        seams: the seconds at which joined files begin, except the first.
        gaps: silences too long to be plausible, in seconds.
        can_jump: whether frames can be read from the middle of the file, without the earlier ones.
        remarks: what is unusual, in sentences.
        damage: what is missing, as a message; "" if nothing is.
    """

    def __init__(self, path: Path, stream: int | None, known: KnownSound | None = None) -> None:
        self.path = path
        self.remarks: list[str] = []
        self.damage = ""
        self._number, self._is_known = stream, known is not None and known.can_jump
        with ExitStack() as stack:
            self._open(None)
            stack.callback(self.close)
            if known is None:
                known = self._look()
            else:
                self.rate, self.layout, self.damage = known.rate, AudioLayout(known.layout), known.damage
                self.remarks += known.remarks
            stack.pop_all()
        self.known, parts = known, known.parts
        self.start, self.end = parts[0].start, parts[-1].end
        self.seams = [part.start for part in parts[1:]]
        self.gaps = [gap for part in parts for gap in part.gaps]
        self.can_jump = known.can_jump

    def close(self) -> None:
        """Closes the file."""
        self._container.close()

    def frames(self) -> Iterator[Heard]:
        """All frames, from the beginning."""
        for part in self.known.parts:
            self.renew(part.place)
            yield from self._heard(part.shift, self._decoded(part))

    def renew(self, place: tuple[int, int] | None = None) -> None:
        """Opens the file, or one of those joined in it, at its beginning with a new decoder, unless that is so."""
        if self._is_used or place != self._place:
            self._reopen(place)

    def frames_from(self, moment: Fraction) -> Iterator[Heard] | None:
        """The frames from before a given time on, or None if the container does not support seeking there."""
        frames = self._sought(moment, SETTLE_SECONDS)
        return None if frames is None else self._heard(self.known.parts[0].shift, frames)

    def fresh_frames(self, moment: Fraction) -> Iterator[AudioFrame] | None:
        """As `frames_from`, by a new decoder, from as little before that time as the codec allows."""
        self.renew()
        if moment - self.start > self.known.settling:
            return self._sought(moment, self.known.settling)
        return self._decoded(self.known.parts[0])

    def _sought(self, moment: Fraction, settling: float) -> Iterator[AudioFrame] | None:
        shift = self.known.parts[0].shift
        settled = moment - Fraction(settling)
        self._is_used = True
        try:
            stamp = math.floor((settled - shift) / exact(self._stream.time_base or 1))
            self._container.seek(stamp, stream=self._stream)
            frames = self._decoded(None)
            first = next(frames, None)
        except (av.FFmpegError, ClipError):
            return None
        if first is None or first.pts is None or _seconds(first) + shift > settled + Fraction(settling) / 2:
            return None
        return chain([first], frames)

    def _open(self, place: tuple[int, int] | None) -> None:
        choose = partial(_chosen, number=self._number)
        self._container, self._stream = open_stream(self.path, choose, place, headers_only=self._is_known)
        self._place, self._is_used = place, False
        only(self._stream)

    def _reopen(self, place: tuple[int, int] | None) -> None:
        self.close()
        self._open(place)

    def _decoded(self, index: SoundIndex | Part | None) -> Iterator[AudioFrame]:
        self._is_used = True
        # `sound_packets` has already dropped those
        return decoded(self._packets(index), self._stream, self.path, parts=True)

    def _packets(self, index: SoundIndex | Part | None) -> Iterator[Packet[Stream]]:
        for number, packet in enumerate(sound_packets(self._container, self._stream)):
            if index is not None and number and number == index.lost:
                raise ClipError(f"{self.path}: {self.damage}")
            if index is not None and index.stamps is not None:
                packet.pts = packet.dts = int(index.stamps[number])
            yield packet

    def _heard(self, shift: Fraction, frames: Iterator[AudioFrame]) -> Iterator[Heard]:
        is_counted = is_unstamped(self._container)
        for frame in frames:
            heard = None if frame.pts is None else _seconds(frame)
            yield heard + shift if heard is not None and shift else heard, frame
            if is_counted:
                break
        yield from ((None, frame) for frame in frames)

    def _look(self) -> KnownSound:
        self._is_used = True
        format = self._container.format.name
        # A stream with pictures must be read to the same end for both.
        places = parts_of(self.path, "" if format != "ogg" and has_picture(self._container) else format)
        if self._number is None and (remark := _which(self._container, self._stream)):
            self.remarks.append(remark)
        self._parts: list[Part] = []
        if len(places) == 1:
            self._add(None)
        for place in places if len(places) > 1 else []:
            try:
                self._reopen(place)
                self._add(place)
            except ClipError as error:
                if not self._parts:
                    raise
                if place[1] - place[0] >= JUST_BEGUN:
                    end, why = float(self._parts[-1].end), str(error).removeprefix(f"{self.path}: ")
                    self.damage = self.damage or f"damaged: the file joined to it at {end:.3f} s cannot be read: {why}"
                break
        can_jump = len(places) == 1 and self._is_steady and self._has_exact_jumps()
        if len(self._parts) > 1:
            second = float(self._parts[1].start)
            self.remarks.append(f"{len(self._parts)} files were joined in it; the second begins at {second:.3f} s")
        codec = self._stream.codec_context
        return KnownSound(
            tuple(self._parts),
            self.rate,
            self.layout.name,
            can_jump,
            SETTLED_SOON.get((codec.name, codec.profile or ""), SETTLE_SECONDS),
            self.damage,
            tuple(self.remarks),
        )

    def _has_exact_jumps(self) -> bool:
        format, codec = self._container.format.name, self._stream.codec_context.name
        return format in EXACT_CONTAINERS or (format in EXACT_FOR_PCM and codec.startswith("pcm_"))

    def _add(self, place: tuple[int, int] | None) -> None:
        """Indexes the currently open byte range as the next part."""
        index = index_sound(self._container, self._stream, self.path, place)
        self._reopen(place)
        frame = next(self._decoded(index), None)
        if frame is None:
            raise ClipError(f"{self.path}: no sound of it can be decoded")
        ticks = exact(self._stream.time_base or 1)
        begin, end = _seconds(frame), index.end * ticks
        if self._parts:
            shift = self._parts[-1].end - begin
        else:
            self.rate, self.layout, self._is_steady = frame.sample_rate, frame.layout, index.is_steady
            shift = self._first_shift(index, index.first * ticks, begin)
        if self._stream.codec_context.name in TRIMMED_LATE and not has_picture(self._container):
            end += index.last * ticks  # the decoder delays by a frame
        end = max(end, begin + Fraction(frame.samples, frame.sample_rate))
        gaps = tuple((float(one * ticks + shift), float(other * ticks + shift)) for one, other in index.gaps.tolist())
        self._parts.append(Part(place, index.stamps, index.lost, shift, begin + shift, end + shift, gaps))
        self.remarks += index.remarks
        self.damage = self.damage or self._missing(index, shift, place)

    def _missing(self, index: SoundIndex, shift: Fraction, place: tuple[int, int] | None) -> str:
        """What is missing in a part, as a message; "" if it is complete."""
        if index.lost:
            moment = float(index.lost_at * exact(self._stream.time_base or 1) + shift)
            return f"damaged: a part of the file is broken or missing; the sound is lost from {moment:.3f} s on"
        return index.damage or cut_short(self.path, self._stream, index, place)

    def _first_shift(self, index: SoundIndex, packet: Fraction, frame: Fraction) -> Fraction:
        """The shift that puts the first frame at its time; `packet` and `frame` are the seconds of the first ones.

        If the encoder delay is dropped and the timestamps do not account for it, the sound begins with its first packet
        in a file with sound only. Next to video, the timestamps keep both in sync.
        """
        if is_unstamped(self._container):
            return -frame
        is_late = index.skips or self._stream.codec_context.name in TRIMMED_LATE
        if is_late and 0 <= packet < frame and not has_picture(self._container):
            return packet - frame
        return Fraction(0)


def _chosen(container: InputContainer, path: Path, number: int | None) -> AudioStream:
    """The audio stream with this number; None: the default stream, else the first."""
    streams = container.streams.audio
    if not streams:
        raise NoSound(f"{path}: no audio stream in this file")
    if number is not None and number >= len(streams):
        raise ClipError(f"{path}: no audio stream {number}; the file has {len(streams)}, counted from 0")
    decodable = [stream for stream in streams if stream.codec_context is not None] or list(streams)
    chosen = default_stream(decodable) if number is None else streams[number]
    if chosen.codec_context is None:
        raise ClipError(f"{path}: its audio codec cannot be decoded")
    return chosen


def _which(container: InputContainer, chosen: AudioStream) -> str:
    """A remark on which stream is read, if none, or more than one, of several is marked as default."""
    streams = container.streams.audio
    marked = sum(bool(stream.disposition & Disposition.default) for stream in streams)
    if len(streams) < 2 or marked == 1:
        return ""
    number = [stream.index for stream in streams].index(chosen.index)
    return (
        f"{len(streams)} audio streams, {marked or 'none'} of them marked as default: "
        f"number {number} (counted from 0) is read; --stream chooses another"
    )


def _seconds(frame: AudioFrame) -> Fraction:
    return Fraction(0) if frame.pts is None or frame.time_base is None else frame.pts * exact(frame.time_base)
