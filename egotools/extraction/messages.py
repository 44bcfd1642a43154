"""The messages from reading workers to the engine: pieces of clips, failures, digests and remarks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from egotools.media.video import VideoIndex
from egotools.types import Clip, IntArray

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Piece:
    """Some windows of one clip for one extractor, or their rows, if the worker computed them."""

    clip: int  # position in the engine's list
    attempt: int
    extractor: int  # position in the engine's list
    total: int  # rows of the complete clip
    rows: IntArray  # [n] indices of these rows
    times: Array  # float64 [n, 2]
    units: Array  # prepared frames [U, ...], samples [n, L], or computed rows [n, D]
    windows: IntArray | None = None  # [n, L] positions in units; None: a unit is a window
    is_computed: bool = False
    each: int = 1  # rows of a window
    remark: str = ""  # a remark on the clip for the user


@dataclass(frozen=True)
class Failure:
    """A clip that could not be read for one extractor, and why."""

    clip: int
    attempt: int
    extractor: int
    reason: str


@dataclass(frozen=True)
class BegunAgain:
    """A clip that has rows already, but not those of its windows: all its rows come again, from the first."""

    clip: int
    attempt: int
    extractor: int


@dataclass(frozen=True)
class FileDigest:
    """The digest of a clip's file, computed while it is read; None if it cannot be read."""

    clip: int
    digest: str | None


@dataclass(frozen=True)
class FileRemarks:
    """Remarks on a clip's file: what is unusual, or was repaired, in sentences."""

    clip: int
    remarks: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class FileIndex:
    """The index of a clip's file, once it is open; None if it is not a video."""

    path: Path
    index: VideoIndex | None


@dataclass(frozen=True)
class Stage:
    """What is done before rows can be computed, and takes long, in a few words."""

    name: str


Message = Piece | Failure | BegunAgain | FileDigest | FileRemarks | Stage


def windows_of(piece: Piece, first: int = 0, last: int | None = None) -> Array:
    """The windows [n, L, ...] of a piece, or those from `first` to `last`."""
    if piece.windows is None:
        return piece.units[first:last]
    gathered: Array = piece.units[piece.windows[first:last]]
    return gathered


def repeated(times: Array, each: int) -> Array:
    """The times of the rows of windows, of which each gives several: those of their windows."""
    return np.repeat(times, each, axis=0)


@dataclass(frozen=True)
class Done:
    """The first rows of a clip, which an interrupted run has computed: a whole number of windows."""

    rows: int
    each: int  # rows of a window
    times: int  # CRC-32 of their times, float64 [rows, 2]

    @property
    def windows(self) -> int:
        """How many windows they are."""
        return self.rows // self.each


@dataclass(frozen=True)
class ReadingTask:
    """A clip to read, for the extractors at `positions`, of which some have rows `done` already."""

    number: int
    clip: Clip
    positions: tuple[int, ...]
    attempt: int = 0
    digest: bool = False  # whether to digest the content of its file; without positions, only that is done
    strict: bool = False  # whether remarks on its file are failures
    index: VideoIndex | None = None  # of its file, if known already
    done: Mapping[int, Done] = field(default_factory=dict)  # by position
