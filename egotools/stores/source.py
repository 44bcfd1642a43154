"""Records the source file of rows, and detects whether it has changed."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from egotools.config import file_digest
from egotools.files.json_files import parse_json
from egotools.types import Clip

GRAINS = (2.0, 1.0, 0.01)  # to which copies are rounded, in seconds: zip and FAT; tar, scp, ext3, HFS+; exFAT
_encoded = json.JSONEncoder(separators=(",", ":")).encode  # made once: a cache has very many sources
_FLOAT_ERROR = 1e-5  # of seconds since 1970 in float64, and of file systems with 100 ns resolution


@dataclass(frozen=True)
class Source:
    """The source of one clip's rows: the file at that time, to tell later whether it has changed."""

    path: str  # absolute; empty for rows imported without a file
    start: float = 0.0
    end: float | None = None
    size: int | None = None  # bytes
    mtime: float | None = None  # seconds since 1970
    fps: float | None = None  # from the manifest, for frame folders
    digest: str | None = None  # of the content, if requested

    @classmethod
    def of(cls, clip: Clip) -> "Source":
        """The source of `clip`: the current state of its file or frame folder."""
        path = Path(os.path.abspath(clip.path))
        status = path.stat()
        return cls(str(path), clip.start, clip.end, status.st_size, status.st_mtime, clip.fps)

    def to_json(self) -> str:
        """As ASCII text: file names that are not UTF-8 survive as escaped surrogates."""
        values = {name: value for name, value in vars(self).items() if value is not None}
        return _encoded(values)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Source":
        """The inverse of `to_json`.

        Raises:
            ValueError: not a source, or with unknown entries, written by a newer egotools.
        """
        values = parse_json(text)
        if not isinstance(values, dict) or not isinstance(values.get("path"), str):
            raise ValueError("not what was written")
        for name, value in values.items():
            if name not in _ENTRIES:
                raise ValueError(f"written by a newer egotools: {name!r} is unknown to this one; update egotools")
            if value is not None and not _ENTRIES[name](value):
                raise ValueError(f"not what was written: {name}={str(value)[:40]}")
        if values.get("start", 0.0) is None:
            raise ValueError("not what was written: start=None")
        return cls(**values)


def _is_number(value: object) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -1e300 < value < 1e300


_ENTRIES: dict[str, Callable[[Any], bool]] = {  # Any: JSON values
    "path": lambda value: isinstance(value, str),
    "digest": lambda value: isinstance(value, str),
    "size": lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
    **dict.fromkeys(("start", "end", "mtime", "fps"), _is_number),
}


class SourceFiles:
    """The current state of files and frame folders, each examined once; with `digest` their content, too."""

    def __init__(self, *, digest: bool = False) -> None:
        self._with_digest = digest
        self._status: dict[Path, os.stat_result | None] = {}
        self._digests: dict[Path, str] = {}

    def status(self, path: Path) -> os.stat_result | None:
        """The status of a file; None if it does not exist, or the clip has no file."""
        if path not in self._status:
            try:
                self._status[path] = None if path == Path() else path.stat()
            except OSError:
                self._status[path] = None
        return self._status[path]

    def change(self, source: Source, clip: Clip) -> str:
        """How a clip differs from the source of its stored rows, as a message; empty if it does not.

        A file that no longer exists cannot be compared: its rows count as up to date.
        """
        if (source.start, source.end) != (clip.start, clip.end):
            return f"its times were {_span(source.start, source.end)}, now {_span(clip.start, clip.end)}"
        if source.fps != clip.fps:
            return f"its frame rate was {source.fps}, now {clip.fps}"
        status = self.status(clip.path)
        if status is None or source.size is None:
            return ""
        if self._with_digest and source.digest is not None:
            return self._difference(clip.path, source.digest)
        if status.st_size != source.size:
            return f"its file had {source.size} bytes, now it has {status.st_size}"
        if source.mtime is None or is_same_time(status.st_mtime, source.mtime):
            return ""
        now, then = _moments(status.st_mtime, source.mtime)
        hint = (
            "" if source.digest is None else " (the size is the same: 'egotools rebuild --digest' compares the content)"
        )
        return f"its file was written on {now}, not {then}{hint}"

    def _difference(self, path: Path, digest: str) -> str:
        try:
            if path not in self._digests:
                self._digests[path] = content_digest(path)
        except OSError as error:
            return f"its file cannot be read: {error.strerror}"
        return "" if self._digests[path] == digest else "its file has different content"


def content_digest(path: Path) -> str:
    """The digest of a file's bytes, or of the names and bytes of a folder's files.

    Raises:
        OSError: it cannot be read.
    """
    if not path.is_dir():
        return file_digest(path)
    sha = hashlib.sha256()
    for file in sorted(path.iterdir()):
        if file.is_file():
            sha.update(f"{file.name}\0{file_digest(file)}\0".encode(errors="surrogateescape"))
    return sha.hexdigest()[:16]


def _span(start: float, end: float | None) -> str:
    return f"{start:g} to {'the end' if end is None else f'{end:g} s'}"


def is_same_time(one: float, other: float) -> bool:
    """Whether two modification times, in seconds, may belong to a file and its copy.

    tar, scp, zip and many file systems keep hundredths, whole or even seconds only, with different rounding.

    >>> is_same_time(1000000001.75, 1000000001.0), is_same_time(1000000001.75, 1000000001.25)
    (True, False)
    """
    difference = abs(one - other)
    if difference < _FLOAT_ERROR:
        return True
    return any(difference < grain and (_is_kept(one, grain) or _is_kept(other, grain)) for grain in GRAINS)


def _is_kept(seconds: float, grain: float) -> bool:
    """Whether a time is a multiple of `grain`."""
    return abs(seconds - round(seconds / grain) * grain) < _FLOAT_ERROR


def _moments(*times: float) -> list[str]:
    """Modification times as text, with the fraction of a second only if needed to tell them apart."""
    texts = [time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) for seconds in times]
    if len(set(texts)) == len(texts):
        return texts
    return [f"{text}{f'{seconds % 1:.6f}'[1:]}" for text, seconds in zip(texts, times, strict=True)]
