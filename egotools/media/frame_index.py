"""Index of a video's frames and their times: from its packets if they can be trusted, else by decoding it once."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from egotools.errors import ClipError
from egotools.media.clock import CLOCKED, Clock, Read, all_packets, clock_of
from egotools.media.containers import decoded, packets_of
from egotools.media.missing_frames import STATED, Tally, missing, stays
from egotools.media.mp4_tables import packets_by_tables
from egotools.media.stamps import REORDERED, Stamps
from egotools.media.timing import Timing, at_a_rate, stamped
from egotools.types import IntArray

# Containers that keep a timestamp for every frame, and codecs that give one frame for every packet that is shown.
# AVI keeps none, MPEG-4 part 2 has packets without a frame, a transport stream may begin inside a group of pictures.
TRUSTED_CONTAINERS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
TRUSTED_CODECS = {
    "h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mjpeg", "png", "prores", "dnxhd", "ffv1", "rawvideo",
}  # fmt: skip

# Formats without timestamps; FFmpeg counts them by a rate that it assumes.
RAW_FORMATS = {"h264", "hevc", "m4v", "mpegvideo", "mjpeg", "obu", "yuv4mpegpipe"}

# Formats that store when a picture is decoded. FFmpeg derives when it is shown, late by the decoder's delay.
DECODING_TIMES = {"avi", "asf"}

# Formats that store how long each frame is shown, which matters for the last one.
DURATIONS = {*TRUSTED_CONTAINERS, "gif", "apng"}

FEW_REPEATED = 0.05  # of the frames; more may be fields with a packet each, of which two make a frame
ODD = 3  # places that a frame is shown later or earlier than decoded; if only few are, their timestamps may be wrong
SELDOM = 0.001  # of all


@dataclass(frozen=True, eq=False)
class FrameIndex(Timing):
    """The frames of a video in display order, before any is decoded (F frames, K key frames)."""

    # [F] timestamps as the file has them, in ticks, ascending, some perhaps equal. None where they do not identify a
    # frame, so that frames are counted from the first.
    pts: IntArray | None = None
    keys: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))  # [K] ascending timestamps of key frames
    damage: str = ""  # what is missing, in words; "" if nothing is
    whole: frozenset[int] = frozenset()  # numbers of packets to decode although FFmpeg takes them for broken
    # [F] without timestamps, the number of the packet that each frame came from, in the file's order. None where the
    # decoder does not tell.
    packets: IntArray | None = None

    def from_frame(self, first: int) -> FrameIndex:
        """Without the frames before `first`, which are listed but do not decode: the start of a trimmed file."""
        if self.pts is None or first <= self.pts[0]:
            return self
        kept = self.pts >= first
        lost, begin = int((~kept).sum()), float(self.times[kept][0])
        said = f"its first {'frame does' if lost == 1 else f'{lost} frames do'} not decode; it begins at {begin:.3f} s"
        return replace(self, pts=self.pts[kept], times=self.times[kept], remarks=(*self.remarks, said))


def index_packets(container: InputContainer, stream: VideoStream, path: Path) -> FrameIndex | None:
    """The frames by the packets, without decoding; None where packets do not tell. Moves the container.

    Raises:
        ClipError: impossible times.
    """
    is_trusted = container.format.name in TRUSTED_CONTAINERS and stream.codec_context.name in TRUSTED_CODECS
    if not is_trusted and not (container.format.name == "avi" and stream.codec_context.codec.intra_only):
        return None
    shown: list[int] = []
    keys: list[int] = []
    tally, duration = Tally(stream), 0
    for packet in tally.counted(packets_of(container)):
        if packet.stream_index != stream.index or packet.is_corrupt:
            continue
        if packet.pts is None:
            return None
        if packet.is_keyframe:
            keys.append(packet.pts)
        if not packet.is_discard and _is_shown(packet, stream):  # discarded: before the start set by an edit list
            shown.append(packet.pts)
            duration = packet.duration or duration
    damage = missing(container, path, tally, len(shown))
    duration += _ticks(stays(container, path, tally), stream)
    return index_of(shown, keys, duration, damage, stream, path)


def has_tables(container: InputContainer, stream: VideoStream) -> bool:
    """Whether a file's own tables may say what its packets do: an MP4 in which every packet has a frame."""
    return container.format.name.startswith("mov") and stream.codec_context.name in TRUSTED_CODECS - {"vp8"}


def index_tables(container: InputContainer, stream: VideoStream, path: Path) -> FrameIndex | None:
    """As `index_packets`, from the tables of a file that has them; None where they may be wrong."""
    said = packets_by_tables(container, stream, path)
    if said is None:
        return None
    shown = ~said.is_hidden
    duration = int(said.durations[shown][-1]) if shown.any() else 0
    return index_of(said.pts[shown].tolist(), said.pts[said.is_key].tolist(), duration, "", stream, path)


def index_of(
    shown: Sequence[int], keys: Sequence[int], duration: int, damage: str, stream: VideoStream, path: Path
) -> FrameIndex | None:
    """The frames of packets with these timestamps, in the file's order; None where these do not tell the order.

    Args:
        shown: of each packet with a frame that is shown.
        keys: of each packet at which decoding can begin.
        duration: of the last frame, in ticks; 0 if unknown.
        damage: what is missing, in words.
        stream: the stream of the packets.
        path: of the file, for messages.

    Raises:
        ClipError: impossible times.
    """
    stamps = np.array(shown, np.int64)
    order = np.argsort(stamps, kind="stable")
    pts = stamps[order]
    repeated = len(pts) - len(np.unique(pts))
    if not len(pts) or repeated > FEW_REPEATED * len(pts):
        return None
    if repeated and (_may_have_fields(stream) or (np.diff(order) != 1).any()):
        return None
    if not _are_ordered(stamps, np.isin(shown, keys), stream.codec_context.reorder_depth):
        return None
    timed = stamped(pts.astype(np.float64), duration, stream, path)
    if timed.has_far_ends and (np.diff(order)[-REORDERED:] != 1).any():  # outliers may belong earlier
        return None
    return FrameIndex(**vars(timed), pts=pts, keys=np.unique(np.array(keys, np.int64)), damage=damage)


def index_by_decoding(
    container: InputContainer,
    stream: VideoStream,
    path: Path,
    *,
    fps: float | None = None,
    whole: frozenset[int] = frozenset(),
) -> FrameIndex:
    """The frames as they decode, in one pass over the whole file. Moves the container.

    Args:
        container: open, at its beginning.
        stream: one of its streams.
        path: of the file, for messages.
        fps: the frame rate of formats without timestamps, if the header states none.
        whole: as in `FrameIndex`.

    Raises:
        ClipError: not one frame decodes, or impossible times.
    """
    format = container.format.name
    found: list[int | None] = []
    sources: list[object] = []
    damage, broken, duration, read, tally = "", 0, 0, Read(), Tally(stream)

    def numbered() -> Iterator[Packet[Stream]]:
        nonlocal broken
        packets = all_packets(container) if format in {*CLOCKED, *STATED} else packets_of(container, stream)
        for number, packet in enumerate(read.note(tally.counted(packets), of=stream)):
            packet.opaque = [number]  # its own object: PyAV distinguishes them by address
            if packet.is_corrupt and number not in whole:
                broken += 1
            else:
                yield packet

    try:
        for frame in decoded(numbered(), stream, path, parts=True):
            found.append(frame.pts)
            sources.append(frame.opaque)
            duration = frame.duration or 0
    except ClipError as error:
        if not found:
            raise
        damage = f"damaged: {len(found)} frames can be read; then {str(error).removeprefix(f'{path}: ')}"
    if not found:
        raise ClipError(f"{path}: no frame of it can be decoded")
    numbers = np.array([source[0] for source in sources if isinstance(source, list)], np.int64)
    known = len(np.unique(numbers)) == len(found)
    clock = clock_of(container, read) if format in CLOCKED else Clock()
    if format in RAW_FORMATS:
        timed = at_a_rate(len(found), stream, fps, path)
    else:
        pts = np.array([np.nan if stamp is None else stamp for stamp in found], np.float64)
        if format in DECODING_TIMES:  # shown when it is decoded, but in display order
            # FFmpeg assumes a delay of one packet, which is that of MPEG-4.
            is_h26x = known and stream.codec_context.name in ("h264", "hevc")
            pts = _delayed(read.dts_of(stream)[numbers], stream) if is_h26x else np.sort(pts) - read.delay
        pts = clock.shown(stream, pts, numbers if known else np.arange(len(found)))
        duration = duration if format in DURATIONS and _is_odd(duration, pts) else 0
        timed = stamped(pts, duration + _ticks(stays(container, path, tally), stream), stream, path)
    damage = damage or missing(container, path, tally, len(found))
    if broken and not damage:
        packets = "1 packet is" if broken == 1 else f"{broken} packets are"
        damage = f"damaged: {packets} broken; {len(found)} frames can be read"
    timed = replace(timed, remarks=(*clock.remarks, *timed.remarks))
    return FrameIndex(**vars(timed), damage=damage, whole=whole, packets=numbers if known else None)


def _are_ordered(stamps: IntArray, is_key: npt.NDArray[np.bool_], depth: int) -> bool:
    """Whether frames with these timestamps come out in display order if the decoder holds back at most `depth`.

    If not, the timestamps are wrong, or the file does not say how many are held back.
    """
    is_late = np.maximum.accumulate(stamps)[:-1] > stamps[1:]
    if is_late[is_key[1:]].any():  # what comes before a key frame is shown before it
        return False
    later = np.argsort(np.argsort(stamps, kind="stable")) - np.arange(len(stamps))  # places that each is shown later
    for places in (later, -later):
        most = int(places.max())
        few_are_odd = most >= ODD and int((places > most / 2).sum()) <= 1 + len(stamps) * SELDOM
        if most > REORDERED or few_are_odd:
            return False
    largest: list[int] = []  # of those before, one more than are held back; the smallest of them has been shown
    for stamp in stamps.tolist():
        if len(largest) <= depth:
            heapq.heappush(largest, stamp)
        elif stamp < largest[0]:
            return False
        else:
            heapq.heapreplace(largest, stamp)
    return True


def _delayed(dts: Stamps, stream: VideoStream) -> Stamps:
    """When frames are shown [F], from when they are decoded [F]; the decoder returns each a few packets later."""
    dts = np.sort(dts)
    depth = min(stream.codec_context.reorder_depth, len(dts) - 1)
    return np.append(dts[depth:] - (dts[depth] - dts[0]), np.full(depth, np.nan))


def _ticks(seconds: float, stream: VideoStream) -> int:
    return round(seconds / (stream.time_base or 1))


def _is_odd(duration: int, pts: Stamps) -> bool:
    """Whether a duration differs from the usual one; containers round by small amounts."""
    usual = float(np.nanmedian(np.diff(pts))) if len(pts) > 1 else 0.0
    return abs(duration - usual) > usual / 2


def _may_have_fields(stream: VideoStream) -> bool:
    """Whether two packets may form one frame, as the fields of interlaced pictures do."""
    # PyAV 17 does not expose the order of fields; 1 is progressive.
    return stream.codec_context.name in ("h264", "hevc") and getattr(stream.codec_context, "field_order", None) != 1


def _is_shown(packet: Packet[Stream], stream: VideoStream) -> bool:
    # VP8 keeps reference pictures that are never shown in their own packets; bit 4 of the first byte is 0 there.
    return stream.codec_context.name != "vp8" or bool(memoryview(packet)[0] & 0x10)
