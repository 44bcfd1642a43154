"""How many bytes a media file says that it has, which tells one that was cut from one whose last frame stays."""

from __future__ import annotations

import struct

HEAD = 4096  # bytes in which it is said

MATROSKA_SEGMENT = b"\x18\x53\x80\x67"  # the element that holds all but the first few bytes
ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")  # the object with the properties of the file
FLV_SIZE = b"filesize\0"  # a name in its metadata, and the type of a number


def stated_size(format: str, head: bytes) -> int | None:
    """Bytes of the whole file as its first bytes say; None where they do not, or were never filled in.

    Args:
        format: FFmpeg's name of the container.
        head: the first `HEAD` bytes.
    """
    if format == "matroska,webm" and (at := head.find(MATROSKA_SEGMENT) + 4) >= 4 and head[at : at + 1] > b"\0":
        width = 9 - head[at].bit_length()  # of the number that tells the length
        most = (1 << 7 * width) - 1  # stands for "not known"
        length = int.from_bytes(head[at : at + width], "big") & most
        return None if length == most else at + width + length
    if format == "flv" and (at := head.find(FLV_SIZE) + len(FLV_SIZE)) >= len(FLV_SIZE):
        return int(struct.unpack(">d", head[at : at + 8])[0]) or None if at + 8 <= len(head) else None
    if format == "asf" and (at := head.find(ASF_FILE) + 40) >= 40:
        return int.from_bytes(head[at : at + 8], "little") or None
    return None
