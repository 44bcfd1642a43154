"""Which frames a video has and when they show: from its packets where they can be trusted, else by decoding it once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from egotools.containers import decoded, exact, packets_of
from egotools.errors import ClipError
from egotools.limits import check_times
from egotools.types import IntArray

# Containers that keep a time stamp for every frame, and codecs that give one frame for every packet that is shown.
# AVI keeps none, MPEG-4 part 2 has packets without a frame, a transport stream may begin amid a group of pictures.
TRUSTED_CONTAINERS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
TRUSTED_CODECS = {
    "h264",
    "hevc",
    "vp8",
    "vp9",
    "av1",
    "libdav1d",
    "mjpeg",
    "png",
    "prores",
    "dnxhd",
    "ffv1",
    "rawvideo",
}

MISSING_SECONDS = 0.5  # durations that containers state are rounded, and hold the longest stream's last packet


@dataclass(frozen=True, eq=False)
class FrameIndex:
    """The frames of a video in display order, before any is decoded (F frames, K key frames).

    Attributes:
        pts: [F] time stamps in the stream's ticks, strictly ascending; None where they do not identify a frame, so
            that frames are counted from the first one on.
        times: [F] float64 seconds.
        end: seconds, when the last frame stops.
        keys: [K] ascending time stamps of the frames that decoding can begin at.
        damage: what is missing, in words; "" if nothing is.
        packets: [F] where there are no time stamps, the packet that each frame came of: its number among those of the
            stream, in the file's order. None where the decoder does not tell.
    """

    pts: IntArray | None
    times: npt.NDArray[np.float64]
    end: float
    keys: IntArray
    damage: str
    packets: IntArray | None = None

    def from_frame(self, first: int) -> FrameIndex:
        """Without the frames before `first`, which are listed but do not decode: it is cut out of a longer file."""
        if self.pts is None or first <= self.pts[0]:
            return self
        there = self.pts >= first
        return replace(self, pts=self.pts[there], times=self.times[there])


def index_packets(container: InputContainer, stream: VideoStream, path: Path) -> FrameIndex | None:
    """The frames as the packets tell, without decoding; None where packets do not tell. Moves the container.

    Raises:
        ClipError: times that cannot be.
    """
    if container.format.name not in TRUSTED_CONTAINERS or stream.codec_context.name not in TRUSTED_CODECS:
        return None
    stamps: list[int] = []
    keys: list[int] = []
    read, count, duration = 0.0, 0, 0
    for packet in packets_of(container):
        if packet.pts is not None and not packet.is_corrupt:
            read = max(read, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream_index != stream.index or packet.is_corrupt:
            continue
        count += 1
        if packet.pts is None:
            return None
        if packet.is_keyframe:
            keys.append(packet.pts)
        if not packet.is_discard and _is_shown(packet, stream):  # discarded: before the start that an edit list sets
            stamps.append(packet.pts)
            duration = packet.duration or duration
    pts = np.unique(np.array(stamps, np.int64))
    if not len(pts) or len(pts) != len(stamps):
        return None
    times, end = _seconds(pts, stream, duration, path)
    damage = _missing(container, stream, len(pts), count, read)
    return FrameIndex(pts, times, end, np.unique(np.array(keys, np.int64)), damage)


def index_by_decoding(container: InputContainer, stream: VideoStream, path: Path) -> FrameIndex:
    """The frames as they decode, one pass over the whole file. Moves the container.

    Raises:
        ClipError: not one frame decodes, or times that cannot be.
    """
    stamps: list[int | None] = []
    sources: list[object] = []
    damage, broken = "", 0

    def counted() -> Iterator[Packet[Stream]]:
        nonlocal broken
        for number, packet in enumerate(packets_of(container, stream)):
            broken += packet.is_corrupt
            packet.opaque = number
            yield packet

    try:
        for frame in decoded(counted(), stream, path):
            stamps.append(frame.pts if frame.pts is not None else frame.dts)
            sources.append(frame.opaque)
    except ClipError as error:
        if not stamps:
            raise
        damage = f"damaged: {len(stamps)} frames can be read; then {str(error).removeprefix(f'{path}: ')}"
    if not stamps:
        raise ClipError(f"{path}: no frame of it can be decoded")
    pts = np.unique(np.array([stamp for stamp in stamps if stamp is not None], np.int64))
    if len(pts) != len(stamps):  # a raw stream, or stamps that repeat: the frame rate is all there is
        ticks, each = _frame_ticks(stream), float(1 / _frame_rate(stream))
        check_times(path, each * len(stamps), each, len(stamps), "frame")
        pts = np.round((pts[0] if len(pts) else 0) + ticks * np.arange(len(stamps))).astype(np.int64)
    times, end = _seconds(pts, stream, 0, path)
    damage = damage or _cut_short(path, container, stream, len(stamps))
    if broken and not damage:
        damage = f"damaged: {broken} packets are broken; {len(stamps)} frames can be read"
    packets = [number for number in sources if isinstance(number, int)]
    known = len(set(packets)) == len(stamps)
    keys = np.array([], np.int64)
    return FrameIndex(None, times, end, keys, damage, np.array(packets, np.int64) if known else None)


def _is_shown(packet: Packet[Stream], stream: VideoStream) -> bool:
    # VP8 keeps reference pictures that are never shown in packets of their own; bit 4 of the first byte says so.
    return stream.codec_context.name != "vp8" or bool(memoryview(packet)[0] & 0x10)


def _seconds(pts: IntArray, stream: VideoStream, duration: int, path: Path) -> tuple[npt.NDArray[np.float64], float]:
    """When the frames begin, and when the last one ends; `duration` is that of the last in ticks, 0 if unknown."""
    time_base = exact(stream.time_base or 1)
    steps = np.diff(pts.view(np.uint64))  # they ascend, and may lie further apart than the largest int64
    if duration <= 0:
        duration = int(np.median(steps)) if len(steps) else round(_frame_ticks(stream))
    whole, longest = int(pts[-1]) - int(pts[0]) + duration, max(int(steps.max(initial=0)), duration)
    check_times(path, float(whole * time_base), float(longest * time_base), len(pts), "frame")
    times = pts.astype(np.float64) * time_base.numerator / time_base.denominator
    return times, float((int(pts[-1]) + max(duration, 1)) * time_base)


def _frame_ticks(stream: VideoStream) -> float:
    return float(1 / (_frame_rate(stream) * exact(stream.time_base or 1)))


def _frame_rate(stream: VideoStream) -> Fraction:
    return exact(stream.average_rate or stream.guessed_rate or 25)


def _missing(container: InputContainer, stream: VideoStream, count: int, packets: int, read: float) -> str:
    """What the container's own index or duration says beyond what could be read."""
    if container.format.name.startswith("mov"):
        listed = len(stream.index_entries)
        return f"truncated: {count} of {listed + count - packets} frames can be read" if packets < listed else ""
    said = (container.duration or 0) / av.time_base
    if said - read > MISSING_SECONDS:
        return f"truncated: {count} frames can be read, to {read:.2f} s of {said:.2f} s"
    return ""


def _cut_short(path: Path, container: InputContainer, stream: VideoStream, count: int) -> str:
    """An AVI says in its first bytes how long it is."""
    if container.format.name != "avi":
        return ""
    with path.open("rb") as file:
        said = int.from_bytes(file.read(8)[4:], "little") + 8
    if said - path.stat().st_size <= 1:  # a missing byte of padding is no frame
        return ""
    return f"truncated: {count} of {max(stream.frames, count)} frames can be read"
