"""Compares what a container's header promises with what could be read of the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from egotools.errors import ClipError
from egotools.files.disk import open_file
from egotools.media.matroska import lost_at
from egotools.media.stated_size import HEAD, stated_size, unread

MISSING_SECONDS = 0.5  # stated durations are rounded, and include the longest stream's last packet
ROUNDED = 0.01  # tolerance in seconds for a file that is shorter than it says
HOLE = 100  # bytes; gaps between packets are usually much smaller
LEFT_OPEN = 1 << 30  # frames of an AVI, as FFmpeg writes to a pipe; no real AVI has as many
MISCOUNTED = 2  # frames by which the header of a complete AVI may be off

RIFF_OPEN = {0, 0xFFFFFFFF}  # sizes left open by the writer of an AVI


# Formats whose header states the duration of the longest stream.
STATED = {"matroska,webm", "flv", "asf"}

AFTER_BYTES, AFTER_SHARE = 4000, 0.05  # limits of what may follow the last packet: key frame tables, tags


class Tally:
    """What could be read of one stream of a file.

    Attributes:
        packets: number of packets of the stream.
        chunks: the same including the empty ones of an AVI, by its time count.
        end: when the last packet of any stream ends, in seconds.
        stop: where the last packet of any stream ends in the file, in bytes.
        hole: for a Matroska file, whether a gap between two packets is unusually large.
    """

    def __init__(self, stream: VideoStream) -> None:
        self.stream = stream
        self.packets = 0
        self.chunks = 0
        self.end = 0.0
        self.stop = 0
        self.hole, self._pos = False, 0
        self._is_matroska = stream.container.format.name == "matroska,webm"

    def counted(self, packets: Iterator[Packet[Stream]]) -> Iterator[Packet[Stream]]:
        """Passes on the packets of all streams, counting those that are not broken."""
        for packet in packets:
            if not packet.is_corrupt:
                pos = packet.pos or 0
                if self._is_matroska and 0 < self.stop < pos - HOLE:
                    self.hole = True
                begin = self.stop if pos == self._pos else pos  # several of sound may lie in one block
                self.stop, self._pos = max(self.stop, begin + packet.size), pos
                if packet.pts is not None:
                    self.end = max(self.end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.stream_index == self.stream.index:
                    self.packets += 1
                    self.chunks = max(self.packets, self.chunks, (packet.dts or 0) + 1)
            yield packet

    def of(self, packets: int, frames: int) -> str:
        """The message for a truncated stream: `packets` were promised, and those read yielded this many frames."""
        return f"truncated: {frames} of {frames + packets - self.packets} frames can be read"


def missing(container: InputContainer, path: Path, read: Tally, frames: int) -> str:
    """What is missing compared with the container's own index, count or duration, as a message; "" if nothing is.

    Args:
        container: the file, read to its end.
        path: its path.
        read: what was read of it.
        frames: the number of frames read.

    Raises:
        ClipError: an AVI lacks frames in the middle, so that the times of the others are unknown.
    """
    if container.format.name.startswith("mov"):
        listed = len(read.stream.index_entries)
        return read.of(listed, frames) if read.packets < listed else ""
    if container.format.name == "avi":
        return _missing_of_avi(path, read, frames)
    said = _stated(container)
    size, stated = _sizes(container, path)
    is_cut = stated is not None and size < stated
    if is_cut and not said:  # FFmpeg does not believe the duration of such an ASF
        return f"truncated: {frames} frames can be read, to {read.end:.2f} s"
    if said - read.end > (ROUNDED if is_cut else MISSING_SECONDS) and not _is_whole(container, path, read):
        return f"truncated: {frames} frames can be read, to {read.end:.2f} s of {said:.2f} s"
    if read.hole and (at := lost_at(path)) is not None:
        return f"damaged: {frames} frames can be read; some data around byte {at} cannot"
    return unread(container.format.name, path, read.stop, f"{frames} frames")


def stays(container: InputContainer, path: Path, read: Tally) -> float:
    """How many seconds the header shows the last frame of a complete file longer than its packet does."""
    longer = _stated(container) - read.end
    is_alone = len(container.streams) == 1  # otherwise the duration may be another stream's
    return longer if is_alone and longer > MISSING_SECONDS and _is_whole(container, path, read) else 0.0


def _stated(container: InputContainer) -> float:
    """The stated duration of the longest stream, in seconds; 0 if there is none."""
    return (container.duration or 0) / av.time_base if container.format.name in STATED else 0.0


def _is_whole(container: InputContainer, path: Path, read: Tally) -> bool:
    """Whether a file is as long as its header says, and was read to its end."""
    size, stated = _sizes(container, path)
    return size == stated and size - read.stop <= AFTER_BYTES + AFTER_SHARE * size


def _sizes(container: InputContainer, path: Path) -> tuple[int, int | None]:
    """The actual size of a file in bytes, and the size stated in its header."""
    with open_file(path) as file:
        return path.stat().st_size, stated_size(container.format.name, file.read(HEAD))


def _missing_of_avi(path: Path, read: Tally, frames: int) -> str:
    stated = read.stream.frames if read.stream.frames < LEFT_OPEN else 0
    with open_file(path) as file:
        size = int.from_bytes(file.read(8)[4:], "little")
        listed = _listed(file, read.stream.index)
    if size not in RIFF_OPEN and size + 8 - path.stat().st_size > 1:  # a missing byte of padding is not a frame
        return read.of(max(stated, read.packets), frames)
    # The index lists what was written, even with wrong positions; headers may count frames that a recorder
    # dropped, or one more or less.
    if read.packets < listed:
        promised = listed
    elif read.packets > listed and stated - read.chunks > MISCOUNTED:
        promised = stated - read.chunks + read.packets
    else:
        return ""
    raise ClipError(f"{path}: {read.of(promised, frames)}; which are missing, and the times of the others, is unknown")


def _listed(file: IO[bytes], stream: int) -> int:
    """The number of chunks with content the index of an AVI lists for a stream; 0 if it has none."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        size = int.from_bytes(head[4:], "little")
        if head[:4] == b"idx1":
            entries = np.frombuffer(file.read(size // 16 * 16 if size < LEFT_OPEN else 0), np.uint8)
            entries = entries[: len(entries) // 16 * 16].reshape(-1, 16)
            digits = np.frombuffer(b"%02d" % stream, np.uint8)
            is_own = (entries[:, :2] == digits).all(axis=1) & (entries[:, 2:4] != list(b"pc")).any(axis=1)
            return int((is_own & entries[:, 12:].any(axis=1)).sum())
        file.seek(size + (size & 1), 1)
    return 0
