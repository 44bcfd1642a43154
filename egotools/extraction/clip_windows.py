"""The windows of one extractor over one clip, as its frames or its sound arrive, and the pieces that they make.

Of a clip whose first rows are there already, the windows of those are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from egotools.errors import ClipError
from egotools.extraction.messages import Piece
from egotools.media.audio import Stretches
from egotools.types import Frame, FrameExtractor, FrameWindows, SampleWindows

Array = np.ndarray[Any, Any]


class SoundWindows:
    """The windows of one extractor over the sound of one clip, collected in order."""

    def __init__(
        self, windows: SampleWindows, piece_rows: int, place: tuple[int, int, int], skipped: int = 0, each: int = 1
    ) -> None:
        """The first `skipped` windows, which have `each` rows, are not read."""
        self.asked = Stretches(windows.starts[skipped:], windows.length, windows.rate)
        self.total, self.skipped, self.each = len(windows.starts), skipped, each
        self.place, self.position = place, place[2]
        self._times, self._piece_rows = windows.times, piece_rows
        self._first = skipped  # first row of those held
        self._held: list[Array] = []

    @property
    def is_done(self) -> bool:
        return self._first == self.total

    def take(self, samples: Array) -> Iterator[Piece]:
        """Yields a piece if these samples complete one."""
        self._held.append(samples)
        if len(self._held) < min(self._piece_rows, self.total - self._first):
            return
        rows = np.arange(self._first, self._first + len(self._held))
        self._first, units, self._held = self._first + len(rows), np.stack(self._held), []
        yield Piece(*self.place, self.total, rows, self._times[rows], units)


def nothing(place: tuple[int, int, int], total: int = 0) -> Piece:
    """A clip without rows, which is valid, or without further rows."""
    return Piece(*place, total, np.arange(0), np.empty((0, 2)), np.empty((0, 0), np.float32), is_computed=True)


class PictureWindows:
    """The windows of one extractor over one clip, as its frames arrive; keeps only frames that are still needed."""

    def __init__(
        self,
        extractor: FrameExtractor,
        windows: FrameWindows,
        rows_of: Callable[[int], int],
        place: tuple[int, int, int],
        skipped: int = 0,
        each: int = 1,
    ) -> None:
        """The first `skipped` windows, which have `each` rows, are not read."""
        self.extractor, self.rows_of = extractor, rows_of
        self.place, self.position = place, place[2]
        self._total, self.skipped, self._each = len(windows.frames), skipped, each
        windows = replace(windows, frames=windows.frames[skipped:], times=windows.times[skipped:])
        self.needed = np.unique(windows.frames)
        self._is_needed = frozenset(self.needed.tolist())
        last = windows.frames.max(axis=1, initial=-1)
        self._order = np.argsort(last, kind="stable")  # windows are emitted when their last frame has arrived
        self._frames, self._times = windows.frames[self._order], windows.times[self._order]
        self._last = last[self._order]
        # The first frame that the remaining windows need: earlier frames are released.
        first = windows.frames.min(axis=1, initial=np.iinfo(np.int64).max)[self._order]
        self._keep_from = np.minimum.accumulate(first[::-1])[::-1]
        self._emitted = 0
        self._nothing_said = len(windows.frames) > 0
        self._prepared: dict[int, Frame] = {}
        self._shape: tuple[int, ...] | None = None

    @property
    def is_done(self) -> bool:
        return self._nothing_said and self._emitted == len(self._order)

    def take(self, index: int, frame: Frame) -> None:
        if index not in self._is_needed:
            return
        prepared = self.extractor.prepare(frame)
        if self._shape is None:
            self._shape = prepared.shape
        elif prepared.shape != self._shape:
            raise ClipError(f"prepared frames differ in shape: {prepared.shape} after {self._shape}")
        self._prepared[index] = prepared

    def pieces(self, index: int | None) -> Iterator[Piece]:
        """Pieces of the windows that end at frame `index` or before; only full ones, unless `index` is None."""
        if not self._nothing_said:
            if index is None or self.skipped:
                self._nothing_said = True
                yield nothing(self.place, self._total * self._each)
            return
        ready = len(self._last) if index is None else int(np.searchsorted(self._last, index, side="right"))
        while ready > self._emitted:
            window_bytes = self._frames.shape[1] * self._prepared[int(self._frames[self._emitted, 0])].nbytes
            most = self.rows_of(window_bytes)
            if ready - self._emitted < most and index is not None:
                return
            yield self._piece(min(most, ready - self._emitted))

    def _piece(self, count: int) -> Piece:
        chosen = slice(self._emitted, self._emitted + count)
        used, windows = np.unique(self._frames[chosen], return_inverse=True)
        piece = Piece(
            *self.place,
            total=self._total,
            rows=self.skipped + self._order[chosen],
            times=self._times[chosen],
            units=np.stack([self._prepared[frame] for frame in used.tolist()]),
            windows=windows.reshape(count, -1),
        )
        self._emitted += count
        keep_from = self._keep_from[self._emitted] if self._emitted < len(self._order) else np.iinfo(np.int64).max
        self._prepared = {frame: value for frame, value in self._prepared.items() if frame >= keep_from}
        return piece
