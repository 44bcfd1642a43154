"""One ascending clock for all streams of a file whose own clock wraps, or restarts where files were concatenated.

Timestamps of video and audio are shifted alike, so that they stay in sync.
Axes: P packets of one stream, in the file's order. Timestamps are ticks, of the same length in all streams.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Stream

from egotools.media.containers import exact, packets_of
from egotools.media.stamps import STEPS, Stamps, repaired
from egotools.types import IntArray

WRAPS = {"mpegts": 1 << 33, "mpeg": 1 << 33}  # ticks after which a clock is at 0 again
CLOCKED = {*WRAPS, "flv", "matroska,webm"}  # formats that stay readable when files are concatenated byte by byte
JUMP = 10.0  # seconds that the clock of a broadcast jumps ahead at most; more is another recording, as in FFmpeg
APART = 10.0  # seconds that streams are apart at most where a clock begins
NEAR = 50  # packets beside a seam that are examined
MOST_SAID = 3  # seams
ODD_PACKETS = 8  # at the beginning of a file
BROKEN = 4  # packets after a seam that FFmpeg may take for broken


@dataclass(eq=False)
class Read:
    """Timestamps of all packets read so far, in the file's order; `given` of them belong to the chosen stream."""

    stream: array[int] = field(default_factory=lambda: array("i"))
    dts: array[float] = field(default_factory=lambda: array("d"))  # NaN: none; a day's recording has millions
    pts: array[float] = field(default_factory=lambda: array("d"))
    duration: array[float] = field(default_factory=lambda: array("d"))
    given: int = 0
    stop: int = 0  # where in the file the last packet ends, bytes

    def note(self, packets: Iterator[Packet[Stream]], *, of: Stream) -> Iterator[Packet[Stream]]:
        """The packets of one stream; those of all streams are noted."""
        for packet in packets:
            pts = math.nan if packet.pts is None else packet.pts
            self.stream.append(packet.stream_index)
            self.dts.append(pts if packet.dts is None else packet.dts)
            self.pts.append(pts)
            self.duration.append(packet.duration or 0)
            self.stop = max(self.stop, (packet.pos or 0) + packet.size)
            if packet.stream_index == of.index:
                self.given += 1
                yield packet

    def dts_of(self, stream: Stream) -> Stamps:
        """When each packet of one stream is to be decoded, ticks; NaN where unknown."""
        return np.asarray(np.array(self.dts)[np.array(self.stream) == stream.index])

    @property
    def delay(self) -> int:
        """Ticks from decoding the first packet to showing the first frame."""
        pts, dts = np.array(self.pts), np.array(self.dts)
        return 0 if np.isnan(pts).all() else int(np.nanmin(pts) - np.nanmin(dts))


@dataclass(frozen=True, eq=False)
class Clock:
    """What to add to timestamps: by stream, the packets from which it changes, and the ticks to add; empty if nothing.

    `seams` are the first packets of each stream after each restart of the clock.
    """

    changes: Mapping[int, tuple[IntArray, IntArray]] = field(default_factory=dict)
    seams: Mapping[int, Sequence[int]] = field(default_factory=dict)
    wrap: int = 0
    remarks: tuple[str, ...] = ()

    def added(self, stream: Stream, packets: IntArray) -> IntArray:
        """Ticks to add to the timestamps of the packets with these numbers."""
        if stream.index not in self.changes:
            return np.zeros(len(packets), np.int64)
        begins, ticks = self.changes[stream.index]
        return np.asarray(ticks[np.searchsorted(begins, packets, side="right") - 1])

    def shown(self, stream: Stream, stamps: Stamps, packets: IntArray) -> Stamps:
        """The timestamps [F] of frames on the one clock, given the packets that they came from [F]."""
        stamps = stamps + self.added(stream, packets)
        known = ~np.isnan(stamps)
        if self.wrap and known.any():
            stamps[known] = np.unwrap(stamps[known], period=self.wrap)
        return stamps


def all_packets(container: InputContainer) -> Iterator[Packet[Stream]]:
    """The packets of all streams, including those that were to be skipped."""
    for stream in container.streams:
        stream.discard = Discard.default
    return packets_of(container)


def clock_of(container: InputContainer, read: Read) -> Clock:
    """The clock of a container whose packets were all read."""
    kinds = {stream.index for stream in container.streams if stream.type in ("video", "audio")}
    wrap = WRAPS.get(container.format.name, 0)
    second = float(1 / exact(container.streams[0].time_base or 1))
    tracks = _tracks(read, kinds, wrap, second)
    seams = _seams(tracks, second, jumps=bool(wrap))
    moments, offsets = _offsets(tracks, seams)
    changes = {}
    for index, track in tracks.items():
        added = track.unwrapped - track.raw
        for seam, more in zip(seams, np.diff(offsets).tolist(), strict=True):
            added[seam[index] :] += more
        starts = np.append(0, np.flatnonzero(np.diff(added)) + 1)
        changes[index] = starts, np.rint(added[starts]).astype(np.int64)
    if not any(ticks.any() for _, ticks in changes.values()):
        return Clock()
    cuts = {index: [seam[index] for seam in seams] for index in tracks}
    remarks = [
        f"the clock restarts at {moment / second:.3f} s, as in concatenated files; times continue from there"
        for moment in moments[:MOST_SAID]
    ]
    if len(moments) > MOST_SAID:
        remarks.append(f"the clock restarts {len(moments) - MOST_SAID} more times")
    if any((track.unwrapped != track.raw).any() for track in tracks.values()):
        remarks.append(f"the clock wraps at {wrap / second:.1f} s; times continue from there")
    return Clock(changes, cuts, wrap, tuple(remarks))


def whole_at_seams(container: InputContainer, stream: Stream) -> frozenset[int]:
    """Packets that FFmpeg takes for broken only because another file begins after them. Moves the container."""
    read, broken = Read(), []
    for packet in read.note(all_packets(container), of=stream):
        if packet.is_corrupt:
            broken.append(read.given - 1)
    seams = clock_of(container, read).seams.get(stream.index, ())
    return frozenset(number for number in broken if any(abs(number - seam) <= BROKEN for seam in seams))


@dataclass(frozen=True, eq=False)
class _Track:
    """The packets of one stream [P]: timestamps as they are, without wraps, and repaired on each clock."""

    raw: Stamps  # of decoding; where missing, the next best
    unwrapped: Stamps
    clean: Stamps
    shown: Stamps  # clean display timestamps
    ends: Stamps
    place: IntArray  # among the packets of all streams
    begun: list[int]  # packets at which the clock restarts, or jumps ahead
    ahead: set[int]  # those at which it jumps ahead


def _tracks(read: Read, kinds: set[int], wrap: int, second: float) -> dict[int, _Track]:
    streams = np.array(read.stream, np.int64)
    dts, pts = np.array(read.dts), np.array(read.pts)
    durations = np.array(read.duration)
    known = np.flatnonzero(~np.isnan(dts) & np.isin(streams, list(kinds)))
    tracks = {}
    for index in sorted(set(streams[known].tolist())):
        place = np.flatnonzero(streams == index)
        raw = _held(dts[place])
        unwrapped = np.unwrap(np.append(dts[known[0]], raw), period=wrap)[1:] if wrap else raw.copy()
        found = repaired(unwrapped, usual=second / 25, second=second)
        clean = found.stamps.copy()
        for begin in found.restarts.tolist():
            clean[begin:] += unwrapped[begin] - clean[begin]
        usual = max(JUMP * second, STEPS * found.step)  # one picture per minute is not a jump
        ahead = {int(at) + 1 for at in np.flatnonzero(np.diff(found.stamps) > usual)}
        later = np.nan_to_num(pts[place] - raw)
        later = (later + wrap // 2) % wrap - wrap // 2 if wrap else later  # one of them may be past the wrap
        shown = clean + np.where(np.abs(later) < APART * second, later, 0.0)
        ends = shown + np.where(durations[place] > 0, durations[place], found.step)
        begun = sorted({*found.restarts.tolist(), *ahead})
        tracks[index] = _Track(raw, unwrapped, clean, shown, ends, place, begun, ahead)
    return tracks


def _held(stamps: Stamps) -> Stamps:
    """Timestamps where a missing one is that of the packet before; at the beginning, that of the first known."""
    known = np.flatnonzero(~np.isnan(stamps))
    before = np.maximum(np.searchsorted(known, np.arange(len(stamps)), side="right") - 1, 0)
    return np.asarray(stamps[known[before]])


def _seams(tracks: Mapping[int, _Track], second: float, *, jumps: bool) -> list[dict[int, int]]:
    """Where the clock of all streams restarts: by stream, the first packet after it.

    Args:
        tracks: by stream.
        second: ticks per second.
        jumps: whether a jump ahead is a restart; else it is a pause.
    """
    seams: list[dict[int, int]] = []
    events = sorted((int(tracks[index].place[at]), index, at) for index in tracks for at in tracks[index].begun)
    for place, index, at in events:
        before = seams[-1] if seams else dict.fromkeys(tracks, 0)
        if at <= before[index] or (at in tracks[index].ahead and not jumps):
            continue
        if at <= ODD_PACKETS and not any(tracks[other].begun for other in tracks if other != index):
            continue  # a few packets of one stream with wrong timestamps are no recording of their own
        last, first = tracks[index].clean[at - 1], tracks[index].clean[at]
        seam = {other: _cut(track, place, before[other], last, first, second) for other, track in tracks.items()}
        cuts = {other: cut for other, cut in seam.items() if cut is not None}
        if len(cuts) == len(tracks):  # else the fault of one stream, which is repaired on its own
            seams.append(cuts)
    return seams


def _cut(track: _Track, place: int, after: int, last: float, first: float, second: float) -> int | None:
    """The first packet of a stream after a restart that another stream has at a place of the file.

    There the clock goes from `last` to `first`. None if this stream's clock does not.
    """
    for begin in track.begun:
        if begin > after and abs(track.clean[begin] - first) < APART * second:
            return begin
    cut = int(np.searchsorted(track.place, place))
    if cut in (0, len(track.place)) or abs(track.clean[cut] - first) <= abs(track.clean[cut] - last):
        return cut
    return None


def _offsets(tracks: Mapping[int, _Track], seams: Sequence[Mapping[int, int]]) -> tuple[list[float], list[float]]:
    """When each seam is, on the one clock, and what is added after it; it continues where all before it ends."""
    moments, offsets = [], [0.0]
    bounds = [dict.fromkeys(tracks, 0), *seams, {index: len(track.raw) for index, track in tracks.items()}]
    for before, seam, after in zip(bounds, bounds[1:], bounds[2:], strict=False):
        lasts = [track.ends[max(before[i], seam[i] - NEAR) : seam[i]] for i, track in tracks.items()]
        firsts = [track.shown[seam[i] : min(after[i], seam[i] + NEAR)] for i, track in tracks.items()]
        moments.append(max(float(last.max()) for last in lasts if len(last)) + offsets[-1])
        offsets.append(moments[-1] - min(float(first.min()) for first in firsts if len(first)))
    return moments, offsets
