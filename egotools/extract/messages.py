"""What reading workers find of clips, as messages to the engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from egotools.media.video import VideoIndex
from egotools.types import Clip, IntArray

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Piece:
    """Some windows of one clip for one extractor, or, where the worker computed them, their rows already."""

    clip: int  # position in the engine's list
    attempt: int
    extractor: int  # position in the engine's list
    total: int  # rows of the whole clip
    rows: IntArray  # [n] which of them these are
    times: Array  # float64 [n, 2]
    units: Array  # prepared frames [U, ...], samples [n, L], or, computed, rows [n, D]
    windows: IntArray | None = None  # [n, L] positions in units; None: a unit is a window
    is_computed: bool = False
    remark: str = ""  # what a person should know of the clip


@dataclass(frozen=True)
class Failure:
    """A clip that could not be read for one extractor, and why."""

    clip: int
    attempt: int
    extractor: int
    reason: str


@dataclass(frozen=True)
class FileDigest:
    """The digest of a clip's file, made while it is read; None where it cannot be."""

    clip: int
    digest: str | None


@dataclass(frozen=True)
class FileRemarks:
    """What is odd about a clip's file, or was repaired in it, in sentences."""

    clip: int
    remarks: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class FileIndex:
    """What is known of a clip's file, once it is open; None of anything but a video."""

    path: Path
    index: VideoIndex | None


Message = Piece | Failure | FileDigest | FileRemarks


def windows_of(piece: Piece, first: int = 0, last: int | None = None) -> Array:
    """The windows [n, L, ...] of a piece, or of its rows from `first` to `last`."""
    if piece.windows is None:
        return piece.units[first:last]
    gathered: Array = piece.units[piece.windows[first:last]]
    return gathered


@dataclass(frozen=True)
class ReadingTask:
    """A clip to read, for the extractors at the positions `wanted`."""

    number: int
    clip: Clip
    wanted: tuple[int, ...]
    attempt: int = 0
    digest: bool = False  # whether the content of its file is to be digested; if nothing is wanted that alone is done
    strict: bool = False  # whether remarks on its file are failures
    index: VideoIndex | None = None  # what is known of its file already
