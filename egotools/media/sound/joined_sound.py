"""Finds where each file begins in sound files that were concatenated, as by `cat a.ogg b.ogg`."""

import itertools
import mmap
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from egotools.files.disk import open_file
from egotools.media.chunks import boxes
from egotools.media.sound.lost_sound import OGG_BEGINS, OGG_HEADER, page_size

# A LAME or Xing header is in the first frame of an MP3, whose other bytes before it are zero: after its four
# bytes, 32 of side information (MPEG 1, stereo), 17 (MPEG 1 mono, MPEG 2 stereo) or 9 (MPEG 2 mono).
MP3_FIRST_FRAME = re.compile(rb"\xff[\xe2-\xff][\x10-\xef].(?:\x00{32}|\x00{17}|\x00{9})(?:Xing|Info)", re.DOTALL)
FLAC_BEGINS = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")  # followed by the first block, of 34 bytes
RIFF_BEGINS = re.compile(rb"RIFF.{4}WAVE(?:fmt |LIST|JUNK|bext|ds64)|FORM.{4}AIF[FC](?:COMM|FVER|COMT)", re.DOTALL)
AMR_BEGINS = re.compile(rb"#!AMR(?:-WB)?\n")
FLV_BEGINS = re.compile(rb"FLV\x01[\x01\x04\x05]\x00{3}\x09\x00{4}")
# An EBML header, whose only text element is the document type.
MATROSKA_BEGINS = re.compile(rb"\x1a\x45\xdf\xa3.{1,60}?\x42\x82.{1,8}?(?:matroska|webm)", re.DOTALL)
ASF_BEGINS = re.compile(re.escape(bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")))
NEAR = 4096  # bytes of padding allowed between a tag and the first frame


def parts_of(path: Path, format: str) -> list[tuple[int, int]]:
    """The byte range of each file that was joined; a single range for other formats.

    Args:
        path: a regular file with sound only, unless it is Ogg.
        format: FFmpeg's name of the container.

    Raises:
        OSError: the file cannot be read.
    """
    begins_of = BEGINS.get(format)
    if begins_of is None:
        return [(0, path.stat().st_size)]
    with open_file(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        own = after_tag(data) + NEAR if format in ("mp3", "flac") else 0  # matches up to here belong to the first file
        return list(itertools.pairwise([0, *(begin for begin in begins_of(data) if begin > own), len(data)]))


def _ogg_links(data: mmap.mmap) -> Iterator[int]:
    """Where groups of first pages begin: the streams of one link begin together, before any continues."""
    at, was_first = 0, False
    while (at := data.find(b"OggS", at)) >= 0 and at + OGG_HEADER <= len(data):
        is_first = bool(data[at + 5] & OGG_BEGINS)
        if is_first and not was_first:
            yield at
        was_first = is_first
        size = page_size(data, at)
        is_whole = at + size >= len(data) or data[at + size : at + size + 4] == b"OggS"
        at += size if is_whole else 4  # a page that was cut extends into the next file


def _mp3_files(data: mmap.mmap) -> Iterator[int]:
    """Where each file with a LAME or Xing header begins: with that frame, or the ID3 tag before it."""
    before = 0
    for match in MP3_FIRST_FRAME.finditer(data):
        begin = match.start()
        tag = data.rfind(b"ID3", before, begin)
        while tag >= 0 and tag + 10 + _tag_size(data[tag + 6 : tag + 10]) != begin:
            tag = data.rfind(b"ID3", before, tag)
        yield begin if tag < 0 else tag
        before = begin


def _matching(mark: re.Pattern[bytes]) -> Callable[[mmap.mmap], Iterator[int]]:
    """Finds files whose first bytes match."""
    return lambda data: (match.start() for match in mark.finditer(data))


def _riff_files(data: mmap.mmap) -> Iterator[int]:
    """WAV and AIFF state their length; if it was left open, the next header is searched for."""
    at, begins = 0, []
    while (name := data[at : at + 4]) in (b"RIFF", b"FORM"):
        begins.append(at)
        size = int.from_bytes(data[at + 4 : at + 8], "little" if name == b"RIFF" else "big")
        at += 8 + size + size % 2
    if at in (len(data), len(data) + 1):
        yield from begins
    else:
        yield from _matching(RIFF_BEGINS)(data)


def _mp4_files(data: mmap.mmap) -> Iterator[int]:
    """A `ftyp` box comes first in each file; its header has eight bytes."""
    return (begin - 8 for kind, begin, _ in boxes(data) if kind == b"ftyp")


BEGINS: dict[str, Callable[[mmap.mmap], Iterator[int]]] = {
    "ogg": _ogg_links,
    "mp3": _mp3_files,
    "flac": _matching(FLAC_BEGINS),
    "asf": _matching(ASF_BEGINS),
    "amr": _matching(AMR_BEGINS),
    "flv": _matching(FLV_BEGINS),
    "matroska,webm": _matching(MATROSKA_BEGINS),
    "wav": _riff_files,
    "aiff": _riff_files,
    "mov,mp4,m4a,3gp,3g2,mj2": _mp4_files,
}


def after_tag(data: bytes | mmap.mmap) -> int:
    """Where the first frame begins: after an ID3 tag, if there is one."""
    return 10 + _tag_size(data[6:10]) if data[:3] == b"ID3" else 0


def _tag_size(digits: bytes) -> int:
    """The size of an ID3 tag without its first ten bytes: seven bits per byte."""
    return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(reversed(digits)))
