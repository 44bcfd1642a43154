"""Detects video containers with sound only, from their first bytes or tables: FFmpeg would take up to 100 ms.

A folder may contain a hundred thousand files, and only their kind depends on it.
"""

import re
from pathlib import Path
from typing import BinaryIO

from av.container import InputContainer
from av.stream import Disposition

from egotools.files.disk import open_file
from egotools.media.chunks import MATROSKA, boxes, coded_number

HEAD = 1 << 16  # bytes in which containers other than MP4 declare their streams
LARGEST_TABLES = 1 << 26  # bytes; MP4 tables have about 16 per frame

MP4_TRACK = re.compile(rb"hdlr.{8}(vide|soun)", re.DOTALL)
AVI_TRACK = re.compile(rb"strh.{4}(vids|auds)", re.DOTALL)
ASF = b"\x30\x26\xb2\x75"
ASF_VIDEO, ASF_SOUND = b"\xc0\xef\x19\xbc\x4d\x5b\xcf\x11", b"\x40\x9e\x69\xf8\x4d\x5b\xcf\x11"
MATROSKA_TRACKS = b"\x16\x54\xae\x6b"
MATROSKA_TRACK = re.compile(rb"\x83\x81(\x01|\x02)")  # the type of a track
VIDEO = {b"vide", b"vids", b"\x01", ASF_VIDEO}

TS_SYNC = 0x47
TS_VIDEO = {0x01, 0x02, 0x10, 0x1B, 0x20, 0x24, 0x33, 0xD1, 0xEA}  # types of streams in a program's table
TS_SOUND = {0x03, 0x04, 0x0F, 0x11, 0x81, 0x87}


def has_picture(container: InputContainer) -> bool:
    """Whether there is a video stream that is not just a cover picture."""
    return any(not stream.disposition & Disposition.attached_pic for stream in container.streams.video)


def is_sound_alone(path: Path) -> bool:
    """Whether there is sound and no video; False if that is unclear."""
    try:
        with open_file(path) as file:
            head = file.read(HEAD)
            if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"):
                found = set(MP4_TRACK.findall(_mp4_tables(file)))
            elif head[:4] == MATROSKA:
                found = set(MATROSKA_TRACK.findall(_matroska_tracks(head)))
            elif head[:4] == b"RIFF":
                found = set(AVI_TRACK.findall(head))
            elif head[:4] == ASF:
                found = {guid for guid in (ASF_VIDEO, ASF_SOUND) if guid in head}
            else:
                return _is_sound_of_ts(head)
    except OSError:
        return False
    return bool(found) and not found & VIDEO


def _mp4_tables(file: BinaryIO) -> bytes:
    """The content of the `moov` box, wherever it lies; empty if none can be read."""
    for kind, begin, end in boxes(file):
        if kind == b"moov":
            file.seek(begin)
            return file.read(min(end - begin, LARGEST_TABLES))
    return b""


def _matroska_tracks(head: bytes) -> bytes:
    """The element that describes the tracks."""
    at = head.find(MATROSKA_TRACKS) + len(MATROSKA_TRACKS)
    if at < len(MATROSKA_TRACKS) or at >= len(head) or not head[at]:
        return b""
    size, width = coded_number(head, at)
    return head[at + width : at + width + size]


def _is_sound_of_ts(head: bytes) -> bool:
    """Like `is_sound_alone`, for a transport stream with packets of 188 bytes, or 192 from cameras."""
    for first, step in ((0, 188), (4, 192)):
        packets = [head[at : at + 188] for at in range(first, len(head) - 188, step)]
        if len(packets) > 2 and all(packet[0] == TS_SYNC for packet in packets):
            kinds = {kind for packet in packets for kind in _ts_streams(packet)}
            return bool(kinds & TS_SOUND) and not kinds & TS_VIDEO
    return False


def _ts_streams(packet: bytes) -> set[int]:
    """The types of streams listed in a packet, if it contains a program table."""
    if not packet[1] & 0x40 or not packet[3] & 0x10:
        return set()
    at = 4 + (1 + packet[4] if packet[3] & 0x20 else 0)
    at += 1 + packet[at] if at < 188 else 0  # a pointer to the start of the table
    if at + 12 > 188 or packet[at] != 0x02:
        return set()
    end = min(at + 3 + (int.from_bytes(packet[at + 1 : at + 3], "big") & 0xFFF) - 4, 188)
    at += 12 + (int.from_bytes(packet[at + 10 : at + 12], "big") & 0xFFF)
    kinds = set()
    while at + 5 <= end:
        kinds.add(packet[at])
        at += 5 + (int.from_bytes(packet[at + 3 : at + 5], "big") & 0xFFF)
    return kinds
