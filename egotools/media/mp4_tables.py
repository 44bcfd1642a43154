"""Indexes a video stream by the tables of an MP4, without reading its packets."""

import io
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.stream import VideoStream

from egotools.files.disk import open_file
from egotools.media.chunks import boxes
from egotools.media.containers import only
from egotools.types import IntArray

LARGEST = 1 << 28  # bytes of tables to read; and ticks, beyond which FFmpeg does not accept an offset
TRIED, MOST_TRIED = 4, 64  # packets read in several places, to check that they match the tables
PLACES = (0.0, 0.25, 0.5, 0.75)  # relative positions; the last packets, and some around key frames, too

Boxes = dict[bytes, list[bytes]]


@dataclass(frozen=True, eq=False)
class Packets:
    """The packets of a stream in file order (N), as demuxing would return them."""

    pts: IntArray  # [N] timestamps, in the stream's ticks
    is_key: npt.NDArray[np.bool_]  # [N] whether decoding can start there
    is_hidden: npt.NDArray[np.bool_]  # [N] whether an edit list hides its picture
    durations: IntArray  # [N] ticks


def packets_by_tables(container: InputContainer, stream: VideoStream, path: Path) -> Packets | None:
    """The packets of one stream of an MP4, without reading them. Seeks in the container.

    None if the tables may be incomplete (fragments, several edits, other descriptions within the stream, a
    truncated file), or do not match the packets that are read as samples.
    """
    with open_file(path) as file:
        moov = _moov(file)
        size = file.seek(0, 2)
    entries = stream.index_entries
    tables = None if moov is None else _tables(moov, stream.id, len(entries))
    if tables is None:
        return None
    durations, offsets = tables
    rows = [(each.pos, each.size, each.timestamp, each.is_keyframe, each.is_discard) for each in entries]
    positions, sizes, stamps, is_key, is_hidden = np.array(rows, np.int64).reshape(-1, 5).T
    ends = [other.index_entries[-1] for other in container.streams if len(other.index_entries)]
    is_cut = any(end.pos + end.size > size for end in ends) or (positions + sizes > size).any()
    if is_cut or not rows or (sizes <= 0).any() or (positions < 0).any() or len(np.unique(positions)) != len(rows):
        return None
    found = Packets(stamps + offsets, is_key > 0, is_hidden > 0, durations)
    shift = _agreed(container, stream, (positions, sizes, stamps), found)
    return None if shift is None else replace(found, pts=found.pts + shift)


def _agreed(
    container: InputContainer, stream: VideoStream, entries: tuple[IntArray, IntArray, IntArray], said: Packets
) -> int | None:
    """The constant offset of real timestamps from those of the tables; None if anything else differs."""
    positions, sizes, stamps = entries
    keys = np.flatnonzero(said.is_key)
    if not len(keys):
        return None
    count = len(positions)
    places = {int(part * count) for part in PLACES} | {max(count - TRIED, 0)}
    places |= {max(int(key) - 1, 0) for key in keys[np.linspace(0, len(keys) - 1, TRIED).astype(int)]}
    only(stream)
    shifts: set[int] = set()
    seen: set[int] = set()
    for place in sorted(places):
        try:
            if place:
                container.seek(int(stamps[place]), stream=stream, any_frame=True)
            for number, packet in enumerate(container.demux(stream)):
                if not packet.size or number >= MOST_TRIED:
                    break
                matching = np.flatnonzero(positions == packet.pos)
                if not len(matching) or packet.pts is None or packet.is_corrupt:
                    return None
                at = int(matching[0])
                here = (packet.size, packet.is_keyframe, packet.is_discard, packet.duration)
                if here != (sizes[at], said.is_key[at], said.is_hidden[at], said.durations[at]):
                    return None
                seen.add(at)
                shifts.add(packet.pts - int(said.pts[at]))
                if at >= place + TRIED - 1:
                    break
        except av.FFmpegError:
            return None
        if len(shifts) != 1:
            return None
    return shifts.pop() if {0, count - 1} <= seen else None


def _tables(moov: bytes, track: int, count: int) -> tuple[IntArray, IntArray] | None:
    """The duration of each of `count` packets of a track, and its delay from decoding to display, in ticks."""
    try:
        movie = _boxes(moov)
        if b"mvex" in movie:  # the rest of the index lies between the pictures
            return None
        (own,) = (each for each in map(_boxes, movie[b"trak"]) if _track_id(each[b"tkhd"][0]) == track)
        samples = _boxes(_boxes(_boxes(own[b"mdia"][0])[b"minf"][0])[b"stbl"][0])
        if not _is_one_edit(own) or _number(samples[b"stsd"][0], 4) != 1:
            return None
        durations = _runs(samples[b"stts"][0])
        offsets = _runs(samples[b"ctts"][0]) if b"ctts" in samples else np.zeros(count, np.int64)
    except (KeyError, ValueError, IndexError, struct.error):  # not conforming to the standard
        return None
    if not len(durations) == len(offsets) == count or (durations <= 0).any() or (np.abs(offsets) >= LARGEST).any():
        return None
    return durations, offsets


def _is_one_edit(track: Boxes) -> bool:
    """Whether a track is shown unchanged, except for a pause before it or a cut beginning."""
    for edits in track.get(b"edts", []):
        for box in _boxes(edits).get(b"elst", []):
            entry = struct.Struct(">Qqi" if box[0] == 1 else ">Iii")
            edits_of = [entry.unpack_from(box, 8 + entry.size * number) for number in range(_number(box, 4))]
            rates = [rate for _, start, rate in edits_of if start >= 0]
            if rates not in ([], [1 << 16]):
                return False
    return True


def _runs(box: bytes) -> IntArray:
    """A table of runs, each a count and a value: the value of each packet."""
    count = _number(box, 4)
    runs = np.frombuffer(box, ">i4", 2 * count, 8).reshape(-1, 2).astype(np.int64)
    if (runs[:, 0] < 0).any() or runs[:, 0].sum() > LARGEST:
        raise ValueError("no counts")
    return np.repeat(runs[:, 1], runs[:, 0])


def _track_id(header: bytes) -> int:
    return _number(header, 20 if header[0] == 1 else 12)


def _number(box: bytes, at: int) -> int:
    return int(struct.unpack_from(">I", box, at)[0])


def _boxes(box: bytes) -> Boxes:
    """The boxes within one, by kind."""
    found: Boxes = {}
    for kind, begin, end in boxes(io.BytesIO(box)):
        if end > len(box):
            raise ValueError("a box larger than the one around it")
        found.setdefault(kind, []).append(box[begin:end])
    return found


def _moov(file: BinaryIO) -> bytes | None:
    """The box with all tables; None if it does not exist, or something else adds to it."""
    found = None
    for kind, begin, end in boxes(file):
        if kind == b"moof" or (kind == b"moov" and (found is not None or end - begin > LARGEST)):
            return None
        if kind == b"moov":
            file.seek(begin)
            found = file.read(end - begin)
    return found
