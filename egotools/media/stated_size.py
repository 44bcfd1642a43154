"""Whether all of a file can be read: the size that its header states, joined files, and damaged Matroska elements."""

import struct
from pathlib import Path

from egotools.files.disk import open_file
from egotools.media.chunks import MATROSKA, coded_number

HEAD = 4096  # bytes that hold the statement

MATROSKA_SEGMENT = b"\x18\x53\x80\x67"  # the element that holds all but the first few bytes
ENTERED = {0x18538067, 0x1F43B675}  # segments and clusters, whose content is walked through
# Skipped: file headers, and the other contents of segments and clusters: tables, tags, attachments, chapters; times,
# blocks and groups of blocks, padding.
PASSED = {
    *(0x1A45DFA3, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1254C367, 0x1941A469, 0x1043A770),
    *(0xE7, 0xA3, 0xA0, 0xAB, 0xA7, 0xAF, 0x5854, 0xEC, 0xBF),
}
ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")  # the object with the properties of the file
UNREAD_BYTES, UNREAD_SHARE = 1000, 0.01  # of an FLV that may follow its last packet: what a muxer appends
FLV_SIZE = b"filesize\0"  # a name in its metadata, and the type of a number


def stated_size(format: str, head: bytes) -> int | None:
    """Size of the whole file in bytes, as its first bytes state it; None if they do not, or were never filled in.

    Args:
        format: FFmpeg's name of the container.
        head: the first `HEAD` bytes.
    """
    if format == "matroska,webm" and (at := head.find(MATROSKA_SEGMENT) + 4) >= 4 and head[at : at + 1] > b"\0":
        length, width = coded_number(head, at)
        return None if length == (1 << 7 * width) - 1 else at + width + length
    if format == "flv" and (at := head.find(FLV_SIZE) + len(FLV_SIZE)) >= len(FLV_SIZE):
        return int(struct.unpack(">d", head[at : at + 8])[0]) or None if at + 8 <= len(head) else None
    if format == "asf" and (at := head.find(ASF_FILE) + 40) >= 40:
        return int.from_bytes(head[at : at + 8], "little") or None
    return None


def unread(format: str, path: Path, stop: int, what: str) -> str:
    """What is missing, in words, if FFmpeg does not read a file to its end, as when files were joined; else "".

    Args:
        format: FFmpeg's name of the container.
        path: the file.
        stop: where the last packet ends, in bytes.
        what: what could be read.
    """
    size, begin = path.stat().st_size, stop
    if format == "matroska,webm":
        begin = _next_file(path, stop)
    elif format != "flv" or size - stop <= max(UNREAD_BYTES, UNREAD_SHARE * stop):
        return ""
    if begin == size:
        return ""
    return f"truncated: {what} can be read; the last {size - begin} bytes cannot, perhaps of files that were joined"


def _next_file(path: Path, stop: int) -> int:
    """Where the first of the joined Matroska files after `stop` begins; the end of the file if there is none."""
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


def lost_at(path: Path) -> int | None:
    """The first byte at which a Matroska file does not continue with an element; None if there is no such byte."""
    size, at = path.stat().st_size, 0
    with open_file(path) as file:
        while at < size:
            file.seek(at)
            head = file.read(12)
            if len(head) < 12:
                return None
            wide = 9 - head[0].bit_length()
            number = int.from_bytes(head[:wide], "big")
            if not head[0] or (number not in ENTERED and number not in PASSED) or not head[wide]:
                return at
            length, width = coded_number(head, wide)
            at += wide + width + (0 if number in ENTERED else length)
    return None
