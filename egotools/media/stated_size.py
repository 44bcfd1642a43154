"""Compares the size that a media file states with how much of it FFmpeg read."""

from __future__ import annotations

import struct
from pathlib import Path

from egotools.files.disk import open_file
from egotools.media.matroska import coded_number, not_known

HEAD = 4096  # bytes that contain the stated size

MATROSKA_SEGMENT = b"\x18\x53\x80\x67"  # the element that contains all but the first few bytes
ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")  # the object with the properties of the file
MATROSKA = b"\x1a\x45\xdf\xa3"  # the first bytes of a file
UNREAD_BYTES, UNREAD_SHARE = 1000, 0.01  # limits of what may follow the last packet of an FLV: what a muxer appends
FLV_SIZE = b"filesize\0"  # a name in its metadata, and the type of a number


def stated_size(format: str, head: bytes) -> int | None:
    """The file size stated in its first bytes; None if there is none, or it was never filled in.

    Args:
        format: FFmpeg's name of the container.
        head: the first `HEAD` bytes.
    """
    if format == "matroska,webm" and (at := head.find(MATROSKA_SEGMENT) + 4) >= 4 and head[at : at + 1] > b"\0":
        length, width = coded_number(head, at)
        return None if length == not_known(width) else at + width + length
    if format == "flv" and (at := head.find(FLV_SIZE) + len(FLV_SIZE)) >= len(FLV_SIZE):
        return int(struct.unpack(">d", head[at : at + 8])[0]) or None if at + 8 <= len(head) else None
    if format == "asf" and (at := head.find(ASF_FILE) + 40) >= 40:
        return int.from_bytes(head[at : at + 8], "little") or None
    return None


def unread(format: str, path: Path, stop: int, what: str) -> str:
    """What is missing, as a message, if FFmpeg does not read a file to its end, as when files were joined.

    Args:
        format: FFmpeg's name of the container.
        path: the file.
        stop: where the last packet ends, in bytes.
        what: what could be read.
    """
    size, begin = path.stat().st_size, stop
    if format == "flv" and size - stop <= max(UNREAD_BYTES, UNREAD_SHARE * stop):
        return ""
    if format == "matroska,webm":
        begin = _next_file(path, stop)
    elif format != "flv":
        return ""
    rest = size - begin
    words = f"truncated: {what} can be read; the {rest} bytes after cannot, perhaps from files that were joined"
    return words if rest else ""


def _next_file(path: Path, stop: int) -> int:
    """Where the next Matroska file begins after `stop`, if files were joined; otherwise the end."""
    begin = 0
    with open_file(path) as file:
        while (head := file.read(HEAD)).startswith(MATROSKA):
            if begin >= stop:
                return begin
            length = stated_size("matroska,webm", head)
            if length is None:
                break
            begin += length
            file.seek(begin)
    return path.stat().st_size
