"""What the header or index of a video promises beyond the frames that could be read."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from egotools.errors import ClipError
from egotools.files.disk import open_file
from egotools.media.chunks import riff_chunks
from egotools.media.stated_size import HEAD, lost_at, stated_size, unread

MISSING_SECONDS = 0.5  # stated durations are rounded, and include the last packet of the longest stream
ROUNDED = 0.01  # seconds that they differ by in a file that is shorter than it states
HOLE = 100  # bytes; two packets are mostly much closer together
LEFT_OPEN = 1 << 30  # frames of an AVI, as FFmpeg writes to a pipe; no real one has as many
MISCOUNTED = 2  # frames that the header of a whole AVI may be off by

RIFF_OPEN = {0, 0xFFFFFFFF}  # sizes of an AVI whose writer did not fill them in

# Formats whose header states the duration of the longest stream.
STATED = {"matroska,webm", "flv", "asf"}

AFTER_BYTES, AFTER_SHARE = 4000, 0.05  # that may follow the last packet: tables of key frames, tags


@dataclass(eq=False)
class Tally:
    """What could be read of one stream of a file."""

    stream: VideoStream
    packets: int = 0  # of the stream
    chunks: int = 0  # the same with the empty ones of an AVI, by its count of time
    end: float = 0.0  # when the last packet of any stream ends, in seconds
    stop: int = 0  # where in the file the last packet ends, in bytes
    hole: bool = False  # whether two packets of a Matroska file are unusually far apart
    _pos: int = 0

    def counted(self, packets: Iterator[Packet[Stream]]) -> Iterator[Packet[Stream]]:
        """The packets of all streams, unchanged; broken ones are not counted."""
        is_matroska = self.stream.container.format.name == "matroska,webm"
        for packet in packets:
            if not packet.is_corrupt:
                pos = packet.pos or 0
                if is_matroska and 0 < self.stop < pos - HOLE:
                    self.hole = True
                begin = self.stop if pos == self._pos else pos  # several audio packets may lie in one block
                self.stop, self._pos = max(self.stop, begin + packet.size), pos
                if packet.pts is not None:
                    self.end = max(self.end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.stream_index == self.stream.index:
                    self.packets += 1
                    self.chunks = max(self.packets, self.chunks, (packet.dts or 0) + 1)
            yield packet

    def of(self, packets: int, frames: int) -> str:
        """That the file is truncated: `packets` were promised; those that were read gave so many frames."""
        return f"truncated: {frames} of {frames + packets - self.packets} frames can be read"


def missing(container: InputContainer, path: Path, read: Tally, frames: int) -> str:
    """What is missing by the container's own index, count or duration, in words; "" if nothing.

    Args:
        container: the file, read to its end.
        path: of it.
        read: its packets.
        frames: how many were decoded.

    Raises:
        ClipError: an AVI lacks frames in its middle, so that the times of the others are unknown.
    """
    if container.format.name.startswith("mov"):
        listed = len(read.stream.index_entries)
        return read.of(listed, frames) if read.packets < listed else ""
    if container.format.name == "avi":
        return _missing_of_avi(path, read, frames)
    seconds, is_cut = _stated_seconds(container), (_stated_size(container, path) or 0) > path.stat().st_size
    if is_cut and not seconds:  # FFmpeg does not believe the duration of such an ASF
        return f"truncated: {frames} frames can be read, to {read.end:.2f} s"
    if seconds - read.end > (ROUNDED if is_cut else MISSING_SECONDS) and not _is_whole(container, path, read):
        return f"truncated: {frames} frames can be read, to {read.end:.2f} s of {seconds:.2f} s"
    if read.hole and (at := lost_at(path)) is not None:
        return f"damaged: {frames} frames can be read; some data around byte {at} cannot"
    return unread(container.format.name, path, read.stop, f"{frames} frames")


def stays(container: InputContainer, path: Path, read: Tally) -> float:
    """How many seconds longer than its packet states the last frame of a whole file is shown, by the header."""
    longer = _stated_seconds(container) - read.end
    is_alone = len(container.streams) == 1  # else another stream may be meant
    return longer if is_alone and longer > MISSING_SECONDS and _is_whole(container, path, read) else 0.0


def _stated_seconds(container: InputContainer) -> float:
    """The duration of the longest stream by the header; 0 if it states none."""
    return (container.duration or 0) / av.time_base if container.format.name in STATED else 0.0


def _is_whole(container: InputContainer, path: Path, read: Tally) -> bool:
    """Whether a file is as long as its header states, and was read to its end."""
    size = path.stat().st_size
    return size == _stated_size(container, path) and size - read.stop <= AFTER_BYTES + AFTER_SHARE * size


def _stated_size(container: InputContainer, path: Path) -> int | None:
    with open_file(path) as file:
        return stated_size(container.format.name, file.read(HEAD))


def _missing_of_avi(path: Path, read: Tally, frames: int) -> str:
    stated = read.stream.frames if read.stream.frames < LEFT_OPEN else 0
    with open_file(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        size = int.from_bytes(data[4:8], "little")
        listed = _listed(data, read.stream.index)
    if size not in RIFF_OPEN and size + 8 - path.stat().st_size > 1:  # a missing byte of padding is no frame
        return read.of(max(stated, read.packets), frames)
    # The index lists what was written, even if at wrong places; headers may count frames that a recorder dropped, or
    # one more or less.
    if read.packets < listed:
        promised = listed
    elif read.packets > listed and stated - read.chunks > MISCOUNTED:
        promised = stated - read.chunks + read.packets
    else:
        return ""
    raise ClipError(f"{path}: {read.of(promised, frames)}; which are missing, and the times of the others, are unknown")


def _listed(data: mmap.mmap, stream: int) -> int:
    """How many chunks with content the index of an AVI lists for a stream; 0 if there is no index."""
    for kind, begin, size in riff_chunks(data):
        if kind == b"idx1":
            index = data[begin : begin + size] if size < LEFT_OPEN else b""
            entries = np.frombuffer(index[: len(index) // 16 * 16], np.uint8).reshape(-1, 16)
            digits = np.frombuffer(b"%02d" % stream, np.uint8)
            is_own = (entries[:, :2] == digits).all(axis=1) & (entries[:, 2:4] != list(b"pc")).any(axis=1)
            return int((is_own & entries[:, 12:].any(axis=1)).sum())
    return 0
