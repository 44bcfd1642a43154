"""Detects damage inside JPEG data that FFmpeg skips by resynchronizing at restart markers, which webcams write."""

import re
import struct
from collections.abc import Iterator
from contextlib import suppress

import simplejpeg

from egotools.media.limits import MOST_PIXELS

# Each of the two fields of an interlaced picture is an image, one after the other.
NEXT_IMAGE = re.compile(rb"\xff\xd9[\0\xff]*(?=\xff\xd8)")

TOO_FEW = ("premature end of data segment", "bad Huffman code")
TOO_MANY = re.compile(r"(\d+) extraneous bytes before marker 0xd[0-79]")

# Intact pictures of Logitech cameras have up to about 10 bytes too many before a restart marker; cheap ones before
# the end, where Axis pads pictures with hundreds.
MOST_STRAY, MOST_STRAY_AT_END = 31, 15
PADDING = 8  # at least this many bytes of one value

BASELINE, SCAN, INTERVAL = 0xC0, 0xDA, 0xDD  # markers of segments
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
END = b"\xff\xd9"


def jpeg_damage(data: bytes) -> str:
    """What is clearly wrong with the pixels of a JPEG image, or of several in a row; "" if nothing is known to be.

    Damage whose codes happen to yield the right number of blocks cannot be noticed. Images that libjpeg does not
    read are not checked.
    """
    return next(filter(None, map(_damage, NEXT_IMAGE.split(data))), "")


def _damage(image: bytes) -> str:
    # A missing end marker, which cameras forget, is not damage, but a truncated picture is. The zero belongs to the
    # data if it ends with 0xff.
    image = image.rstrip(b"\0") + b"\0" + END
    with suppress(ValueError):
        height, width, *_ = simplejpeg.decode_jpeg_header(image)
        if height * width > MOST_PIXELS:
            return ""
    said = _said(image)
    if not TOO_MANY.fullmatch(said):
        return said if said in TOO_FEW else ""
    # That counts bytes of all intervals so far, and hides later ones.
    for part, most in _intervals(image):
        said = _said(part)
        found = TOO_MANY.fullmatch(said)
        if said in TOO_FEW or (found and int(found[1]) > most):
            return f"{found[1]} bytes too many" if found else said
    return ""


def _said(image: bytes) -> str:
    """The first problem that libjpeg reports."""
    try:
        simplejpeg.decode_jpeg(image, "gray", fastdct=True, min_factor=8)  # all codes are read nevertheless
    except ValueError as error:
        return str(error).removeprefix("Corrupt JPEG data: ")
    return ""


def _intervals(image: bytes) -> Iterator[tuple[bytes, int]]:
    """The data between restart markers, each as an image, and how many bytes too many it may have.

    The image itself if it has no such markers, or several scans.
    """
    segments, at = {}, 2
    while image[at : at + 1] == b"\xff" and image[at + 1] != SCAN:
        segments[image[at + 1]] = at
        at += 2 + _number(image, at + 2)
    begin = at + 2 + _number(image, at + 2)
    data = image[begin:].partition(END)[0]
    last = MOST_STRAY_AT_END if len(set(data[-PADDING:])) > 1 else len(data)
    frame, step = segments.get(BASELINE, 0), _number(image, segments.get(INTERVAL, len(image)) + 4)
    parts = _number(image, frame + 8) & 0xFF
    if not frame or not step or image[at : at + 2] != b"\xff\xda" or _number(image, at + 3) & 0xFF != parts:
        yield image, last
        return
    # With a single color component the sampling factors do not matter.
    factors = image[frame + 11 : frame + 10 + 3 * parts : 3] if parts > 1 else b"\x11"
    across, down = 8 * max(each >> 4 for each in factors), 8 * max(each & 15 for each in factors)
    row = -(-_number(image, frame + 7) // across)
    left = row * -(-_number(image, frame + 5) // down)  # remaining units
    for piece in RESTART.split(data):
        units = min(step, left)
        rows = units // row if units % row == 0 else 1
        left -= units
        if not units:  # scanners write more than they declare
            return
        size = struct.pack(">HH", rows * down, min(units // rows * across, 0xFFFF))
        yield image[: frame + 5] + size + image[frame + 9 : begin] + piece + END, MOST_STRAY if left else last


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")
